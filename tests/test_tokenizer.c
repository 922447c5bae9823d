/* test_tokenizer.c - opening, golden sets, special tokens, decoding as a stream, broken directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden_file.h"
#include "tok_fixture.h"

static int32_t *read_ids(hid_t g, size_t *n, const char *group, size_t i)
{
    int32_t *id = NULL;
    char name[64];
    int64_t shape[4];

    snprintf(name, sizeof name, "%s/%zu", group, i);
    golden_shape(g, name, shape);
    *n = (size_t)shape[0];
    if (*n) id = golden_read_i32(g, n, "%s", name);
    return id;
}

static void check_special(const struct tokenizer *t, const char *text, size_t max, const int32_t *id, size_t n)
{
    struct ids v = {0};

    if (tokenizer_encode_special(t, text, strlen(text), max, &v)) fail_msg("%s", err_text());
    if (!same_ids(v.id, v.n, id, n, text)) fail();
    ids_free(&v);
}

static void check_golden(const struct tokenizer *t, const char *file, const char *texts, const char *ids, bool special,
                         size_t max)
{
    hid_t g = golden_open_file(file);
    size_t n, k;
    char **text = golden_read_strings(g, &n, texts);

    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        int32_t *id = read_ids(g, &k, ids, i);

        if (special)
            check_special(t, text[i], max, id, k);
        else
            check_ids(t, text[i], id, k);
        check_stream(t, id, k);
        free(id);
    }
    golden_strings_free(text, n);
    golden_close(g);
}

static void golden_prompts(void **state)
{
    static const char *const sets[] = {"a", "b"};
    char path[512], file[512];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tokenizer *t;

        snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/base", sets[i]);
        snprintf(file, sizeof file, SOURCE_DIR "/golden/%s/golden.h5", sets[i]);
        t = open_dir(path);
        check_golden(t, file, "tokenizer/text", "tokenizer/ids", false, 0);
        assert_int_equal(tokenizer_adds_prefix(t), i == 0); // SentencePiece, byte-level BPE
        tokenizer_close(t);
    }
}

/* Once from tokenizer.json, once from the bare files that older models come with. */
static void golden_encoders(void **state)
{
    struct tokenizer *t[4];

    (void)state;
    t[0] = open_dir(SOURCE_DIR "/golden/a/encoder");
    t[1] = open_dir(SOURCE_DIR "/golden/b/encoder");
    clear_dir();
    assert_true(copy_file(SOURCE_DIR "/golden/a/encoder/vocab.txt", "vocab.txt"));
    t[2] = open_dir(dir);
    clear_dir();
    assert_true(copy_file(SOURCE_DIR "/golden/b/encoder/vocab.json", "vocab.json"));
    assert_true(copy_file(SOURCE_DIR "/golden/b/encoder/merges.txt", "merges.txt"));
    t[3] = open_dir(dir);
    for (size_t i = 0; i < 4; i++) {
        const char *file = i % 2 ? SOURCE_DIR "/golden/b/golden.h5" : SOURCE_DIR "/golden/a/golden.h5";

        check_golden(t[i], file, "tokenizer/text", "encoder/ids", true, 0);
        assert_int_equal(tokenizer_hash(t[i]), tokenizer_hash(t[i % 2]));
        assert_true(tokenizer_is_special(t[i], 2));
    }
    assert_int_not_equal(tokenizer_hash(t[0]), tokenizer_hash(t[1]));
    for (size_t i = 0; i < 4; i++) tokenizer_close(t[i]);
}

static void demo_base(void **state)
{
    struct tokenizer *t;
    char *text;
    struct ids v = {0};

    (void)state;
    if (tokenizer_open(&t, SHARED_DIR "/weights/demo_base")) {
        print_message("skipped: no demo base\n");
        skip();
    }
    assert_int_equal(tokenizer_id(t, "<image>"), 3);
    assert_true(tokenizer_is_special(t, 3));
    assert_int_equal(tokenizer_encode(t, "<image>In 2024: 17", 18, &v), CL_OK);
    assert_int_equal(v.id[0], 3);
    assert_int_equal(tokenizer_decode(t, v.id, v.n, &text), CL_OK);
    assert_string_equal(text, "In 2024: 17");
    for (size_t i = 0; i < v.n; i++) // every digit is a token of its own
        assert_true(strcspn(tokenizer_piece(t, v.id[i]), "0123456789") + 1 >= strlen(tokenizer_piece(t, v.id[i])));
    free(text);
    ids_free(&v);
    tokenizer_close(t);
}

