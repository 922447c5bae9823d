/* The model alone, against the golden sets: logits, likelihoods, greedy tokens; packs against single samples; gradients
 * against finite differences along a random direction. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "golden_file.h"
#include "golden_run.h"
#include "jobs/generator.h"
#include "jobs/task_data.h"
#include "model/lvlm_internal.h"

#include <math.h>

enum { SLOTS = 3, RANK = 4 };

struct fixture {
    char dir[64];
    struct job j;
    struct task_data data[2];
    hid_t g;
};

static void open_fixture(struct fixture *x, const char *set)
{
    memset(x, 0, sizeof *x);
    golden_config(&x->j.cfg, golden_temporary(x->dir), set, "", NULL, 0);
    OK(job_open(&x->j, JOB_MODEL | JOB_TRAIN));
    for (int t = 0; t < 2; t++) OK(task_data_open(&x->data[t], &x->j, t, false));
    x->g = golden_open(set);
}

static void close_fixture(struct fixture *x)
{
    golden_close(x->g);
    for (int t = 0; t < 2; t++) task_data_close(&x->data[t]);
    job_close(&x->j);
    golden_remove(x->dir);
}

/* Packs n samples of a task from `first`. */
static void pack(struct fixture *x, struct packed_batch *b, int task, int64_t first, int n)
{
    char *picture[16] = {0};
    batch_clear(b);
    for (int i = 0; i < n; i++) {
        struct sample s = {0};
        char *p = NULL;
        OK(task_data_sample(&x->data[task], &x->j, first + i, false, &s, &p));
        OK(batch_add(b, &s, 0));
        if (p) picture[b->pictures - 1] = p;
        sample_free(&s);
    }
    if (b->pictures) OK(features_get(x->j.features, (const char *const *)picture, b->pictures, b->feature));
    for (int i = 0; i < b->pictures; i++) free(picture[i]);
}

static void forward_agrees(const char *set)
{
    struct fixture x;
    struct packed_batch b = {0};
    float nll[256];
    open_fixture(&x, set);
    int64_t V = lvlm_get_config(x.j.lvlm)->text.vocab;
    OK(lvlm_reserve(x.j.lvlm, &(struct lvlm_limits){.samples = 1, .tokens = 400, .rows = 64}));
    OK(batch_new(&b, 1, 400));
    for (int t = 0; t < 2; t++)
        for (int64_t i = 0; i < x.data[t].n; i++) {
            size_t n;
            double sum = 0;
            pack(&x, &b, t, i, 1);
            float *want = golden_read_f32(x.g, &n, "forward/%d/%d/answer_logits", t, (int)i);
            assert_int_equal(n, b.rows * V);
            float *got = malloc(n * sizeof *got);
            OK(lvlm_forward(x.j.lvlm, &b, NULL, nll, 0));
            OK(lvlm_logits(x.j.lvlm, got, b.rows));
            if (golden_distance(got, want, n) > 1e-4)
                fail_msg("logits of %d/%d are off by %g", t, (int)i, golden_distance(got, want, n));
            free(want), free(got);
            double *nll_want = golden_read_f64(x.g, &n, "forward/%d/%d/answer_nll", t, (int)i);
            for (int64_t r = 0; r < b.rows; r++) sum += (double)nll[r];
            if (fabs(sum - *nll_want) > 1e-4 * fabs(*nll_want))
                fail_msg("nll of %d/%d: %g, expected %g", t, (int)i, sum, *nll_want);
            free(nll_want);
        }
    batch_free(&b);
    close_fixture(&x);
}

static void forward_a(void **state)
{
    (void)state;
    forward_agrees("a");
}

static void forward_b(void **state)
{
    (void)state;
    forward_agrees("b");
}

/* A pack of several samples gives what each gives alone. */
static void packs_equal_singles(void **state)
{
    struct fixture x;
    struct packed_batch one = {0}, all = {0};
    float nll_one[256], nll_all[256];
    (void)state;
    open_fixture(&x, "b");
    OK(lvlm_reserve(x.j.lvlm, &(struct lvlm_limits){.samples = 9, .tokens = 1000, .rows = 128}));
    OK(batch_new(&one, 1, 400));
    OK(batch_new(&all, 9, 1000));
    pack(&x, &all, 0, 0, 9);
    OK(lvlm_forward(x.j.lvlm, &all, NULL, nll_all, 0));
    for (int i = 0; i < 9; i++) {
        pack(&x, &one, 0, i, 1);
        OK(lvlm_forward(x.j.lvlm, &one, NULL, nll_one, 0));
        for (int64_t r = 0; r < one.rows; r++) {
            double a = (double)nll_one[r], b = (double)nll_all[all.cu_row[i] + r];
            if (fabs(a - b) > 1e-5 * (1 + fabs(a))) fail_msg("sample %d row %d: %g alone, %g packed", i, (int)r, a, b);
        }
    }
    batch_free(&one);
    batch_free(&all);
    close_fixture(&x);
}

