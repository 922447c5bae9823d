/* test_ewc.c - elastic weight consolidation without a model: how Fisher information is folded, the penalty and its gradient
 * against differences, checkpoints. That the squares themselves are right: mpi_crew.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { A = 2 * 4 * 7, B = 2 * 4 * 5 }; // numbers of the LoRA

static struct config config_of(double lambda)
{
    struct config cfg = fixture_config();

    cfg.ewc.lambda = lambda;
    cfg.ewc.gamma = 0.5;
    cfg.ewc.samples = 7;
    cfg.stage2.clip = 0;
    cfg.stage2.weight_decay = 0;
    return cfg;
}

/* Squares of `total` records in pieces of `each`: record i brings i + 1 everywhere, and k more for number k of A. */
static void sense(struct method *m, int task, int total, int each)
{
    float *dA, *dB;

    for (int first = 0; first < total; first += each) {
        int n = total - first < each ? total - first : each;
        m->ops->gradients(m, &dA, &dB);
        for (int i = first; i < first + n; i++) {
            for (int k = 0; k < A; k++) dA[k] += (float)(i + 1 + k);
            for (int k = 0; k < B; k++) dB[k] += (float)(i + 1);
        }
        OK(m->ops->sense(m, task, n, total));
    }
}

/* Learned, looked back at, ended. */
static void task_of(struct method *m, const struct config *cfg, int task)
{
    OK(m->ops->begin_task(m, task, 10));
    fixture_steps(m, cfg, task, 0, 2);
    sense(m, task, 4, 3);
    OK(m->ops->end_task(m, task));
}

static float *numbers(struct method *m, int which)
{
    struct adapters set;

    OK(m->ops->adapters(m, ROUTE_FREE, 0, &set));
    return (float *)(uintptr_t)(which ? set.slot[0].B : set.slot[0].A);
}

static void test_fisher(void **state)
{
    const struct config cfg = config_of(2);
    struct method *m = fixture_open("ewc", &cfg, &fixture_shape);
    char *path;
    size_t n;

    assert_true(m->ops->penalises);
    assert_int_equal(m->ops->sense_samples(m, 0), 7);
    assert_int_equal(m->ops->sense_samples(m, 2), 0); // nothing comes after the last task
    for (int task = 0; task < 2; task++) {
        task_of(m, &cfg, task);
        path = fixture_save(m, *state, task ? "second.h5" : "first.h5", false);
        hid_t f = golden_open_file(path);
        double *F = golden_read_f64(f, &n, "/ewc/A_fisher"), *a = golden_read_f64(f, &n, "/ewc/A_anchor");
        assert_int_equal(n, A);
        for (int k = 0; k < A; k++) {
            assert_true(fabs(F[k] - (1 + task * 0.5) * (2.5 + k)) < 1e-4); // mean of 1 to 4, and k; gamma 0.5
            assert_true(a[k] == (double)numbers(m, 0)[k]);
        }
        golden_close(f);
        free(F), free(a), free(path);
    }
    m->ops->close(m);
}

/* Penalty of the LoRA as it stands: of a step that changes nothing. */
static double penalty(struct method *m)
{
    struct step_report out = {0};

    OK(m->ops->step(m, 1, 0, &out));
    return out.penalty;
}

/* In a step without any other gradient the first moment is 0.1 times the penalty's gradient. */
static void test_penalty(void **state)
{
    const struct config cfg = config_of(3);
    struct method *m = fixture_open("ewc", &cfg, &fixture_shape);
    double sum = 0, *g[2];
    size_t n;

    task_of(m, &cfg, 0);
    OK(m->ops->begin_task(m, 1, 10));
    assert_true(penalty(m) == 0); // still at the anchor
    for (int w = 0; w < 2; w++)
        for (int i = 0; i < (w ? B : A); i++) {
            float d = 0.01f * (float)(i % 5 - 2);
            numbers(m, w)[i] += d;
            sum += (w ? 2.5 : 2.5 + i) * (double)d * (double)d;
        }
    struct method *twin = fixture_open("ewc", &cfg, &fixture_shape);
    char *at = fixture_save(m, *state, "at.h5", true);
    fixture_load(twin, at, true);
    double p = penalty(twin);
    assert_true(fabs(p - 1.5 * sum) < 1e-4 * p);
    struct method *fresh = fixture_open("ewc", &cfg, &fixture_shape);
    fixture_load(fresh, at, false); // moments are zero when the task begins
    OK(fresh->ops->begin_task(fresh, 1, 10));
    assert_true(penalty(fresh) == p);
    char *stepped = fixture_save(fresh, *state, "stepped.h5", true);
    hid_t f = golden_open_file(stepped);
    g[0] = golden_read_f64(f, &n, "/resume/A_m"), g[1] = golden_read_f64(f, &n, "/resume/B_m");
    for (int w = 0; w < 2; w++)
        for (int i = 0; i < (w ? B : A); i += 3) {
            float *x = &numbers(twin, w)[i], was = *x;
            *x = was + 0.01f;
            double up = penalty(twin);
            *x = was - 0.01f;
            double slope = (up - penalty(twin)) / 0.02;
            *x = was;
            assert_true(fabs(10 * g[w][i] - slope) < 1e-3 * (1 + fabs(slope)));
        }
    golden_close(f);
    free(g[0]), free(g[1]), free(at), free(stepped);
    m->ops->close(m), twin->ops->close(twin), fresh->ops->close(fresh);
}