/* A hand-made byte-level BPE: ids 0..255 the bytes, then joined pieces, then added tokens. */
static json_t *byte_level(void)
{
    json_t *vocab = json_object(), *merges = json_array();
    static const char *const joined[][2] = {{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"\xC4\xA0", "w"}};
    char piece[8];

    for (uint32_t b = 0; b < 256; b++) { // the alphabet written down once more, not taken from the code under test
        bool prints = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
        uint32_t c = prints ? b : b <= 32 ? 256 + b : b == 173 ? 256 + 67 : 256 + b - 94;

        if (c < 128)
            snprintf(piece, sizeof piece, "%c", (int)c);
        else
            snprintf(piece, sizeof piece, "%c%c", (int)(0xC0 | c >> 6), (int)(0x80 | (c & 63)));
        json_object_set_new(vocab, piece, json_integer(b));
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(piece, sizeof piece, "%s%s", joined[i][0], joined[i][1]);
        json_object_set_new(vocab, piece, json_integer(256 + (json_int_t)i));
        json_array_append_new(merges, json_pack("[ss]", joined[i][0], joined[i][1]));
    }
    return json_pack("{s:o, s:{s:s, s:b, s:b}, s:{s:s}, s:{s:s, s:o, s:o}}", "added_tokens", json_array(),
                     "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "use_regex", 1, "decoder", "type",
                     "ByteLevel", "model", "type", "BPE", "vocab", vocab, "merges", merges);
}

static void save(json_t *o)
{
    char path[128];

    clear_dir();
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(json_dump_file(o, path, 0), 0);
}

static void add_token(json_t *o, const char *content, int id, const char *flag, bool special)
{
    json_t *t = json_pack("{s:s, s:i, s:b, s:b}", "content", content, "id", id, "special", special, "normalized", 0);

    if (*flag) json_object_set_new(t, flag, json_true());
    json_array_append_new(json_object_get(o, "added_tokens"), t);
}

static void added_tokens(void **state)
{
    json_t *o = byte_level();
    struct tokenizer *t;

    (void)state;
    add_token(o, "<s>", 260, "", true);
    add_token(o, "<image>", 262, "", true); // 261: a gap
    add_token(o, "<l>", 263, "lstrip", false);
    add_token(o, "<r>", 264, "rstrip", false);
    add_token(o, "one", 265, "single_word", false);
    add_token(o, "<image>s", 266, "", true);
    save(o);
    json_decref(o);
    t = open_dir(dir);
    assert_int_equal(tokenizer_size(t), 267);
    assert_null(tokenizer_piece(t, 261));
    assert_null(tokenizer_piece(t, -1));
    assert_null(tokenizer_piece(t, 267));
    assert_string_equal(tokenizer_piece(t, 262), "<image>");
    assert_int_equal(tokenizer_id(t, "<l>"), 263);
    assert_int_equal(tokenizer_id(t, "nowhere"), -1);
    check_ids(t, "hello<image>hell", IDS(258, 'o', 262, 258));
    check_ids(t, "<image>s<image", IDS(266, '<', 'i', 'm', 'a', 'g', 'e')); // the longest wins
    check_ids(t, "a \t<l> b", IDS('a', 263, ' ', 'b'));
    check_ids(t, "a <r> \xE3\x80\x80w", IDS('a', ' ', 264, 'w'));
    check_ids(t, "one ones\xC3\xA9one one", IDS(265, ' ', 'o', 'n', 'e', 's', 0xC3, 0xA9, 'o', 'n', 'e', ' ', 265));
    check_ids(t, "", NULL, 0);
    check_decode(t, IDS(260, 258, 'o', 262, 259, 263, 261, 999999, -5), "hello w<l>");
    tokenizer_close(t);
}

