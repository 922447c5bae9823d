/* test_schedule.c - learning rates against transformers' get_cosine_ and get_linear_schedule_with_warmup. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/schedule.h"

#include <math.h>

static void check(const char *kind, const double *expected)
{
    for (int i = 0; i < 11; i++) {
        double lr = schedule_lr(kind, i, 10, 0.02, 0.25); // warm-up: ceil(2.5) = 3 steps
        if (!(fabs(lr - expected[i]) < 1e-15))
            fail_msg("%s: step %d has %.17g, expected %.17g", kind, i, lr, expected[i]);
    }
}

static void test_transformers(void **state)
{
    static const double cosine[] = {0.0,
                                    0.006666666666666666,
                                    0.013333333333333332,
                                    0.02,
                                    0.01900968867902419,
                                    0.016234898018587338,
                                    0.012225209339563144,
                                    0.007774790660436856,
                                    0.0037651019814126654,
                                    0.0009903113209758097,
                                    0.0};
    static const double linear[] = {0.0,
                                    0.006666666666666666,
                                    0.013333333333333332,
                                    0.02,
                                    0.017142857142857144,
                                    0.014285714285714287,
                                    0.011428571428571429,
                                    0.008571428571428572,
                                    0.005714285714285714,
                                    0.002857142857142857,
                                    0.0};

    (void)state;
    check("cosine", cosine);
    check("linear", linear);
}

static void test_edges(void **state)
{
    (void)state;
    assert_true(schedule_lr("constant", 0, 10, 0.5, 0) == 0.5 && schedule_lr("constant", 9, 10, 0.5, 0) == 0.5);
    assert_true(schedule_lr("constant", 0, 10, 0.5, 0.1) == 0);
    assert_true(schedule_lr("cosine", 0, 3, 0.5, 0.03) == 0); // even a little warm-up takes a step
    assert_true(schedule_lr("cosine", 1, 3, 0.5, 0.03) == 0.5);
    assert_true(schedule_lr("cosine", 0, 1, 0.5, 1) == 0 && schedule_lr("cosine", 1, 1, 0.5, 1) == 0.5);
    assert_true(schedule_lr("cosine", 0, 1, 0.5, 0) == 0.5);
    assert_true(schedule_lr("cosine", 25, 10, 0.5, 0) == 0 &&
                schedule_lr("linear", 25, 10, 0.5, 0) == 0); // never rises again
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transformers), cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