/* lambda 0: sequential_lora, bit by bit. A large one: the LoRA hardly moves. */
static void test_lambda(void **state)
{
    static const double lambda[] = {0, 1e6};
    double moved[2] = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct config cfg = config_of(lambda[i]);
        struct method *m = fixture_open("ewc", &cfg, &fixture_shape),
                      *plain = fixture_open("sequential_lora", &cfg, &fixture_shape);
        float a[A];
        task_of(m, &cfg, 0);
        OK(plain->ops->begin_task(plain, 0, 10));
        fixture_steps(plain, &cfg, 0, 0, 2);
        OK(plain->ops->end_task(plain, 0));
        memcpy(a, numbers(m, 0), sizeof a);
        fixture_task(m, &cfg, 1);
        fixture_task(plain, &cfg, 1);
        for (int k = 0; k < A; k++) moved[i] += fabs((double)numbers(m, 0)[k] - a[k]);
        assert_true(!memcmp(numbers(m, 0), numbers(plain, 0), sizeof a) == !i);
        assert_true(!memcmp(numbers(m, 1), numbers(plain, 1), B * sizeof(float)) == !i);
        m->ops->close(m), plain->ops->close(plain);
    }
    assert_true(moved[1] < 0.7 * moved[0]);
}

static void test_resume(void **state)
{
    const struct config cfg = config_of(3);
    struct method *m = fixture_open("ewc", &cfg, &fixture_shape);

    task_of(m, &cfg, 0); // with a Fisher: the second task has a penalty
    char *before = fixture_save(m, *state, "before.h5", false);
    fixture_task(m, &cfg, 1);
    char *expected = fixture_save(m, *state, "whole.h5", false);
    for (int stop = 0; stop <= FIXTURE_STEPS; stop++) {
        struct method *first = fixture_open("ewc", &cfg, &fixture_shape),
                      *second = fixture_open("ewc", &cfg, &fixture_shape);
        fixture_load(first, before, false);
        OK(first->ops->begin_task(first, 1, 10));
        fixture_steps(first, &cfg, 1, 0, stop);
        char *path = fixture_save(first, *state, "stop.h5", true);
        fixture_load(second, path, true);
        fixture_steps(second, &cfg, 1, stop, FIXTURE_STEPS);
        OK(second->ops->end_task(second, 1));
        char *end = fixture_save(second, *state, "end.h5", false);
        assert_int_equal(fixture_same(expected, end), 5 + 4);
        free(path), free(end);
        first->ops->close(first), second->ops->close(second);
    }
    free(before), free(expected);
    m->ops->close(m);
}

static void test_squares_that_are_none(void **state)
{
    const struct config cfg = config_of(1);
    struct method *m = fixture_open("ewc", &cfg, &fixture_shape);
    float *dA, *dB;

    (void)state;
    OK(m->ops->begin_task(m, 0, 10));
    FAILS(CL_EINTERNAL, "not the one that learns", m->ops->sense(m, 1, 1, 1));
    m->ops->gradients(m, &dA, &dB);
    dB[3] = INFINITY;
    FAILS(CL_ENUM, "not finite", m->ops->sense(m, 0, 1, 1));
    m->ops->close(m);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_fisher),
        WITH_FOLDER(test_penalty),
        cmocka_unit_test(test_lambda),
        WITH_FOLDER(test_resume),
        cmocka_unit_test(test_squares_that_are_none),
    };
    return cmocka_run_group_tests_name("ewc", tests, NULL, NULL);
}
