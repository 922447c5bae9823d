/* test_vision.c - tower and projector against the golden sets and against a plain reference in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden_file.h"
#include "io/err.h"
#include "model/vision.h"

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

/* A model on a backend; results come back as f32. */
struct tower {
    const struct backend *be;
    struct safetensors *st;
    struct lvlm_config c;
    struct vision *v;
};

static void open_tower(struct tower *t, const char *dir, enum dtype precision)
{
    if (backend_cpu(&t->be, precision)) fail_msg("%s", err_text());
    if (lvlm_config_read(&t->c, dir)) fail_msg("%s", err_text());
    if (safetensors_open(&t->st, dir)) fail_msg("%s", err_text());
    if (vision_open(&t->v, t->st, &t->c, t->be, NULL)) fail_msg("%s", err_text());
    safetensors_close(t->st); // the weights are the tower's own now
}

/* features (n * tokens, hidden), projected (n * tokens, D) host f32; either may be NULL. */
static void see(struct tower *t, float *features, float *projected, const float *pixels, int n)
{
    const int64_t rows = (int64_t)n * t->c.vision.tokens, h = t->c.vision.hidden, d = t->c.text.hidden;
    struct tensor f = tensor_of(t->be->alloc((size_t)(rows * h) * 4), t->be->act, rows, h);
    struct tensor f32 = tensor_of(t->be->alloc((size_t)(rows * h) * 4), DT_F32, rows, h);
    struct tensor p = tensor_of(t->be->alloc((size_t)(rows * d) * 4), DT_F32, rows, d);

    struct tensor each[16];

    assert_true(n <= 16);
    for (int i = 0; i < n; i++) each[i] = tensor_rows(f, (int64_t)i * t->c.vision.tokens, t->c.vision.tokens);
    assert_int_equal(vision_tower(t->v, each, pixels, n), 0);
    assert_int_equal(t->be->copy(f32, f), 0);
    assert_int_equal(vision_project(t->v, p, f), 0);
    if (features) assert_int_equal(t->be->download(features, f32.data, (size_t)(rows * h) * 4), 0);
    if (projected) assert_int_equal(t->be->download(projected, p.data, (size_t)(rows * d) * 4), 0);
    t->be->free(f.data);
    t->be->free(f32.data);
    t->be->free(p.data);
}

/* ---- the golden sets */

/* Every picture of the set against its numbers. */
static void compare_set(const char *set, enum dtype precision, double within)
{
    char dir[512];
    struct tower t;
    hid_t g = golden_open(set);
    int seen = 0;

    snprintf(dir, sizeof dir, SOURCE_DIR "/golden/%s/base", set);
    open_tower(&t, dir, precision);
    assert_true(vision_weight_bytes(t.v) > 0);
    for (int task = 0; task < 2; task++)
        for (int i = 0; golden_has(g, "forward/%d/%d", task, i); i++) {
            size_t n, nv, np;
            if (!golden_has(g, "forward/%d/%d/pixels", task, i)) continue;
            float *pixels = golden_read_f32(g, &n, "forward/%d/%d/pixels", task, i);
            float *vision = golden_read_f32(g, &nv, "forward/%d/%d/vision", task, i);
            float *projector = golden_read_f32(g, &np, "forward/%d/%d/projector", task, i);
            float *features = calloc(nv, sizeof *features), *projected = calloc(np, sizeof *projected);
            see(&t, features, projected, pixels, 1);
            double dv = distance(features, vision, nv), dp = distance(projected, projector, np);
            if (dv > within || dp > within)
                fail_msg("%s %d/%d: features differ by %g, projected by %g", set, task, i, dv, dp);
            seen++;
            free(pixels), free(vision), free(projector), free(features), free(projected);
        }
    assert_int_equal(seen, 6); // the first three pictures of each task
    vision_close(t.v);
    golden_close(g);
}

static void golden_a(void **state)
{
    (void)state;
    compare_set("a", DT_F32, 1e-4);
}

