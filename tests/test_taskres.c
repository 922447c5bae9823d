/* test_taskres.c - residuals of the logits without a model: weights, steps, checkpoints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"
#include "pool/taskres.h"

enum { V = 13, SAMPLES = 4 };

static struct config config(double scale)
{
    struct config cfg = fixture_config();
    cfg.taskres.scale = scale;
    cfg.stream.tasks = 3;
    cfg.stage2.lr = 0.25;
    return cfg;
}

static struct taskres *open(const struct config *cfg)
{
    struct taskres *r = NULL;
    OK(taskres_open(&r, cfg, V));
    assert_non_null(r);
    return r;
}

/* A gradient of numbers, the same for the same seed. */
static void fill(struct taskres *r, int seed, double size)
{
    float *g = taskres_gradient(r);
    for (int v = 0; v < V; v++) g[v] = (float)(size * (rng_uniform(5, RNG_A, (uint32_t)seed, (uint64_t)v) - 0.5));
}

/* The residuals of a set over one slot. */
static const float *residual(struct taskres *r, int task)
{
    static const struct adapter_slot one = {NULL, NULL, 1};
    struct adapters set = {.slots = 1, .slot = &one};
    OK(taskres_adapters(r, ROUTE_FREE, &set));
    assert_int_equal(set.slots, 4);
    assert_int_equal(set.residuals, 3);
    return set.slot[1 + task].A;
}

static void off(void **state)
{
    struct config cfg = config(0);
    struct taskres *r = (struct taskres *)&cfg;
    (void)state;
    OK(taskres_open(&r, &cfg, V));
    assert_null(r);
    assert_int_equal(taskres_parameters(r), 0);
    taskres_close(r);
    for (size_t i = 0; method_at(i); i++) OK(taskres_check(&cfg, method_at(i)));
}

static void refused(void **state)
{
    struct config cfg;
    (void)state;
    OK(config_load_text(&cfg, "{\"taskres\": {\"scale\": 0.5}}", "a file", NULL, 0, 0));
    OK(taskres_check(&cfg, method_find("continual_llava")));
    FAILS(CL_ECONFIG, "taskres.scale: method moe_lora has no slots of tasks",
          taskres_check(&cfg, method_find("moe_lora")));
    FAILS(CL_ECONFIG, "o_lora", taskres_check(&cfg, method_find("o_lora")));
    config_free(&cfg);
}

/* AdamW with the clipped gradient, operation by operation, in double. */
static void steps(void **state)
{
    struct config cfg = config(2);
    struct taskres *r = open(&cfg);
    double x[V] = {0}, m[V] = {0}, v2[V] = {0};
    (void)state;
    taskres_begin_task(r, 1);
    for (int t = 1; t <= 4; t++) {
        struct step_report out = {.grad_norm = 3};
        double norm = 0, scale;
        fill(r, t, t == 3 ? 8 : 0.2); // the third is clipped
        const float *g = taskres_gradient(r);
        for (int v = 0; v < V; v++) norm += (double)g[v] * (double)g[v];
        norm = sqrt(norm), scale = norm > cfg.stage2.clip ? cfg.stage2.clip / (norm + 1e-6) : 1;
        assert_true((norm > cfg.stage2.clip) == (t == 3));
        for (int v = 0; v < V; v++) {
            const double d = scale * (double)g[v];
            x[v] *= 1 - 0.1 * cfg.stage2.weight_decay;
            m[v] = 0.9 * m[v] + 0.1 * d, v2[v] = 0.999 * v2[v] + 0.001 * d * d;
            x[v] -= 0.1 * m[v] / (1 - pow(0.9, t)) / (sqrt(v2[v] / (1 - pow(0.999, t))) + 1e-8);
        }
        OK(taskres_step(r, 1, 0.1, &out));
        assert_true(fabs(out.grad_norm - sqrt(9 + norm * norm)) < 1e-6);
        for (int v = 0; v < V; v++) assert_true(fabs((double)residual(r, 1)[v] - x[v]) < 1e-5);
    }
    for (int v = 0; v < V; v++) assert_true(residual(r, 0)[v] == 0 && residual(r, 2)[v] == 0);
    assert_int_equal(taskres_parameters(r), 2 * V);
    taskres_gradient(r)[3] = NAN;
    FAILS(CL_ENUM, "lower taskres.lr", taskres_step(r, 1, 0.1, &(struct step_report){0}));
    FAILS(CL_EINTERNAL, "task 2 is not the one", taskres_step(r, 2, 0.1, &(struct step_report){0}));
    for (int v = 0; v < V; v++) assert_true(fabs((double)residual(r, 1)[v] - x[v]) < 1e-5);
    assert_true(taskres_rate(&cfg) == cfg.stage2.lr);
    cfg.taskres.lr = 3;
    assert_true(taskres_rate(&cfg) == 3);
    taskres_close(r);
}

/* A method that has learned two tasks, and routes samples over the slots of both. */
static struct method *learned(const struct config *cfg, float **s)
{
    struct method *m = fixture_open("continual_llava", cfg, &fixture_shape);
    struct step_report out;
    for (int t = 0; t < 2; t++) {
        OK(m->ops->begin_task(m, t, SAMPLES));
        OK(m->ops->align(m, t, FIXTURE_ROWS(s), SAMPLES, 0.1, &out));
        OK(m->ops->end_align(m, t, FIXTURE_ROWS(s), SAMPLES));
        if (!t) OK(m->ops->end_task(m, t));
    }
    return m;
}

