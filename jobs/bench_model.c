/* bench_model.c - a base of random weights.
 *
 * A number depends on its tensor's name and its place alone, so that bases are written as a stream, of any size, by all threads;
 * large ones in shards of 5 GB, as Hugging Face does.
 */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/err.h"
#include "io/path.h"
#include "io/safetensors.h"
#include "io/whole.h"
#include "jobs/bench.h"

static const struct bench_shape shapes[] = {
    {"tiny", 64, 2, 4, 128, 512, 32, 3, 2, 64, 28, 14, 8, 4},
    {"s", 512, 8, 8, 1376, 4096, 256, 6, 4, 1024, 112, 14, 64, 32},
    {"m", 2048, 12, 16, 5504, 32000, 1024, 24, 16, 4096, 336, 14, 64, 32},
    {"l", 4096, 32, 32, 11008, 32064, 1024, 24, 16, 4096, 336, 14, 64, 32}, // LLaVA-1.5-7B
};

const struct bench_shape *bench_shape_find(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (!strcmp(shapes[i].name, name)) return &shapes[i];
    return NULL;
}

/* ---- tensors */

enum { NAME = 96 };

struct list {
    struct st_array *a;
    char (*name)[NAME];
    size_t n;
};

/* A tensor of up to four dimensions (0: no further one). */
static void put(struct list *l, const char *name, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    struct st_array *a = &l->a[l->n];
    const int64_t size[] = {d0, d1, d2, d3};

    snprintf(l->name[l->n], NAME, "%s", name);
    *a = (struct st_array){.name = l->name[l->n], .type = DT_BF16};
    while (a->dims < 4 && size[a->dims]) a->shape[a->dims] = size[a->dims], a->dims++;
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

/* ---- numbers */

enum { VALUES = 4096, WORD = 4 }; // different values; numbers that 64 random bits give

/* Uniform in +-0.035: the spread of a fresh LLaMA (0.02), so that nothing grows out of range. */
static void make_values(uint16_t *value)
{
    for (int i = 0; i < VALUES; i++) value[i] = f32_to_bf16(0.035f * ((float)(2 * i + 1) / VALUES - 1));
}

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9;
    h = (h ^ h >> 27) * 0x94d049bb133111eb;
    return h ^ h >> 31;
}

static bool is_gain(const char *name)
{
    const char *end = strrchr(name, '.');

    return strstr(name, "norm") && end && !strcmp(end, ".weight");
}

/* Gains of norms are 1, all else is random. */
static void fill(void *context, const struct st_array *a, size_t at, void *out, size_t bytes)
{
    const uint16_t *value = context;
    const uint64_t seed = safetensors_hash_bytes(0, a->name, strlen(a->name)) + at / (WORD * sizeof *value);
    const size_t n = bytes / sizeof *value;
    uint16_t *to = out;

    if (is_gain(a->name)) {
        for (size_t i = 0; i < n; i++) to[i] = f32_to_bf16(1);
        return;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n / WORD; i++) {
        uint64_t word = mix((seed + i) * 0x9e3779b97f4a7c15);
        for (size_t k = 0; k < WORD; k++) to[i * WORD + k] = value[word >> 16 * k & (VALUES - 1)];
    }
    for (size_t i = n / WORD * WORD; i < n; i++) to[i] = value[mix(seed ^ ~i) & (VALUES - 1)];
}

/* ---- files */

static size_t bytes_of(const struct st_array *a)
{
    size_t n = sizeof(uint16_t);

    for (int i = 0; i < a->dims; i++) n *= (size_t)a->shape[i];
    return n;
}

/* Arrays from `first` on that a file holds. */
static size_t shard_end(const struct list *l, size_t first, double shard)
{
    double sum = 0;
    size_t i = first;

    while (i < l->n && (i == first || sum + (double)bytes_of(&l->a[i]) <= shard)) sum += (double)bytes_of(&l->a[i++]);
    return i;
}

static int write_index(const char *dir, json_t *map, double bytes)
{
    int rc;
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)bytes, "weight_map", map);
    char *text = index ? json_dumps(index, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;

    rc = text ? whole_write(dir, "model.safetensors.index.json", text, strlen(text))
              : err_set(CL_ENOMEM, "no memory for an index");
    free(text);
    json_decref(index);
    return rc;
}