/* Characters over several tokens, broken ones, and the end in the middle of one. */
static void byte_level_stream(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"\xF0\x9F\x98\x80x", "\xF0\x9F\x98\x80x"},
        {"\xF0\x9F\x98", "\xEF\xBF\xBD"},
        {"\xF0\x9F\x98\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xE2\x82\x41", "\xEF\xBF\xBD\x41"},
        {"\xC3\xC3\xA9\x80", "\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"}, // a surrogate
        {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xC0\xAF\xFF", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
    };
    json_t *o = byte_level();
    struct tokenizer *t;

    (void)state;
    save(o);
    json_decref(o);
    t = open_dir(dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t id[16];
        size_t n = strlen(cases[i].bytes);

        for (size_t k = 0; k < n; k++) id[k] = (uint8_t)cases[i].bytes[k];
        check_decode(t, id, n, cases[i].text);
        check_stream(t, id, n);
    }
    tokenizer_close(t);
}

/* Not UTF-8: encoded as if U+FFFD stood there. NUL is a character like others. */
static void invalid_input(void **state)
{
    json_t *o = byte_level();
    struct tokenizer *t;
    struct ids v = {0};

    (void)state;
    save(o);
    json_decref(o);
    t = open_dir(dir);
    check_ids(t, "a\xFF\xE2\x82z", IDS('a', 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD, 'z'));
    assert_int_equal(tokenizer_encode(t, "a\0b", 3, &v), CL_OK);
    assert_true(same_ids(v.id, v.n, IDS('a', 0, 'b'), "a NUL b"));
    ids_free(&v);
    tokenizer_close(t);
}

/* Two SentencePiece-like files: the marks of old (a normalizer) and of new (Metaspace), byte fallback, and what stands
 * around a sentence. */
static const char sentencepiece_like[] =
    "{`added_tokens`: [{`id`: 0, `content`: `<unk>`, `special`: true}, {`id`: 1, `content`: `<s>`, `special`: true},"
    "{`id`: 14, `content`: `<image>`, `special`: true}], %s,"
    "`post_processor`: {`type`: `TemplateProcessing`, `single`: [{`SpecialToken`: {`id`: `<s>`, `type_id`: 0}},"
    "{`Sequence`: {`id`: `A`, `type_id`: 0}}], `special_tokens`: {`<s>`: {`id`: `<s>`, `ids`: [1], `tokens`: "
    "[`<s>`]}}},"
    "`decoder`: {`type`: `Sequence`, `decoders`: [{`type`: `Replace`, `pattern`: {`String`: `▁`}, `content`: ` `},"
    "{`type`: `ByteFallback`}, {`type`: `Fuse`}, {`type`: `Strip`, `content`: ` `, `start`: 1, `stop`: 0}]},"
    "`model`: {`type`: `BPE`, `unk_token`: `<unk>`, `fuse_unk`: true, `byte_fallback`: true, `vocab`: {`<unk>`: 0, "
    "`<s>`: 1,"
    "`<0xC3>`: 2, `<0xA9>`: 3, `▁`: 4, `a`: 5, `b`: 6, `c`: 7, `▁a`: 8, `▁ab`: 9, `bc`: 10, `▁▁`: 11, `<0xE2>`: 12,"
    "`<0x82>`: 13}, `merges`: [`▁ a`, `▁a b`, `b c`, `▁ ▁`]}}";

static struct tokenizer *open_like(const char *steps)
{
    char text[4096];

    clear_dir();
    snprintf(text, sizeof text, sentencepiece_like, steps);
    write_json("tokenizer.json", text);
    return open_dir(dir);
}

