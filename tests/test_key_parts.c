/* test_key_parts.c - what of a question says what the task wants, and the question without it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "jobs/key_parts.h"
#include "outcome.h"

static const char *const asked[] = {
    "<image>\nWhat colour is the cube? Answer in one word.",
    "<image>\nwhat colour is the ball? answer in one word.",
    "<image>\nIs the ball red? Answer in one WORD.",
    "What colour is it? Answer: answer in one word.",
};
enum { ASKED = sizeof asked / sizeof *asked };

static void masks_to(struct key_words *k, const char *question, char *const *parts, int n, const char *want, int words)
{
    char *got = NULL;
    int found = -1;

    OK(key_parts_mask(&got, &found, k, question, parts, n));
    assert_string_equal(got, want);
    assert_int_equal(found, words);
    free(got);
}

/* "the" stands in three of four, "ball" in two, which is no more than half; "answer" counts once for the last. */
static void test_words_of_most_questions(void **state)
{
    struct key_words k;

    (void)state;
    OK(key_words_new(&k, asked, ASKED));
    masks_to(&k, asked[0], NULL, 0, "<image>\n_ _ _ _ cube? _ _ _ _.", 8);
    masks_to(&k, asked[1], NULL, 0, "<image>\n_ _ _ _ ball? _ _ _ _.", 8);
    masks_to(&k, asked[2], NULL, 0, "<image>\n_ _ ball red? _ _ _ _.", 6);
    masks_to(&k, asked[3], NULL, 0, "_ _ _ it? _: _ _ _ _.", 8);
    key_words_free(&k);
}

static void test_nothing_in_common(void **state)
{
    static const char *const question[] = {"red <image>", "blue", ""};
    struct key_words k;

    (void)state;
    OK(key_words_new(&k, question, 3));
    for (int i = 0; i < 3; i++) masks_to(&k, question[i], NULL, 0, question[i], 0);
    key_words_free(&k);
    OK(key_words_new(&k, question, 1)); // one question is all there is
    masks_to(&k, question[0], NULL, 0, "_ <image>", 1);
    key_words_free(&k);
    OK(key_words_new(&k, question, 0));
    key_words_free(&k);
}

/* Words beyond ASCII, and a marker in the middle of words. */
static void test_bytes_of_words(void **state)
{
    static const char *const question[] = {"Stra\xc3\x9f"
                                           "e<image>Nr. 7"};
    struct key_words k;

    (void)state;
    OK(key_words_new(&k, question, 1));
    masks_to(&k, question[0], NULL, 0, "_<image>_. _", 3);
    key_words_free(&k);
}

/* Named parts are it, however common the words are; a part may begin or end inside of a word, and come twice. */
static void test_parts_that_a_record_names(void **state)
{
    static char first[] = "colour is", half[] = "nswer in o", twice[] = "is", nothing[] = "??";
    struct key_words k;

    (void)state;
    OK(key_words_new(&k, asked, ASKED));
    masks_to(&k, asked[0], (char *[]){first}, 1, "<image>\nWhat _ _ the cube? Answer in one word.", 2);
    masks_to(&k, asked[0], (char *[]){first, half}, 2, "<image>\nWhat _ _ the cube? _ _ _ word.", 5);
    masks_to(&k, "is it this?", (char *[]){twice}, 1, "_ it _?", 2);
    masks_to(&k, asked[0], (char *[]){nothing}, 0, asked[0], 0); // a list of none
    key_words_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_most_questions),
        cmocka_unit_test(test_nothing_in_common),
        cmocka_unit_test(test_bytes_of_words),
        cmocka_unit_test(test_parts_that_a_record_names),
    };
    return cmocka_run_group_tests_name("key_parts", tests, NULL, NULL);
}
