/* test_metric.c - exact and format-free scores, and the table that they are found in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
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

/* What is looked for depends on the reference: the letter of a choice, a number, a word. */
static void test_first_letter_or_number(void **state)
{
    static const struct {
        const char *prediction, *reference;
        int expected;
    } cases[] = {
        {"b", "B", 1},
        {"(b) left", "B", 1},
        {"B) left", "(B)", 1},
        {"[B]", "B.", 1},
        {"Option B: the dog", "B", 1},
        {"The answer is B because", "B", 1},
        {"I think C", "C", 1},
        {"C is right", "C", 1},          // no mark, but no word either
        {"C is right, not (B)", "B", 1}, // a marked one goes before
        {"A cat", "A", 0},
        {"A. cat", "A", 1},
        {"The answer is A", "A", 1},
        {"it is a cat", "A", 0},
        {"bad", "B", 0},
        {"", "B", 0},
        {"B", "C", 0},
        {"about 5 dogs", "5", 1},
        {"5 of 6", "6", 0},
        {"one of them: 4", "4", 1},
        {"seven", "7", 1},
        {"two 1", "2", 1},
        {"one spot", "1", 1},
        {"no number", "1", 0},
        {"no dogs", "0", 0},
        {"1,200", "1200 dollars", 1},
        {"about red", "red", 0}, // a word that is no filler
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (score("first_word", cases[i].prediction, cases[i].reference) != cases[i].expected)
            fail_msg("'%s' against '%s'", cases[i].prediction, cases[i].reference);
}

/* Sums over records are not a mean of scores: a short record with no match of four words does not make the corpus 0. */
static void test_corpus(void **state)
{
    const struct metric *m = metric_find("bleu");
    const char *const first[] = {"the cat sat on the mat"}, *const second[] = {"a dog"};
    struct metric_parts p = {0};

    (void)state;
    assert_true(metric_corpus(&p) == 0);
    assert_int_equal(metric_add_parts(m, &p, "the cat sat on the mat", first, 1), 0);
    assert_true(fabs(metric_corpus(&p) - 1) < 1e-12);
    assert_int_equal(metric_add_parts(m, &p, "a", second, 1), 0);
    assert_int_equal(p.match[0], 7);
    assert_int_equal(p.total[3], 3);
    assert_int_equal(p.words, 7);
    assert_int_equal(p.references, 8);
    assert_true(fabs(metric_corpus(&p) - exp(1 - 8.0 / 7)) < 1e-12);
    assert_true(metric_score(m, "a", second, 1, NULL) == 0);
}

static void test_numbers(void **state)
{
    double v[3];

    (void)state;
    assert_int_equal(metric_numbers(" [1, 2.5,-3e0] ", v, 3), 3);
    assert_true(v[0] == 1 && v[1] == 2.5 && v[2] == -3);
    assert_int_equal(metric_numbers("1,2,3,4", v, 3), 4); // more than there is room for
    assert_int_equal(metric_numbers("[]", v, 3), -1);
    assert_int_equal(metric_numbers("1,,2", v, 3), -1);
    assert_int_equal(metric_numbers("[1] x", v, 3), -1);
}

/* Long and broken texts go through every rule. */
static void test_any_text(void **state)
{
    static char text[3000];
    const char *const texts[] = {"", "\xff\xfe (", "[[[[", "The answer is \xf0\x9f", "\xe2\x80", text};
    const int n = sizeof texts / sizeof *texts;

    (void)state;
    memset(text, '.', sizeof text - 1);
    for (size_t k = 0; k + 4 < sizeof text; k += 9) memcpy(text + k, " a,\xc3", 4);
    for (size_t i = 0; metric_at(i); i++)
        for (int p = 0; p < n; p++) {
            struct text json = {0};

            if (metric_at(i)->score)
                assert_false(isnan(metric_score(metric_at(i), texts[p], texts, n, NULL)));
            else
                metric_form(metric_at(i), &json, texts[p], texts, n, NULL);
            text_free(&json);
        }
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
    char nearest[64];

    (void)state;
    assert_null(metric_find("exakt"));
    assert_non_null(strstr(err_text(), "did you mean exact"));
    assert_non_null(strstr(err_text(), "first_word"));
    assert_null(metric_find(""));
    for (size_t i = 0; metric_at(i); i++) {
        assert_ptr_equal(metric_find(metric_at(i)->name), metric_at(i));
        assert_true(text_listed(metric_at(i)->name, metric_names(), nearest, sizeof nearest) == metric_at(i)->rule);
        assert_true(strlen(metric_at(i)->help) > 10 && strlen(metric_at(i)->help) < 90);
        assert_true(!metric_at(i)->score != !metric_at(i)->form); // one of the two
    }
    assert_ptr_equal(metric_at(0), metric_find("exact"));
}

int main(void)
{
    const struct CMUnitTest metric[] = {
        cmocka_unit_test(test_exact),        cmocka_unit_test(test_best_reference_counts),
        cmocka_unit_test(test_content_word), cmocka_unit_test(test_first_word),
        cmocka_unit_test(test_long_words),   cmocka_unit_test(test_first_letter_or_number),
        cmocka_unit_test(test_corpus),       cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_any_text),     cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(metric, NULL, NULL);
}
