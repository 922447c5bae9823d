/* test_lw2g.c - whether to grow: angles of known vectors, what is projected, what stays of slots that tasks share, checkpoints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"
#include "pool/lw2g.h"

enum { T = 3, L = 2, H = 7, D = 5, K = 8, S = 3, R = 2, A = S * L * R * H, B = S * L * D * R };

static struct config config(double threshold)
{
    struct config cfg = fixture_config();
    cfg.lw2g.threshold = threshold;
    return cfg;
}

/* Gradients of one slot of rank 1: the same row in both layers. */
static void rows(float *dA, double x, double y, double z)
{
    for (int l = 0; l < L; l++) {
        float *row = dA + l * H;
        memset(row, 0, H * sizeof *row);
        row[0] = (float)x, row[1] = (float)y, row[2] = (float)z;
    }
}

/* ---- angles */

static void angles(void **state)
{
    static const struct {
        double x, y, z, angle; // against the plane of the first two axes
    } cases[] = {{0, 0, 2, 0}, {3, 0, 0, 90}, {1, 0, 1, 45}, {1, 1, sqrt(6), 30}, {3, 0, sqrt(3), 60}};
    struct config cfg = config(50);
    struct lw2g g;
    float dA[L * H];
    (void)state;
    OK(lw2g_open(&g, &cfg, T, L, H));
    OK(lw2g_learn_begin(&g, 0));
    rows(dA, 2, 1, 0);
    OK(lw2g_learn(&g, 0, dA, 1, 1));
    rows(dA, 0, 3, 0);
    OK(lw2g_learn(&g, 0, dA, 1, 1));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lw2g_try(&g);
        rows(dA, cases[i].x, cases[i].y, cases[i].z);
        OK(lw2g_compare(&g, 0, dA, 1, 1));
        assert_true(fabs(lw2g_tried(&g, 1, 0) - cases[i].angle) < 1e-3);
    }
    lw2g_try(&g); // the mean of cosines over rows; rows of zeros do not count
    rows(dA, 0, 0, 1);
    OK(lw2g_compare(&g, 0, dA, 1, 1));
    rows(dA, 1, 0, 0);
    OK(lw2g_compare(&g, 0, dA, 1, 1));
    rows(dA, 0, 0, 0);
    OK(lw2g_compare(&g, 0, dA, 1, 1));
    assert_true(fabs(lw2g_tried(&g, 1, 0) - 60) < 1e-3);
    lw2g_try(&g);
    OK(lw2g_compare(&g, 0, dA, 1, 1));
    assert_true(lw2g_tried(&g, 1, 0) == 90);
    dA[3] = NAN;
    FAILS(CL_ENUM, "not finite", lw2g_compare(&g, 0, dA, 1, 1));
    FAILS(CL_ENUM, "not finite", lw2g_learn(&g, 0, dA, 1, 1));
    lw2g_close(&g);
}

static void least_below_threshold(void **state)
{
    struct config cfg = config(40);
    struct lw2g g;
    (void)state;
    OK(lw2g_open(&g, &cfg, T, L, H));
    assert_int_equal(lw2g_home(&g, 1), 1);
    assert_int_equal(lw2g_decide(&g, 0), 0);
    g.angle[1 * T + 0] = 40;
    assert_int_equal(lw2g_decide(&g, 1), 1); // not below
    g.angle[2 * T + 0] = 30, g.angle[2 * T + 1] = 20;
    assert_int_equal(lw2g_decide(&g, 2), 1);
    g.angle[2 * T + 0] = 20;
    assert_int_equal(lw2g_decide(&g, 2), 0); // the earlier of equal ones
    assert_int_equal(lw2g_home(&g, 2), 0);
    lw2g_close(&g);
}

/* Tasks at one home keep the span of both, by bases that are orthogonal to each other. */
static void bases_of_a_home(void **state)
{
    struct config cfg = config(40);
    struct lw2g g;
    float dA[L * H];
    (void)state;
    OK(lw2g_open(&g, &cfg, T, L, H));
    for (int t = 0; t < 2; t++) {
        g.home[t] = 0;
        OK(lw2g_learn_begin(&g, t));
        rows(dA, 1, t, 0);
        OK(lw2g_learn(&g, t, dA, 1, 1));
    }
    double dot = 0;
    for (int i = 0; i < H; i++) dot += (double)g.basis[0][i] * (double)g.basis[1][i];
    assert_true(fabs(dot) < 1e-6);
    rows(dA, 4, 5, 6);
    lw2g_project(&g, 0, -1, dA, 1, 1);
    for (int l = 0; l < L; l++)
        assert_true(fabs((double)dA[l * H]) < 1e-5 && fabs((double)dA[l * H + 1]) < 1e-5 && dA[l * H + 2] == 6);
    rows(dA, 4, 5, 6);
    lw2g_project(&g, 0, 1, dA, 1, 1); // without the second's
    assert_true(fabs((double)dA[0]) < 1e-5 && fabs((double)dA[1] - 5) < 1e-5);
    g.home[1] = 1;
    rows(dA, 4, 5, 6);
    lw2g_project(&g, 1, -1, dA, 1, 1);
    assert_true(fabs((double)dA[0] - 4) < 1e-5 && fabs((double)dA[1]) < 1e-5);
    lw2g_close(&g);
}

