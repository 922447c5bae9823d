/* test_self_guide_filter.c - which texts that a model wrote are used, and which questions go with which pictures. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "jobs/self_guide.h"

static char *text(const char *s)
{
    return (char *)(uintptr_t)s; // only read
}

static enum written_fault fault_of(const char *answer, bool ended)
{
    struct written w = {.answer = text(answer), .ended = ended};

    written_filter(&w, 1, NULL);
    return w.fault;
}

static void test_what_is_no_answer(void **state)
{
    (void)state;
    assert_int_equal(fault_of("a red cube", true), WRITTEN_GOOD);
    assert_int_equal(fault_of("", true), WRITTEN_EMPTY);
    assert_int_equal(fault_of(NULL, true), WRITTEN_EMPTY);
    assert_int_equal(fault_of("a red cube and a", false), WRITTEN_UNFINISHED);
    assert_int_equal(fault_of("", false), WRITTEN_EMPTY); // the first that holds
}

static void test_noise(void **state)
{
    (void)state;
    assert_int_equal(fault_of("I am Sorry, there is none", true), WRITTEN_NOISE);
    assert_int_equal(fault_of("as an AI I see nothing", true), WRITTEN_NOISE);
    assert_int_equal(fault_of("red <image>", true), WRITTEN_NOISE);
    assert_int_equal(fault_of("red\nUSER: and the ball?", true), WRITTEN_NOISE);
    assert_int_equal(fault_of("red \xef\xbf\xbd", true), WRITTEN_NOISE);
    assert_int_equal(fault_of("a course of lectures", true), WRITTEN_GOOD);
    assert_int_equal(fault_of("the toilet meter", true), WRITTEN_GOOD); // "let me" does not begin a word
}

static void test_echo(void **state)
{
    static const char *const question[] = {"<image>\nIs it red", "is it red", "<image>is it red", "IS IT RED", "is it"};

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct written w = {.question = text(question[i]), .answer = text("Is it red"), .ended = true};
        written_filter(&w, 1, NULL);
        assert_int_equal(w.fault, i < 4 ? WRITTEN_ECHO : WRITTEN_GOOD);
    }
}

static char letters[64] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static struct written of_length(size_t n)
{
    return (struct written){.answer = letters + strlen(letters) - n, .ended = true};
}

/* Nine answers of 4 bytes, one of 40: mean 7.6, deviation 10.8, so at most 29.2. What is no answer does not count. */
static void test_lengths_far_from_the_others(void **state)
{
    struct written w[12];

    (void)state;
    for (int i = 0; i < 12; i++) w[i] = of_length(4);
    w[3] = of_length(40);
    w[7].answer = text("");
    w[11].fault = WRITTEN_LIMIT; // was never asked
    written_filter(w, 12, NULL);
    for (int i = 0; i < 11; i++)
        assert_int_equal(w[i].fault, i == 3 ? WRITTEN_LENGTH : i == 7 ? WRITTEN_EMPTY : WRITTEN_GOOD);
    assert_int_equal(w[11].fault, WRITTEN_LIMIT);
    // one in five is no outlier: mean 11.2, deviation 14.4
    for (int i = 0; i < 5; i++) w[i] = of_length(i ? 4 : 40);
    written_filter(w, 5, NULL);
    for (int i = 0; i < 5; i++) assert_int_equal(w[i].fault, WRITTEN_GOOD);
}

/* All alike, or as good as: up to half the mean away is near. */
static void test_lengths_that_are_alike(void **state)
{
    struct written w[12];

    (void)state;
    for (size_t length = 1; length < 60; length++) {
        for (int i = 0; i < 12; i++) w[i] = of_length(length);
        written_filter(w, 12, NULL);
        for (int i = 0; i < 12; i++) assert_int_equal(w[i].fault, WRITTEN_GOOD);
    }
    for (int i = 0; i < 12; i++) w[i] = of_length(i ? 4 : 5); // mean 4.08, deviation 0.28
    written_filter(w, 12, NULL);
    assert_int_equal(w[0].fault, WRITTEN_GOOD);
    written_filter(w, 0, NULL);
}

/* Lengths 10 and 30: mean 20, deviation 10, so 0 to 40; a single example of 20: 10 to 30. */
static void test_lengths_of_examples(void **state)
{
    const char *const two[] = {letters + 50, letters + 30};
    const struct spread pair = written_spread(two, 2), one = {20, 0};
    struct written w[3] = {of_length(1), of_length(40), of_length(41)},
                   x[3] = {of_length(9), of_length(10), of_length(31)};

    (void)state;
    assert_int_equal(strlen(letters), 60);
    assert_true(pair.mean == 20 && pair.deviation == 10);
    written_filter(w, 3, &pair);
    assert_true(!w[0].fault && !w[1].fault && w[2].fault == WRITTEN_LENGTH);
    written_filter(x, 3, &one);
    assert_true(x[0].fault == WRITTEN_LENGTH && !x[1].fault && x[2].fault == WRITTEN_LENGTH);
    assert_true(written_spread(NULL, 0).mean == 0);
}

static void test_pairs_differ(void **state)
{
    static const int64_t sizes[][2] = {{6, 4}, {4, 6}, {5, 5}, {1, 7}, {7, 1}, {8, 3}};

    (void)state;
    for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++) {
        bool seen[8][8] = {0};
        for (int64_t k = 0; k < sizes[z][0] * sizes[z][1]; k++) {
            int64_t p, s;
            written_pair(k, sizes[z][0], sizes[z][1], &p, &s);
            assert_true(p >= 0 && p < sizes[z][0] && s >= 0 && s < sizes[z][1] && !seen[p][s]);
            if (k < sizes[z][0]) assert_int_equal(p, k); // every picture once before one comes again
            seen[p][s] = true;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_answer),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_lengths_far_from_the_others),
        cmocka_unit_test(test_lengths_that_are_alike),
        cmocka_unit_test(test_lengths_of_examples),
        cmocka_unit_test(test_pairs_differ),
    };
    return cmocka_run_group_tests_name("self_guide_filter", tests, NULL, NULL);
}
