/* test_tokenizer_vectors.c - public vocabularies and their published ids: llama.cpp's 46 strings for four tokenizers, the
 * LLaMA 2 model itself, SentencePiece's own test models, MiniLM. All lie beside the project: skipped where it has none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden_file.h"
#include "tok_fixture.h"

#define VOCAB SHARED_DIR "/vectors/llamacpp_vocab/ggml-vocab-"
#define LLAMA SHARED_DIR "/vectors/llama2c/tokenizer.model"

static void missing(const char *what)
{
    print_message("skipped: no %s beside the project\n", what);
    skip();
}

static struct ids parse_ids(const char *line)
{
    struct ids v = {0};
    char *end;

    for (long id = strtol(line, &end, 10); end != line; id = strtol(line, &end, 10)) {
        assert_int_equal(ids_push(&v, (int32_t)id), CL_OK);
        line = end;
    }
    return v;
}

/* Runs the strings of NAME.gguf.inp; their ids are the lines of NAME.gguf.out. special: with what encode_special adds, of
 * which the file has nothing. */
static void check_strings(const struct tokenizer *t, const char *name, bool decodes)
{
    static const char bar[] = "\n__ggml_vocab_test__\n";
    char path[512];
    size_t n;
    char *inp, *out, *text, *line;
    int cases = 0, bad = 0;

    snprintf(path, sizeof path, VOCAB "%s.gguf.inp", name);
    inp = read_bytes(path, &n);
    snprintf(path, sizeof path, VOCAB "%s.gguf.out", name);
    out = read_bytes(path, &n);
    assert_non_null(inp);
    assert_non_null(out);
    text = inp;
    line = out;
    for (char *end; (end = strstr(text, bar)); text = end + sizeof bar - 1, cases++) {
        struct ids expected, got = {0};
        char *stop = strchr(line, '\n'), *back;

        assert_non_null(stop);
        *end = *stop = 0;
        expected = parse_ids(line);
        line = stop + 1;
        assert_int_equal(tokenizer_encode(t, text, strlen(text), &got), CL_OK);
        bad += !same_ids(got.id, got.n, expected.id, expected.n, text);
        assert_int_equal(tokenizer_decode(t, got.id, got.n, &back), CL_OK);
        if (decodes) assert_string_equal(back, text);
        check_stream(t, got.id, got.n);
        free(back);
        ids_free(&expected);
        ids_free(&got);
    }
    assert_int_equal(cases, 46);
    assert_int_equal(bad, 0);
    free(inp);
    free(out);
}

static bool open_gguf(struct gguf *g, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, VOCAB "%s.gguf", name);
    clear_dir();
    if (gguf_open(g, path)) return true;
    missing("vocabulary of llama.cpp");
    return false;
}

static json_t *vocab_object(const struct gguf *g)
{
    json_t *vocab = json_object();

    for (size_t i = 0; i < g->n; i++) json_object_set_new_nocheck(vocab, g->token[i], json_integer((json_int_t)i));
    return vocab;
}

static void save_json(const char *name, json_t *o)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(json_dump_file(o, path, 0), 0);
    json_decref(o);
}

/* GPT-2 as vocab.json and merges.txt, then as tokenizer.json with merges as strings. */
static void gpt2(void **state)
{
    struct gguf g;
    struct tokenizer *t;
    json_t *merges = json_array();
    FILE *f;
    char path[128];

    (void)state;
    if (!open_gguf(&g, "gpt-2")) return;
    save_json("vocab.json", vocab_object(&g));
    snprintf(path, sizeof path, "%s/merges.txt", dir);
    f = fopen(path, "wb");
    assert_non_null(f);
    fputs("#version: 0.2\n", f);
    for (size_t i = 0; i < g.merges; i++) {
        fprintf(f, "%s\n", g.merge[i]);
        json_array_append_new(merges, json_string(g.merge[i]));
    }
    assert_int_equal(fclose(f), 0);
    t = open_dir(dir);
    check_strings(t, "gpt-2", true);
    check_ids(t, "a<|endoftext|>", IDS(64, 50256));
    tokenizer_close(t);

    clear_dir();
    save_json("tokenizer.json", json_pack("{s:{s:s, s:b}, s:{s:s}, s:{s:s, s:o, s:o}}", "pre_tokenizer", "type",
                                          "ByteLevel", "add_prefix_space", 0, "decoder", "type", "ByteLevel", "model",
                                          "type", "BPE", "vocab", vocab_object(&g), "merges", merges));
    t = open_dir(dir);
    check_strings(t, "gpt-2", true);
    tokenizer_close(t);
    gguf_close(&g);
}