/* Memory reserved for training suffices for a pass without gradients whatever the depth: with one layer nothing is kept
 * from layer to layer, and the pass that keeps nothing is the larger one. */
static void one_layer_evaluates(void **state)
{
    struct fixture x;
    struct packed_batch all = {0};
    char command[512], base[128];
    float nll[256];
    (void)state;
    memset(&x, 0, sizeof x);
    golden_temporary(x.dir);
    snprintf(command, sizeof command,
             "cp -r '%s/golden/b/base' '%s/base' && chmod -R u+w '%s/base' && "
             "sed -i 's/\"num_hidden_layers\": 4/\"num_hidden_layers\": 1/' '%s/base/config.json'",
             SOURCE_DIR, x.dir, x.dir, x.dir);
    assert_int_equal(system(command), 0);
    snprintf(base, sizeof base, "base=%s/base", x.dir);
    golden_config(&x.j.cfg, x.dir, "b", "", (const char *[]){base}, 1);
    OK(job_open(&x.j, JOB_MODEL | JOB_TRAIN));
    OK(task_data_open(&x.data[0], &x.j, 0, false));
    OK(batch_new(&all, 9, 1000));
    pack(&x, &all, 0, 0, 9);
    OK(lvlm_reserve(
        x.j.lvlm,
        &(struct lvlm_limits){.samples = 9, .tokens = all.n, .rows = all.rows, .slots = 4, .rank = 2, .train = true}));
    OK(lvlm_forward(x.j.lvlm, &all, NULL, nll, 0));
    batch_free(&all);
    task_data_close(&x.data[0]);
    job_close(&x.j);
    golden_remove(x.dir);
}

/* ---- greedy generation */

struct greedy {
    struct fixture *x;
    int task;
};

static int source(void *context, int64_t i, struct prompt_item *item)
{
    struct greedy *q = context;
    return task_data_sample(&q->x->data[q->task], &q->x->j, i, true, &item->sample, &item->picture);
}

static int sink(void *context, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    struct greedy *q = context;
    size_t want_n;
    int32_t *want = golden_read_i32(q->x->g, &want_n, "forward/%d/%d/generated", q->task, (int)i);
    (void)prompt_n;
    assert_int_equal(n, want_n);
    for (int k = 0; k < n; k++) assert_int_equal(id[k], want[k]);
    free(want);
    return 0;
}

static void greedy_agrees(const char *set, int batch)
{
    struct fixture x;
    struct generator *g;
    open_fixture(&x, set);
    OK(generator_new(&g, &x.j, &(struct generator_limits){.batch = batch, .prompt_n = 400, .max_new_tokens = 12}));
    for (int t = 0; t < 2; t++) {
        struct greedy q = {&x, t};
        OK(generator_run(g, 3, NULL, &(struct generator_ends){&q, source, NULL, sink, NULL}));
    }
    generator_free(g);
    close_fixture(&x);
}

static void greedy_a(void **state)
{
    (void)state;
    greedy_agrees("a", 1);
    greedy_agrees("a", 2);
}

static void greedy_b(void **state)
{
    (void)state;
    greedy_agrees("b", 1);
    greedy_agrees("b", 3);
}

/* ---- gradients */

struct increments {
    float *A, *B, coef[4 * SLOTS];
    struct adapter_slot slot[SLOTS];
    struct adapters set;
    size_t nA, nB; // of one slot
};

static float noise(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return (float)(*s >> 8) / (float)(1 << 23) - 1.0f;
}

static uint64_t version = 1000;

static void point_slots(struct increments *k, float *A, float *B)
{
    for (int s = 0; s < SLOTS; s++)
        k->slot[s] = (struct adapter_slot){A + (size_t)s * k->nA, B + (size_t)s * k->nB, version++};
}

static double loss_at(struct fixture *x, struct packed_batch *b, struct increments *k, float *A, float *B)
{
    float nll[256];
    double sum = 0;
    point_slots(k, A, B);
    OK(lvlm_forward(x->j.lvlm, b, &k->set, nll, 0));
    for (int64_t r = 0; r < b->rows; r++) sum += (double)nll[r];
    return sum / (double)b->rows;
}

