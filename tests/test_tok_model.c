/* test_tok_model.c - one word through each model; the expected ids are those of the tokenizers library 0.23. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/tok_model.h"
#include "tok_fixture.h"

static const struct {
    const char *json, *word; // ` for "; NULL: the model of the line before
    int32_t id[12];          // -1 ends
} cases[] = {
    {"{`type`: `BPE`, `unk_token`: `<u>`, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, `bc`: 5, `abc`: 6, "
     "`aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [[`a`, `b`], [`b`, `c`], [`ab`, `c`], [`a`, "
     "`a`], [`aa`, `aa`]]}",
     "abc",
     {6, -1}},
    {NULL, "aab", {1, 4, -1}},
    {NULL, "aaaaaaa", {8, 7, 1, -1}},
    {NULL, "cab", {3, 4, -1}},
    {NULL, "axyb", {1, 0, 0, 2, -1}},
    {NULL, "x", {0, -1}},
    {NULL, "éa", {0, 1, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, `bc`: 5, `abc`: 6, "
     "`aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [`a b`, `b c`, `a bc`, `b c`]}",
     "abc",
     {4, 3, -1}},
    {NULL, "bcabc", {5, 4, 3, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, `bc`: 5, `abc`: 6, "
     "`aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [[`b`, `c`], [`a`, `b`], [`a`, `bc`]]}",
     "abcab",
     {6, 4, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, `bc`: 5, `abc`: 6, "
     "`aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [[`a`, `b`], [`b`, `c`], [`a`, `b`]]}",
     "abc",
     {1, 5, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `fuse_unk`: true, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, `bc`: "
     "5, `abc`: 6, `aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [[`a`, `b`], [`b`, `c`], "
     "[`ab`, `c`], [`a`, `a`], [`aa`, `aa`]]}",
     "axyb",
     {1, 0, 2, -1}},
    {NULL, "xy", {0, -1}},
    {NULL, "xaxx", {0, 1, 0, -1}},
    {"{`type`: `BPE`, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, `bc`: 5, `abc`: 6, `aa`: 7, `aaaa`: 8, "
     "`cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [[`a`, `b`], [`b`, `c`], [`ab`, `c`], [`a`, `a`], [`aa`, "
     "`aa`]], `unk_token`: null}",
     "axyb",
     {4, -1}},
    {NULL, "x", {-1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `byte_fallback`: true, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, "
     "`bc`: 5, `abc`: 6, `aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [[`a`, `b`], [`b`, `c`], "
     "[`ab`, `c`], [`a`, `a`], [`aa`, `aa`]]}",
     "aéb",
     {1, 10, 11, 2, -1}},
    {NULL, "xéx", {10, 11, 0, 0, -1}},
    {NULL, "ñé", {10, 11, 0, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `fuse_unk`: true, `byte_fallback`: true, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, "
     "`c`: 3, `ab`: 4, `bc`: 5, `abc`: 6, `aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: [[`a`, "
     "`b`], [`b`, `c`], [`ab`, `c`], [`a`, `a`], [`aa`, `aa`]]}",
     "xéx",
     {10, 11, 0, -1}},
    {NULL, "xñéa", {10, 11, 0, 1, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `ignore_merges`: true, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `c`: 3, `ab`: 4, "
     "`bc`: 5, `abc`: 6, `aa`: 7, `aaaa`: 8, `cab`: 9, `<0xC3>`: 10, `<0xA9>`: 11}, `merges`: []}",
     "cab",
     {9, -1}},
    {NULL, "cabc", {3, 1, 2, 3, -1}},
    {NULL, "aaaa", {8, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `continuing_subword_prefix`: `##`, `vocab`: {`<u>`: 0, `a`: 1, `##b`: 2, "
     "`##c`: 3, `ab`: 4, `##bc`: 5, `abc`: 6}, `merges`: [[`a`, `##b`], [`##b`, `##c`], [`ab`, `##c`]]}",
     "abc",
     {6, -1}},
    {NULL, "bca", {0, 3, 0, -1}},
    {NULL, "abbc", {4, 5, -1}},
    {"{`type`: `BPE`, `unk_token`: `<u>`, `end_of_word_suffix`: `</w>`, `vocab`: {`<u>`: 0, `a`: 1, `b`: 2, `b</w>`: "
     "3, `ab</w>`: 4, `a</w>`: 5, `ab`: 6}, `merges`: [[`a`, `b</w>`], [`a`, `b`]]}",
     "ab",
     {4, -1}},
    {NULL, "aba", {6, 5, -1}},
    {NULL, "abab", {6, 4, -1}},
    {NULL, "a", {5, -1}},
    {"{`type`: `WordPiece`, `unk_token`: `[U]`, `continuing_subword_prefix`: `##`, `max_input_chars_per_word`: 6, "
     "`vocab`: {`[U]`: 0, `un`: 1, `##aff`: 2, `##able`: 3, `a`: 4, `##a`: 5, `é`: 6, `##é`: 7, `una`: 8}}",
     "unaff",
     {0, -1}},
    {NULL, "unaffa", {0, -1}},
    {NULL, "unaffab", {0, -1}},
    {NULL, "éa", {6, 5, -1}},
    {NULL, "aé", {4, 7, -1}},
    {NULL, "ééé", {6, 7, 7, -1}},
    {NULL, "éééééé", {6, 7, 7, 7, 7, 7, -1}},
    {NULL, "x", {0, -1}},
    {NULL, "unx", {0, -1}},
    {NULL, "unaa", {8, 5, -1}},
    {"{`type`: `WordPiece`, `unk_token`: `[U]`, `continuing_subword_prefix`: ``, `max_input_chars_per_word`: 100, "
     "`vocab`: {`[U]`: 0, `ab`: 1, `a`: 2, `b`: 3}}",
     "aba",
     {1, 2, -1}},
    {"{`type`: `Unigram`, `unk_id`: 0, `vocab`: [[`<u>`, 0.0], [`a`, -1.0], [`b`, -1.5], [`ab`, -2.0], [`abab`, -5.0], "
     "[`é`, -3.0], [`bab`, -2.2]]}",
     "ab",
     {3, -1}},
    {NULL, "abab", {1, 6, -1}},
    {NULL, "ababab", {3, 1, 6, -1}},
    {NULL, "axya", {1, 0, 1, -1}},
    {NULL, "xéx", {0, 5, 0, -1}},
    {NULL, "aabab", {1, 1, 6, -1}},
    {NULL, "xx", {0, -1}},
    {"{`type`: `Unigram`, `unk_id`: 0, `vocab`: [[`<u>`, 0.0], [`a`, -1.0], [`<0xC3>`, -9.0], [`<0xA9>`, -9.0], "
     "[`<0x78>`, -9.0]], `byte_fallback`: true}",
     "éa",
     {2, 3, 1, -1}},
    {NULL, "xxa", {4, 4, 1, -1}},
    {NULL, "ñ", {0, -1}},
    {NULL, "aéy", {1, 0, -1}},
};

static void every_model(void **state)
{
    struct tok_vocab v = {0};
    struct tok_model m = {0};
    struct tok_scratch w = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ids got = {0};
        size_t n = 0;

        if (cases[i].json) {
            json_t *o = parse(cases[i].json);

            tok_model_free(&m);
            tok_vocab_free(&v);
            if (tok_model_read(&m, &v, o)) fail_msg("%s: %s", cases[i].json, err_text());
            json_decref(o);
        }
        while (cases[i].id[n] >= 0) n++;
        assert_int_equal(tok_model_encode(&m, &w, cases[i].word, strlen(cases[i].word), &got), CL_OK);
        if (got.n != n || (n && memcmp(got.id, cases[i].id, n * sizeof *got.id) != 0)) {
            for (size_t k = 0; k < got.n; k++) print_error("%d ", got.id[k]);
            fail_msg("case %zu, \"%s\"", i, cases[i].word);
        }
        ids_free(&got);
    }
    tok_model_free(&m);
    tok_vocab_free(&v);
    tok_scratch_free(&w);
}

/* A unigram model without unk_id has no answer to a character it does not know. */
static void unknown_unigram(void **state)
{
    struct tok_vocab v = {0};
    struct tok_model m = {0};
    struct tok_scratch w = {0};
    struct ids got = {0};
    json_t *o = parse("{`type`: `Unigram`, `vocab`: [[`a`, -1.0]]}");

    (void)state;
    assert_int_equal(tok_model_read(&m, &v, o), CL_OK);
    json_decref(o);
    assert_int_equal(tok_model_encode(&m, &w, "aa", 2, &got), CL_OK);
    assert_int_equal(tok_model_encode(&m, &w, "ab", 2, &got), CL_EDATA);
    ids_free(&got);
    tok_model_free(&m);
    tok_vocab_free(&v);
    tok_scratch_free(&w);
}