/* The file has words as U+2581 word and pieces inside a word bare; only [..] stand as they are. */
static bool write_bert_vocab(void)
{
    struct gguf g;
    char path[128];
    FILE *f;

    if (!open_gguf(&g, "bert-bge")) return false;
    snprintf(path, sizeof path, "%s/vocab.txt", dir);
    f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < g.n; i++) {
        const char *s = g.token[i];
        size_t n = strlen(s);

        if (n > 3 && memcmp(s, "\xE2\x96\x81", 3) == 0)
            fprintf(f, "%s\n", s + 3);
        else
            fprintf(f, n > 2 && s[0] == '[' && s[n - 1] == ']' ? "%s\n" : "##%s\n", s);
    }
    assert_int_equal(fclose(f), 0);
    gguf_close(&g);
    return true;
}

static void bert(void **state)
{
    struct tokenizer *t;

    (void)state;
    if (!write_bert_vocab()) return;
    t = open_dir(dir);
    assert_int_equal(tokenizer_size(t), 30522);
    check_strings(t, "bert-bge", false);
    tokenizer_close(t);
}

/* MiniLM has the same vocabulary; 256 ids at most. */
static void minilm(void **state)
{
    struct tokenizer *t;
    hid_t g;
    char **text;
    size_t n;

    (void)state;
    if (!write_bert_vocab()) return;
    t = open_dir(dir);
    g = golden_open_file(SOURCE_DIR "/golden/minilm.h5");
    text = golden_read_strings(g, &n, "text");
    assert_int_equal(n, 24);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        int32_t *id = golden_read_i32(g, &k, "ids/%zu", i);
        struct ids v = {0};

        assert_int_equal(tokenizer_encode_special(t, text[i], strlen(text[i]), 256, &v), CL_OK);
        assert_true(same_ids(v.id, v.n, id, k, text[i]));
        v.n = 0;
        if (k > 8) { // cut shorter: the same begin and still [SEP] at the end
            assert_int_equal(tokenizer_encode_special(t, text[i], strlen(text[i]), 8, &v), CL_OK);
            id[7] = 102;
            assert_true(same_ids(v.id, v.n, id, 8, text[i]));
        }
        ids_free(&v);
        free(id);
    }
    golden_strings_free(text, n);
    golden_close(g);
    tokenizer_close(t);
}

/* --- a SentencePiece model written by hand: fields of protobuf messages --- */

struct wire {
    char *s;
    size_t n, room;
};

static void put_bytes(struct wire *w, const void *s, size_t n)
{
    if (w->n + n > w->room) {
        w->room = (w->n + n) * 2;
        w->s = realloc(w->s, w->room);
        assert_non_null(w->s);
    }
    memcpy(w->s + w->n, s, n);
    w->n += n;
}

static void put_varint(struct wire *w, uint64_t v)
{
    for (; v > 127; v >>= 7) put_bytes(w, (uint8_t[]){(uint8_t)(v | 128)}, 1);
    put_bytes(w, (uint8_t[]){(uint8_t)v}, 1);
}

static void put_number(struct wire *w, uint32_t field, uint64_t v)
{
    put_varint(w, field << 3);
    put_varint(w, v);
}

