/* test_tok_pretokenize.c - every way to cut a text into words, as the tokenizers library 0.23 cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tok_pretokenize.h"
#include "tok_fixture.h"

static const struct {
    const char *json, *text, *words; // ` for "; words with | between
} cases[] = {
    {"{`type`: `ByteLevel`, `add_prefix_space`: false, `trim_offsets`: true, `use_regex`: true}",
     "I'll  go\n\n you'RE 12aé!", "I|'ll|Ġ|Ġgo|ĊĊ|Ġyou|'|RE|Ġ12|aÃ©|!"},
    {"{`type`: `ByteLevel`, `add_prefix_space`: true, `trim_offsets`: true, `use_regex`: true}", "a b", "Ġa|Ġb"},
    {"{`type`: `ByteLevel`, `add_prefix_space`: true, `trim_offsets`: true, `use_regex`: true}", " a", "Ġa"},
    {"{`type`: `ByteLevel`, `add_prefix_space`: false, `trim_offsets`: true, `use_regex`: false}", "a bé", "aĠbÃ©"},
    {"{`type`: `Sequence`, `pretokenizers`: [{`type`: `Split`, `pattern`: {`Regex`: "
     "`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
     "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+`}, `behavior`: `Isolated`, "
     "`invert`: false}, {`type`: `ByteLevel`, `add_prefix_space`: false, `trim_offsets`: true, `use_regex`: false}]}",
     "It's  12345\n\n xé you'RE!!\n", "It|'s|Ġ|Ġ|123|45|ĊĊ|ĠxÃ©|Ġyou|'RE|!!Ċ"},
    {"{`type`: `Sequence`, `pretokenizers`: [{`type`: `Digits`, `individual_digits`: true}, {`type`: `ByteLevel`, "
     "`add_prefix_space`: false, `trim_offsets`: true, `use_regex`: true}]}",
     "year 2024 ½", "year|Ġ|2|0|2|4|Ġ|Â½"},
    {"{`type`: `Digits`, `individual_digits`: false}", "year 2024x7", "year |2024|x|7"},
    {"{`type`: `BertPreTokenizer`}", "Hello, wörld!  it's $5。x", "Hello|,|wörld|!|it|'|s|$|5|。|x"},
    {"{`type`: `Whitespace`}", "a_b c\xCC\x81-d \xE2\x80\x8D½", "a_b|c\xCC\x81|-|d|\xE2\x80\x8D|½"},
    {"{`type`: `WhitespaceSplit`}",
     " a\xE3\x80\x80"
     "b\xE2\x80\x8B"
     "c ",
     "a|b\xE2\x80\x8B"
     "c"},
    {"{`type`: `CharDelimiterSplit`, `delimiter`: `-`}", "a-b--c-", "a|b|c"},
    {"{`type`: `Punctuation`, `behavior`: `Contiguous`}", "a.,b!", "a|.,|b|!"},
    {"{`type`: `Punctuation`, `behavior`: `Isolated`}", "a.,b", "a|.|,|b"},
    {"{`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `always`, `split`: true}", "Hi  you", "▁Hi|▁|▁you"},
    {"{`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `always`, `split`: false}", "Hi  you", "▁Hi▁▁you"},
    {"{`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `never`, `split`: true}", "Hi  you", "Hi|▁|▁you"},
    {"{`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `never`, `split`: false}", "Hi  you", "Hi▁▁you"},
    {"{`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `always`, `split`: true}", " Hi", "▁Hi"},
    {"{`type`: `Sequence`, `pretokenizers`: [{`type`: `Punctuation`, `behavior`: `Isolated`}, {`type`: `Metaspace`, "
     "`replacement`: `▁`, `prepend_scheme`: `first`, `split`: true}]}",
     "a,b c", "▁a|,|b|▁c"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `Removed`, `invert`: false}", "--a-b--", "a|b"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `Removed`, `invert`: true}", "--a-b--", "-|-|-|-|-"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `Isolated`, `invert`: false}", "--a-b--",
     "-|-|a|-|b|-|-"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `Isolated`, `invert`: true}", "--a-b--",
     "-|-|a|-|b|-|-"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `MergedWithPrevious`, `invert`: false}", "--a-b--",
     "-|-|a-|b-|-"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `MergedWithPrevious`, `invert`: true}", "--a-b--",
     "-|-a|-b|-|-"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `MergedWithNext`, `invert`: false}", "--a-b--",
     "-|-a|-b|-|-"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `MergedWithNext`, `invert`: true}", "--a-b--",
     "-|-|a-|b-|-"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `Contiguous`, `invert`: false}", "--a-b--",
     "--|a|-|b|--"},
    {"{`type`: `Split`, `pattern`: {`String`: `-`}, `behavior`: `Contiguous`, `invert`: true}", "--a-b--",
     "--|a|-|b|--"},
    {"{`type`: `Split`, `pattern`: {`Regex`: `\\\\w+`}, `behavior`: `Isolated`, `invert`: false}",
     "a\xCC\x81"
     "b ²\xE2\x80\x8Dx",
     "a\xCC\x81"
     "b| |²|\xE2\x80\x8D|x"},
    {"{`type`: `Split`, `pattern`: {`Regex`: `[[:punct:]]+`}, `behavior`: `Isolated`, `invert`: false}", "a$+b,c",
     "a|$+|b|,|c"},
    {"{`type`: `Split`, `pattern`: {`Regex`: `(?=[A-Z])`}, `behavior`: `Isolated`, `invert`: false}", "abCdEf",
     "ab|Cd|Ef"},
    {"{`type`: `Split`, `pattern`: {`Regex`: `\\\\h+`}, `behavior`: `Isolated`, `invert`: false}", "xab1 y",
     "x|ab1| y"},
    {"{`type`: `Split`, `pattern`: {`Regex`: `\\\\s`}, `behavior`: `Removed`, `invert`: false}",
     "a\xE1\xA0\x8E"
     "b\xC2\x85"
     "c",
     "a\xE1\xA0\x8E"
     "b|c"},
};

static void check(const char *json, const char *text, const char *words, bool glued)
{
    struct tok_pre pre = {0};
    struct tok_words w = {0}, other = {0};
    char got[512] = "";
    json_t *o = parse(json);

    if (tok_pre_read(&pre, o)) fail_msg("%s: %s", json, err_text());
    json_decref(o);
    assert_int_equal(tok_pre_apply(&pre, text, strlen(text), true, glued, &w, &other), CL_OK);
    for (size_t i = 0; i < w.n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%.*s", i ? "|" : "", (int)w.word[i].n,
                 w.text.s + w.word[i].at);
    if (strcmp(got, words) != 0) fail_msg("%s of \"%s\": got \"%s\", expected \"%s\"", json, text, got, words);
    tok_pre_free(&pre);
    tok_words_free(&w);
    tok_words_free(&other);
}

static void every_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(cases[i].json, cases[i].text, cases[i].words, false);
}

static void nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check(cases[i].json, "", "", false);
    check("null", "a b", "a b", false);
}

/* A text that continues another: no prefix at its begin, whatever the scheme. */
static void continued(void **state)
{
    (void)state;
    check("{`type`: `Metaspace`, `prepend_scheme`: `always`}", "a b", "a|▁b", true);
    check("{`type`: `ByteLevel`}", "a b", "a|Ġb", true);
    check("{`type`: `Metaspace`, `add_prefix_space`: false}", "a b", "a|▁b", false);
}