/* Rows are the method's own and behind them scale x the weights of each task's slots; the gradient's rows go the other way. */
static void weights(void **state)
{
    static const enum route_mode mode[] = {ROUTE_FREE, ROUTE_ORACLE, ROUTE_TRAIN};
    struct config cfg = config(2);
    struct taskres *r = open(&cfg);
    float **s = fixture_embeddings(SAMPLES, fixture_shape.K, 1);
    struct method *m = learned(&cfg, s);
    const uint64_t sample[SAMPLES] = {0};
    (void)state;
    taskres_begin_task(r, 1);
    for (int k = 0; k < 3; k++) {
        struct routing plain, wide;
        struct adapters set, own;
        double dcoef[SAMPLES * 16], before[SAMPLES * 16];
        bool mixed = false;
        OK(routing_new(&plain, SAMPLES, 9, 2));
        OK(routing_new(&wide, SAMPLES, 9 + 3, 2));
        OK(m->ops->adapters(m, mode[k], 1, &set));
        own = set;
        OK(taskres_adapters(r, mode[k], &set));
        const int n = k == 2 ? 1 : 3;
        assert_int_equal(set.slots, own.slots + n);
        assert_int_equal(set.residuals, n);
        for (int i = 0; i < own.slots; i++) assert_int_equal(set.slot[i].version, own.slot[i].version);
        assert_ptr_equal(set.slot[own.slots + (k == 2 ? 0 : 1)].A, residual(r, 1));
        OK(m->ops->route(m, mode[k], 1, FIXTURE_ROWS(s), sample, SAMPLES, &plain));
        OK(m->ops->route(m, mode[k], 1, FIXTURE_ROWS(s), sample, SAMPLES, &wide));
        taskres_weigh(r, mode[k], m, &wide);
        for (int i = 0; i < SAMPLES; i++) {
            const float *row = wide.coef + i * set.slots;
            double w[2] = {0};
            for (int j = 0; j < own.slots; j++) assert_true(row[j] == plain.coef[i * own.slots + j]);
            for (int j = 0; j < plain.N; j++) w[j / 3] += plain.intrinsic[i * plain.N + j];
            mixed |= w[0] > 0 && w[1] > 0;
            if (k == 1) assert_true(w[0] == 0);
            if (k == 2) {
                assert_true(row[own.slots] == 2);
                continue;
            }
            for (int t = 0; t < 2; t++) assert_true(fabs((double)row[own.slots + t] - 2 * w[t]) < 1e-6);
            assert_true(row[own.slots + 2] == 0); // not begun
        }
        assert_true(mixed == (k == 0));
        for (int i = 0; i < SAMPLES * set.slots; i++) before[i] = dcoef[i] = i + 1;
        taskres_narrow(dcoef, SAMPLES, &set);
        for (int i = 0; i < SAMPLES * own.slots; i++)
            assert_true(dcoef[i] == before[i / own.slots * set.slots + i % own.slots]);
        routing_free(&plain), routing_free(&wide);
    }
    struct adapters none = {0};
    OK(taskres_adapters(r, ROUTE_FREE, &none));
    assert_int_equal(none.slots, 0);
    m->ops->close(m);
    fixture_embeddings_free(s);
    taskres_close(r);
}

static char *save(const struct taskres *r, const char *dir, const char *name, bool resume)
{
    struct ckpt *c = NULL;
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    OK(ckpt_create(&c, path));
    OK(taskres_save(r, c, resume));
    OK(ckpt_commit(c));
    return path;
}

static int load(struct taskres *r, const char *path, bool resume)
{
    struct ckpt *c = NULL;
    OK(ckpt_open(&c, path));
    int rc = taskres_load(r, c, resume);
    ckpt_close(c);
    return rc;
}

static void resumes(void **state)
{
    struct config cfg = config(2), small;
    struct taskres *r = open(&cfg), *other = open(&cfg), *third;
    struct step_report out = {0};
    for (int t = 0; t < 2; t++) {
        taskres_begin_task(r, t);
        for (int i = 0; i < 3; i++) {
            fill(r, 10 * t + i, 1);
            OK(taskres_step(r, t, 0.1, &out));
        }
    }
    char *inside = save(r, *state, "inside.h5", true), *after;
    OK(load(other, inside, true));
    assert_int_equal(taskres_parameters(other), 2 * V);
    for (int i = 0; i < 2; i++) {
        fill(r, 30 + i, 1), fill(other, 30 + i, 1);
        OK(taskres_step(r, 1, 0.1, &out));
        OK(taskres_step(other, 1, 0.1, &out));
    }
    for (int t = 0; t < 3; t++) assert_memory_equal(residual(r, t), residual(other, t), V * sizeof(float));
    after = save(r, *state, "after.h5", false);
    OK(load(other, after, false));
    for (int t = 0; t < 3; t++) assert_memory_equal(residual(r, t), residual(other, t), V * sizeof(float));
    FAILS(CL_EINTERNAL, "no task's residual", taskres_adapters(other, ROUTE_TRAIN, &(struct adapters){.slots = 1}));
    OK(taskres_open(&third, &cfg, V + 1));
    FAILS(CL_EMISMATCH, "(2, 13) (expected up to 3 tasks, 14 ids)", load(third, after, false));
    taskres_close(third);
    small = cfg, small.stream.tasks = 1;
    OK(taskres_open(&third, &small, V));
    FAILS(CL_EMISMATCH, "(2, 13) (expected up to 1 tasks", load(third, after, false));
    taskres_close(third);
    free(inside), free(after);
    taskres_close(r), taskres_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(off),
        cmocka_unit_test(refused),
        cmocka_unit_test(steps),
        cmocka_unit_test(weights),
        cmocka_unit_test_setup_teardown(resumes, fixture_folder, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
