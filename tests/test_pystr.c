/* test_pystr.c - texts as Python 3 treats them; expected values are Python's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/pystr.h"

static void check(char *got, const char *expected)
{
    if (!got || strcmp(got, expected)) fail_msg("got '%s', expected '%s'", got ? got : "NULL", expected);
    free(got);
}

static void test_case(void **state)
{
    (void)state;
    check(pystr_lower("ABC \xc3\x89"), "abc \xc3\xa9");
    check(pystr_lower("\xc4\xb0"), "i\xcc\x87");                                  // İ: two characters
    check(pystr_lower("\xce\xa3"), "\xcf\x83");                                   // Σ alone
    check(pystr_lower("\xce\x91\xce\xa3"), "\xce\xb1\xcf\x82");                   // ΑΣ: final
    check(pystr_lower("\xce\x91\xce\xa3\xce\x91"), "\xce\xb1\xcf\x83\xce\xb1");   // ΑΣΑ
    check(pystr_lower("\xce\x91\xce\xa3."), "\xce\xb1\xcf\x82.");                 // marks do not begin a word
    check(pystr_lower("\xce\x91\xce\xa3.\xce\x91"), "\xce\xb1\xcf\x83.\xce\xb1"); // but hide none either
    check(pystr_lower("\xce\x91 \xce\xa3"), "\xce\xb1 \xcf\x83");                 // nothing before it
    check(pystr_lower("\xff"
                      "A\xc3"),
          "\xff"
          "a\xc3"); // not UTF-8: kept
    check(pystr_lower(""), "");
    check(pystr_upper("stra\xc3\x9f"
                      "e \xef\xac\x81"),
          "STRASSE FI");
    check(pystr_upper("\xc7\x86\xc5\x89"), "\xc7\x84\xca\xbcN"); // dž -> DŽ in one, ŉ -> ʼN in two
    check(pystr_upper("\xe1\xba\x9e\xc4\xb1"), "\xe1\xba\x9eI"); // ẞ stays, ı -> I
}

static void test_white_space(void **state)
{
    struct pystr_words w;
    char *joined;

    (void)state;
    check(pystr_strip(" \t\n\x0b\x0c\r\x1c\x1f\xc2\x85\xc2\xa0\xe2\x80\xa8x y\xe3\x80\x80"), "x y");
    check(pystr_strip("\xe2\x80\x8bx"), "\xe2\x80\x8bx"); // U+200B is no white space
    check(pystr_strip(" \n "), "");
    check(pystr_lower_strip(" A\xc2\xa0"), "a");
    assert_int_equal(pystr_split(&w, "  a\xc2\xa0"
                                     "b\x1c\xe2\x80\x83"
                                     "cd "),
                     0);
    assert_int_equal(w.n, 3);
    joined = pystr_join(&w);
    assert_string_equal(joined, "a b cd");
    free(joined);
    pystr_words_free(&w);
    assert_int_equal(pystr_split(&w, " \n"), 0);
    assert_int_equal(w.n, 0);
    check(pystr_join(&w), "");
    pystr_words_free(&w);
    assert_int_equal(pystr_length("caf\xc3\xa9\xff"), 5);
}

static void test_float(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"1", 1},
        {"-1.5", -1.5},
        {"+.5", .5},
        {"5.", 5},
        {"1e3", 1000},
        {"1E-2", .01},
        {" 7\n", 7},
        {"1_000.5_0", 1000.5},
        {"\xd9\xa3", 3},
        {"\xef\xbc\x91\xef\xbc\x92", 12},
        {"\xe3\x80\x80"
         "1\xc2\xa0",
         1},
        {"1e999", INFINITY},
        {"inf", INFINITY},
        {"-Infinity", -INFINITY},
        {"iNf", INFINITY},
        {"-0", 0},
        {"00012", 12},
    };
    static const char *const bad[] = {"",
                                      " ",
                                      ".",
                                      "+",
                                      "e5",
                                      "1e",
                                      "1e+",
                                      "0x10",
                                      "1,000",
                                      "1 2",
                                      "_1",
                                      "1_",
                                      "1__0",
                                      "1_.5",
                                      "1._5",
                                      "1e_5",
                                      "--1",
                                      "1.2.3",
                                      "5%",
                                      "$5",
                                      "\xc2\xbd",
                                      "\xc2\xb2",
                                      "\xe5\x9b\x9b",
                                      "infinit",
                                      "nano",
                                      "1\xff",
                                      "i_nf",
                                      "\x1c"
                                      "5",
                                      "5\x1f",
                                      "1-"};
    double v;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!pystr_float(good[i].text, &v) || v != good[i].value) fail_msg("'%s': got %g", good[i].text, v);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (pystr_float(bad[i], &v)) fail_msg("'%s' is no number", bad[i]);
    assert_true(pystr_float("-NaN", &v) && isnan(v));
    assert_true(pystr_is_number("0123456789\xd9\xa3"));
    assert_false(pystr_is_number("") || pystr_is_number("8.5") || pystr_is_number(" 8") || pystr_is_number("\xc2\xbd"));
}

static void test_kinds(void **state)
{
    (void)state;
    assert_true(pystr_is_alnum('z') && pystr_is_alnum('0') && pystr_is_alnum(0xe9) && pystr_is_alnum(0xbd));
    assert_false(pystr_is_alnum('_') || pystr_is_alnum('-') || pystr_is_alnum(0x301) || pystr_is_alnum(-1));
    assert_true(pystr_is_decimal(0x664) && !pystr_is_decimal(0xb2) && !pystr_is_decimal(-1));
    assert_true(pystr_is_space(0x1d) && pystr_is_space(0x2009) && !pystr_is_space(0) && !pystr_is_space(-1));
}

int main(void)
{
    const struct CMUnitTest pystr[] = {cmocka_unit_test(test_case), cmocka_unit_test(test_white_space),
                                       cmocka_unit_test(test_float), cmocka_unit_test(test_kinds)};

    return cmocka_run_group_tests(pystr, NULL, NULL);
}