static void golden_b(void **state)
{
    (void)state;
    compare_set("b", DT_F32, 1e-4);
}

static void golden_bf16(void **state)
{
    const struct backend *be;
    (void)state;

    if (backend_cpu(&be, DT_BF16)) {
        print_message("skipped: %s\n", err_text());
        skip();
    }
    compare_set("a", DT_BF16, 2e-2);
    compare_set("b", DT_BF16, 2e-2);
}

/* However many pictures go through at once, each gives what it gives alone. */
static void chunks(void **state)
{
    enum { N = 7 };
    struct tower t;
    (void)state;

    open_tower(&t, SOURCE_DIR "/golden/a/base", DT_F32);
    const size_t picture = (size_t)(3 * t.c.vision.image_size * t.c.vision.image_size);
    const size_t nf = (size_t)(t.c.vision.tokens * t.c.vision.hidden),
                 np = (size_t)(t.c.vision.tokens * t.c.text.hidden);
    float *pixels = calloc(N * picture, sizeof *pixels), *alone = calloc(N * nf, sizeof *alone),
          *projected = calloc(N * np, sizeof *projected);
    float *features = calloc(N * nf, sizeof *features), *together = calloc(N * np, sizeof *together);

    for (size_t i = 0; i < N * picture; i++) pixels[i] = (float)sin((double)i * 0.37);
    for (int i = 0; i < N; i++) see(&t, alone + i * nf, projected + i * np, pixels + i * picture, 1);
    static const int room[][2] = {{2, 1}, {3, 5}, {7, 7}};
    for (size_t k = 0; k < sizeof room / sizeof *room; k++) {
        assert_int_equal(vision_reserve(t.v, room[k][0], room[k][1]), 0);
        see(&t, features, together, pixels, N);
        assert_true(distance(features, alone, N * nf) < 1e-6);
        assert_true(distance(together, projected, N * np) < 1e-6);
    }
    struct tensor wrong = tensor_of(features, DT_F32, t.c.vision.tokens + 1, t.c.vision.hidden);
    assert_int_equal(vision_tower(t.v, &wrong, pixels, 1), CL_EINTERNAL);
    free(pixels), free(alone), free(projected), free(features), free(together);
    vision_close(t.v);
}

/* ---- a made-up model of LLaVA's own names and a plain reference */

enum {
    H = 12,
    F = 20,
    L = 3,
    HEADS = 3,
    SIZE = 20,
    PATCH = 8,
    SIDE = 2,
    ROWS = SIDE * SIDE + 1,
    U = 3 * PATCH * PATCH,
    D = 10,
    MOST = 80
};

struct made {
    char names[MOST][128];
    struct st_array array[MOST];
    size_t n;
};

static float next_number(void)
{
    static uint32_t s = 12345;
    s = s * 1664525 + 1013904223;
    return (float)(s >> 8) / (1 << 24) - 0.5f;
}

/* A new array of this name, as f32 with values that bf16 holds exactly: so the file may be of either type. */
static void make(struct made *m, const char *name, int dims, int a, int b, int c, int d)
{
    const int64_t shape[4] = {a, b, c, d};
    struct st_array *x = &m->array[m->n];
    size_t n = 1;
    float *data;

    snprintf(m->names[m->n], sizeof m->names[0], "%s", name);
    *x = (struct st_array){.name = m->names[m->n], .type = DT_F32, .dims = dims};
    for (int i = 0; i < dims; i++) n *= (size_t)(x->shape[i] = shape[i]);
    x->data = data = calloc(n, sizeof *data);
    for (size_t i = 0; i < n; i++) data[i] = bf16_to_f32(f32_to_bf16(next_number() * 1.5f));
    m->n++;
    assert_true(m->n < MOST);
}

