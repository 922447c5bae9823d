/* test_metric.c - exact and format-free scores, and the table that they are found in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "io/err.h"
#include "io/metric.h"

static double score(const char *metric, const char *prediction, const char *reference)
{
    const struct metric *m = metric_find(metric);

    assert_non_null(m);
    return metric_score(m, prediction, &reference, 1, NULL);
}

static void test_exact(void **state)
{
    static const struct {
        const char *prediction, *reference;
        int expected;
    } cases[] = {
        {"B", "B", 1},
        {" B\n", "B", 1},
        {"B", "\tB \r\n", 1},
        {"\xc2\xa0yes\xe3\x80\x80", "yes", 1}, // no-break and ideographic space
        {"b", "B", 0},
        {"B.", "B", 0},
        {"two words", "two words", 1},
        {"two  words", "two words", 0}, // white space inside counts
        {"", "", 1},
        {"  ", "", 1},
        {"", "B", 0},
        {"40", "40.0", 0},
        {"4", "40", 0},
        {"caf\xc3\xa9", "caf\xc3\xa9", 1},
        {"\xff\xfe", "\xff\xfe", 1}, // not UTF-8: still the same bytes
        {"\xff ", "\xff", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (score("exact", cases[i].prediction, cases[i].reference) != cases[i].expected)
            fail_msg("case %zu: '%s' against '%s'", i, cases[i].prediction, cases[i].reference);
}

static void test_best_reference_counts(void **state)
{
    static const char *const references[] = {"grey", "gray", "silver"};
    const struct metric *m = metric_find("exact");

    (void)state;
    assert_true(metric_score(m, "gray", references, 3, NULL) == 1);
    assert_true(metric_score(m, "silver", references, 2, NULL) == 0);
    assert_true(metric_score(m, "grey", references, 0, NULL) == 0);
    assert_true(metric_score(metric_find("first_word"), "It is silver.", references, 3, NULL) == 1);
}

static void test_content_word(void **state)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"B", "b"},
        {"(B) left", "b"},
        {"The answer is B.", "b"},
        {"A", "a"},
        {"a. cat", "cat"},
        {"Answer: Yes, it is", "yes"},
        {"No", "no"},
        {"it is 1,200.50 dollars", "1200.5"},
        {"-3.0", "-3"},
        {"-0", "0"},
        {"07", "7"},
        {"5%", "5"},
        {"three", "3"},
        {"There are Three lesions", "3"},
        {"it's red", "red"},
        {"dogs' house", "dogs"},
        {"B12 vitamin", "b12"},
        {"3rd", "3"},
        {"\xc3\x89tage", "\xc3\xa9tage"}, // case of other letters too
        {"\xe4\xb8\xad\xe6\x96\x87", "\xe4\xb8\xad\xe6\x96\x87"},
        {"the", "the"}, // nothing but a filler
        {"", ""},
        {"?!", ""},
        {"\xff\xff cat", "cat"},
        {"123456789012345678901", "123456789012345678901"},
        {"1.2.3", "1.2"},
        {"12,", "12"},
    };
    char word[64];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        metric_content_word(word, sizeof word, cases[i].text);
        if (strcmp(word, cases[i].word)) fail_msg("'%s': got '%s', expected '%s'", cases[i].text, word, cases[i].word);
    }
}

static void test_first_word(void **state)
{
    (void)state;
    assert_true(score("first_word", "It is red.", "Red") == 1);
    assert_true(score("first_word", "40", "forty") == 0);
    assert_true(score("first_word", "40.0 units", "40") == 1);
    assert_true(score("first_word", "no0", "no") == 0);
    assert_true(score("first_word", "", "no") == 0);
    assert_true(score("first_word", "", "") == 0); // nothing said is nothing right
    assert_true(score("first_word", "!", "?") == 0);
}

static void test_long_words(void **state)
{
    char text[5000], word[300];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    metric_content_word(word, sizeof word, text);
    assert_true(strlen(word) < sizeof word && strlen(word) > 100);
    memset(text, '9', sizeof text - 1);
    metric_content_word(word, sizeof word, text);
    for (size_t i = 0; i + 1 < sizeof text; i += 2) memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof text - 1] = 0;
    metric_content_word(word, 8, text);
    assert_true(strlen(word) < 8);
}

static void test_table(void **state)
{
    (void)state;
    assert_null(metric_find("exakt"));
    assert_non_null(strstr(err_text(), "did you mean exact"));
    assert_non_null(strstr(err_text(), "first_word"));
    assert_null(metric_find(""));
    for (size_t i = 0; metric_at(i); i++) {
        assert_ptr_equal(metric_find(metric_at(i)->name), metric_at(i));
        assert_non_null(strstr(metric_names(), metric_at(i)->name));
        assert_true(strlen(metric_at(i)->help) > 10);
    }
    assert_ptr_equal(metric_at(0), metric_find("exact"));
}

int main(void)
{
    const struct CMUnitTest metric[] = {
        cmocka_unit_test(test_exact),        cmocka_unit_test(test_best_reference_counts),
        cmocka_unit_test(test_content_word), cmocka_unit_test(test_first_word),
        cmocka_unit_test(test_long_words),   cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(metric, NULL, NULL);
}