static void put_message(struct wire *w, uint32_t field, const void *s, size_t n)
{
    put_varint(w, field << 3 | 2);
    put_varint(w, n);
    put_bytes(w, s, n);
}

static void put_piece(struct wire *w, const char *piece, float score, int type)
{
    struct wire m = {0};

    put_message(&m, 1, piece, strlen(piece));
    put_varint(&m, 2 << 3 | 5);
    put_bytes(&m, &score, 4);
    put_number(&m, 3, (uint64_t)type);
    put_message(w, 1, m.s, m.n);
    free(m.s);
}

/* BPE with byte fallback, text taken as it is, dummy prefix: LLaMA's settings. */
static void put_settings(struct wire *w)
{
    struct wire m = {0};

    put_number(&m, 3, 2);
    put_number(&m, 35, 1);
    put_message(w, 2, m.s, m.n);
    m.n = 0;
    put_message(&m, 1, "identity", 8);
    put_number(&m, 3, 1);
    put_number(&m, 4, 0);
    put_message(w, 3, m.s, m.n);
    free(m.s);
}

static void write_model(const struct gguf *g, size_t n)
{
    struct wire w = {0};

    for (size_t i = 0; i < n; i++) put_piece(&w, g->token[i], g->score[i], i == 0 ? 2 : i < 3 ? 3 : g->type[i]);
    put_settings(&w);
    write_bytes("tokenizer.model", w.s, w.n);
    free(w.s);
}

struct merge {
    const char *piece;
    size_t cut; // bytes of the left half
    float score;
    size_t order;
};

static int by_score(const void *a, const void *b)
{
    const struct merge *x = a, *y = b;

    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

/* Every way to halve a piece into two pieces is a merge; the piece's score orders them. */
static json_t *merges_of_scores(const struct gguf *g, json_t *vocab)
{
    struct merge *m = NULL;
    size_t n = 0, room = 0;
    json_t *list = json_array();
    char left[256];

    for (size_t i = 0; i < g->n; i++) {
        size_t len = strlen(g->token[i]);

        if (g->type[i] != 1 || len >= sizeof left) continue;
        for (size_t cut = 1; cut < len; cut++) {
            memcpy(left, g->token[i], cut);
            left[cut] = 0;
            if (!json_object_get(vocab, left) || !json_object_get(vocab, g->token[i] + cut)) continue;
            if (n == room) m = realloc(m, (room = room * 2 + 1024) * sizeof *m);
            assert_non_null(m);
            m[n] = (struct merge){g->token[i], cut, g->score[i], n};
            n++;
        }
    }
    qsort(m, n, sizeof *m, by_score);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("[s#s]", m[i].piece, (int)m[i].cut, m[i].piece + m[i].cut));
    free(m);
    return list;
}

static json_t *token(const char *content, int id)
{
    return json_pack("{s:s, s:i, s:b, s:b}", "content", content, "id", id, "special", 1, "normalized", 0);
}

/* As transformers' converter writes it for LLaMA. */
static void write_llama_json(const struct gguf *g)
{
    json_t *vocab = vocab_object(g), *merges = merges_of_scores(g, vocab);
    json_t *normalizer =
        json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:{s:s}, s:s}]}", "type", "Sequence", "normalizers", "type", "Prepend",
                  "prepend", "\xE2\x96\x81", "type", "Replace", "pattern", "String", " ", "content", "\xE2\x96\x81");
    json_t *decoder =
        json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s}, {s:s}, {s:s, s:s, s:i, s:i}]}", "type", "Sequence", "decoders",
                  "type", "Replace", "pattern", "String", "\xE2\x96\x81", "content", " ", "type", "ByteFallback",
                  "type", "Fuse", "type", "Strip", "content", " ", "start", 1, "stop", 0);

    save_json("tokenizer.json",
              json_pack("{s:[o, o, o, o], s:o, s:o, s:{s:s, s:s, s:b, s:b, s:o, s:o}}", "added_tokens",
                        token("<unk>", 0), token("<s>", 1), token("</s>", 2), token("<image>", 32000), "normalizer",
                        normalizer, "decoder", decoder, "model", "type", "BPE", "unk_token", "<unk>", "fuse_unk", 1,
                        "byte_fallback", 1, "vocab", vocab, "merges", merges));
}