static void size_slots(struct increments *k, const struct lvlm *m)
{
    const struct projections *on = lvlm_get_projections(m);
    const size_t each = (size_t)lvlm_get_config(m)->text.layers * RANK;

    k->nA = each * (size_t)on->H, k->nB = each * (size_t)on->D;
}

/* A and B of all slots in one block, and coefficients. */
static float *random_increments(struct increments *k, const struct lvlm *m)
{
    uint32_t seed = 11;
    float *A;

    size_slots(k, m);
    assert_non_null(A = malloc(SLOTS * (k->nA + k->nB) * sizeof *A));
    for (size_t i = 0; i < SLOTS * (k->nA + k->nB); i++) A[i] = 0.2f * noise(&seed);
    for (int i = 0; i < 4 * SLOTS; i++) k->coef[i] = 0.5f + 0.4f * noise(&seed);
    k->set = (struct adapters){.slots = SLOTS, .learned = 2, .rank = RANK, .slot = k->slot, .coef = k->coef};
    return A;
}

/* d loss along a random direction of A, B and the coefficients equals the inner product with the gradients. The last
 * slot is constant: it has no gradient, but its coefficient has one. */
static void gradient_agrees(const char *set, unsigned chosen)
{
    struct fixture x;
    struct packed_batch b = {0};
    struct increments k = {0};
    float nll[256];
    const bool single = chosen == PROJECTIONS_DEFAULT; // more maps bend the loss more
    double dcoef[4 * SLOTS], want = 0, h = single ? 1e-2 : 5e-3;
    const float size = single ? 0.2f : 0.1f;
    uint32_t seed = 7;
    open_fixture(&x, set);
    OK(lvlm_adapt(x.j.lvlm, chosen));
    size_slots(&k, x.j.lvlm);
    size_t nA = SLOTS * k.nA, nB = SLOTS * k.nB;
    float *A = malloc(nA * 4), *B = malloc(nB * 4), *uA = calloc(nA, 4), *uB = calloc(nB, 4), *A2 = malloc(nA * 4),
          *B2 = malloc(nB * 4);
    float *dA = calloc(nA, 4), *dB = calloc(nB, 4), u[4 * SLOTS], kept[4 * SLOTS];
    for (size_t i = 0; i < nA; i++) A[i] = size * noise(&seed), uA[i] = i < 2 * k.nA ? size * noise(&seed) : 0;
    for (size_t i = 0; i < nB; i++) B[i] = size * noise(&seed), uB[i] = i < 2 * k.nB ? size * noise(&seed) : 0;
    for (int i = 0; i < 4 * SLOTS; i++) kept[i] = k.coef[i] = 0.5f + 0.4f * noise(&seed), u[i] = noise(&seed);
    k.set = (struct adapters){.slots = SLOTS, .learned = 2, .rank = RANK, .slot = k.slot, .coef = k.coef};
    OK(lvlm_reserve(
        x.j.lvlm,
        &(struct lvlm_limits){.samples = 4, .tokens = 800, .rows = 64, .slots = SLOTS, .rank = RANK, .train = true}));
    OK(batch_new(&b, 4, 800));
    pack(&x, &b, 0, 5, 4); // pictures, two turns, text alone
    point_slots(&k, A, B);
    OK(lvlm_grads_clear(x.j.lvlm));
    OK(lvlm_forward(x.j.lvlm, &b, &k.set, nll, 1.0f / (float)b.rows));
    OK(lvlm_backward(x.j.lvlm, &b, &k.set, dcoef));
    OK(lvlm_grads_read(x.j.lvlm, dA, dB, 2, RANK));
    for (size_t i = 0; i < nA; i++) want += (double)dA[i] * (double)uA[i];
    for (size_t i = 0; i < nB; i++) want += (double)dB[i] * (double)uB[i];
    for (int i = 0; i < 4 * SLOTS; i++) want += dcoef[i] * (double)u[i];
    double side[2];
    for (int s = 0; s < 2; s++) {
        float e = (float)(s ? h : -h);
        for (size_t i = 0; i < nA; i++) A2[i] = A[i] + e * uA[i];
        for (size_t i = 0; i < nB; i++) B2[i] = B[i] + e * uB[i];
        for (int i = 0; i < 4 * SLOTS; i++) k.coef[i] = kept[i] + e * u[i];
        side[s] = loss_at(&x, &b, &k, A2, B2);
    }
    double got = (side[1] - side[0]) / (2 * h);
    if (fabs(got - want) > 5e-3 * fabs(want) + 1e-5)
        fail_msg("maps %x: slope %g by differences, %g by gradients", chosen, got, want);
    free(A), free(B), free(uA), free(uB), free(A2), free(B2), free(dA), free(dB);
    batch_free(&b);
    close_fixture(&x);
}

