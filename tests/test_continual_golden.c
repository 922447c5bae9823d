/* test_continual_golden.c - the method against the golden sets: stage 1 whole, gradient norms and steps of stage 2, routing
 * after the last task, initial values of another shape. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

struct golden {
    hid_t file;
    int task_slots, M, N, per_task; // samples per task
    struct method_shape shape;
    struct config cfg;
    float *embedding; // (texts, K): task 0's records, then task 1's, ..
    const float **row;
};

static struct golden open_golden(const char *set)
{
    struct golden g = {.file = golden_open(set), .cfg = fixture_config()};
    hid_t init = golden_open_init(set);
    int64_t A[4], B[4], keys[2], selected[2];
    size_t n;

    golden_shape(init, "pool/A", A);
    golden_shape(init, "pool/B", B);
    golden_shape(init, "pool/keys", keys);
    golden_shape(g.file, "train/0/selected", selected);
    g.N = (int)A[0];
    g.M = (int)selected[1];
    g.per_task = (int)selected[0];
    g.task_slots = g.N / 2;
    g.shape = (struct method_shape){.tasks = 2, .layers = (int)A[1], .H = A[3], .D = B[2], .K = (int)keys[1]};
    g.cfg.pool.slots_per_task = g.task_slots;
    g.cfg.pool.rank = (int)A[2];
    g.cfg.pool.top_m = (int)golden_attr(init, "pool", "top_m");
    g.cfg.pool.key_groups = (int)golden_attr(init, "pool", "key_groups");
    g.cfg.stage1.weight_decay = golden_attr(g.file, "train", "stage1_wd");
    g.cfg.stage1.clip = golden_attr(g.file, "train", "stage1_clip");
    g.cfg.stage2.weight_decay = golden_attr(g.file, "train", "stage2_wd");
    g.cfg.stage2.clip = golden_attr(g.file, "train", "stage2_clip");
    assert_int_equal(g.M, g.cfg.pool.top_m);
    golden_close(init);
    g.embedding = golden_read_f32(g.file, &n, "encoder/embedding");
    n /= (size_t)g.shape.K;
    g.row = malloc(n * sizeof *g.row);
    assert_non_null(g.row);
    for (size_t i = 0; i < n; i++) g.row[i] = g.embedding + i * (size_t)g.shape.K;
    return g;
}

static void close_golden(struct golden *g)
{
    free(g->embedding);
    free(g->row);
    golden_close(g->file);
}

static struct method *open_with_init(const struct golden *g, const char *set)
{
    struct method *m = fixture_open("continual_llava", &g->cfg, &g->shape);
    struct ckpt *c = NULL;
    char path[512];

    snprintf(path, sizeof path, SOURCE_DIR "/golden/%s/init.h5", set);
    OK(ckpt_open(&c, path));
    OK(m->ops->init_from(m, c));
    ckpt_close(c);
    return m;
}

static void close_to(const float *got, const float *expected, size_t n, double tolerance, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - expected[i]) <= tolerance))
            fail_msg("%s[%zu] is %.9g, expected %.9g", what, i, got[i], expected[i]);
}

/* Every step's loss and norm, in file order without shuffling. */
static void golden_stage1(const struct golden *g, struct method *m, int t)
{
    const int batch = (int)golden_attr(g->file, "train", "batch"),
              epochs = (int)golden_attr(g->file, "train", "stage1_epochs");
    const double lr = golden_attr(g->file, "train", "stage1_lr"),
                 decay = golden_attr(g->file, "train", "stage1_lr_decay_per_epoch");
    const float *const *row = FIXTURE_ROWS(g->row + t * g->per_task);
    struct step_report r = {0};
    size_t n, i = 0;
    double *log = golden_read_f64(g->file, &n, "train/%d/stage1_loss_norm", t);

    for (int e = 0; e < epochs; e++)
        for (int b = 0; b < g->per_task; b += batch, i += 2) {
            int count = g->per_task - b < batch ? g->per_task - b : batch;
            OK(m->ops->align(m, t, row + b, count, lr * pow(decay, e), &r));
            assert_true(i + 1 < n);
            if (fabs(r.loss / log[i] - 1) > 1e-6 || fabs(r.grad_norm / log[i + 1] - 1) > 1e-5)
                fail_msg("task %d, step %zu: loss %.9g norm %.9g, expected %.9g %.9g", t, i / 2, r.loss, r.grad_norm,
                         log[i], log[i + 1]);
        }
    assert_int_equal(i, n);
    OK(m->ops->end_align(m, t, row, g->per_task));
    free(log);
}

