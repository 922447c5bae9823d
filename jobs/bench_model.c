/* bench_model.c - a base of random weights. Speed does not depend on what is learned, so all matrices are windows of one
 * block of random numbers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/err.h"
#include "io/path.h"
#include "io/safetensors.h"
#include "jobs/bench.h"

static const struct bench_shape shapes[] = {
    {"tiny", 64, 2, 4, 128, 256, 32, 3, 2, 64, 28, 14, 8, 4},
    {"s", 512, 8, 8, 1376, 4096, 256, 6, 4, 1024, 112, 14, 64, 32},
    {"m", 2048, 12, 16, 5504, 32000, 1024, 24, 16, 4096, 336, 14, 64, 32},
};

const struct bench_shape *bench_shape_find(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!strcmp(shapes[i].name, name)) return &shapes[i];
    return NULL;
}

/* ---- sizes and operations */

int64_t bench_pictures_tokens(const struct bench_shape *s)
{
    int64_t side = s->image / s->patch;
    return side * side;
}

int64_t bench_tokens(const struct bench_shape *s)
{
    return bench_pictures_tokens(s) + s->prompt + s->answer;
}

double bench_flop_tower(const struct bench_shape *s)
{
    double patches = (double)bench_pictures_tokens(s), rows = patches + 1, vd = s->vd;
    double layer = 2 * (4 * vd * vd + 2 * vd * s->vff) * rows + 4 * rows * rows * vd;

    return (s->vlayers - 1) * layer + 2 * 3 * s->patch * s->patch * vd * patches;
}

static double layer_flop(const struct bench_shape *s, double tokens)
{
    return 2 * (4.0 * s->d * s->d + 3.0 * s->d * s->ff) * tokens;
}

double bench_flop_forward(const struct bench_shape *s, int64_t tokens, int64_t head_rows)
{
    double n = (double)tokens, d = s->d;

    return s->layers * (layer_flop(s, n) + 2 * n * n * d) + 2 * d * s->vocab * (double)head_rows +
           2 * (s->vd * d + d * d) * (double)bench_pictures_tokens(s);
}

double bench_flop_backward(const struct bench_shape *s, int64_t tokens, int64_t head_rows)
{
    double n = (double)tokens, d = s->d;

    return (s->layers - 1) * (layer_flop(s, n) + 4 * n * n * d) + 2 * 3 * d * s->ff * n +
           2 * d * s->vocab * (double)head_rows;
}

/* ---- files */

enum { NAME = 96 };

struct list {
    struct st_array *a;
    char (*name)[NAME];
    size_t n, room;
    const uint16_t *noise, *ones; // numbers that the tensors are windows of
    size_t noise_n;
    uint64_t at;
};

/* A tensor of up to four dimensions (0: no further one). Gains of norms are 1, all else is noise. */
static void put(struct list *l, const char *name, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    struct st_array *a = &l->a[l->n];
    const int64_t size[] = {d0, d1, d2, d3};
    size_t n = 1;

    snprintf(l->name[l->n], NAME, "%s", name);
    *a = (struct st_array){.name = l->name[l->n], .type = DT_BF16};
    while (a->dims < 4 && size[a->dims]) n *= (size_t)(a->shape[a->dims] = size[a->dims]), a->dims++;
    l->at = (l->at * 6364136223846793005u + 1442695040888963407u);
    a->data = a->dims == 1 && strstr(name, "norm") ? l->ones : l->noise + (l->at >> 33) % (l->noise_n - n + 1);
    l->n++;
}

