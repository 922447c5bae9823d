/* test_o_lora.c - LoRAs on top of each other: what the model holds, the penalty and its gradient against differences, subspaces
 * that turn away from each other, checkpoints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { L = 2, R = 4, H = 7, D = 5, A = L * R * H, B = L * D * R };

static struct config config_of(double lambda)
{
    struct config cfg = fixture_config();

    cfg.o_lora.lambda = lambda;
    cfg.stage2.clip = 0;
    cfg.stage2.weight_decay = 0;
    return cfg;
}

/* The first task is sequential_lora's; then the new slot comes first, and all count in full. */
static void test_sets(void **state)
{
    const struct config cfg = config_of(0.5);
    struct method *m = fixture_open("o_lora", &cfg, &fixture_shape),
                  *plain = fixture_open("sequential_lora", &cfg, &fixture_shape);
    struct adapters set, all, one;
    struct routing r;
    float a[A], b[B];

    (void)state;
    fixture_task(m, &cfg, 0), fixture_task(plain, &cfg, 0);
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &all));
    OK(plain->ops->adapters(plain, ROUTE_FREE, 0, &one));
    assert_memory_equal(all.slot[0].A, one.slot[0].A, sizeof a);
    assert_memory_equal(all.slot[0].B, one.slot[0].B, sizeof b);
    memcpy(a, all.slot[0].A, sizeof a), memcpy(b, all.slot[0].B, sizeof b);
    fixture_task(m, &cfg, 1);
    OK(m->ops->begin_task(m, 2, 10));
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &all));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 2, &set));
    assert_true(set.slots == 3 && set.learned == 1 && all.slots == 3 && all.learned == 0);
    for (int i = 0; i < 3; i++) assert_int_equal(set.slot[i].version, all.slot[(i + 2) % 3].version);
    OK(routing_new(&r, 2, 3, 3));
    for (enum route_mode mode = ROUTE_TRAIN; mode <= ROUTE_RANDOM; mode++) {
        OK(m->ops->route(m, mode, 2, NULL, NULL, 2, &r));
        assert_true(r.slots == 3 && r.N == 3);
        for (int i = 0; i < 6; i++) assert_true(r.coef[i] == 1.5f && r.intrinsic[i] == 1 && r.selected[i] == i % 3);
    }
    fixture_steps(m, &cfg, 2, 0, 2);
    OK(m->ops->end_task(m, 2));
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &all));
    assert_memory_equal(all.slot[0].A, a, sizeof a); // what was learned stays
    assert_memory_equal(all.slot[0].B, b, sizeof b);
    assert_int_equal(m->ops->parameters(m), 3 * (A + B));
    assert_int_equal(m->ops->slot_task(m, 1), -1);
    routing_free(&r);
    m->ops->close(m), plain->ops->close(plain);
}

/* A of a slot, to be changed. */
static float *numbers(struct method *m, int slot)
{
    struct adapters set;

    OK(m->ops->adapters(m, ROUTE_FREE, 0, &set));
    return (float *)(uintptr_t)set.slot[slot].A;
}

static double penalty(struct method *m, int task)
{
    struct step_report out = {0};

    OK(m->ops->step(m, task, 0, &out)); // a learning rate of 0 changes nothing
    return out.penalty;
}

/* lambda times the squares of A_i A_t^T over columns [from, to), entry by entry. */
static double expected_penalty(struct method *m, int own, double lambda, int from, int to)
{
    double sum = 0;

    for (int i = 0; i < own; i++)
        for (int l = 0; l < L; l++)
            for (int j = 0; j < R; j++)
                for (int k = 0; k < R; k++) {
                    double o = 0;
                    for (int h = from; h < to; h++)
                        o += (double)numbers(m, i)[(l * R + j) * H + h] * numbers(m, own)[(l * R + k) * H + h];
                    sum += o * o;
                }
    return lambda * sum;
}

/* In a first step without any other gradient the first moment is 0.1 times the penalty's gradient. A map's rows are held against
 * its own alone: columns before `cut` are one map's, those behind another's. */