static void golden_selections(const struct golden *g, struct method *m, int t)
{
    struct routing r;
    uint64_t sample[64] = {0};
    size_t n;
    int32_t *expected = golden_read_i32(g->file, &n, "train/%d/selected", t);

    OK(routing_new(&r, g->per_task, g->N, g->M));
    OK(m->ops->route(m, ROUTE_TRAIN, t, FIXTURE_ROWS(g->row + t * g->per_task), sample, g->per_task, &r));
    assert_int_equal(n, g->per_task * g->M);
    assert_memory_equal(r.selected, expected, n * sizeof *expected);
    routing_free(&r);
    free(expected);
}

/* Keys and use of task t in a checkpoint of the method. */
static void golden_keys(const struct golden *g, struct method *m, const char *dir, int t)
{
    char *path = fixture_save(m, dir, "stage1.h5", true);
    hid_t f = golden_open_file(path);
    size_t n, first = (size_t)(t * g->task_slots);
    float *keys = golden_read_f32(f, NULL, "pool/keys"), *use = golden_read_f32(f, NULL, "pool/use");
    float *keys0 = golden_read_f32(g->file, &n, "train/%d/keys", t),
          *use0 = golden_read_f32(g->file, NULL, "train/%d/use", t);

    close_to(keys + first * (size_t)g->shape.K, keys0, n, 1e-6, "keys");
    close_to(use + first, use0 + first, (size_t)g->task_slots, 1e-6, "use");
    golden_close(f);
    free(keys), free(use), free(keys0), free(use0), free(path);
}

/* The reference: clip, then AdamW, in float64. p: what the golden set has before; returns nothing else than p moved. */
struct reference {
    double *p, *m, *v;
    size_t n;
};

static struct reference reference_of(float *p, size_t n)
{
    struct reference r = {calloc(n, 8), calloc(n, 8), calloc(n, 8), n};
    for (size_t i = 0; i < n; i++) r.p[i] = p[i];
    free(p);
    return r;
}

static void reference_step(struct reference *r, const float *g, double scale, int t, double lr)
{
    for (size_t i = 0; i < r->n; i++) {
        double d = g[i] * scale;
        r->m[i] = 0.9 * r->m[i] + 0.1 * d;
        r->v[i] = 0.999 * r->v[i] + 0.001 * d * d;
        r->p[i] -= lr * (r->m[i] / (1 - pow(0.9, t))) / (sqrt(r->v[i] / (1 - pow(0.999, t))) + 1e-8);
    }
}

static void reference_check(struct reference *r, const float *got, const char *what)
{
    for (size_t i = 0; i < r->n; i++)
        if (!(fabs(got[i] - r->p[i]) < 2e-6)) fail_msg("%s[%zu] is %.9g, expected %.9g", what, i, got[i], r->p[i]);
    free(r->p), free(r->m), free(r->v);
}

/* Makes the method see exactly this gradient of w[1,0], through the coefficient of a slot of task 0. */
static void feed_w(const struct golden *g, struct method *m, double dw)
{
    struct routing r;
    struct adapters set;
    uint64_t sample = 0;
    double dcoef[64] = {0}, context;

    OK(routing_new(&r, 1, g->N, g->M));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 1, &set));
    assert_true(set.slots > set.learned && set.slots < 64);
    OK(m->ops->route(m, ROUTE_TRAIN, 1, FIXTURE_ROWS(g->row + g->per_task), &sample, 1, &r));
    context = r.coef[set.learned];
    assert_true(context > 0); // w[1,0] * use, and w[1,0] is 0.5 here
    dcoef[set.learned] = dw / (context / 0.5);
    OK(m->ops->learn(m, 1, &r, dcoef));
    routing_free(&r);
}