static void make_model(struct made *m)
{
    static const char tower[] = "model.vision_tower.vision_tower.vision_model.";
    static const struct {
        const char *name;
        int out, in;
    } part[] = {{"self_attn.q_proj", H, H},   {"self_attn.k_proj", H, H}, {"self_attn.v_proj", H, H},
                {"self_attn.out_proj", H, H}, {"mlp.fc1", F, H},          {"mlp.fc2", H, F},
                {"layer_norm1", H, 0},        {"layer_norm2", H, 0}};
    char name[256];

    snprintf(name, sizeof name, "%sembeddings.class_embedding", tower);
    make(m, name, 1, H, 0, 0, 0);
    snprintf(name, sizeof name, "%sembeddings.patch_embedding.weight", tower);
    make(m, name, 4, H, 3, PATCH, PATCH);
    snprintf(name, sizeof name, "%sembeddings.position_embedding.weight", tower);
    make(m, name, 2, ROWS, H, 0, 0);
    snprintf(name, sizeof name, "%spre_layrnorm.weight", tower);
    make(m, name, 1, H, 0, 0, 0);
    snprintf(name, sizeof name, "%spre_layrnorm.bias", tower);
    make(m, name, 1, H, 0, 0, 0);
    for (int l = 0; l < L; l++)
        for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
            snprintf(name, sizeof name, "%sencoder.layers.%d.%s.weight", tower, l, part[i].name);
            make(m, name, part[i].in ? 2 : 1, part[i].out, part[i].in, 0, 0);
            snprintf(name, sizeof name, "%sencoder.layers.%d.%s.bias", tower, l, part[i].name);
            make(m, name, 1, part[i].out, 0, 0, 0);
        }
    make(m, "model.mm_projector.0.weight", 2, D, H, 0, 0);
    make(m, "model.mm_projector.0.bias", 1, D, 0, 0, 0);
    make(m, "model.mm_projector.2.weight", 2, D, D, 0, 0);
    make(m, "model.mm_projector.2.bias", 1, D, 0, 0, 0);
}

static void free_model(struct made *m)
{
    for (size_t i = 0; i < m->n; i++) free((void *)m->array[i].data);
}

/* By the end of its name. */
static const float *get(const struct made *m, const char *fmt, ...)
{
    char end[128];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(end, sizeof end, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < m->n; i++) {
        size_t n = strlen(m->names[i]), k = strlen(end);
        if (n >= k && !strcmp(m->names[i] + n - k, end)) return m->array[i].data;
    }
    fail_msg("no %s", end);
    return NULL;
}

static double activation(double x, enum activation kind)
{
    switch (kind) {
    case ACT_GELU: return x * 0.5 * (1 + erf(x / sqrt(2)));
    case ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case ACT_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ACT_SILU: return x / (1 + exp(-x));
    default: return x > 0 ? x : 0;
    }
}

static void linear(double *y, const double *x, const float *w, const float *b, int out, int in)
{
    for (int o = 0; o < out; o++) {
        y[o] = b ? b[o] : 0;
        for (int i = 0; i < in; i++) y[o] += x[i] * w[o * in + i];
    }
}

static void layer_norm(double *y, const double *x, const float *gain, const float *bias)
{
    double mean = 0, var = 0;

    for (int i = 0; i < H; i++) mean += x[i] / H;
    for (int i = 0; i < H; i++) var += (x[i] - mean) * (x[i] - mean) / H;
    for (int i = 0; i < H; i++) y[i] = (x[i] - mean) / sqrt(var + 1e-5) * gain[i] + bias[i];
}

static void attend(double (*o)[H], double (*q)[H], double (*k)[H], double (*v)[H])
{
    const int d = H / HEADS;

    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < ROWS; i++) {
            double p[ROWS], sum = 0;
            for (int j = 0; j < ROWS; j++) {
                double dot = 0;
                for (int c = h * d; c < (h + 1) * d; c++) dot += q[i][c] * k[j][c];
                sum += p[j] = exp(dot / sqrt(d));
            }
            for (int c = h * d; c < (h + 1) * d; c++) {
                o[i][c] = 0;
                for (int j = 0; j < ROWS; j++) o[i][c] += p[j] / sum * v[j][c];
            }
        }
}