/* Many pieces, their hashes computed at once and byte by byte; renamed ones; ids that are refused. */
static void vocabulary(void **state)
{
    enum { N = 50000 };
    struct tok_vocab v = {0};
    char piece[32];

    (void)state;
    for (int i = 0; i < N; i++) {
        int n = snprintf(piece, sizeof piece, "%x_%d", i * 7919, i);
        assert_int_equal(tok_vocab_put(&v, piece, (size_t)n, 3 * (int64_t)i), CL_OK);
        assert_int_equal(tok_vocab_put(&v, piece, (size_t)n, 3 * (int64_t)i), CL_OK);
    }
    assert_int_equal(v.size, 3 * N - 2);
    for (int i = 0; i < N; i++) {
        int n = snprintf(piece, sizeof piece, "%x_%d", i * 7919, i);
        uint64_t h = TOK_HASH_START;

        for (int k = 0; k < n; k++) h = tok_hash_byte(h, (uint8_t)piece[k]);
        assert_int_equal(tok_vocab_find(&v, piece, (size_t)n), 3 * i);
        assert_int_equal(tok_vocab_find_hashed(&v, piece, (size_t)n, h), 3 * i);
        assert_string_equal(tok_vocab_piece(&v, 3 * i), piece);
        assert_null(tok_vocab_piece(&v, 3 * i + 1));
    }
    assert_int_equal(tok_vocab_set(&v, "renamed", 7, 0), CL_OK);
    assert_int_equal(tok_vocab_find(&v, "0_0", 3), -1);
    assert_int_equal(tok_vocab_find(&v, "renamed", 7), 0);
    assert_int_equal(tok_vocab_find(&v, "a\0b", 3), -1);
    assert_int_equal(tok_vocab_put(&v, "a\0b", 3, 1), CL_OK);
    assert_int_equal(tok_vocab_find(&v, "a\0b", 3), 1);
    assert_int_equal(tok_vocab_find(&v, "a", 1), -1);
    assert_int_equal(tok_vocab_put(&v, "x", 1, 3), CL_EFORMAT);
    assert_int_equal(tok_vocab_put(&v, "renamed", 7, 2), CL_EFORMAT);
    assert_int_equal(tok_vocab_put(&v, "x", 1, -1), CL_EFORMAT);
    assert_int_equal(tok_vocab_put(&v, "x", 1, TOK_MAX_ID), CL_EFORMAT);
    assert_int_equal(tok_vocab_put(&v, "x", 1, INT64_MAX), CL_EFORMAT);
    tok_vocab_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_model),
        cmocka_unit_test(unknown_unigram),
        cmocka_unit_test(vocabulary),
    };
    return cmocka_run_group_tests_name("tok_model", tests, NULL, NULL);
}