/* The first and the last step's gradients as golden.h5 has them: norms as there, steps as the reference makes them. */
static void golden_stage2(const struct golden *g, struct method *m, const char *dir, int t)
{
    const int first = t * g->task_slots;
    char *path = fixture_save(m, dir, "before.h5", false), *after;
    hid_t f = golden_open_file(path);
    size_t nA, nB, all;
    float *A0 = golden_read_f32(g->file, &nA, "train/%d/A", t), *B0 = golden_read_f32(g->file, &nB, "train/%d/B", t);
    float *A = golden_read_f32(f, &all, "pool/A"), *B = golden_read_f32(f, NULL, "pool/B"),
          *w = golden_read_f32(f, NULL, "context/w");
    float *own = malloc(nA * sizeof *own), *ownB = malloc(nB * sizeof *ownB);
    double *log = golden_read_f64(g->file, NULL, "train/%d/stage2_loss_norm", t);
    struct reference a, b, c;
    float *dA, *dB, *w_row = malloc(2 * sizeof *w_row);

    memcpy(own, A + (size_t)first * (nA / (size_t)g->task_slots), nA * sizeof *own);
    memcpy(ownB, B + (size_t)first * (nB / (size_t)g->task_slots), nB * sizeof *ownB);
    memcpy(w_row, w + t * 2, 2 * sizeof *w_row);
    a = reference_of(own, nA), b = reference_of(ownB, nB), c = reference_of(w_row, 2);
    for (int step = 0; step < 2; step++) {
        const int as = step ? 2 : 0; // golden.h5 keeps the first and the last of three
        float *gA = golden_read_f32(g->file, NULL, "train/%d/grad%d/A", t, as),
              *gB = golden_read_f32(g->file, NULL, "train/%d/grad%d/B", t, as);
        float *gw = golden_read_f32(g->file, NULL, "train/%d/grad%d/w", t, as);
        struct step_report r = {0};
        const double lr = step ? 1e-2 : 0;

        m->ops->gradients(m, &dA, &dB);
        memcpy(dA, gA, nA * sizeof *gA);
        memcpy(dB, gB, nB * sizeof *gB);
        if (t) feed_w(g, m, gw[0]);
        OK(m->ops->step(m, t, lr, &r));
        if (fabs(r.grad_norm / log[2 * as + 1] - 1) > 1e-5)
            fail_msg("norm %.9g, expected %.9g", r.grad_norm, log[2 * as + 1]);
        const double scale = fmin(1, 1 / (r.grad_norm + 1e-6));
        reference_step(&a, gA, scale, step + 1, lr);
        reference_step(&b, gB, scale, step + 1, lr);
        reference_step(&c, gw, scale, step + 1, lr);
        assert_true(dA[0] == 0 && dB[nB - 1] == 0); // cleared for the next step
        free(gA), free(gB), free(gw);
    }
    golden_close(f);
    free(A), free(B), free(w);
    after = fixture_save(m, dir, "after.h5", false);
    f = golden_open_file(after);
    A = golden_read_f32(f, NULL, "pool/A"), B = golden_read_f32(f, NULL, "pool/B"),
    w = golden_read_f32(f, NULL, "context/w");
    reference_check(&a, A + (size_t)first * (nA / (size_t)g->task_slots), "A");
    reference_check(&b, B + (size_t)first * (nB / (size_t)g->task_slots), "B");
    reference_check(&c, w + t * 2, "w");
    golden_close(f);
    free(A), free(B), free(w), free(A0), free(B0), free(log), free(path), free(after);
}

static void golden_training(void **state, const char *set)
{
    struct golden g = open_golden(set);
    struct method *m = open_with_init(&g, set);

    for (int t = 0; t < 2; t++) {
        OK(m->ops->begin_task(m, t, g.per_task));
        golden_stage1(&g, m, t);
        golden_keys(&g, m, *state, t);
        golden_selections(&g, m, t);
        golden_stage2(&g, m, *state, t);
        OK(m->ops->end_task(m, t));
    }
    m->ops->close(m);
    close_golden(&g);
}

static void test_golden_training_a(void **state)
{
    golden_training(state, "a");
}

static void test_golden_training_b(void **state)
{
    golden_training(state, "b");
}