static void reference_block(double (*x)[H], const struct made *m, int l, enum activation act)
{
    double n[H], q[ROWS][H], k[ROWS][H], v[ROWS][H], o[ROWS][H], mid[F], y[H];
#define W(name) get(m, "layers.%d." name ".weight", l), get(m, "layers.%d." name ".bias", l)
    for (int i = 0; i < ROWS; i++) {
        layer_norm(n, x[i], W("layer_norm1"));
        linear(q[i], n, W("self_attn.q_proj"), H, H);
        linear(k[i], n, W("self_attn.k_proj"), H, H);
        linear(v[i], n, W("self_attn.v_proj"), H, H);
    }
    attend(o, q, k, v);
    for (int i = 0; i < ROWS; i++) {
        linear(y, o[i], W("self_attn.out_proj"), H, H);
        for (int c = 0; c < H; c++) x[i][c] += y[c];
        layer_norm(n, x[i], W("layer_norm2"));
        linear(mid, n, W("mlp.fc1"), F, H);
        for (int c = 0; c < F; c++) mid[c] = activation(mid[c], act);
        linear(y, mid, W("mlp.fc2"), H, F);
        for (int c = 0; c < H; c++) x[i][c] += y[c];
    }
#undef W
}

/* features (tokens, H), projected (tokens, D) of one picture. */
static void reference(float *features, float *projected, const struct made *m, const struct lvlm_config *c,
                      const float *pixels)
{
    double x[ROWS][H], n[H], mid[D], y[D], patch[U];
    const float *bias1 = c->projector_bias ? get(m, "mm_projector.0.bias") : NULL;
    const float *bias2 = c->projector_bias ? get(m, "mm_projector.2.bias") : NULL;
    const int first = !c->vision.keep_cls;

    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; i && j < U; j++) {
            const int ch = j / (PATCH * PATCH), py = j / PATCH % PATCH, px = j % PATCH;
            patch[j] = pixels[(ch * SIZE + (i - 1) / SIDE * PATCH + py) * SIZE + (i - 1) % SIDE * PATCH + px];
        }
        if (i) linear(x[i], patch, get(m, "patch_embedding.weight"), NULL, H, U);
        for (int k = 0; k < H; k++)
            x[i][k] = (i ? x[i][k] : get(m, "class_embedding")[k]) + get(m, "position_embedding.weight")[i * H + k];
        layer_norm(n, x[i], get(m, "pre_layrnorm.weight"), get(m, "pre_layrnorm.bias"));
        memcpy(x[i], n, sizeof n);
    }
    for (int l = 0; l < c->vision.feature_layers; l++) reference_block(x, m, l, c->vision.act);
    for (int i = first; i < ROWS; i++) {
        linear(mid, x[i], get(m, "mm_projector.0.weight"), bias1, D, H);
        for (int k = 0; k < D; k++) mid[k] = activation(mid[k], c->projector_act);
        linear(y, mid, get(m, "mm_projector.2.weight"), bias2, D, D);
        for (int k = 0; k < H; k++) features[(i - first) * H + k] = (float)x[i][k];
        for (int k = 0; k < D; k++) projected[(i - first) * D + k] = (float)y[k];
    }
}

static struct lvlm_config made_config(void)
{
    return (struct lvlm_config){.vision = {.hidden = H,
                                           .ffn = F,
                                           .layers = L,
                                           .heads = HEADS,
                                           .image_size = SIZE,
                                           .patch = PATCH,
                                           .channels = 3,
                                           .eps = 1e-5f,
                                           .act = ACT_QUICK_GELU,
                                           .feature_layers = 2,
                                           .tokens = ROWS - 1},
                                .text = {.hidden = D},
                                .projector_act = ACT_GELU,
                                .projector_bias = true,
                                .has_vision = true};
}

