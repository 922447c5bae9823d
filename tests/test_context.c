/* test_context.c - coefficients of a sample, and the gradient of w by finite differences. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/context.h"

#include <math.h>
#include <string.h>

enum { T = 3, N = 6 };

static struct pool three_tasks(void)
{
    const struct method_shape shape = {.tasks = T, .layers = 1, .H = 1, .D = 1, .K = 2};
    static const double use[N] = {0.5, 0.25, 0.75, 0.125, 1, 0};
    struct pool p;

    assert_int_equal(pool_open(&p, &shape, 1, 2, 1, 0.5), 0);
    for (int t = 0; t < T; t++) assert_int_equal(pool_grow(&p, t, 2), 0);
    memcpy(p.use, use, sizeof use);
    p.w[3] = 0.5f, p.w[6] = 0.25f, p.w[7] = 0.75f;
    p.w[0] = p.w[1] = p.w[4] = p.w[5] = p.w[8] = 9; // only what is below the diagonal may count
    return p;
}

static void test_by_hand(void **state)
{
    struct pool p = three_tasks();
    double share[T], weight[T], intrinsic[N], context[N];
    const int32_t idx[] = {4, 2};
    const double alpha[] = {0.75, 0.25};

    (void)state;
    context_coefficients(&p, idx, alpha, 2, true, share, weight, intrinsic, context);
    // task 0 gets 0.75 w[2,0] + 0.25 w[1,0] = 0.3125, task 1 gets 0.75 w[2,1] = 0.5625
    const double in[N] = {0, 0, 0.25, 0, 0.75, 0};
    const double ctx[N] = {0.3125 * 0.5, 0.3125 * 0.25, 0.5625 * 0.75, 0.5625 * 0.125, 0, 0};
    for (int n = 0; n < N; n++) assert_true(intrinsic[n] == in[n] && context[n] == ctx[n]);
    context_coefficients(&p, idx, alpha, 2, false, share, weight, intrinsic, context);
    for (int n = 0; n < N; n++) assert_true(intrinsic[n] == in[n] && context[n] == 0);
    pool_close(&p);
}

/* A loss that is linear in the coefficients: sum over n of gain[n] * scale * (intrinsic + context). */
static double loss(const struct pool *p, const double *gain)
{
    double share[T], weight[T], intrinsic[N], context[N], sum = 0;

    context_coefficients(p, (const int32_t[]){5, 4}, (const double[]){0.625, 0.375}, 2, true, share, weight, intrinsic,
                         context);
    for (int n = 0; n < N; n++) sum += gain[n] * p->scale * (intrinsic[n] + context[n]);
    return sum;
}

static void test_w_gradient(void **state)
{
    struct pool p = three_tasks();
    const double gain[N] = {1.5, -2, 0.5, 3, -1, 0.25};
    const int slot[] = {4, 5, 0, 1, 2, 3}; // as while task 2 learns: own slots first
    double dcoef[N], dw[T] = {0};

    (void)state;
    for (int i = 0; i < N; i++) dcoef[i] = gain[slot[i]];
    context_w_gradient(&p, 2, 1.0, slot, dcoef, N, dw);
    for (int l = 0; l < 2; l++) {
        const float h = 0x1p-6f, keep = p.w[6 + l];
        p.w[6 + l] = keep + h;
        double up = loss(&p, gain);
        p.w[6 + l] = keep - h;
        double down = loss(&p, gain);
        p.w[6 + l] = keep;
        assert_true(fabs((up - down) / (2 * (double)h) - dw[l]) < 1e-12);
        assert_true(dw[l] != 0);
    }
    assert_true(dw[2] == 0);
    pool_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_hand), cmocka_unit_test(test_w_gradient)};
    return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}