/* A checkpoint from the golden numbers of both finished tasks. */
static char *golden_final_file(const struct golden *g, const char *dir)
{
    struct ckpt *c = NULL;
    char *path = NULL;
    const int64_t N = g->N, K = g->shape.K, s = g->task_slots;
    const int64_t A[] = {N, g->shape.layers, g->cfg.pool.rank, g->shape.H},
                  B[] = {N, g->shape.layers, g->shape.D, g->cfg.pool.rank};
    const int64_t a = A[1] * A[2] * A[3], b = B[1] * B[2] * B[3];
    float *keys = calloc((size_t)(N * K), 4), *pa = calloc((size_t)(N * a), 4), *pb = calloc((size_t)(N * b), 4);
    double *use = calloc((size_t)N, 8), w[4] = {0};
    int32_t *task = calloc((size_t)N, 4);

    for (int t = 0; t < 2; t++) {
        float *k = golden_read_f32(g->file, NULL, "train/%d/keys", t),
              *x = golden_read_f32(g->file, NULL, "train/%d/A", t);
        float *y = golden_read_f32(g->file, NULL, "train/%d/B", t),
              *z = golden_read_f32(g->file, NULL, "train/%d/w", t);
        float *u = golden_read_f32(g->file, NULL, "train/%d/use", t);
        memcpy(keys + t * s * K, k, (size_t)(s * K) * 4);
        memcpy(pa + t * s * a, x, (size_t)(s * a) * 4);
        memcpy(pb + t * s * b, y, (size_t)(s * b) * 4);
        for (int l = 0; l < t; l++) w[t * 2 + l] = z[l];
        for (int i = 0; i < N; i++) use[i] += u[i];
        for (int i = 0; i < s; i++) task[t * s + i] = t;
        free(k), free(x), free(y), free(z), free(u);
    }
    assert_true(asprintf(&path, "%s/final.h5", dir) > 0);
    OK(ckpt_create(&c, path));
    OK(ckpt_write(c, "/pool/keys", CKPT_F32, 2, (const int64_t[]){N, K}, keys, true));
    OK(ckpt_write(c, "/pool/A", CKPT_F32, 4, A, pa, true));
    OK(ckpt_write(c, "/pool/B", CKPT_F32, 4, B, pb, true));
    OK(ckpt_write(c, "/pool/task", CKPT_I32, 1, &N, task, true));
    OK(ckpt_write(c, "/pool/use", CKPT_F64, 1, &N, use, true));
    OK(ckpt_write(c, "/context/w", CKPT_F64, 2, (const int64_t[]){2, 2}, w, false));
    OK(ckpt_commit(c));
    free(keys), free(pa), free(pb), free(use), free(task);
    return path;
}

static void golden_routing(void **state, const char *set)
{
    struct golden g = open_golden(set);
    struct method *m = fixture_open("continual_llava", &g.cfg, &g.shape);
    char *path = golden_final_file(&g, *state);
    struct routing r;
    uint64_t sample[64] = {0};
    size_t n;

    fixture_load(m, path, false);
    OK(routing_new(&r, 2 * g.per_task, g.N, g.M));
    OK(m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(g.row), sample, 2 * g.per_task, &r));
    assert_true(r.N == g.N && r.slots == g.N);
    for (int i = 0; i < 2 * g.per_task; i++) {
        const int t = i / g.per_task, k = i % g.per_task;
        int32_t *selected = golden_read_i32(g.file, &n, "final/%d/%d/selected", t, k);
        double *in = golden_read_f64(g.file, NULL, "final/%d/%d/intrinsic", t, k),
               *ctx = golden_read_f64(g.file, NULL, "final/%d/%d/context", t, k);
        assert_memory_equal(r.selected + i * g.M, selected, n * sizeof *selected);
        for (int j = 0; j < g.N; j++) {
            assert_true(fabs(r.intrinsic[i * g.N + j] - in[j]) < 1e-6);
            assert_true(fabs(r.context[i * g.N + j] - ctx[j]) < 1e-6);
            assert_true(fabs(r.coef[i * g.N + j] - in[j] - ctx[j]) < 1e-6);
        }
        free(selected), free(in), free(ctx);
    }
    routing_free(&r);
    m->ops->close(m);
    close_golden(&g);
    free(path);
}

static void test_golden_routing_a(void **state)
{
    golden_routing(state, "a");
}

static void test_golden_routing_b(void **state)
{
    golden_routing(state, "b");
}

static void test_init_of_another_shape(void **state)
{
    struct golden g = open_golden("a");
    struct config cfg = g.cfg;
    struct method *m;
    struct ckpt *c = NULL;

    (void)state;
    OK(ckpt_open(&c, SOURCE_DIR "/golden/a/init.h5"));
    cfg.pool.slots_per_task = 2;
    m = fixture_open("continual_llava", &cfg, &g.shape);
    FAILS(CL_EMISMATCH, "has 3 slots of task 0 (expected 2", m->ops->init_from(m, c));
    m->ops->close(m);
    cfg = g.cfg;
    g.shape.tasks = 3;
    m = fixture_open("continual_llava", &cfg, &g.shape);
    FAILS(CL_EMISMATCH, "0 slots of task 2", m->ops->init_from(m, c));
    m->ops->close(m);
    g.shape.tasks = 2, cfg.pool.rank = 5;
    m = fixture_open("continual_llava", &cfg, &g.shape);
    FAILS(CL_EMISMATCH, "rank 4", m->ops->init_from(m, c));
    m->ops->close(m);
    ckpt_close(c);
    close_golden(&g);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_golden_training_a),          WITH_FOLDER(test_golden_training_b),
        WITH_FOLDER(test_golden_routing_a),           WITH_FOLDER(test_golden_routing_b),
        cmocka_unit_test(test_init_of_another_shape),
    };
    return cmocka_run_group_tests_name("continual_golden", tests, NULL, NULL);
}