static void metaspace(void **state)
{
    static const char *const steps[] = {
        "`normalizer`: {`type`: `Sequence`, `normalizers`: [{`type`: `Prepend`, `prepend`: `▁`}, {`type`: `Replace`,"
        "`pattern`: {`String`: ` `}, `content`: `▁`}]}",
        "`pre_tokenizer`: {`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `always`, `split`: false}",
        "`pre_tokenizer`: {`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `first`, `split`: false}",
        "`pre_tokenizer`: {`type`: `Metaspace`, `replacement`: `▁`, `prepend_scheme`: `never`, `split`: false}",
    };
    struct ids v = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct tokenizer *t = open_like(steps[i]);

        assert_int_equal(tokenizer_adds_prefix(t), i < 3);
        if (i < 3) check_ids(t, "abc", IDS(9, 7));
        if (i == 3) check_ids(t, "abc", IDS(5, 10));
        if (i < 2) check_ids(t, "a<image>b", IDS(8, 14, 4, 6));
        if (i > 1) check_ids(t, " a<image>b", IDS(8, 14, 6));
        if (i == 0) check_ids(t, " a", IDS(4, 8)); // Prepend does not look
        if (i == 1) check_ids(t, " a", IDS(8));    // Metaspace does
        v.n = 0;
        assert_int_equal(tokenizer_encode_continued(t, "abc\xC3\xA9", 5, &v), CL_OK);
        assert_true(same_ids(v.id, v.n, IDS(5, 10, 2, 3), "continued"));
        check_special(t, "abc", 0, i < 3 ? (int32_t[]){1, 9, 7} : (int32_t[]){1, 5, 10}, 3);
        check_special(t, "abc", 2, i < 3 ? (int32_t[]){1, 9} : (int32_t[]){1, 5}, 2);
        check_ids(t, "xyz\xC3\xA9x", i < 3 ? (int32_t[]){4, 2, 3, 0} : (int32_t[]){2, 3, 0}, i < 3 ? 4 : 3);
        check_decode(t, IDS(1, 8, 4, 2, 3, 14, 9), "a \xC3\xA9 ab");
        check_stream(t, IDS(8, 12, 13, 6, 2, 3, 4, 12, 13));
        tokenizer_close(t);
    }
    ids_free(&v);
}

static void limits(void **state)
{
    struct tokenizer *t = open_dir(SOURCE_DIR "/golden/a/encoder");
    struct ids v = {0};

    (void)state;
    check_special(t, "what is it? what is it? what is it?", 2, IDS(2, 3));
    assert_int_equal(ids_push(&v, 7), CL_OK);
    assert_int_equal(tokenizer_encode_special(t, "a", 1, 1, &v), CL_EUSAGE); // [CLS] and [SEP] alone are two
    assert_int_equal(v.n, 1);
    assert_int_equal(tokenizer_encode_special(t, "what", 4, 3, &v), CL_OK); // appends, and counts its own ids only
    assert_int_equal(v.n, 4);
    assert_int_equal(v.id[0], 7);
    assert_int_equal(v.id[1], 2);
    assert_int_equal(v.id[3], 3);
    ids_free(&v);
    tokenizer_close(t);
}

/* A megabyte in one word: no quadratic work in any model. */
static void long_word(void **state)
{
    enum { N = 1 << 20 };
    char *s = malloc(N);
    const char *const dirs[] = {SOURCE_DIR "/golden/a/base", SOURCE_DIR "/golden/b/base",
                                SOURCE_DIR "/golden/a/encoder"};

    (void)state;
    assert_non_null(s);
    for (size_t i = 0; i < N; i++) s[i] = "thetheratbarlebar"[(i * i / 7) % 17];
    for (size_t i = 0; i < 3; i++) {
        struct tokenizer *t = open_dir(dirs[i]);
        struct ids v = {0};

        assert_int_equal(tokenizer_encode(t, s, N, &v), CL_OK);
        assert_true(i == 2 ? v.n == 1 : v.n > N / 16);
        ids_free(&v);
        tokenizer_close(t);
    }
    free(s);
}