static void penalty_of(void **state, const struct method_shape *shape, int cut)
{
    const struct config cfg = config_of(0.7);
    struct method *m = fixture_open("o_lora", &cfg, shape);
    size_t n;

    assert_true(m->ops->penalises);
    fixture_task(m, &cfg, 0);
    fixture_task(m, &cfg, 1);
    OK(m->ops->begin_task(m, 2, 10));
    double p = penalty(m, 2), want = expected_penalty(m, 2, 0.7, 0, cut) + expected_penalty(m, 2, 0.7, cut, H);
    assert_true(want > 0.1 && fabs(p - want) < 1e-5 * want);
    char *path = fixture_save(m, *state, "step.h5", true);
    hid_t f = golden_open_file(path);
    double *g = golden_read_f64(f, &n, "/resume/A_m"), *b = golden_read_f64(f, &n, "/resume/B_m");
    for (int i = 0; i < A; i++) {
        float *x = numbers(m, 2) + i, was = *x;
        *x = was + 0.01f;
        double up = penalty(m, 2);
        *x = was - 0.01f;
        double slope = (up - penalty(m, 2)) / 0.02;
        *x = was;
        assert_true(fabs(10 * g[i] - slope) < 1e-3 * (1 + fabs(slope)));
    }
    for (int i = 0; i < B; i++) assert_true(b[i] == 0);
    golden_close(f);
    free(g), free(b), free(path);
    m->ops->close(m);
}

static void test_penalty(void **state)
{
    penalty_of(state, &fixture_shape, H);
}

static void test_penalty_of_maps(void **state)
{
    const struct text_config c = {.hidden = 3, .ffn = 2, .heads = 1, .kv_heads = 1, .head_dim = 4};
    struct method_shape shape = fixture_shape;

    projections_of(&shape.on, PROJECTION_BIT(PROJ_o) | PROJECTION_BIT(PROJ_up), &c);
    assert_true(shape.on.H == H && shape.on.D == D && shape.on.at[1].in0 == 4);
    penalty_of(state, &shape, 4);
}

/* Largest cosine between a row of slot 0 and one of slot 1. */
static double overlap(struct method *m, int64_t width)
{
    const float *x = numbers(m, 0), *y = numbers(m, 1);
    double most = 0;

    for (int l = 0; l < L; l++)
        for (int j = 0; j < R; j++)
            for (int k = 0; k < R; k++) {
                double dot = 0, xx = 0, yy = 0;
                for (int64_t h = 0; h < width; h++) {
                    double u = x[(l * R + j) * width + h], v = y[(l * R + k) * width + h];
                    dot += u * v, xx += u * u, yy += v * v;
                }
                most = fmax(most, fabs(dot) / sqrt(xx * yy));
            }
    return most;
}

static double length(const float *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sqrt(sum);
}

/* Under a large lambda a new A turns away from the old one, and does not just become small. */
static void test_subspaces(void **state)
{
    const struct config cfg = config_of(50);
    const struct method_shape shape = {.tasks = 2, .layers = L, .H = 24, .D = D, .K = 8};
    struct method *m = fixture_open("o_lora", &cfg, &shape);
    struct step_report out = {0};

    (void)state;
    OK(m->ops->begin_task(m, 0, 10));
    OK(m->ops->end_task(m, 0));
    OK(m->ops->begin_task(m, 1, 10));
    double before = overlap(m, 24), size = length(numbers(m, 1), L * R * 24);
    for (int i = 0; i < 400; i++) OK(m->ops->step(m, 1, 5e-3 * (1 - i / 400.0), &out));
    assert_true(before > 0.3);
    assert_true(overlap(m, 24) < 0.01);
    assert_true(length(numbers(m, 1), L * R * 24) > 0.5 * size);
    m->ops->close(m);
}

static void test_resume(void **state)
{
    const struct config cfg = config_of(2);
    fixture_resumes("o_lora", &cfg, *state);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sets),      WITH_FOLDER(test_penalty), WITH_FOLDER(test_penalty_of_maps),
        cmocka_unit_test(test_subspaces), WITH_FOLDER(test_resume),
    };
    return cmocka_run_group_tests_name("o_lora", tests, NULL, NULL);
}
