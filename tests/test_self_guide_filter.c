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
    struct written w = {.answer = text(answer), .tokens = 3, .ended = ended};

    written_filter(&w, 1);
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

/* Nine answers of 4 tokens, one of 40: mean 7.6, standard deviation 10.8, so at most 29.2. What is no answer does not count. */
static void test_lengths_far_from_the_others(void **state)
{
    struct written w[12] = {0};

    (void)state;
    for (int i = 0; i < 12; i++) w[i] = (struct written){.answer = text("red"), .tokens = 4, .ended = true};
    w[3].tokens = 40;
    w[7] = (struct written){.answer = text(""), .tokens = 1, .ended = true};
    w[11] = (struct written){.tokens = 1000, .fault = WRITTEN_LIMIT}; // was never asked
    written_filter(w, 12);
    for (int i = 0; i < 11; i++)
        assert_int_equal(w[i].fault, i == 3 ? WRITTEN_LENGTH : i == 7 ? WRITTEN_EMPTY : WRITTEN_GOOD);
    assert_int_equal(w[11].fault, WRITTEN_LIMIT);
    // one in five is no outlier: mean 11.2, deviation 14.4
    for (int i = 0; i < 5; i++) w[i] = (struct written){.answer = text("red"), .tokens = i ? 4 : 40, .ended = true};
    written_filter(w, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(w[i].fault, WRITTEN_GOOD);
}

/* All alike: no deviation, and none is dropped for the root's rounding. */
static void test_equal_lengths(void **state)
{
    struct written w[7];

    (void)state;
    for (int tokens = 1; tokens < 200; tokens++) {
        for (int i = 0; i < 7; i++) w[i] = (struct written){.answer = text("red"), .tokens = tokens, .ended = true};
        written_filter(w, 7);
        for (int i = 0; i < 7; i++) assert_int_equal(w[i].fault, WRITTEN_GOOD);
    }
    written_filter(w, 0);
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
        cmocka_unit_test(test_lengths_far_from_the_others),
        cmocka_unit_test(test_equal_lengths),
        cmocka_unit_test(test_pairs_differ),
    };
    return cmocka_run_group_tests_name("self_guide_filter", tests, NULL, NULL);
}