/* The same vocabulary three ways: LLaMA's own file, a file written from the scores, a tokenizer.json with merges. */
static void llama(void **state)
{
    struct gguf g;
    struct tokenizer *t[3];

    (void)state;
    if (!open_gguf(&g, "llama-spm")) return;
    if (!copy_file(LLAMA, "tokenizer.model")) missing("LLaMA 2 tokenizer");
    write_text("added_tokens.json", "{\"<image>\": 32000}");
    t[0] = open_dir(dir);
    write_model(&g, g.n);
    t[1] = open_dir(dir);
    write_llama_json(&g);
    t[2] = open_dir(dir);
    assert_int_equal(tokenizer_hash(t[2]), tokenizer_hash(t[1])); // the model wins, its added tokens are the same
    tokenizer_close(t[2]);
    write_text("tokenizer.model", NULL);
    t[2] = open_dir(dir);
    for (size_t i = 0; i < 3; i++) {
        check_strings(t[i], "llama-spm", true);
        assert_int_equal(tokenizer_size(t[i]), 32001);
        assert_int_equal(tokenizer_id(t[i], "<image>"), 32000);
        assert_true(tokenizer_is_special(t[i], 32000));
        assert_true(tokenizer_is_special(t[i], 0) && tokenizer_is_special(t[i], 2));
        assert_true(tokenizer_adds_prefix(t[i]));
        assert_int_equal(tokenizer_hash(t[i]), tokenizer_hash(t[0]));
    }
    check_ids(t[0], "<image>", IDS(529, 3027, 29958)); // SentencePiece: plain text
    check_ids(t[2], "<image>", IDS(32000));
    for (size_t i = 0; i < 3; i++) tokenizer_close(t[i]);
    gguf_close(&g);
}

/* Phi-3 is LLaMA's vocabulary with its own marks behind. */
static void phi3(void **state)
{
    struct gguf g;
    struct tokenizer *t;
    json_t *added = json_object();

    (void)state;
    if (!open_gguf(&g, "phi-3")) return;
    write_model(&g, 32000);
    for (size_t i = 32000; i < 32011; i++) json_object_set_new(added, g.token[i], json_integer((json_int_t)i));
    save_json("added_tokens.json", added);
    t = open_dir(dir);
    check_strings(t, "phi-3", true);
    assert_int_equal(tokenizer_id(t, "<|end|>"), 32007);
    check_decode(t, IDS(32010, 15043, 32007), "Hello");
    tokenizer_close(t);
    gguf_close(&g);
}

/* LLaVA-1.5's prompt, picture at its place: each side of <image> is a text of its own. */
static void llava_prompt(void **state)
{
    static const char before[] =
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: ";
    static const char after[] = "\nWhat is it? ASSISTANT:";
    static const int32_t golden[] = {1,     319, 13563, 1546,  263,   12758, 1404,  322,   385,  23116, 21082, 20255,
                                     29889, 450, 20255, 4076,  8444,  29892, 13173, 29892, 322,  1248,  568,   6089,
                                     304,   278, 1404,  29915, 29879, 5155,  29889, 3148,  1001, 29901, 29871, -200,
                                     29871, 13,  5618,  338,   372,   29973, 319,   1799,  9047, 13566, 29901};
    struct tokenizer *t;
    struct ids v = {0};

    (void)state;
    clear_dir();
    if (!copy_file(LLAMA, "tokenizer.model")) missing("LLaMA 2 tokenizer");
    t = open_dir(dir);
    assert_int_equal(tokenizer_encode_special(t, before, sizeof before - 1, 0, &v), CL_OK);
    assert_int_equal(ids_push(&v, -200), CL_OK);
    assert_int_equal(tokenizer_encode(t, after, sizeof after - 1, &v), CL_OK);
    assert_true(same_ids(v.id, v.n, golden, 47, "LLaVA prompt"));
    check_ids(t, "Cat", IDS(10459));
    v.n = 0;
    assert_int_equal(tokenizer_encode_continued(t, "USER:", 5, &v), CL_OK); // behind </s>: legacy false
    assert_true(same_ids(v.id, v.n, IDS(11889, 29901), "USER:"));
    check_ids(t, "USER:", IDS(3148, 1001, 29901));
    check_decode(t, IDS(1, 10459, 2), "Cat");
    check_decode(t, IDS(29871, 10459), " Cat"); // LLaMA keeps all but the first blank
    ids_free(&v);
    tokenizer_close(t);
}