static void refused(void **state)
{
    static const char *const bad[] = {"{\"lw2g\": {\"threshold\": 9}, \"lines\": {\"last\": 0.5}}",
                                      "{\"lw2g\": {\"threshold\": 9}, \"taskres\": {\"scale\": 1}}"};
    struct config cfg;
    (void)state;
    OK(config_load_text(&cfg, "{\"lw2g\": {\"threshold\": 9}}", "a file", NULL, 0, 0));
    OK(lw2g_check(&cfg, method_find("continual_llava")));
    FAILS(CL_ECONFIG, "lw2g.threshold: method ewc adds no slots", lw2g_check(&cfg, method_find("ewc")));
    config_free(&cfg);
    for (int i = 0; i < 2; i++) {
        OK(config_load_text(&cfg, bad[i], "a file", NULL, 0, 0));
        FAILS(CL_ECONFIG, i ? "taskres" : "lines", lw2g_check(&cfg, method_find("continual_llava")));
        config_free(&cfg);
    }
}

/* ---- the method */

/* A task from its beginning, with stage 1; tries the slots of all candidates with the same gradients. */
static void begin(struct method *m, int task)
{
    struct step_report out;
    float **x = fixture_embeddings(FIXTURE_SAMPLES, K, task), *dA, *dB;
    for (int of = -1; (of = m->ops->candidate(m, task, of)) >= 0;) {
        OK(m->ops->try_slots(m, task, of));
        m->ops->gradients(m, &dA, &dB);
        for (int64_t i = 0; i < m->ops->look_samples(m, task); i++) {
            rng_fill_normal(dA, A, 0.1, 5, RNG_KEYS, (uint32_t)task, (uint64_t)(i << 30));
            OK(m->ops->look(m, task, i == 0));
        }
        const double angle = m->ops->tried(m, task, of);
        assert_true(angle > 0 && angle < 90);
    }
    OK(m->ops->begin_task(m, task, FIXTURE_SAMPLES));
    OK(m->ops->align(m, task, FIXTURE_ROWS(x), FIXTURE_SAMPLES, 0.1, &out));
    OK(m->ops->end_align(m, task, FIXTURE_ROWS(x), FIXTURE_SAMPLES));
    fixture_embeddings_free(x);
}

static void end(struct method *m, int task)
{
    float *dA, *dB;
    m->ops->gradients(m, &dA, &dB);
    for (int64_t i = 0; i < m->ops->look_samples(m, task); i++) {
        memset(dA, 0, A * sizeof *dA); // one direction for each record, its own in each layer
        for (int l = 0; l < L; l++) dA[l * R * H + (i + l + task) % 2] = 1;
        OK(m->ops->look(m, task, i == 0));
    }
    OK(m->ops->end_task(m, task));
}

static void learn(struct method *m, const struct config *cfg, int task)
{
    begin(m, task);
    fixture_steps(m, cfg, task, 0, FIXTURE_STEPS);
    end(m, task);
}

static const struct adapter_slot *slots(struct method *m, int *n)
{
    struct adapters set;
    OK(m->ops->adapters(m, ROUTE_FREE, -1, &set));
    *n = set.slots;
    return set.slot;
}

static void grows_above(void **state)
{
    struct config off = config(0), on = config(1e-3);
    struct method *a = fixture_open("continual_llava", &off, &fixture_shape),
                  *b = fixture_open("continual_llava", &on, &fixture_shape);
    assert_int_equal(a->ops->look_samples(a, 0), 0);
    for (int t = 0; t < 2; t++) learn(a, &off, t), learn(b, &on, t);
    char *pa = fixture_save(a, *state, "a.h5", false), *pb;
    int n, k;
    const struct adapter_slot *x = slots(a, &n), *y = slots(b, &k); // as without, to the last bit
    assert_true(n == 2 * S && k == 2 * S);
    for (int i = 0; i < n; i++) {
        assert_memory_equal(x[i].A, y[i].A, A / S * sizeof(float));
        assert_memory_equal(x[i].B, y[i].B, B / S * sizeof(float));
    }
    pb = fixture_save(b, *state, "b.h5", false);
    struct ckpt *c;
    OK(ckpt_open(&c, pa));
    assert_false(ckpt_has(c, "/lw2g"));
    ckpt_close(c);
    OK(ckpt_open(&c, pb));
    assert_true(ckpt_has(c, "/lw2g/home") && ckpt_has(c, "/lw2g/basis0") && ckpt_has(c, "/lw2g/basis1"));
    ckpt_close(c);
    a->ops->close(a), b->ops->close(b);
    free(pa), free(pb);
}

