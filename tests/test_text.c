/* test_text.c - numbers that read back, JSON strings, the nearest word. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/text.h"

static char *number(double v)
{
    struct text t = {0};

    text_number(&t, v);
    return text_take(&t);
}

static void numbers(void **state)
{
    static const struct {
        double v;
        const char *s;
    } cases[] = {{1, "1.0"},
                 {0.1, "0.1"},
                 {-0.0, "-0.0"},
                 {2e-5, "2.0e-05"},
                 {1e300, "1.0e+300"},
                 {1.5e-8, "1.5e-08"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.30000000000000004, "0.30000000000000004"},
                 {NAN, "null"},
                 {-INFINITY, "null"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *s = number(cases[i].v);
        assert_string_equal(s, cases[i].s);
        free(s);
    }
    uint64_t x = 88172645463325252u; // xorshift: bit patterns of every size
    for (int i = 0; i < 20000; i++) {
        double v;
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(&v, &x, sizeof v);
        if (!isfinite(v)) continue;
        char *s = number(v);
        double back = strtod(s, NULL);
        assert_memory_equal(&back, &v, sizeof v);
        assert_non_null(strchr(s, '.'));
        free(s);
    }
}

/* Any bytes become valid JSON; valid UTF-8 comes back as it was. */
static void strings(void **state)
{
    static const char *const same[] = {"", "plain", "a\"b\\c/\n\r\t\x01\x7f",
                                       "é 日本 😀 \xc2\x85 \xe2\x80\xa8 \xef\xbb\xbf"};
    static const char *const broken[][2] = {{"a\xff", "a\xef\xbf\xbd"},
                                            {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
                                            {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
                                            {"\xe6\x97", "\xef\xbf\xbd\xef\xbf\xbd"}};

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        const char *in = i < 4 ? same[i] : broken[i - 4][0], *out = i < 4 ? in : broken[i - 4][1];
        struct text t = {0};
        text_json(&t, in);
        assert_null(memchr(t.s, '\n', t.len));
        json_t *v = json_loads(t.s, JSON_DECODE_ANY, NULL);
        assert_non_null(v);
        assert_string_equal(json_string_value(v), out);
        json_decref(v);
        text_free(&t);
    }
}

static void nearest(void **state)
{
    static const char *const words[] = {"train", "eval", "score", "generate"};
    char meant[64];

    (void)state;
    assert_string_equal(text_nearest("trian", words, 4), "train");
    assert_string_equal(text_nearest("EVAL", words, 4), "eval");
    assert_string_equal(text_nearest("genrate", words, 4), "generate");
    assert_null(text_nearest("xyz", words, 4));
    assert_null(text_nearest("", words, 4));
    assert_true(text_listed("b", "a, b,c", meant, sizeof meant));
    assert_false(text_listed("", "a, b", meant, sizeof meant));
    assert_false(text_listed("cosin", "linear, cosine", meant, sizeof meant));
    assert_string_equal(meant, "cosine");
    char *big = calloc(1, 100001);
    memset(big, 'a', 100000);
    assert_null(text_nearest(big, words, 4));
    assert_false(text_listed("a", big, meant, sizeof meant));
    free(big);
}

static void growth(void **state)
{
    struct text t = {0};

    (void)state;
    for (int i = 0; i < 1000; i++) text_add(&t, "%d,", i);
    assert_int_equal(strlen(t.s), t.len);
    assert_true(t.len == 3890);
    text_clear(&t);
    assert_string_equal(t.s, "");
    char *s = text_take(&t);
    assert_string_equal(s, "");
    assert_null(t.s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest text[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(strings),
        cmocka_unit_test(nearest),
        cmocka_unit_test(growth),
    };

    return cmocka_run_group_tests(text, NULL, NULL);
}