static void gradient_a(void **state)
{
    (void)state;
    gradient_agrees("a", PROJECTIONS_DEFAULT);
}

static void gradient_b(void **state)
{
    (void)state;
    gradient_agrees("b", PROJECTIONS_DEFAULT);
}

/* Each map alone, so that none hides behind the others, and all together. */
static void gradient_of_maps(void **state)
{
    (void)state;
    for (int p = 0; p < PROJECTIONS; p++) gradient_agrees("b", PROJECTION_BIT(p));
    gradient_agrees("a", PROJECTIONS_ALL);
    gradient_agrees("b", PROJECTIONS_ALL);
}

/* ---- activations that are computed again */

struct gradients {
    float nll[64], *dA, *dB;
    double dcoef[4 * SLOTS];
    size_t step;
};

static void train_once(struct gradients *g, struct fixture *x, const struct packed_batch *b, const struct increments *k,
                       enum recompute again)
{
    const struct lvlm_limits limits = {
        .samples = 4, .tokens = b->n, .rows = b->rows, .slots = SLOTS, .rank = RANK, .train = true, .again = again};
    struct lvlm *m = x->j.lvlm;

    g->dA = calloc(2 * k->nA, 4), g->dB = calloc(2 * k->nB, 4);
    g->step = lvlm_step_bytes(m, &limits);
    OK(lvlm_reserve(m, &limits));
    OK(lvlm_grads_clear(m));
    OK(lvlm_forward(m, b, &k->set, g->nll, 1.0f / (float)b->rows));
    OK(lvlm_backward(m, b, &k->set, g->dcoef));
    OK(lvlm_grads_read(m, g->dA, g->dB, 2, RANK));
}

/* The same bits, in less memory. */
static void recomputed_equals_kept(void **state)
{
    static const unsigned choice[] = {PROJECTIONS_DEFAULT, PROJECTIONS_ALL, PROJECTION_BIT(PROJ_down)};
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct fixture x;
        struct packed_batch b = {0};
        struct increments k = {0};
        struct gradients g[RECOMPUTES];
        float *A, *B;
        open_fixture(&x, i % 2 ? "b" : "a");
        OK(lvlm_adapt(x.j.lvlm, choice[i / 2]));
        A = random_increments(&k, x.j.lvlm), B = A + SLOTS * k.nA;
        OK(batch_new(&b, 4, 800));
        pack(&x, &b, 0, 5, 4);
        point_slots(&k, A, B);
        for (int r = RECOMPUTES - 1; r >= 0; r--) train_once(&g[r], &x, &b, &k, (enum recompute)r); // memory grows
        for (int r = 1; r < RECOMPUTES; r++) {
            assert_true(g[r].step < g[r - 1].step);
            assert_memory_equal(g[r].nll, g[0].nll, (size_t)b.rows * 4);
            assert_memory_equal(g[r].dA, g[0].dA, 2 * k.nA * 4);
            assert_memory_equal(g[r].dB, g[0].dB, 2 * k.nB * 4);
            assert_memory_equal(g[r].dcoef, g[0].dcoef, sizeof g[0].dcoef);
        }
        for (int r = 0; r < RECOMPUTES; r++) free(g[r].dA), free(g[r].dB);
        free(A);
        batch_free(&b);
        close_fixture(&x);
    }
}