/* Writes the model's first n arrays and opens the file. */
static struct safetensors *written(const struct made *m, size_t n)
{
    char path[] = "/tmp/test_vision_XXXXXX";
    struct safetensors *st;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(safetensors_write(path, m->array, n), 0);
    assert_int_equal(safetensors_open(&st, path), 0);
    unlink(path); // the map stays
    return st;
}

static void variants(void **state)
{
    static const struct {
        int layers;
        bool keep, bias;
        enum activation act, projector;
    } kind[] = {{2, false, true, ACT_QUICK_GELU, ACT_GELU},
                {2, true, true, ACT_GELU, ACT_GELU_TANH},
                {0, true, false, ACT_GELU, ACT_RELU},
                {3, false, false, ACT_GELU_TANH, ACT_SILU},
                {1, true, true, ACT_SILU, ACT_QUICK_GELU}};
    struct made m = {.n = 0};
    float pixels[3 * SIZE * SIZE], features[2][ROWS * H], projected[2][ROWS * D];
    (void)state;

    make_model(&m);
    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++) pixels[i] = 4 * next_number();
    for (size_t k = 0; k < sizeof kind / sizeof *kind; k++) {
        struct tower t = {.c = made_config()};
        t.c.vision.feature_layers = kind[k].layers;
        t.c.vision.keep_cls = kind[k].keep;
        t.c.vision.tokens += kind[k].keep;
        t.c.vision.act = kind[k].act;
        t.c.projector_act = kind[k].projector;
        t.c.projector_bias = kind[k].bias;
        assert_int_equal(backend_cpu(&t.be, DT_F32), 0);
        t.st = written(&m, m.n);
        if (vision_open(&t.v, t.st, &t.c, t.be, NULL)) fail_msg("%s", err_text());
        see(&t, features[0], projected[0], pixels, 1);
        reference(features[1], projected[1], &m, &t.c, pixels);
        double df = distance(features[0], features[1], (size_t)(t.c.vision.tokens * H));
        double dp = distance(projected[0], projected[1], (size_t)(t.c.vision.tokens * D));
        if (df > 1e-5 || dp > 1e-5) fail_msg("variant %zu: features differ by %g, projected by %g", k, df, dp);
        vision_close(t.v);
        safetensors_close(t.st);
    }
    free_model(&m);
}

static void refuse(const struct made *m, size_t n, const struct lvlm_config *c, const char *part)
{
    const struct backend *be;
    struct vision *v;
    struct safetensors *st = written(m, n);

    assert_int_equal(backend_cpu(&be, DT_F32), 0);
    assert_int_equal(vision_open(&v, st, c, be, NULL), CL_EMISMATCH);
    assert_null(v);
    if (!strstr(err_text(), part)) fail_msg("no \"%s\" in: %s", part, err_text());
    safetensors_close(st);
}

static void mismatches(void **state)
{
    struct made m = {.n = 0};
    struct lvlm_config c = made_config();
    (void)state;

    make_model(&m);
    refuse(&m, m.n - 1, &c, "multi_modal_projector.linear_2.bias");
    c.vision.patch = 4;
    refuse(&m, m.n, &c, "(12, 3, 8, 8), expected (12, 3, 4, 4)");
    c = made_config();
    c.vision.tokens = 9; // another picture size
    refuse(&m, m.n, &c, "position_embedding.weight has shape (5, 12), expected (10, 12)");
    c = made_config();
    c.vision.layers = c.vision.feature_layers = 4;
    refuse(&m, m.n, &c, "layers.3.self_attn.q_proj.weight");
    c = made_config();
    c.vision.ffn = 24;
    refuse(&m, m.n, &c, "mlp.fc1.weight has shape (20, 12), expected (24, 12)");
    c = made_config();
    c.text.hidden = 11;
    refuse(&m, m.n, &c, "mm_projector.0.weight");
    free_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_a), cmocka_unit_test(golden_b), cmocka_unit_test(golden_bf16),
        cmocka_unit_test(chunks),   cmocka_unit_test(variants), cmocka_unit_test(mismatches),
    };
    return cmocka_run_group_tests_name("vision", tests, NULL, NULL);
}