/* A million characters in one word, and a million blanks: patterns must not run out of stack. */
static void long_texts(void **state)
{
    enum { N = 1000000 };
    static const char *const json[] = {
        "{`type`: `ByteLevel`}",
        "{`type`: `Split`, `pattern`: {`Regex`: "
        "`[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+`},"
        "`behavior`: `Isolated`}",
        "{`type`: `Split`, `pattern`: {`Regex`: `(?:a|b| )+`}, `behavior`: `Isolated`}",
    };
    char *s = malloc(N);

    (void)state;
    assert_non_null(s);
    for (size_t i = 0; i < 2 * sizeof json / sizeof *json; i++) {
        struct tok_pre pre = {0};
        struct tok_words w = {0}, other = {0};
        json_t *o = parse(json[i / 2]);

        memset(s, i % 2 ? ' ' : 'a', N);
        assert_int_equal(tok_pre_read(&pre, o), CL_OK);
        json_decref(o);
        if (tok_pre_apply(&pre, s, N, true, false, &w, &other)) fail_msg("%s: %s", json[i / 2], err_text());
        assert_int_equal(w.n, 1);
        tok_pre_free(&pre);
        tok_words_free(&w);
        tok_words_free(&other);
    }
    free(s);
}

static void refuses(void **state)
{
    static const char *const bad[][2] = {
        {"{`type`: `UnicodeScripts`}", "UnicodeScripts"},
        {"{`type`: `Split`, `pattern`: {`Regex`: `a{2,1}`}, `behavior`: `Isolated`}", "does not compile"},
        {"{`type`: `Split`, `pattern`: {`Regex`: `a`}}", "behavior"},
        {"{`type`: `Split`, `pattern`: {`Regex`: `a`}, `behavior`: `isolated`}", "behavior"},
        {"{`type`: `Metaspace`, `replacement`: `ab`}", "replacement"},
        {"{`type`: `Metaspace`, `replacement`: ``}", "replacement"},
        {"{`type`: `Metaspace`, `prepend_scheme`: `sometimes`}", "prepend_scheme"},
        {"{`type`: `ByteLevel`, `use_regex`: 1}", "use_regex"},
        {"{`type`: `Sequence`, `pretokenizers`: {}}", "pretokenizers"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct tok_pre pre = {0};
        json_t *o = parse(bad[i][0]);

        if (tok_pre_read(&pre, o) != CL_EFORMAT || !strstr(err_text(), bad[i][1]))
            fail_msg("%s: \"%s\", expected \"%s\"", bad[i][0], err_text(), bad[i][1]);
        tok_pre_free(&pre);
        json_decref(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_step), cmocka_unit_test(nothing), cmocka_unit_test(continued),
        cmocka_unit_test(long_texts), cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests_name("tok_pretokenize", tests, NULL, NULL);
}
