/* test_learner.c - one step over A, B and a vector: the norm is that of all of them, the vector stays in [0, 1]. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"
#include "pool/learner.h"

static const struct adamw plain = {0.9, 0.999, 1e-8, 0};

static void test_norm_and_clip_over_everything(void **state)
{
    struct pool p;
    struct learner l;
    struct step_report r;
    float x[2] = {0.5f, 0.5f};

    (void)state;
    OK(pool_open(&p, &fixture_shape, 2, 1, 1, 1));
    OK(pool_grow(&p, 0, 1));
    OK(pool_grow(&p, 1, 2));
    OK(learner_open(&l, &p, 2, 2, &plain, 1));
    learner_begin_task(&l);
    l.dA[0] = 3, l.dB[l.b_count - 1] = 4, l.dx[1] = 12;
    OK(learner_step(&l, &p, pool_of_task(&p, 1), x, 0.25, &r));
    assert_true(r.grad_norm == 13);
    assert_true(fabs(l.mA[0] - 0.3 / 13) < 1e-7 && fabs(l.mB[l.b_count - 1] - 0.4 / 13) < 1e-7 &&
                fabs(l.mx[1] - 1.2 / 13) < 1e-7);
    // the first step of Adam is the rate times the sign
    assert_true(fabs(p.A[pool_a_size(&p)] + 0.25) < 1e-6 && fabs(p.B[3 * pool_b_size(&p) - 1] + 0.25) < 1e-6);
    assert_true(p.A[0] == 0 && x[0] == 0.5f && fabs(x[1] - 0.25) < 1e-6);
    assert_true(l.dA[0] == 0 && l.dx[1] == 0 && l.steps == 1);
    l.dx[0] = -1, l.dx[1] = 1;
    OK(learner_step(&l, &p, pool_of_task(&p, 1), x, 10, &r));
    assert_true(x[0] == 1 && x[1] == 0);
    FAILS(CL_EINTERNAL, "1 slots", learner_step(&l, &p, pool_of_task(&p, 0), x, 0.1, &r));
    learner_close(&l);
    pool_close(&p);
}

static void test_new_task_forgets_moments(void **state)
{
    struct pool p;
    struct learner l;
    struct step_report r;

    (void)state;
    OK(pool_open(&p, &fixture_shape, 2, 1, 1, 1));
    OK(pool_grow(&p, 0, 1));
    OK(learner_open(&l, &p, 1, 0, &plain, 0));
    l.dA[1] = 1;
    OK(learner_step(&l, &p, pool_of_task(&p, 0), NULL, 0, &r));
    assert_true(l.mA[1] != 0 && l.vA[1] != 0 && p.A[1] == 0);
    learner_begin_task(&l);
    assert_true(l.mA[1] == 0 && l.vA[1] == 0 && l.steps == 0);
    l.dB[0] = NAN;
    FAILS(CL_ENUM, "nan", learner_step(&l, &p, pool_of_task(&p, 0), NULL, 0.1, &r));
    assert_int_equal(l.steps, 0);
    learner_close(&l);
    pool_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm_and_clip_over_everything),
        cmocka_unit_test(test_new_task_forgets_moments),
    };
    return cmocka_run_group_tests_name("learner", tests, NULL, NULL);
}