/* added_tokens_decoder, add_eos_token, an id with a gap before it. */
static void llama_config(void **state)
{
    struct tokenizer *t;
    struct ids v = {0};

    (void)state;
    clear_dir();
    if (!copy_file(LLAMA, "tokenizer.model")) missing("LLaMA 2 tokenizer");
    write_json("tokenizer_config.json",
               "{`add_bos_token`: false, `add_eos_token`: true, `added_tokens_decoder`: {`1`:"
               "{`content`: `<s>`, `special`: true}, `32005`: {`content`: `<x>`, `special`: false}}}");
    t = open_dir(dir);
    assert_int_equal(tokenizer_size(t), 32006);
    assert_null(tokenizer_piece(t, 32001));
    assert_int_equal(tokenizer_encode_special(t, "Cat", 3, 0, &v), CL_OK);
    assert_true(same_ids(v.id, v.n, IDS(10459, 2), "Cat"));
    check_decode(t, IDS(10459, 32001, 32005), "Cat<x>");
    ids_free(&v);
    tokenizer_close(t);
    write_json("added_tokens.json", "{`<image>`: 32005}");
    refused(CL_EFORMAT, "two pieces");
    write_json("added_tokens.json", "{`<image>`: 99999999}");
    refused(CL_EFORMAT, "99999999");
    write_json("added_tokens.json", "{`<image>`: `32000`}");
    refused(CL_EFORMAT, "integer");
    write_text("added_tokens.json", NULL);
    write_json("tokenizer_config.json", "{`added_tokens_decoder`: {`x`: {`content`: `<x>`}}}");
    refused(CL_EFORMAT, "\"x\"");
}

/* SentencePiece's own models (unigram, character rules): every line of a book comes back. The rules are NFKC and blanks
 * at both ends or several in a row go, so lines with those come back without. */
static void book(void **state)
{
    struct tokenizer *t;
    size_t n, lines = 0;
    char *text, *line, *end;

    (void)state;
    clear_dir();
    if (!copy_file(SHARED_DIR "/vectors/sentencepiece/test_model.model", "tokenizer.model"))
        missing("SentencePiece model");
    text = read_bytes(SHARED_DIR "/vectors/sentencepiece/botchan.txt", &n);
    assert_non_null(text);
    t = open_dir(dir);
    assert_int_equal(tokenizer_size(t), 1000);
    for (line = text; (end = strchr(line, '\n')); line = end + 1) {
        struct ids v = {0};
        char *back;
        bool known = true;

        *end = 0;
        if (end > line && end[-1] == '\r') end[-1] = 0;
        if (*line == ' ' || strstr(line, "  ") || (*line && line[strlen(line) - 1] == ' ')) continue;
        assert_int_equal(tokenizer_encode(t, line, strlen(line), &v), CL_OK);
        for (size_t i = 0; i < v.n; i++) known &= v.id[i] != 0;
        assert_int_equal(tokenizer_decode(t, v.id, v.n, &back), CL_OK);
        for (const char *p = line; *p; p++) known &= (uint8_t)*p < 0x80;
        if (known) assert_string_equal(back, line);
        lines += known;
        if (lines % 50 == 0) check_stream(t, v.id, v.n);
        free(back);
        ids_free(&v);
    }
    assert_true(lines > 3000);
    tokenizer_close(t);
    free(text);
}

