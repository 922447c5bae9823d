/* A real LLaMA, stories260K (llama2.c's format), brought to Hugging Face form by a small converter and read by the same
 * decoder: its greedy text from BOS is the documented one. Skipped where shared/weights is absent. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"
#include "model/lvlm.h"
#include "outcome.h"
#include "folder.h"

#define STORIES SHARED_DIR "/weights/stories260K/"
enum { STEPS = 200 };

struct header {
    int32_t dim, ffn, layers, heads, kv_heads, vocab, seq; // as in the file
};

/* llama2.c turns neighbours (2i, 2i+1) of a head, Hugging Face halves (i, i + hd/2): rows move accordingly. */
static void rope_rows(float *out, const float *in, int heads, int head_dim, int cols)
{
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < head_dim; i++) {
            int from = h * head_dim + (i < head_dim / 2 ? 2 * i : 2 * (i - head_dim / 2) + 1);
            memcpy(out + (size_t)(h * head_dim + i) * (size_t)cols, in + (size_t)from * (size_t)cols,
                   (size_t)cols * sizeof *out);
        }
}

struct writer {
    struct st_array array[128];
    char name[128][80];
    size_t n;
};

static void add(struct writer *w, const float *data, const char *name, int rows, int cols)
{
    snprintf(w->name[w->n], sizeof w->name[0], "model.%s", name);
    w->array[w->n] = (struct st_array){
        .name = w->name[w->n], .type = DT_F32, .dims = cols ? 2 : 1, .shape = {rows, cols}, .data = data};
    w->n++;
}

static void add_layer(struct writer *w, int l, const char *name, const float *all, int rows, int cols)
{
    char full[64];
    snprintf(full, sizeof full, "layers.%d.%s.weight", l, name);
    add(w, all + (size_t)l * (size_t)rows * (size_t)(cols ? cols : 1), full, rows, cols);
}

static void write_config(const char *dir, const struct header *h)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "{\"model_type\": \"llama\", \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d, "
            "\"num_attention_heads\": %d, "
            "\"num_key_value_heads\": %d, \"vocab_size\": %d, \"max_position_embeddings\": %d, \"rms_norm_eps\": 1e-5, "
            "\"rope_theta\": 10000.0, "
            "\"hidden_act\": \"silu\", \"tie_word_embeddings\": true, \"bos_token_id\": 1, \"eos_token_id\": 2}",
            h->dim, h->ffn, h->layers, h->heads, h->kv_heads, h->vocab, h->seq);
    fclose(f);
}

static float *read_weights(struct header *h)
{
    FILE *f = fopen(STORIES "stories260K.bin", "rb");
    assert_non_null(f);
    assert_int_equal(fread(h, sizeof *h, 1, f), 1);
    assert_true(h->vocab > 0); // a positive number says that the head is tied
    size_t floats = 264128;
    float *w = malloc(floats * sizeof *w);
    assert_int_equal(fread(w, sizeof *w, floats, f), floats);
    fclose(f);
    return w;
}