/* ---- memory of a step: the larger of what training and generation need, taken once */
static void memory_is_kept(void **state)
{
    struct fixture x;
    struct packed_batch b = {0};
    float nll[256];
    const struct lvlm_limits train = {
        .samples = 1, .tokens = 400, .rows = 64, .slots = SLOTS, .rank = RANK, .train = true};
    const struct lvlm_limits more = {.samples = 4, .tokens = 1600, .rows = 64, .slots = SLOTS, .rank = RANK};
    (void)state;
    open_fixture(&x, "a");
    struct lvlm *m = x.j.lvlm;
    struct lvlm_limits more_training = more;
    more_training.train = true;
    OK(lvlm_reserve(m, &train));
    assert_true(m->arena.size >= lvlm_step_bytes(m, &train));
    void *base = m->arena.base;
    OK(lvlm_reserve(m, &train));
    assert_ptr_equal(m->arena.base, base);
    OK(lvlm_reserve(m, &more)); // without a backward pass: not as much as training on it
    assert_true(m->arena.size >= lvlm_step_bytes(m, &more));
    assert_true(m->arena.size >= lvlm_step_bytes(m, &train));
    assert_true(m->arena.size < lvlm_step_bytes(m, &more_training));
    OK(batch_new(&b, 4, 1600));
    pack(&x, &b, 0, 0, 4);
    assert_true(b.n > train.tokens || b.samples > train.samples);
    OK(lvlm_forward(m, &b, NULL, nll, 0));
    assert_int_equal(lvlm_forward(m, &b, NULL, nll, 1), CL_EINTERNAL);
    assert_non_null(strstr(err_text(), "4 samples (reserved 400, 64, 1)"));
    pack(&x, &b, 0, 0, 1);
    OK(lvlm_forward(m, &b, NULL, nll, 1));
    OK(lvlm_reserve(m, &more_training));
    pack(&x, &b, 0, 0, 4);
    OK(lvlm_forward(m, &b, NULL, nll, 1));
    batch_free(&b);
    close_fixture(&x);
}

/* A plan opens the share of a rank whose partners are not there: every pass runs in the memory that was predicted for it. */
static void share_of_a_plan(void **state)
{
    const struct lvlm_limits limits = {
        .samples = 2, .tokens = 800, .rows = 64, .slots = SLOTS, .rank = RANK, .train = true};
    static const char *const set[] = {"a", "b"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fixture x;
        size_t alone, before;
        open_fixture(&x, set[i]);
        const struct lvlm_config *c = lvlm_get_config(x.j.lvlm);
        before = alone = lvlm_step_bytes(x.j.lvlm, &limits);
        assert_int_equal(lvlm_step_bytes_of(c, PROJECTIONS_DEFAULT, DT_F32, NULL, &limits), alone);
        for (int size = 2; size <= c->text.heads; size++) {
            struct lvlm *m;
            struct packed_batch b = {0};
            struct adapter_slot slot[SLOTS] = {{0}}; // version 0: nothing is loaded
            const float coef[2 * SLOTS] = {0};
            const struct adapters ad = {.slots = SLOTS, .learned = 2, .rank = RANK, .slot = slot, .coef = coef};
            struct tp tp = {.rank = size - 1, .size = size};
            float nll[64];
            double dcoef[2 * SLOTS];
            OK(lvlm_open(&m, x.j.cfg.base, x.j.be, &tp, true));
            OK(lvlm_reserve(m, &limits));
            OK(batch_new(&b, 2, 800));
            pack(&x, &b, 0, 0, 2);
            OK(lvlm_forward(m, &b, &ad, nll, 1));
            OK(lvlm_backward(m, &b, &ad, dcoef));
            assert_true(m->arena.peak <= m->arena.size);
            assert_int_equal(m->arena.size, lvlm_step_bytes(m, &limits));
            tp.rank = 0; // the first rank has the largest share: it shrinks with their number
            assert_true(lvlm_step_bytes_of(c, PROJECTIONS_DEFAULT, DT_F32, &tp, &limits) <= before);
            before = lvlm_step_bytes_of(c, PROJECTIONS_DEFAULT, DT_F32, &tp, &limits);
            batch_free(&b);
            lvlm_close(m);
        }
        assert_true(before < alone);
        assert_int_equal(
            lvlm_step_bytes_of(c, PROJECTIONS_DEFAULT, DT_F32, &(struct tp){.size = c->text.heads + 1}, &limits),
            SIZE_MAX);
        close_fixture(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_a),
        cmocka_unit_test(forward_b),
        cmocka_unit_test(packs_equal_singles),
        cmocka_unit_test(greedy_a),
        cmocka_unit_test(greedy_b),
        cmocka_unit_test(gradient_a),
        cmocka_unit_test(gradient_b),
        cmocka_unit_test(gradient_of_maps),
        cmocka_unit_test(memory_is_kept),
        cmocka_unit_test(one_layer_evaluates),
        cmocka_unit_test(share_of_a_plan),
        cmocka_unit_test(recomputed_equals_kept),
    };
    return cmocka_run_group_tests_name("lvlm", tests, NULL, NULL);
}