/* Byte pieces of LLaMA: one emoji over four ids, cut anywhere; a run of them that is no UTF-8. */
static void byte_pieces(void **state)
{
    struct tokenizer *t;

    (void)state;
    clear_dir();
    if (!copy_file(LLAMA, "tokenizer.model")) missing("LLaMA 2 tokenizer");
    t = open_dir(dir);
    check_decode(t, IDS(29871, 3 + 0xF0, 3 + 0x9F, 3 + 0x98, 3 + 0x80, 10459), "\xF0\x9F\x98\x80 Cat");
    check_decode(t, IDS(3 + 0xF0, 3 + 0x9F, 10459, 3 + 0x80),
                 "\xEF\xBF\xBD\xEF\xBF\xBD Cat\xEF\xBF\xBD"); // one for each broken byte, as the library
    check_stream(t,
                 IDS(1, 29871, 3 + 0xF0, 3 + 0x9F, 3 + 0x98, 3 + 0x80, 10459, 3 + 0xE2, 3 + 0x82, 2, 3 + 0x20, 10459));
    check_stream(t, IDS(3 + 0xF0, 3 + 0x9F));
    tokenizer_close(t);
}

/* Cut or changed anywhere, the file is refused or it opens and encodes; nothing worse. */
static void damaged_model(void **state)
{
    size_t n = 0;
    char *s = read_bytes(SHARED_DIR "/vectors/sentencepiece/test_model.model", &n), *copy;
    struct tokenizer *t;
    uint32_t random = 12345;
    int opened = 0;

    (void)state;
    if (!s) missing("SentencePiece model");
    copy = malloc(n);
    assert_non_null(copy);
    clear_dir();
    for (size_t cut = 0; cut < n; cut += n / 29) {
        write_bytes("tokenizer.model", s, cut);
        refused(CL_EFORMAT, "tokenizer.model");
    }
    for (int i = 0; i < 150; i++) {
        struct ids v = {0};

        memcpy(copy, s, n);
        for (int k = 0; k < 1 + i % 3; k++) {
            random = random * 1664525 + 1013904223;
            copy[random % n] ^= (char)(1 << (random >> 29));
        }
        write_bytes("tokenizer.model", copy, n);
        if (tokenizer_open(&t, dir)) continue;
        opened++;
        if (!tokenizer_encode(t, "I saw \xE3\x8D\xBF \xC2\xBD of \xEF\xBC\xA1 girl \xC3\xA9 with", 30, &v))
            check_stream(t, v.id, v.n);
        ids_free(&v);
        tokenizer_close(t);
    }
    assert_in_range(opened, 1, 149);
    free(s);
    free(copy);
}

/* A model of the pieces <unk>, U+2581 and b whose one character rule makes a a b: root -> place 1 -a-> place 2, where the
 * value is. to: the place that a leads to; value: offset of the replacement. */
static void write_rule(uint32_t to, uint32_t value)
{
    struct wire w = {0}, rules = {0}, m = {0};
    uint32_t unit[256], bytes = sizeof unit;

    for (size_t i = 0; i < 256; i++) unit[i] = 0x80000000u; // leads nowhere
    unit[0] = 1 << 10;
    unit[1 ^ 'a'] = ((1 ^ 'a') ^ to) << 10 | 1 << 8 | 'a';
    unit[to & 0xFF] = 0x80000000u | value;
    put_bytes(&rules, &bytes, 4);
    put_bytes(&rules, unit, sizeof unit);
    put_bytes(&rules, "b", 2);
    put_message(&m, 2, rules.s, rules.n);
    put_piece(&w, "<unk>", 0, 2);
    put_piece(&w, "\xE2\x96\x81", -1, 1);
    put_piece(&w, "b", -1, 1);
    put_message(&w, 3, m.s, m.n);
    write_bytes("tokenizer.model", w.s, w.n);
    free(w.s);
    free(m.s);
    free(rules.s);
}

