/* test_safetensors.c - reading and writing named arrays; every kind of broken file; names of all generations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "io/safetensors.h"
#include "folder.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    return folder_new(dir);
}

static int remove_dir(void **state)
{
    (void)state;
    return folder_remove(dir);
}

static const char *in_dir(const char *file)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, file);
    return path[turn];
}

/* header_length SIZE_MAX: the true one. */
static void write_raw(const char *file, const char *header, size_t header_length, const void *data, size_t n)
{
    FILE *f = fopen(in_dir(file), "wb");
    uint64_t length = header_length == SIZE_MAX ? strlen(header) : header_length;

    assert_non_null(f);
    assert_int_equal(fwrite(&length, sizeof length, 1, f), 1);
    assert_int_equal(fwrite(header, 1, strlen(header), f), strlen(header));
    if (n) assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_text(const char *file, const char *text)
{
    FILE *f = fopen(in_dir(file), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* Opening the path fails with this code, and the text holds every given part. */
static void refuse(const char *path, int code, const char *part, const char *part2)
{
    struct safetensors *st = (void *)1;

    assert_int_equal(safetensors_open(&st, path), code);
    assert_null(st);
    if (!strstr(err_text(), part)) fail_msg("no \"%s\" in: %s", part, err_text());
    if (part2 && !strstr(err_text(), part2)) fail_msg("no \"%s\" in: %s", part2, err_text());
}

static void refuse_header(const char *header, size_t data, const char *part)
{
    static const char zeros[256];
    write_raw("bad.safetensors", header, SIZE_MAX, zeros, data);
    refuse(in_dir("bad.safetensors"), CL_EFORMAT, part, "bad.safetensors");
}

static struct st_array array_of(const char *name, enum dtype type, const void *data, int dims, int64_t a, int64_t b)
{
    return (struct st_array){.name = name, .type = type, .dims = dims, .shape = {a, b}, .data = data};
}

static void round_trip(void **state)
{
    static const float f[6] = {1, -2, 3.5f, 0, 1e-30f, 7};
    static const uint16_t h[3] = {0x3f80, 0xbf80, 0x4000}, g[2] = {0x3c00, 0xc000};
    static const int64_t big[2] = {1, INT64_MIN};
    static const uint8_t u[5] = {1, 2, 3, 4, 255};
    const struct st_array all[] = {
        array_of("b.weight", DT_BF16, h, 1, 3, 0),  array_of("a.weight", DT_F32, f, 2, 2, 3),
        array_of("half", DT_F16, g, 2, 1, 2),       array_of("ids", DT_I64, big, 1, 2, 0),
        array_of("bytes", DT_U8, u, 1, 5, 0),       array_of("none", DT_F32, f, 2, 0, 7),
        array_of("scalar", DT_F32, f + 2, 0, 0, 0), array_of("naïve \"q\"", DT_F32, f, 1, 1, 0)};
    const size_t n = sizeof all / sizeof *all;
    struct safetensors *st;
    (void)state;

    assert_int_equal(safetensors_write(in_dir("x.safetensors"), all, n), 0);
    assert_int_equal(safetensors_open(&st, in_dir("x.safetensors")), 0);
    assert_int_equal(safetensors_count(st), n);
    for (size_t i = 0; i < n; i++) {
        const struct st_array *a = safetensors_find_exact(st, all[i].name);
        size_t bytes = dtype_size(all[i].type);
        assert_non_null(a);
        assert_int_equal(a->type, all[i].type);
        assert_int_equal(a->dims, all[i].dims);
        for (int d = 0; d < a->dims; d++) assert_int_equal(a->shape[d], all[i].shape[d]);
        for (int d = 0; d < a->dims; d++) bytes *= (size_t)a->shape[d];
        assert_memory_equal(a->data, all[i].data, bytes);
        assert_non_null(strstr(a->file, "x.safetensors"));
    }
    assert_null(safetensors_find_exact(st, "c.weight"));
    assert_null(safetensors_at(st, n));
    safetensors_close(st);
}

/* Each number is its own place; counts the calls. */
static void count_up(void *context, const struct st_array *a, size_t at, void *out, size_t n)
{
    uint32_t *to = out, first = (uint32_t)(at / 4);

    assert_string_equal(a->name, *(int *)context < 3 ? "long" : "short");
    for (size_t i = 0; i < n / 4; i++) to[i] = first + (uint32_t)i;
    ++*(int *)context;
}

/* Arrays that are made while they are written, some piece by piece. */
static void filled(void **state)
{
    enum { N = 5 << 20 };
    struct st_array all[] = {array_of("empty", DT_I32, NULL, 1, 0, 0), array_of("long", DT_I32, NULL, 1, N, 0),
                             array_of("short", DT_I32, NULL, 2, 3, 1)};
    struct safetensors *st;
    int calls = 0;
    (void)state;

    assert_int_equal(safetensors_write_filled(in_dir("f.safetensors"), all, 3, count_up, &calls), 0);
    assert_int_equal(calls, 4); // nothing of the empty one, three pieces of the long one
    assert_int_equal(safetensors_open(&st, in_dir("f.safetensors")), 0);
    for (int i = 1; i < 3; i++) {
        const uint32_t *x = safetensors_find_exact(st, all[i].name)->data;
        for (uint32_t k = 0; k < (i == 1 ? N : 3); k++) assert_int_equal(x[k], k);
    }
    safetensors_close(st);
}

static void write_fails(void **state)
{
    static const float f[2];
    const struct st_array twice[] = {array_of("a", DT_F32, f, 1, 2, 0), array_of("a", DT_F32, f, 1, 2, 0)};
    (void)state;

    assert_int_equal(safetensors_write(in_dir("absent/x.safetensors"), twice, 1), CL_EIO);
    assert_non_null(strstr(err_text(), "absent/x.safetensors"));
    assert_int_equal(safetensors_write(in_dir("twice.safetensors"), twice, 2), CL_EINTERNAL);
    assert_int_not_equal(access(in_dir("twice.safetensors"), F_OK), 0);
}

static void broken_files(void **state)
{
    static const char good[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    static const float f[2];
    FILE *file;
    (void)state;

    refuse(in_dir("absent.safetensors"), CL_EIO, "absent.safetensors", "No such file");
    file = fopen(in_dir("bad.safetensors"), "wb");
    fwrite("abc", 1, 3, file);
    fclose(file);
    refuse(in_dir("bad.safetensors"), CL_EFORMAT, "3 bytes", NULL);
    write_raw("bad.safetensors", good, SIZE_MAX - 1, f, sizeof f);
    refuse(in_dir("bad.safetensors"), CL_EFORMAT, "header", "allows");
    write_raw("bad.safetensors", good, strlen(good) + 9, f, sizeof f);
    refuse(in_dir("bad.safetensors"), CL_EFORMAT, "header", "cut short");
    write_raw("bad.safetensors", good, strlen(good) - 1, f, sizeof f);
    refuse(in_dir("bad.safetensors"), CL_EFORMAT, "not JSON", NULL);
    write_raw("bad.safetensors", good, SIZE_MAX, f, 7); // the last byte is missing
    refuse(in_dir("bad.safetensors"), CL_EFORMAT, "tensor a", "cut short");
    write_raw("bad.safetensors", good, SIZE_MAX, (const char[12]){0}, 12);
    refuse(in_dir("bad.safetensors"), CL_EFORMAT, "4 bytes after", NULL);
}

#define A "{\"a\":{\"dtype\":\"F32\","
static void broken_headers(void **state)
{
    (void)state;
    refuse_header("[1]", 0, "no JSON object");
    refuse_header("{\"a\":1}", 0, "no JSON object");
    refuse_header("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "dtype is missing");
    refuse_header("{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, "F8_E4M3");
    refuse_header(A "\"data_offsets\":[0,8]}}", 8, "shape is missing");
    refuse_header(A "\"shape\":[-1],\"data_offsets\":[0,8]}}", 8, "shape[0]");
    refuse_header(A "\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, "shape[0]");
    refuse_header(A "\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "9 dimensions");
    refuse_header(A "\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "too large");
    refuse_header(A "\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "too large");
    refuse_header(A "\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0, "not JSON");
    refuse_header(A "\"shape\":[2]}}", 8, "data_offsets");
    refuse_header(A "\"shape\":[2],\"data_offsets\":[0]}}", 8, "data_offsets");
    refuse_header(A "\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "outside");
    refuse_header(A "\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "outside");
    refuse_header(A "\"shape\":[2],\"data_offsets\":[8,16]}}", 8, "outside");
    refuse_header(A "\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "ask for 12");
    refuse_header(
        A "\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
        "overlaps");
    refuse_header(
        A "\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", 16,
        "gap");
    refuse_header(
        A "\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
        "not JSON");
    refuse_header("{\"model.a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                  "\"language_model.a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
                  8, "same tensor");
}

static void metadata_is_no_tensor(void **state)
{
    struct safetensors *st;
    (void)state;

    write_raw(
        "meta.safetensors",
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[0,1]}}   ",
        SIZE_MAX, "\1", 1);
    assert_int_equal(safetensors_open(&st, in_dir("meta.safetensors")), 0);
    assert_int_equal(safetensors_count(st), 1);
    assert_int_equal(safetensors_at(st, 0)->type, DT_U8);
    safetensors_close(st);
}

static void wanted_shapes(void **state)
{
    static const float f[6];
    static const int64_t i64[6];
    const struct st_array all[] = {array_of("model.layers.0.w", DT_F32, f, 2, 2, 3),
                                   array_of("ids", DT_I64, i64, 1, 6, 0)};
    const struct st_array *a;
    struct safetensors *st;
    (void)state;

    assert_int_equal(safetensors_write(in_dir("w.safetensors"), all, 2), 0);
    assert_int_equal(safetensors_open(&st, in_dir("w.safetensors")), 0);
    assert_int_equal(safetensors_want(&a, st, "layers.0.w", 2, 2, 3), 0);
    assert_string_equal(a->name, "model.layers.0.w");
    assert_int_equal(safetensors_want(&a, st, "layers.0.w", 2, -1, 3), 0);
    assert_int_equal(safetensors_want(&a, st, "layers.0.w", 2, 3, 2), CL_EMISMATCH);
    assert_null(a);
    assert_non_null(strstr(err_text(), "shape (2, 3), expected (3, 2)"));
    assert_int_equal(safetensors_want(&a, st, "layers.0.w", 1, 6), CL_EMISMATCH);
    assert_int_equal(safetensors_want(&a, st, "layers.0.w", 3, 1, 2, 3), CL_EMISMATCH);
    assert_int_equal(safetensors_want(&a, st, "layers.1.w", 2, 2, -1), CL_EMISMATCH);
    assert_non_null(strstr(err_text(), "no tensor layers.1.w (expected shape (2, any))"));
    assert_int_equal(safetensors_want(&a, st, "ids", 1, 6), CL_EMISMATCH);
    assert_non_null(strstr(err_text(), "i64"));
    safetensors_close(st);
}

/* ---- directories */

static void write_shards(void)
{
    static const float f[6] = {1, 2, 3, 4, 5, 6};
    const struct st_array one[] = {array_of("model.b", DT_F32, f, 1, 2, 0), array_of("beyond", DT_F32, f, 1, 1, 0)};
    const struct st_array two[] = {array_of("model.a", DT_F32, f + 2, 2, 2, 2)};

    mkdir(in_dir("s"), 0755);
    assert_int_equal(safetensors_write(in_dir("s/one.safetensors"), one, 2), 0);
    assert_int_equal(safetensors_write(in_dir("s/two.safetensors"), two, 1), 0);
}

static void write_index(const char *map)
{
    char text[512];
    snprintf(text, sizeof text, "{\"metadata\":{},\"weight_map\":%s}", map);
    write_text("s/model.safetensors.index.json", text);
}

static void shards(void **state)
{
    struct safetensors *st;
    (void)state;

    write_shards();
    write_index("{\"model.a\":\"two.safetensors\",\"model.b\":\"one.safetensors\"}");
    assert_int_equal(safetensors_open(&st, in_dir("s")), 0);
    assert_int_equal(safetensors_count(st), 2); // not what the index does not name
    assert_non_null(strstr(safetensors_find(st, "a")->file, "two.safetensors"));
    assert_float_equal(((const float *)safetensors_find(st, "a")->data)[0], 3, 0);
    assert_float_equal(((const float *)safetensors_find(st, "b")->data)[0], 1, 0);
    safetensors_close(st);
}

static void broken_shards(void **state)
{
    (void)state;
    write_shards();
    write_index("{\"model.a\":\"two.safetensors\",\"model.b\":\"three.safetensors\"}");
    refuse(in_dir("s"), CL_EIO, "three.safetensors", "index.json");
    write_index("{\"model.a\":\"two.safetensors\",\"model.c\":\"two.safetensors\"}");
    refuse(in_dir("s"), CL_EFORMAT, "model.c", "two.safetensors");
    write_index("{\"model.a\":\"one.safetensors\",\"model.b\":\"one.safetensors\"}"); // is in the other
    refuse(in_dir("s"), CL_EFORMAT, "model.a", "one.safetensors");
    write_index("{\"model.a\":\"../s/two.safetensors\"}");
    refuse(in_dir("s"), CL_EFORMAT, "plain file name", NULL);
    write_index("{\"model.a\":\"..\"}");
    refuse(in_dir("s"), CL_EFORMAT, "plain file name", NULL);
    write_index("{\"model.a\":\"\"}");
    refuse(in_dir("s"), CL_EFORMAT, "plain file name", NULL);
    write_index("{\"model.a\":7}");
    refuse(in_dir("s"), CL_EFORMAT, "plain file name", NULL);
    write_index("{}");
    refuse(in_dir("s"), CL_EFORMAT, "empty", NULL);
    write_index("[]");
    refuse(in_dir("s"), CL_EFORMAT, "weight_map", NULL);
    write_text("s/model.safetensors.index.json", "{");
    refuse(in_dir("s"), CL_EFORMAT, "not JSON", "index.json");
}

static void no_weights(void **state)
{
    (void)state;
    mkdir(in_dir("e"), 0755);
    refuse(in_dir("e"), CL_EIO, "model.safetensors.index.json", NULL);
    write_text("e/pytorch_model.bin", "x");
    refuse(in_dir("e"), CL_EIO, "pytorch_model.bin", "save_pretrained");
}

/* ---- names, hash */

static void canonical_names(void **state)
{
    static const char *const pairs[][2] = {
        {"model.layers.3.mlp.up_proj.weight", "layers.3.mlp.up_proj.weight"},
        {"language_model.model.layers.3.mlp.up_proj.weight", "layers.3.mlp.up_proj.weight"},
        {"model.language_model.layers.3.mlp.up_proj.weight", "layers.3.mlp.up_proj.weight"},
        {"base_model.model.model.language_model.layers.3.mlp.up_proj.weight", "layers.3.mlp.up_proj.weight"},
        {"layers.3.mlp.up_proj.weight", "layers.3.mlp.up_proj.weight"},
        {"model.embed_tokens.weight", "embed_tokens.weight"},
        {"language_model.lm_head.weight", "lm_head.weight"},
        {"lm_head.weight", "lm_head.weight"},
        {"model.mm_projector.0.weight", "multi_modal_projector.linear_1.weight"},
        {"model.mm_projector.2.bias", "multi_modal_projector.linear_2.bias"},
        {"base_model.model.model.mm_projector.2.bias", "multi_modal_projector.linear_2.bias"},
        {"model.mm_projector.weight", "mm_projector.weight"},
        {"multi_modal_projector.linear_1.weight", "multi_modal_projector.linear_1.weight"},
        {"model.multi_modal_projector.linear_1.weight", "multi_modal_projector.linear_1.weight"},
        {"model.vision_tower.vision_tower.vision_model.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"},
        {"vision_tower.vision_model.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"},
        {"model.vision_tower.vision_model.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"},
        {"model.vision_tower.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"},
        {"vision_tower.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"},
        {"vision_model.pre_layrnorm.bias", "vision_tower.pre_layrnorm.bias"},
        {"encoder.layer.0.output.dense.weight", "encoder.layer.0.output.dense.weight"},
        {"", ""},
    };
    char name[256], small[4];
    (void)state;

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        safetensors_canonical(pairs[i][0], name, sizeof name);
        assert_string_equal(name, pairs[i][1]);
    }
    safetensors_canonical("model.norm.weight", small, sizeof small);
    assert_string_equal(small, "nor");
}

static uint64_t hash_of(const char *path)
{
    struct safetensors *st;
    uint64_t h;

    assert_int_equal(safetensors_open(&st, path), 0);
    h = safetensors_hash(st);
    assert_int_equal(h, safetensors_hash(st));
    safetensors_close(st);
    return h;
}

static uint64_t hash_written(const struct st_array *arrays, size_t n)
{
    assert_int_equal(safetensors_write(in_dir("h.safetensors"), arrays, n), 0);
    return hash_of(in_dir("h.safetensors"));
}

/* In any number of parts, more than there are blocks too. */
static void hash_in_parts(void **state)
{
    enum { N = 9 << 20 }; // 36 MiB, 9 blocks
    static float data[N];
    const struct st_array a[] = {array_of("long", DT_F32, data, 2, 9, 1 << 20),
                                 array_of("none", DT_F32, data, 1, 0, 0)};
    uint64_t whole;
    (void)state;

    for (int i = 0; i < N; i++) data[i] = (float)i;
    whole = hash_written(a, 2);
    for (int parts = 1; parts < 12; parts += 2) {
        uint64_t sum = 0;
        for (int p = 0; p < parts; p++)
            sum += safetensors_hash_part(&a[0], p, parts) + safetensors_hash_part(&a[1], p, parts);
        assert_true(sum == whole);
    }
    assert_true(safetensors_hash_part(&a[0], 0, 3) != safetensors_hash_part(&a[0], 1, 3));
}

/* Checkpoints name their base by it, so it stays what it was, however it is computed. */
static void hash_stays(void **state)
{
    static const uint64_t want[] = {0x626b96ca488c2d86, 0x9b841a018a730f3c, 0x2d0a341cca9ca4cc, 0x49a579d9f1d8bb4a,
                                    0xd2773120303ebc47};
    unsigned char bytes[100];
    (void)state;

    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 37 + 11);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_true(safetensors_hash_bytes(7 + 25 * i, bytes, 25 * i) == want[i]);
}

static void hash_sees_everything(void **state)
{
    enum { N = 3 << 20 }; // 12 MiB: several blocks
    float *f = calloc(N, sizeof *f);
    struct st_array all[] = {array_of("model.a", DT_F32, f, 2, N / 8, 8), array_of("b", DT_F32, f, 1, 5, 0)};
    struct st_array turned[2];
    uint64_t h;
    (void)state;

    for (int i = 0; i < N; i++) f[i] = (float)(i % 1000);
    h = hash_written(all, 2);
    turned[0] = all[1];
    turned[1] = all[0];
    turned[1].name = "language_model.model.a"; // another generation's name, another order: the same base
    assert_int_equal(h, hash_written(turned, 2));
    assert_int_not_equal(h, hash_written(all, 1));
    for (int i = 0; i < N; i += N / 7) {
        float keep = f[i];
        f[i] = -1;
        assert_int_not_equal(h, hash_written(all, 2));
        f[i] = keep;
    }
    for (int i = 0; i < N / 3; i++) { // two whole blocks change places
        float keep = f[i];
        f[i] = f[i + N / 3] + 0.25f;
        f[i + N / 3] = keep;
    }
    uint64_t turned_round = hash_written(all, 1); // the second array reads the same numbers
    for (int i = 0; i < N / 3; i++) {
        float keep = f[i];
        f[i] = f[i + N / 3];
        f[i + N / 3] = keep;
    }
    assert_int_not_equal(turned_round, hash_written(all, 1));
    for (int i = 0; i < N; i++) f[i] = (float)(i % 1000);
    all[0].shape[0] = N / 4, all[0].shape[1] = 4;
    assert_int_not_equal(h, hash_written(all, 2));
    all[0].shape[0] = N / 8, all[0].shape[1] = 8;
    all[0].type = DT_I32;
    assert_int_not_equal(h, hash_written(all, 2));
    all[0].type = DT_F32;
    all[0].name = "c";
    assert_int_not_equal(h, hash_written(all, 2));
    all[0].name = "model.a";
    assert_int_equal(h, hash_written(all, 2));
    free(f);
}

static void golden_bases(void **state)
{
    static const struct {
        const char *set, *name;
        enum dtype type;
        int rows, cols;
    } want[] = {{"a", "embed_tokens.weight", DT_F32, 448, 64},
                {"a", "lm_head.weight", DT_F32, 448, 64},
                {"b", "layers.3.self_attn.k_proj.weight", DT_BF16, 32, 96},
                {"b", "vision_tower.encoder.layers.1.mlp.fc1.weight", DT_BF16, 96, 48},
                {"b", "multi_modal_projector.linear_2.weight", DT_BF16, 96, 96}};
    char path[512];
    (void)state;

    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const struct st_array *a;
        struct safetensors *st;
        snprintf(path, sizeof path, "%s/golden/%s/base", SOURCE_DIR, want[i].set);
        assert_int_equal(safetensors_open(&st, path), 0);
        assert_int_equal(safetensors_want(&a, st, want[i].name, 2, want[i].rows, want[i].cols), 0);
        assert_int_equal(a->type, want[i].type);
        safetensors_close(st);
    }
}

/* Pages of files that this process holds. */
static long file_pages(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long all, resident, shared;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld %ld", &all, &resident, &shared), 3);
    fclose(f);
    return shared;
}

/* What is forgotten leaves the process's memory and reads the same afterwards. */
static void forgotten_arrays_come_back(void **state)
{
    enum { N = 4 << 20 };
    float *data = malloc(N * sizeof *data);
    struct st_array out = {.name = "x", .type = DT_F32, .dims = 1, .shape = {N}, .data = data};
    struct safetensors *st;
    const struct st_array *a;
    (void)state;
    assert_non_null(data);
    for (int i = 0; i < N; i++) data[i] = (float)i;
    assert_int_equal(safetensors_write(in_dir("big.safetensors"), &out, 1), 0);
    assert_int_equal(safetensors_open(&st, in_dir("big.safetensors")), 0);
    a = safetensors_find(st, "x");
    assert_memory_equal(a->data, data, N * sizeof *data);
    const long before = file_pages(), size = (long)(N * sizeof *data) / sysconf(_SC_PAGESIZE);
    safetensors_forget(a);
    assert_true(file_pages() < before - size / 2);
    assert_memory_equal(a->data, data, N * sizeof *data);
    safetensors_close(st);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(filled),
        cmocka_unit_test(write_fails),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(broken_headers),
        cmocka_unit_test(wanted_shapes),
        cmocka_unit_test(metadata_is_no_tensor),
        cmocka_unit_test(shards),
        cmocka_unit_test(broken_shards),
        cmocka_unit_test(no_weights),
        cmocka_unit_test(canonical_names),
        cmocka_unit_test(golden_bases),
        cmocka_unit_test(hash_in_parts),
        cmocka_unit_test(hash_stays),
        cmocka_unit_test(hash_sees_everything),
        cmocka_unit_test(forgotten_arrays_come_back),
    };
    return cmocka_run_group_tests_name("safetensors", tests, make_dir, remove_dir);
}