static void convert(const char *dir, struct header *h)
{
    char path[128];
    struct writer w = {.n = 0};
    float *all = read_weights(h), *p = all;
    int D = h->dim, hd = D / h->heads, KV = h->kv_heads * hd, L = h->layers;
    float *q = malloc((size_t)L * (size_t)D * (size_t)D * sizeof *q),
          *k = malloc((size_t)L * (size_t)KV * (size_t)D * sizeof *k);
    add(&w, p, "embed_tokens.weight", h->vocab, D), p += h->vocab * D;
    for (int l = 0; l < L; l++) add_layer(&w, l, "input_layernorm", p, D, 0);
    p += L * D;
    for (int l = 0; l < L; l++)
        rope_rows(q + l * D * D, p + l * D * D, h->heads, hd, D), add_layer(&w, l, "self_attn.q_proj", q, D, D);
    p += L * D * D;
    for (int l = 0; l < L; l++)
        rope_rows(k + l * KV * D, p + l * KV * D, h->kv_heads, hd, D), add_layer(&w, l, "self_attn.k_proj", k, KV, D);
    p += L * KV * D;
    for (int l = 0; l < L; l++) add_layer(&w, l, "self_attn.v_proj", p, KV, D);
    p += L * KV * D;
    for (int l = 0; l < L; l++) add_layer(&w, l, "self_attn.o_proj", p, D, D);
    p += L * D * D;
    for (int l = 0; l < L; l++) add_layer(&w, l, "post_attention_layernorm", p, D, 0);
    p += L * D;
    for (int l = 0; l < L; l++) add_layer(&w, l, "mlp.gate_proj", p, h->ffn, D);
    p += L * h->ffn * D;
    for (int l = 0; l < L; l++) add_layer(&w, l, "mlp.down_proj", p, D, h->ffn);
    p += L * h->ffn * D;
    for (int l = 0; l < L; l++) add_layer(&w, l, "mlp.up_proj", p, h->ffn, D);
    p += L * h->ffn * D;
    add(&w, p, "norm.weight", D, 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    OK(safetensors_write(path, w.array, w.n));
    write_config(dir, h);
    free(all), free(q), free(k);
}

/* Appends a piece of tok512.bin: {float score, int32 length, bytes} each, behind an int32. */
static void append_piece(char *text, size_t room, int32_t id, bool first)
{
    FILE *f = fopen(STORIES "tok512.bin", "rb");
    int32_t n, longest;
    float score;
    char piece[256];
    unsigned byte;
    assert_non_null(f);
    assert_int_equal(fread(&longest, 4, 1, f), 1);
    for (int32_t i = 0; i <= id; i++) {
        assert_int_equal(fread(&score, 4, 1, f) + fread(&n, 4, 1, f), 2);
        assert_true(n >= 0 && n < (int)sizeof piece);
        assert_int_equal(fread(piece, 1, (size_t)n, f), n);
        piece[n] = 0;
    }
    fclose(f);
    if (sscanf(piece, "<0x%02X>", &byte) == 1) piece[0] = (char)byte, piece[1] = 0;
    strncat(text, piece + (first && piece[0] == ' '), room - strlen(text) - 1);
}

/* The first sample text of stories260K.md: behind the line that runs it, up to the end of the block. */
static char *documented(void)
{
    char *text = calloc(1, 16384), *from, *to;
    FILE *f = fopen(STORIES "stories260K.md", "r");
    assert_non_null(f);
    size_t n = fread(text, 1, 16383, f);
    fclose(f);
    text[n] = 0;
    from = strstr(text, "-t 0.0\n");
    assert_non_null(from);
    from += strlen("-t 0.0\n");
    to = strstr(from, "```");
    assert_non_null(to);
    *to = 0;
    char *copy = strdup(from);
    free(text);
    return copy;
}

/* Sum of -log p of the given tokens behind BOS, and how many of them are the greedy choice. */
static double likelihood(struct lvlm *m, const int32_t *token, int n, int *greedy)
{
    struct kv_cache *kv;
    struct packed_batch b = {0};
    struct sample bos = {.id = (int32_t[]){1}, .label = (int32_t[]){-100}, .n = 1, .prompt_n = 1, .picture = -1};
    const int seq = 0, V = lvlm_get_config(m)->text.vocab;
    int32_t next;
    double nll = 0;
    float *logits = malloc((size_t)V * sizeof *logits);

    *greedy = 0;
    OK(lvlm_kv_new(&kv, m, 1, n + 1));
    OK(batch_new(&b, 1, 1));
    OK(batch_add(&b, &bos, 1));
    OK(lvlm_prefill(m, kv, &seq, &b, NULL, NULL, &next));
    for (int i = 0; i < n; i++) {
        double sum = 0;
        if (i) OK(lvlm_decode(m, kv, 1, &seq, &token[i - 1], NULL, NULL, &next));
        OK(lvlm_logits(m, logits, 1));
        for (int v = 0; v < V; v++) sum += exp((double)logits[v] - (double)logits[token[i]]);
        nll += log(sum);
        *greedy += next == token[i];
    }
    free(logits);
    lvlm_kv_free(kv);
    batch_free(&b);
    return nll;
}

/* Decoding by int8 weights finds the text about as likely, in either precision. */
static void check_int8(const char *dir, const int32_t *token)
{
    const struct backend *be;
    struct lvlm *m;

    for (enum dtype type = DT_F32; type <= DT_BF16; type++) {
        int greedy[2];
        double nll[2];
        if (backend_cpu(&be, type)) continue;
        OK(lvlm_open(&m, dir, be, NULL, false));
        OK(lvlm_reserve(m, &(struct lvlm_limits){.samples = 1, .tokens = 1, .rows = 1}));
        nll[0] = likelihood(m, token, STEPS, &greedy[0]);
        OK(lvlm_decode_int8(m));
        nll[1] = likelihood(m, token, STEPS, &greedy[1]);
        print_message("%s: nll %.4f, by int8 weights %.4f; greedy %d, %d of %d\n", dtype_name(type), nll[0], nll[1],
                      greedy[0], greedy[1], STEPS);
        assert_true(fabs(nll[1] - nll[0]) < 0.01 * nll[0]);
        assert_true(greedy[1] >= greedy[0] - STEPS / 20);
        assert_true(nll[0] != nll[1]);
        lvlm_close(m);
    }
}

static void greedy_text(void **state)
{
    char dir[64], text[8192] = "";
    struct header h;
    const struct backend *be;
    struct lvlm *m;
    struct kv_cache *kv;
    struct packed_batch b = {0};
    struct sample bos = {.id = (int32_t[]){1}, .label = (int32_t[]){-100}, .n = 1, .prompt_n = 1, .picture = -1};
    int seq = 0;
    int32_t token, told[STEPS];
    (void)state;
    FILE *f = fopen(STORIES "stories260K.bin", "rb");
    if (!f) {
        print_message("skipped: %sstories260K.bin is absent\n", STORIES);
        skip();
    }
    fclose(f);
    assert_int_equal(folder_new(dir), 0);
    convert(dir, &h);
    OK(backend_cpu(&be, DT_F32));
    OK(lvlm_open(&m, dir, be, NULL, false));
    OK(lvlm_reserve(m, &(struct lvlm_limits){.samples = 1, .tokens = 1, .rows = 1}));
    OK(lvlm_kv_new(&kv, m, 1, STEPS + 1));
    OK(batch_new(&b, 1, 1));
    OK(batch_add(&b, &bos, 1));
    OK(lvlm_prefill(m, kv, &seq, &b, NULL, NULL, &token));
    for (int i = 0; i < STEPS; i++) {
        append_piece(text, sizeof text, told[i] = token, i == 0);
        if (i + 1 < STEPS) OK(lvlm_decode(m, kv, 1, &seq, &token, NULL, NULL, &token));
    }
    char *want = documented();
    assert_true(strlen(text) > 400);
    if (strncmp(text, want, strlen(text))) fail_msg("got:\n%s\nexpected:\n%s", text, want);
    free(want);
    lvlm_kv_free(kv);
    batch_free(&b);
    lvlm_close(m);
    check_int8(dir, told);
    assert_int_equal(folder_remove(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(greedy_text)};
    return cmocka_run_group_tests_name("stories", tests, NULL, NULL);
}