/* The library follows the rules without looking: a loop, a place or a replacement outside the table must not reach it. */
static void character_rules(void **state)
{
    struct tokenizer *t;

    (void)state;
    clear_dir();
    write_rule(2, 0);
    t = open_dir(dir);
    check_ids(t, "aab", IDS(1, 2, 2, 2));
    check_decode(t, IDS(1, 1, 2, 1, 2), "b b"); // all blanks at the begin go: remove_extra_whitespaces
    check_stream(t, IDS(1, 1, 2, 1, 2));
    tokenizer_close(t);
    write_rule(1, 0); // back to where it came from
    refused(CL_EFORMAT, "character rules");
    write_rule(256, 0);
    refused(CL_EFORMAT, "character rules");
    write_rule(2, 2);
    refused(CL_EFORMAT, "character rules");
}

static void odd_models(void **state)
{
    struct wire w = {0};
    struct tokenizer *t;

    (void)state;
    clear_dir();
    write_text("tokenizer.model", "");
    refused(CL_EFORMAT, "0 pieces");
    write_text("tokenizer.model", "version https://git-lfs.github.com/spec/v1\n");
    refused(CL_EFORMAT, "SentencePiece");
    write_text("tokenizer.model", "IQ== 0\nIg== 1\n"); // LLaMA-3's list
    refused(CL_EFORMAT, "tiktoken");
    write_json("tokenizer.json", "{`model`: {`type`: `BPE`, `vocab`: {`a`: 0}, `merges`: []}}");
    t = open_dir(dir);
    assert_int_equal(tokenizer_size(t), 1);
    tokenizer_close(t);
    write_text("tokenizer.json", NULL);
    put_piece(&w, "a", 0, 1); // no unknown piece
    put_settings(&w);
    write_bytes("tokenizer.model", w.s, w.n);
    refused(CL_EFORMAT, "tokenizer.model");
    w.n = 0;
    put_piece(&w, "<unk>", 0, 2);
    put_piece(&w, "a", 0, 1);
    put_piece(&w, "a", 0, 1);
    write_bytes("tokenizer.model", w.s, w.n);
    refused(CL_EFORMAT, "tokenizer.model");
    w.n = 0;
    put_piece(&w, "<unk>", 0, 9);
    write_bytes("tokenizer.model", w.s, w.n);
    refused(CL_EFORMAT, "type of piece 0");
    w.n = 0;
    put_piece(&w, "<unk>", 0.0f / 0.0f, 2);
    write_bytes("tokenizer.model", w.s, w.n);
    refused(CL_EFORMAT, "not a number");
    w.n = 0;
    put_piece(&w, "\xFF", 0, 2);
    write_bytes("tokenizer.model", w.s, w.n);
    refused(CL_EFORMAT, "UTF-8");
    w.n = 0;
    put_piece(&w, "<unk>", 0, 2);
    put_message(&w, 3, "\x12\x0C\x08\0\0\0\0\0\0\0\0\0\0\0", 14); // character rules of 8 bytes
    write_bytes("tokenizer.model", w.s, w.n);
    refused(CL_EFORMAT, "character rules");
    free(w.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2),          cmocka_unit_test(bert),       cmocka_unit_test(minilm),
        cmocka_unit_test(llama),         cmocka_unit_test(phi3),       cmocka_unit_test(llava_prompt),
        cmocka_unit_test(llama_config),  cmocka_unit_test(book),       cmocka_unit_test(byte_pieces),
        cmocka_unit_test(damaged_model), cmocka_unit_test(odd_models), cmocka_unit_test(character_rules),
    };
    return cmocka_run_group_tests_name("tokenizer_vectors", tests, make_dir, remove_dir);
}