static void put_dense(struct list *l, const char *name, int64_t out, int64_t in, bool bias)
{
    char full[NAME];

    snprintf(full, sizeof full, "%s.weight", name);
    put(l, full, out, in, 0, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    if (bias) put(l, full, out, 0, 0, 0);
}

static void put_decoder(struct list *l, const struct bench_shape *s)
{
    static const char *const square[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.o_proj"};
    static const char *const norm[] = {"input_layernorm", "post_attention_layernorm"};
    char name[NAME - 8];

    put(l, "language_model.model.embed_tokens.weight", s->vocab, s->d, 0, 0);
    for (int i = 0; i < s->layers; i++) {
#define NAMED(...) (snprintf(name, sizeof name, "language_model.model.layers." __VA_ARGS__), name)
        for (int k = 0; k < 4; k++) put_dense(l, NAMED("%d.%s", i, square[k]), s->d, s->d, false);
        put_dense(l, NAMED("%d.mlp.gate_proj", i), s->ff, s->d, false);
        put_dense(l, NAMED("%d.mlp.up_proj", i), s->ff, s->d, false);
        put_dense(l, NAMED("%d.mlp.down_proj", i), s->d, s->ff, false);
        for (int k = 0; k < 2; k++) put(l, NAMED("%d.%s.weight", i, norm[k]), s->d, 0, 0, 0);
#undef NAMED
    }
    put(l, "language_model.model.norm.weight", s->d, 0, 0, 0);
    put(l, "language_model.lm_head.weight", s->vocab, s->d, 0, 0);
}

static void put_norm(struct list *l, const char *name, int64_t n)
{
    char full[NAME];

    snprintf(full, sizeof full, "%s.weight", name);
    put(l, full, n, 0, 0, 0);
    snprintf(full, sizeof full, "%s.bias", name);
    put(l, full, n, 0, 0, 0);
}

static void put_tower(struct list *l, const struct bench_shape *s)
{
    static const char *const square[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
    char name[NAME - 8];

#define TOWER "vision_tower.vision_model."
    put(l, TOWER "embeddings.class_embedding", s->vd, 0, 0, 0);
    put(l, TOWER "embeddings.patch_embedding.weight", s->vd, 3, s->patch, s->patch);
    put(l, TOWER "embeddings.position_embedding.weight", bench_pictures_tokens(s) + 1, s->vd, 0, 0);
    put_norm(l, TOWER "pre_layrnorm", s->vd);
    for (int i = 0; i < s->vlayers; i++) {
#define NAMED(...) (snprintf(name, sizeof name, TOWER "encoder.layers." __VA_ARGS__), name)
        for (int k = 0; k < 4; k++) put_dense(l, NAMED("%d.self_attn.%s", i, square[k]), s->vd, s->vd, true);
        put_dense(l, NAMED("%d.mlp.fc1", i), s->vff, s->vd, true);
        put_dense(l, NAMED("%d.mlp.fc2", i), s->vd, s->vff, true);
        put_norm(l, NAMED("%d.layer_norm1", i), s->vd);
        put_norm(l, NAMED("%d.layer_norm2", i), s->vd);
#undef NAMED
    }
#undef TOWER
    put_dense(l, "multi_modal_projector.linear_1", s->d, s->vd, true);
    put_dense(l, "multi_modal_projector.linear_2", s->d, s->d, true);
}

static size_t largest(const struct bench_shape *s)
{
    size_t head = (size_t)s->vocab * (size_t)s->d, mlp = (size_t)s->ff * (size_t)s->d,
           tower = (size_t)s->vff * (size_t)s->vd + (size_t)bench_tokens(s) * (size_t)s->vd;

    return (head > mlp ? head : mlp) + tower;
}

/* Uniform in +-0.035: the spread of a fresh LLaMA (0.02), so that nothing grows out of range. */
static void fill(uint16_t *noise, size_t n)
{
    uint32_t state = 1;

    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        noise[i] = f32_to_bf16(0.035f * ((float)(state >> 8) / (float)(1 << 23) - 1));
    }
}

static int write_config(const char *dir, const struct bench_shape *s)
{
    int rc;
    char path[PATH_ROOM];
    FILE *f = NULL;

    TRY(path_print(path, "%s/config.json", dir));
    if (!(f = fopen(path, "w"))) FAIL(CL_EIO, "cannot write %s: %s", path, strerror(errno));
    fprintf(
        f,
        "{\"model_type\": \"llava\", \"image_token_index\": %d, \"projector_hidden_act\": \"gelu\",\n"
        " \"vision_feature_layer\": -2, \"vision_feature_select_strategy\": \"default\",\n"
        " \"text_config\": {\"model_type\": \"llama\", \"hidden_size\": %d, \"num_hidden_layers\": %d, "
        "\"num_attention_heads\": %d, \"num_key_value_heads\": %d,\n"
        "  \"intermediate_size\": %d, \"vocab_size\": %d, \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-5, "
        "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\"},\n"
        " \"vision_config\": {\"model_type\": \"clip_vision_model\", \"hidden_size\": %d, "
        "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"intermediate_size\": %d,\n"
        "  \"image_size\": %d, \"patch_size\": %d, \"hidden_act\": \"quick_gelu\", \"layer_norm_eps\": 1e-5}}\n",
        s->vocab - 1, s->d, s->layers, s->heads, s->heads, s->ff, s->vocab, s->vd, s->vlayers, s->vheads, s->vff,
        s->image, s->patch);
    rc = ferror(f) ? err_set(CL_EIO, "cannot write %s: %s", path, strerror(errno)) : CL_OK;
done:
    if (f && fclose(f) && !rc) rc = err_set(CL_EIO, "cannot write %s: %s", path, strerror(errno));
    return rc;
}

int bench_model_write(const char *dir, const struct bench_shape *s)
{
    int rc;
    struct list l = {.room = 64 + 16 * (size_t)(s->layers + s->vlayers), .noise_n = largest(s)};
    uint16_t *noise = mem_new(l.noise_n, sizeof *noise), *ones = mem_new((size_t)(s->d + s->vd), sizeof *ones);
    char path[PATH_ROOM];

    l.a = mem_new(l.room, sizeof *l.a);
    l.name = mem_new(l.room, sizeof *l.name);
    if (!noise || !ones || !l.a || !l.name) FAIL(CL_ENOMEM, "no memory for a base of random weights");
    fill(noise, l.noise_n);
    for (int i = 0; i < s->d + s->vd; i++) ones[i] = f32_to_bf16(1);
    l.noise = noise, l.ones = ones;
    put_decoder(&l, s);
    put_tower(&l, s);
    TRY(write_config(dir, s));
    TRY(path_print(path, "%s/model.safetensors", dir));
    TRY(safetensors_write(path, l.a, l.n));
done:
    mem_free(noise), mem_free(ones), mem_free(l.a), mem_free(l.name);
    return rc;
}

/* Bytes of the whole base in bf16, about. */
static double base_bytes(const struct bench_shape *s)
{
    double d = s->d, vd = s->vd;

    return 2 * (s->layers * (4 * d * d + 3 * d * s->ff) + 2 * d * s->vocab +
                s->vlayers * (4 * vd * vd + 2 * vd * s->vff) + d * (vd + d));
}

static int check_room(const char *where, const struct bench_shape *s)
{
    struct statvfs v;
    double need = 1.05 * base_bytes(s) + (1 << 20);

    if (statvfs(where, &v)) return err_set(CL_EIO, "%s: %s; hint: set TMPDIR", where, strerror(errno));
    if ((double)v.f_bavail * (double)v.f_frsize >= need) return CL_OK;
    return err_set(CL_EIO, "%s: %.1f GB are free (expected %.1f GB for a base of shape %s); hint: set TMPDIR", where,
                   (double)v.f_bavail * (double)v.f_frsize / 1e9, need / 1e9, s->name);
}

int bench_model_make(char **dir, const struct bench_shape *s)
{
    int rc;
    const char *tmp = getenv("TMPDIR");
    char *made = NULL;

    *dir = NULL;
    if (!tmp || !*tmp) tmp = "/tmp";
    TRY(check_room(tmp, s));
    if (asprintf(&made, "%s/cllava-bench-XXXXXX", tmp) < 0) {
        made = NULL;
        FAIL(CL_ENOMEM, "no memory for a path");
    }
    if (!mkdtemp(made)) FAIL(CL_EIO, "cannot make %s: %s; hint: set TMPDIR", made, strerror(errno));
    if ((rc = bench_model_write(made, s))) {
        bench_model_remove(made);
        made = NULL;
        goto done;
    }
    *dir = made, made = NULL;
done:
    free(made);
    return rc;
}

void bench_model_remove(char *dir)
{
    char path[PATH_ROOM];

    if (!dir) return;
    if (!path_print(path, "%s/config.json", dir)) unlink(path);
    if (!path_print(path, "%s/model.safetensors", dir)) unlink(path);
    rmdir(dir);
    free(dir);
}