static int write_weights(const char *dir, const struct list *l, double shard, uint16_t *value)
{
    int rc;
    int files = 0, file = 0;
    double bytes = 0;
    char name[64], path[PATH_ROOM];
    json_t *map = json_object();

    for (size_t i = 0; i < l->n; i = shard_end(l, i, shard)) files++;
    for (size_t first = 0, end; first < l->n; first = end) {
        end = shard_end(l, first, shard);
        snprintf(name, sizeof name, files == 1 ? "model.safetensors" : "model-%05d-of-%05d.safetensors", ++file, files);
        for (size_t i = first; i < end; i++) {
            bytes += (double)bytes_of(&l->a[i]);
            json_object_set_new(map, l->a[i].name, json_string(name));
        }
        TRY(path_print(path, "%s/%s", dir, name));
        TRY(safetensors_write_filled(path, l->a + first, end - first, fill, value));
    }
    if (files > 1) TRY(write_index(dir, map, bytes));
    rc = CL_OK;
done:
    json_decref(map);
    return rc;
}

int bench_model_write_shards(const char *dir, const struct bench_shape *s, double shard)
{
    int rc;
    struct list l = {0};
    const size_t room = 64 + 16 * (size_t)(s->layers + s->vlayers);
    uint16_t value[VALUES];

    l.a = mem_new(room, sizeof *l.a);
    l.name = mem_new(room, sizeof *l.name);
    if (!l.a || !l.name) FAIL(CL_ENOMEM, "no memory for a base of random weights");
    make_values(value);
    put_decoder(&l, s);
    put_tower(&l, s);
    TRY(bench_files_write(dir, s));
    TRY(write_weights(dir, &l, shard, value));
done:
    mem_free(l.a), mem_free(l.name);
    return rc;
}

int bench_model_write(const char *dir, const struct bench_shape *s)
{
    return bench_model_write_shards(dir, s, 5e9);
}

/* Bytes of the whole base in bf16, about. */
static double base_bytes(const struct bench_shape *s)
{
    double d = s->d, vd = s->vd;

    return 2 * (s->layers * (4 * d * d + 3 * d * s->ff) + 2 * d * s->vocab +
                s->vlayers * (4 * vd * vd + 2 * vd * s->vff) + d * (vd + d));
}

int bench_model_check_room(const char *where, const struct bench_shape *s)
{
    struct statvfs v;
    double need = 1.05 * base_bytes(s) + (1 << 20);

    if (statvfs(where, &v)) return err_set(CL_EIO, "%s: %s", where, strerror(errno));
    if ((double)v.f_bavail * (double)v.f_frsize >= need) return CL_OK;
    return err_set(CL_EIO, "%s: %.1f GB are free (expected %.1f GB for a base of shape %s)", where,
                   (double)v.f_bavail * (double)v.f_frsize / 1e9, need / 1e9, s->name);
}

static const char *folder_of_temporaries(void)
{
    const char *tmp = getenv("TMPDIR");

    return tmp && *tmp ? tmp : "/tmp";
}

int bench_folder_make(char **dir)
{
    int rc = CL_OK;
    char *made = NULL;

    *dir = NULL;
    if (asprintf(&made, "%s/cllava-bench-XXXXXX", folder_of_temporaries()) < 0) {
        made = NULL;
        FAIL(CL_ENOMEM, "no memory for a path");
    }
    if (!mkdtemp(made)) FAIL(CL_EIO, "cannot make %s: %s; hint: set TMPDIR", made, strerror(errno));
    *dir = made, made = NULL;
done:
    free(made);
    return rc;
}

int bench_model_make(char **dir, const struct bench_shape *s)
{
    int rc;

    *dir = NULL;
    if ((rc = bench_model_check_room(folder_of_temporaries(), s))) FAIL(rc, "%s; hint: set TMPDIR", err_text());
    TRY(bench_folder_make(dir));
    if (!(rc = bench_model_write(*dir, s))) return CL_OK;
    bench_model_remove(*dir);
    *dir = NULL;
done:
    return rc;
}

void bench_model_remove(char *dir)
{
    char path[PATH_ROOM];
    const struct dirent *e;
    DIR *d = dir ? opendir(dir) : NULL;

    while (d && (e = readdir(d)))
        if (*e->d_name != '.' && !path_print(path, "%s/%s", dir, e->d_name)) unlink(path);
    if (d) closedir(d);
    if (dir) rmdir(dir);
    free(dir);
}