/* BERT from vocab.txt alone: what the configuration beside it says counts. */
static void wordpiece_settings(void **state)
{
    struct tokenizer *t;

    (void)state;
    clear_dir();
    write_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nHello\n##s\n\xC3\xA9t\xC3\xA9\nete\r\n.\n");
    t = open_dir(dir);
    check_ids(t, "Hellos \xC3\x89t\xC3\xA9 [MASK].", IDS(5, 7, 9, 4, 10));
    check_special(t, "hello", 0, IDS(2, 5, 3));
    check_decode(t, IDS(2, 5, 7, 10, 3), "hellos.");
    check_stream(t, IDS(2, 5, 7, 10, 3, 9, 7, 1));
    tokenizer_close(t);
    write_json("tokenizer_config.json", "{`do_lower_case`: false, `strip_accents`: null}");
    t = open_dir(dir);
    check_ids(t, "Hellos \xC3\xA9t\xC3\xA9", IDS(6, 7, 8));
    tokenizer_close(t);
    write_json("sentence_bert_config.json", "{`max_seq_length`: 8, `do_lower_case`: true}");
    t = open_dir(dir);
    check_ids(t, "Hellos", IDS(5, 7));
    tokenizer_close(t);
    write_json("tokenizer_config.json", "{`do_lower_case`: 3}");
    refused(CL_EFORMAT, "do_lower_case");
    write_text("tokenizer_config.json", NULL);
    write_text("vocab.txt", "a\nb\n");
    refused(CL_EFORMAT, "[UNK]");
    write_text("vocab.txt", "");
    refused(CL_EFORMAT, "empty");
    write_text("vocab.txt", "[UNK]\n\xFF\n");
    refused(CL_EFORMAT, "UTF-8");
}

static void bpe_files(void **state)
{
    struct tokenizer *t;

    (void)state;
    clear_dir();
    write_json("vocab.json", "{`a`: 0, `b`: 1, `ab`: 2, `Ġ`: 3, `Ġa`: 4, `<s>`: 5, `</s>`: 6, `<mask>`: 7}");
    write_text("merges.txt", "#version: 0.2\na b\n\xC4\xA0 a\n");
    t = open_dir(dir);
    check_ids(t, "ab a <mask>b", IDS(2, 4, 7, 1));
    check_special(t, "ab", 0, IDS(5, 2, 6));
    tokenizer_close(t);
    write_json("tokenizer_config.json", "{`add_prefix_space`: true, `added_tokens_decoder`: {`9`: {`content`: `<x>`,"
                                        "`special`: true}}}");
    t = open_dir(dir);
    check_ids(t, "a<x>", IDS(4, 9));
    assert_true(tokenizer_adds_prefix(t));
    tokenizer_close(t);
    write_text("tokenizer_config.json", NULL);
    write_text("merges.txt", "a b\na q\n");
    refused(CL_EFORMAT, "line 2");
    write_text("merges.txt", "b a\n");
    refused(CL_EFORMAT, "\"ba\"");
    write_text("merges.txt", "a b c\n");
    refused(CL_EFORMAT, "one blank");
    write_json("vocab.json", "{`a`: 0, `b`: 0}");
    refused(CL_EFORMAT, "two pieces");
}

static void nothing_there(void **state)
{
    struct tokenizer *t;

    (void)state;
    clear_dir();
    refused(CL_EIO, "vocab.txt");
    write_text("vocab.json", "{}"); // without merges.txt
    refused(CL_EIO, "merges.txt");
    assert_int_equal(tokenizer_open(&t, "/nowhere/at/all"), CL_EIO);
}

