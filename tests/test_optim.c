/* test_optim.c - AdamW and clipping against numbers of torch 2 (torch.optim.AdamW, clip_grad_norm_). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/optim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_adamw_is_torch(void **state)
{
    // p after each of three steps: AdamW(lr=1e-2, weight_decay=0.1, betas=(0.9, 0.98), eps=1e-8)
    static const float grad[3][4] = {{0.1f, -0.2f, 0, 3}, {1e-4f, 0.5f, -0.25f, -3}, {0.3f, 0.3f, 0.125f, 1e-6f}};
    static const float expected[3][4] = {{0x1.f53f7ep-2f, -0x1.3d1eb8p+0f, 0x1.ff7ceep+0f, -0x1.26f1e0p-7f},
                                         {0x1.edd832p-2f, -0x1.3dee58p+0f, 0x1.006facp+1f, -0x1.1567500p-7f},
                                         {0x1.e586dcp-2f, -0x1.3f2bfap+0f, 0x1.0078cep+1f, -0x1.07bae4p-7f}};
    const struct adamw o = {0.9, 0.98, 1e-8, 0.1};
    float p[4] = {0.5f, -1.25f, 2, 1e-3f}, m[4] = {0}, v[4] = {0};

    (void)state;
    for (int t = 0; t < 3; t++) {
        optim_adamw(&o, p, m, v, grad[t], 1, 4, t + 1, 1e-2);
        for (int i = 0; i < 4; i++) assert_true(fabsf(p[i] - expected[t][i]) <= 3e-7f * fabsf(expected[t][i]));
    }
}

static void test_scale_is_a_scaled_gradient(void **state)
{
    const struct adamw o = {0.9, 0.999, 1e-8, 0};
    float p[2] = {1, 1}, m[2] = {0}, v[2] = {0}, g = 0.75f, half = 0.375f;

    (void)state;
    optim_adamw(&o, p, m, v, &g, 0.5, 1, 1, 0.1);
    optim_adamw(&o, p + 1, m + 1, v + 1, &half, 1, 1, 1, 0.1);
    assert_true(p[0] == p[1] && m[0] == m[1] && v[0] == v[1]);
}

static void test_rate_zero_only_moves_moments(void **state)
{
    const struct adamw o = {0.9, 0.999, 1e-8, 0.5};
    float p = 3, m = 0, v = 0, g = 1;

    (void)state;
    optim_adamw(&o, &p, &m, &v, &g, 1, 1, 1, 0);
    assert_true(p == 3 && m == 0.1f && v > 0);
}

static void test_eps_stands_beside_the_root(void **state)
{
    const struct adamw o = {0.9, 0.999, 1e-8, 0};
    float p = 0, m = 0, v = 0, g = 1e-8f; // as large as eps: half a step

    (void)state;
    optim_adamw(&o, &p, &m, &v, &g, 1, 1, 1, 0.5);
    assert_true(fabsf(p + 0.25f) < 1e-5f);
}

static void test_clip(void **state)
{
    const float g[3] = {3, 4, 12}; // torch: norm 13, clipped to (0.2308, 0.3077, 0.9231)
    double norm = sqrt(optim_sum_squares(g, 3)), scale = optim_clip_scale(norm, 1);

    (void)state;
    assert_true(norm == 13);
    assert_true(fabs(scale - 1 / 13.000001) < 1e-15);
    assert_true(optim_clip_scale(0.5, 1) == 1);
    assert_true(optim_clip_scale(50, 0) == 1); // off
    assert_true(optim_clip_scale(0, 1) == 1);
}

static void test_sum_of_many(void **state)
{
    const int64_t n = 300001;
    float *g = malloc((size_t)n * sizeof *g);
    double expected = 0;

    (void)state;
    assert_non_null(g);
    for (int64_t i = 0; i < n; i++) {
        g[i] = (float)(i % 17) - 8;
        expected += (double)g[i] * g[i];
    }
    assert_true(optim_sum_squares(g, n) == expected); // integers: exact in any order
    assert_true(optim_sum_squares(g, 0) == 0);
    g[200000] = NAN;
    assert_true(isnan(optim_sum_squares(g, n)));
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_is_torch),
        cmocka_unit_test(test_scale_is_a_scaled_gradient),
        cmocka_unit_test(test_rate_zero_only_moves_moments),
        cmocka_unit_test(test_eps_stands_beside_the_root),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_sum_of_many),
    };
    return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
