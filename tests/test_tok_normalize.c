/* test_tok_normalize.c - every step of a normalizer; the expected texts are those of the tokenizers library 0.23. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tok_normalize.h"
#include "tok_fixture.h"

static const struct {
    const char *json, *text, *expected; // ` for "
} cases[] = {
    {"{`type`: `NFC`}", "e\xCC\x81 ﬁ", "é ﬁ"},
    {"{`type`: `NFD`}", "é각", "e\xCC\x81\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8"},
    {"{`type`: `NFKC`}", "ﬁ①Ａ", "fi1A"},
    {"{`type`: `NFKD`}", "é½",
     "e\xCC\x81"
     "1⁄2"},
    {"{`type`: `Lowercase`}", "ÄBCİΣ ẞ", "äbci\xCC\x87σ ß"},
    {"{`type`: `StripAccents`}",
     "e\xCC\x81"
     "a\xE0\xA4\x83xé",
     "eaxé"},
    {"{`type`: `Sequence`, `normalizers`: [{`type`: `NFD`}, {`type`: `StripAccents`}, {`type`: `Lowercase`}]}",
     "Élève Über", "eleve uber"},
    {"{`type`: `Strip`, `strip_left`: true, `strip_right`: true}", " \t a b\xE3\x80\x80\n", "a b"},
    {"{`type`: `Strip`, `strip_left`: true, `strip_right`: false}", "  a  ", "a  "},
    {"{`type`: `Strip`, `strip_left`: false, `strip_right`: true}", "  a  ", "  a"},
    {"{`type`: `Strip`, `strip_left`: true, `strip_right`: true}", "   ", ""},
    {"{`type`: `Replace`, `pattern`: {`String`: ` `}, `content`: `▁`}", " a  b ", "▁a▁▁b▁"},
    {"{`type`: `Replace`, `pattern`: {`Regex`: ` {2,}`}, `content`: ` `}", "a   b  c", "a b c"},
    {"{`type`: `Replace`, `pattern`: {`Regex`: `\\\\d+`}, `content`: `$0`}", "a12b3", "a$0b$0"},
    {"{`type`: `Prepend`, `prepend`: `▁`}", "ab", "▁ab"},
    {"{`type`: `Prepend`, `prepend`: `▁`}", "", ""},
    {"{`type`: `BertNormalizer`, `clean_text`: true, `handle_chinese_chars`: true, `strip_accents`: null, `lowercase`: "
     "true}",
     "HÉ\xC2\xA0l\tl\x01o\xE2\x80\x8D\xEF\xBF\xBD日本xテ\xC2\xAD", "he l lo 日  本 xテ"},
    {"{`type`: `BertNormalizer`, `clean_text`: false, `handle_chinese_chars`: false, `strip_accents`: null, "
     "`lowercase`: false}",
     "HÉ日\x01", "HÉ日\x01"},
    {"{`type`: `BertNormalizer`, `clean_text`: true, `handle_chinese_chars`: false, `strip_accents`: false, "
     "`lowercase`: true}",
     "Éİ", "éi\xCC\x87"},
    {"{`type`: `BertNormalizer`, `clean_text`: true, `handle_chinese_chars`: false, `strip_accents`: true, "
     "`lowercase`: false}",
     "ÉØ", "EØ"},
    {"{`type`: `Sequence`, `normalizers`: [{`type`: `Prepend`, `prepend`: `▁`}, {`type`: `Replace`, `pattern`: "
     "{`String`: ` `}, `content`: `▁`}]}",
     "a b", "▁a▁b"},
    {"null", "A b", "A b"},
};

static void every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tok_norm norm = {0};
        struct tok_buf a = {0}, b = {0};
        json_t *o = parse(cases[i].json);
        const char *out;
        size_t n;

        if (tok_norm_read(&norm, o)) fail_msg("%s: %s", cases[i].json, err_text());
        json_decref(o);
        assert_int_equal(tok_norm_apply(&norm, cases[i].text, strlen(cases[i].text), false, &a, &b, &out, &n, NULL),
                         CL_OK);
        if (n != strlen(cases[i].expected) || memcmp(out, cases[i].expected, n) != 0)
            fail_msg("%s of \"%s\": got \"%.*s\", expected \"%s\"", cases[i].json, cases[i].text, (int)n, out,
                     cases[i].expected);
        tok_norm_free(&norm);
        tok_buf_free(&a);
        tok_buf_free(&b);
    }
}

/* NUL and U+FFFD go, too; a text that continues another gets nothing in front. */
static void nul_and_glued(void **state)
{
    struct tok_norm norm = {0};
    struct tok_buf a = {0}, b = {0};
    const char *out;
    size_t n;
    bool first = true;
    json_t *o =
        parse("{`type`: `Sequence`, `normalizers`: [{`type`: `BertNormalizer`}, {`type`: `Prepend`, `prepend`: `_`},"
              "{`type`: `Strip`}]}");

    (void)state;
    assert_int_equal(tok_norm_read(&norm, o), CL_OK);
    json_decref(o);
    assert_true(tok_norm_prepends(&norm));
    assert_int_equal(tok_norm_apply(&norm, "A\0B\xEF\xBF\xBD", 6, false, &a, &b, &out, &n, &first), CL_OK);
    assert_int_equal(n, 3);
    assert_memory_equal(out, "_ab", 3);
    assert_true(first);
    assert_int_equal(tok_norm_apply(&norm, " a", 2, true, &a, &b, &out, &n, &first), CL_OK);
    assert_int_equal(n, 1);
    assert_false(first); // Strip took the begin away
    tok_norm_free(&norm);
    tok_buf_free(&a);
    tok_buf_free(&b);
}

static void refuses(void **state)
{
    static const char *const bad[][2] = {
        {"{`type`: `Precompiled`}", "Precompiled"},
        {"{}", "type"},
        {"[]", "type"},
        {"{`type`: `Sequence`}", "normalizers"},
        {"{`type`: `Sequence`, `normalizers`: [null]}", "null"},
        {"{`type`: `Prepend`}", "prepend"},
        {"{`type`: `Replace`, `pattern`: {`Regex`: `(`}, `content`: ``}", "does not compile"},
        {"{`type`: `Replace`, `pattern`: {`Regex`: `[a[b]]`}, `content`: ``}", "not supported"},
        {"{`type`: `Replace`, `pattern`: {`String`: ``}, `content`: `x`}", "empty"},
        {"{`type`: `Replace`, `pattern`: 3, `content`: ``}", "pattern"},
        {"{`type`: `Strip`, `strip_left`: 1}", "strip_left"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tok_norm norm = {0};
        json_t *o = parse(bad[i][0]);

        if (tok_norm_read(&norm, o) != CL_EFORMAT || !strstr(err_text(), bad[i][1]))
            fail_msg("%s: \"%s\", expected \"%s\"", bad[i][0], err_text(), bad[i][1]);
        tok_norm_free(&norm);
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step),
        cmocka_unit_test(nul_and_glued),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests_name("tok_normalize", tests, NULL, NULL);
}