static void broken_json(void **state)
{
    static const char *const bad[][2] = {
        {"", "tokenizer.json"},
        {"[]", "object"},
        {"{}", "model"},
        {"{`model`: {`type`: `WordLevel`, `vocab`: {`a`: 0}}}", "WordLevel"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 0}}}", "merges"},
        {"{`model`: {`type`: `BPE`, `vocab`: {}, `merges`: []}}", "vocab"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: -1}, `merges`: []}}", "-1"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 0.5}, `merges`: []}}", "integer"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 9000000000}, `merges`: []}}", "9000000000"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 4194304}, `merges`: []}}", "4194304"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 1, `b`: 1}, `merges`: []}}", "two pieces"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 1, `a`: 2}, `merges`: []}}", "uplicate"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 0, `b`: 1}, `merges`: [`a c`]}}", "merges[0]"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 0, `b`: 1}, `merges`: [`a b`]}}", "\"ab\""},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 0, `b`: 1}, `merges`: [[`a`]]}}", "merges[0]"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 0, `b`: 1}, `merges`: [7]}}", "merges[0]"},
        {"{`model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: [], `unk_token`: `<unk>`}}", "unk_token"},
        {"{`model`: {`type`: `WordPiece`, `vocab`: {`a`: 0}}}", "[UNK]"},
        {"{`model`: {`type`: `WordPiece`, `unk_token`: `a`, `vocab`: {`a`: 0}, `max_input_chars_per_word`: 0}}",
         "max_input"},
        {"{`model`: {`type`: `Unigram`, `vocab`: [[`a`]]}}", "vocab[0]"},
        {"{`model`: {`type`: `Unigram`, `vocab`: [[`a`, 1]], `unk_id`: 1}}", "unk_id"},
        {"{`added_tokens`: [{`id`: 0}], `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}", "content"},
        {"{`added_tokens`: [{`id`: 0, `content`: `b`}], `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}",
         "added_tokens[0]"},
        {"{`added_tokens`: [{`id`: -3, `content`: `b`}], `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}",
         "-3"},
        {"{`added_tokens`: [{`content`: `b`}], `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}", "-1"},
        {"{`added_tokens`: {}, `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}", "added_tokens"},
        {"{`normalizer`: {`type`: `Nmt`}, `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}", "Nmt"},
        {"{`pre_tokenizer`: {`type`: `Split`, `pattern`: {`Regex`: `(?<`}, `behavior`: `Isolated`}, `model`: {`type`: "
         "`BPE`,"
         "`vocab`: {`a`: 0}, `merges`: []}}",
         "does not compile"},
        {"{`post_processor`: {`type`: `RobertaProcessing`, `cls`: [`x`, 5], `sep`: [`y`, 6]}, `model`: {`type`: `BPE`,"
         "`vocab`: {`a`: 0}, `merges`: []}}",
         "id 5"},
        {"{`post_processor`: {`type`: `TemplateProcessing`, `single`: [{`SpecialToken`: {`id`: `x`}}]}, `model`: "
         "{`type`: `BPE`,"
         "`vocab`: {`a`: 0}, `merges`: []}}",
         "special_tokens"},
        {"{`post_processor`: {`type`: `Other`}, `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}", "Other"},
        {"{`decoder`: {`type`: `CTC`}, `model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}", "CTC"},
        {"{`decoder`: {`type`: `Sequence`, `decoders`: [{`type`: `Fuse`}, {`type`: `ByteFallback`}]}, `model`: "
         "{`type`: `BPE`,"
         "`vocab`: {`a`: 0}, `merges`: []}}",
         "after Fuse"},
    };

    (void)state;
    clear_dir();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_json("tokenizer.json", bad[i][0]);
        refused(CL_EFORMAT, bad[i][1]);
    }
}

/* Cut off anywhere, a file is refused; with any byte changed it is refused or opens, and never more than that. */
static void damaged_json(void **state)
{
    size_t n = 0, step;
    char *s = read_bytes(SOURCE_DIR "/golden/b/base/tokenizer.json", &n), *copy;
    struct tokenizer *t;

    (void)state;
    assert_non_null(s);
    copy = malloc(n);
    assert_non_null(copy);
    clear_dir();
    for (size_t cut = 0; cut < n - 1; cut += n / 23) {
        write_bytes("tokenizer.json", s, cut);
        refused(CL_EFORMAT, "tokenizer.json");
    }
    step = n / 97;
    for (size_t at = 0; at < n; at += step) {
        struct ids v = {0};

        memcpy(copy, s, n);
        copy[at] = (char)(copy[at] + 1 + (int)(at % 7));
        write_bytes("tokenizer.json", copy, n);
        if (tokenizer_open(&t, dir)) continue;
        assert_int_equal(tokenizer_encode(t, "What colour is the ball?", 24, &v), CL_OK);
        check_stream(t, v.id, v.n);
        ids_free(&v);
        tokenizer_close(t);
    }
    free(s);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_prompts),    cmocka_unit_test(golden_encoders),
        cmocka_unit_test(demo_base),         cmocka_unit_test(added_tokens),
        cmocka_unit_test(byte_level_stream), cmocka_unit_test(invalid_input),
        cmocka_unit_test(metaspace),         cmocka_unit_test(limits),
        cmocka_unit_test(long_word),         cmocka_unit_test(wordpiece_settings),
        cmocka_unit_test(bpe_files),         cmocka_unit_test(nothing_there),
        cmocka_unit_test(broken_json),       cmocka_unit_test(damaged_json),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, make_dir, remove_dir);
}