/* What the second task leaves alone: B, w, use, and what A makes of inputs in the subspace that was kept. */
static void shared_slots(void **state)
{
    struct config cfg = config(179);
    struct method *m = fixture_open("continual_llava", &cfg, &fixture_shape);
    float before[A], B0[B];
    double moved = 0;
    int n;
    cfg.stage2.weight_decay = 0.5;
    m->ops->close(m);
    m = fixture_open("continual_llava", &cfg, &fixture_shape);
    learn(m, &cfg, 0);
    const struct adapter_slot *x = slots(m, &n);
    assert_int_equal(n, S);
    memcpy(before, x->A, sizeof before), memcpy(B0, x->B, sizeof B0);
    char *one = fixture_save(m, *state, "one.h5", false), *two;
    learn(m, &cfg, 1);
    x = slots(m, &n);
    assert_int_equal(n, S); // not grown
    assert_memory_equal(x->B, B0, sizeof B0);
    for (int i = 0; i < A; i++) {
        const double d = (double)x->A[i] - (double)before[i];
        if (i % H < 2)
            assert_true(fabs(d) < 1e-6); // the subspace of the first task: the first two inputs
        else
            moved += d * d;
    }
    assert_true(moved > 1e-4);
    for (int i = 0; i < S; i++) assert_int_equal(m->ops->slot_task(m, i), 0);
    assert_int_equal(m->ops->home(m, 1), 0);
    assert_int_equal(m->ops->home(m, 2), 2);
    assert_int_equal(m->ops->candidate(m, 2, -1), 0);
    assert_int_equal(m->ops->candidate(m, 2, 0), -1); // task 1 owns nothing
    two = fixture_save(m, *state, "two.h5", false);
    for (int i = 0; i < 2; i++) {
        static const char *const name[] = {"context/w", "pool/use"};
        hid_t f = golden_open_file(one), g = golden_open_file(two);
        double *u = golden_read_f64(f, NULL, name[i]), *v = golden_read_f64(g, NULL, name[i]);
        assert_memory_equal(u, v, (i ? S : T * T) * sizeof *u);
        golden_close(f), golden_close(g);
        free(u), free(v);
    }
    /* routing by the task's number finds the slots, before and after a load without the option */
    struct routing r;
    float **e = fixture_embeddings(2, K, 1);
    struct config off = config(0);
    struct method *again = fixture_open("continual_llava", &off, &fixture_shape);
    const uint64_t sample[2] = {0};
    OK(routing_new(&r, 2, 9, 2));
    fixture_load(again, two, false);
    for (int i = 0; i < 2; i++) {
        struct method *which = i ? again : m;
        OK(which->ops->route(which, ROUTE_ORACLE, 1, FIXTURE_ROWS(e), sample, 2, &r));
        assert_true(r.selected[0] >= 0 && r.selected[0] < S && r.selected[2] >= 0);
        assert_int_equal(which->ops->home(which, 1), 0);
    }
    /* a third task that grows stands behind them, and its context reaches them */
    OK(again->ops->begin_task(again, 2, 4));
    assert_int_equal(again->ops->slot_task(again, S), 2);
    struct adapters set;
    OK(again->ops->adapters(again, ROUTE_TRAIN, 2, &set));
    assert_true(set.slots > S && set.learned == S);
    again->ops->close(again);
    routing_free(&r);
    fixture_embeddings_free(e);
    m->ops->close(m);
    free(one), free(two);
}

/* The second task, which shares, is stopped after each step and goes on elsewhere: the same bits. */
static void resumes(void **state)
{
    struct config cfg = config(179);
    struct method *whole = fixture_open("continual_llava", &cfg, &fixture_shape);
    learn(whole, &cfg, 0);
    char *before = fixture_save(whole, *state, "before.h5", false);
    learn(whole, &cfg, 1);
    char *expected = fixture_save(whole, *state, "whole.h5", false);
    for (int stop = 0; stop <= FIXTURE_STEPS; stop++) {
        struct method *first = fixture_open("continual_llava", &cfg, &fixture_shape), *second;
        fixture_load(first, before, false);
        begin(first, 1);
        fixture_steps(first, &cfg, 1, 0, stop);
        char *path = fixture_save(first, *state, "stop.h5", true), *after;
        second = fixture_open("continual_llava", &cfg, &fixture_shape);
        fixture_load(second, path, true);
        fixture_steps(second, &cfg, 1, stop, FIXTURE_STEPS);
        end(second, 1);
        after = fixture_save(second, *state, "end.h5", false);
        assert_true(fixture_same(expected, after) > 0);
        free(path), free(after);
        first->ops->close(first), second->ops->close(second);
    }
    struct config other = config(179);
    other.lw2g.rank = 3;
    struct method *m = fixture_open("continual_llava", &other, &fixture_shape);
    struct ckpt *c;
    OK(ckpt_open(&c, expected));
    FAILS(CL_EMISMATCH, "/lw2g/basis0 has another shape", m->ops->load(m, c, false));
    ckpt_close(c);
    m->ops->close(m);
    whole->ops->close(whole);
    free(before), free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(angles),
        cmocka_unit_test(least_below_threshold),
        cmocka_unit_test(bases_of_a_home),
        cmocka_unit_test(refused),
        cmocka_unit_test_setup_teardown(grows_above, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(shared_slots, fixture_folder, fixture_remove),
        cmocka_unit_test_setup_teardown(resumes, fixture_folder, fixture_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
