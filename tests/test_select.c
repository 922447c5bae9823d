/* test_select.c - cosines, ties, groups, weights: against the specification's numbers and a plain sort. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/rng.h"
#include "pool/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const float question[8] = {0.75f, 0.125f, 0.125f, -0.625f, 0, -1.375f, 0.375f, 1};
static const float key[6][8] = {{0.25f, 0.875f, -0.5f, -1.625f, 1, 0.5f, -0.125f, 0},
                                {0.625f, 2.25f, 1.875f, -1.25f, 1, 0.5f, 2.375f, -0.125f},
                                {-0.5f, -0.25f, -0.375f, 0.375f, 0, -0.125f, 0.375f, -0.875f},
                                {-0.25f, 0.125f, 0.125f, 0.625f, -1, 0.125f, 0.625f, 0.875f},
                                {-0.5f, 2.25f, -0.375f, -0.125f, 0.625f, -2.375f, 1.25f, -0.25f},
                                {1, -1.25f, -1.625f, 0.875f, -0.875f, -0.5f, 1.375f, 1.375f}};

/* A pool of n slots with these keys; tasks have "each" slots. */
static struct pool pool_of(const float *keys, int n, int K, int groups, int top_m, int each)
{
    const struct method_shape shape = {.tasks = (n + each - 1) / each, .layers = 1, .H = 1, .D = 1, .K = K};
    struct pool p;

    assert_int_equal(pool_open(&p, &shape, 1, top_m, groups, 1), 0);
    for (int i = 0; i < n; i += each) assert_int_equal(pool_grow(&p, i / each, n - i < each ? n - i : each), 0);
    if (n) memcpy(p.keys, keys, (size_t)n * (size_t)K * sizeof *keys);
    pool_keys_changed(&p, (struct pool_range){0, n});
    return p;
}

static void test_cosine_of_groups(void **state)
{
    // cosine() of the specification
    static const double expected[3][6] = {{0.11525294929742813, 0.2203349471092224, -0.506684422492981,
                                           0.11960490047931671, 0.4713439345359802, 0.36834561824798584},
                                          {0.13919712603092194, 0.2827253043651581, -0.6178818345069885,
                                           -0.21330322325229645, 0.3481708765029907, 0.3058216869831085},
                                          {0.12756578624248505, 0.24593064188957214, -0.37753432989120483,
                                           -0.22245973348617554, 0.29957255721092224, 0.31418976187705994}};

    (void)state;
    for (int i = 0, groups = 1; groups <= 4; i++, groups *= 2) {
        struct pool p = pool_of(key[0], 6, 8, groups, 2, 6);
        double norm[4];
        select_norms(norm, question, 8, groups);
        for (int n = 0; n < 6; n++) assert_true(fabs(select_cosine(&p, n, question, norm) - expected[i][n]) < 1e-7);
        pool_close(&p);
    }
}

static void test_top_of_a_range(void **state)
{
    struct pool p = pool_of(key[0], 6, 8, 1, 4, 3);
    int32_t idx[4];
    float sim[4];
    double norm[1];

    (void)state;
    assert_int_equal(select_top(&p, question, norm, (struct pool_range){0, 6}, 4, idx, sim), 4);
    assert_true(idx[0] == 4 && idx[1] == 5 && idx[2] == 1 && idx[3] == 3);
    assert_true(sim[0] >= sim[1] && sim[1] >= sim[2] && sim[2] >= sim[3]);
    assert_int_equal(select_top(&p, question, norm, pool_of_task(&p, 0), 4, idx, sim), 3); // fewer than M
    assert_true(idx[0] == 1 && idx[1] == 0 && idx[2] == 2);
    assert_int_equal(select_top(&p, question, norm, (struct pool_range){0, 0}, 4, idx, sim), 0);
    pool_close(&p);
}

static void test_equal_cosines_take_the_lower_slot(void **state)
{
    float keys[6][8];
    int32_t idx[4];
    float sim[4];
    double norm[2];

    (void)state;
    for (int n = 0; n < 6; n++) // one direction, six lengths: the same cosine, whatever rounding says
        for (int i = 0; i < 8; i++) keys[n][i] = key[4][i] * (float[]){3, 0.1f, 7, 1, 1e-3f, 1e6f}[n];
    struct pool p = pool_of(keys[0], 6, 8, 2, 4, 6);
    assert_int_equal(select_top(&p, question, norm, (struct pool_range){0, 6}, 4, idx, sim), 4);
    for (int i = 0; i < 4; i++) assert_int_equal(idx[i], i);
    pool_close(&p);
}

static void test_zero_question_and_zero_key(void **state)
{
    const float zero[8] = {0};
    float keys[3][8] = {{0}};
    int32_t idx[2];
    float sim[2];
    double norm[1], alpha[2];

    (void)state;
    memcpy(keys[2], key[0], sizeof keys[2]);
    struct pool p = pool_of(keys[0], 3, 8, 1, 2, 3);
    assert_int_equal(select_top(&p, zero, norm, (struct pool_range){0, 3}, 2, idx, sim), 2);
    assert_true(idx[0] == 0 && idx[1] == 1 && sim[0] == 0);
    select_mix(alpha, sim, 2);
    assert_true(alpha[0] == 0.5 && alpha[1] == 0.5); // uniform: nothing is positive
    pool_close(&p);
}

static void test_not_finite_is_seen(void **state)
{
    float bad[8];
    int32_t idx[2];
    float sim[2];
    double norm[1];
    struct pool p = pool_of(key[0], 6, 8, 1, 2, 6);

    (void)state;
    memcpy(bad, question, sizeof bad);
    bad[3] = NAN;
    assert_int_equal(select_top(&p, bad, norm, (struct pool_range){0, 6}, 2, idx, sim), -1);
    assert_int_equal(select_random(&p, bad, norm, (struct pool_range){0, 6}, 2, 0, 0, idx, sim), -1);
    bad[3] = INFINITY;
    assert_int_equal(select_top(&p, bad, norm, (struct pool_range){0, 6}, 2, idx, sim), -1);
    pool_close(&p);
}

/* 1024 keys, some of them equal: the list of the best is the head of the sorted list of all. */
static void test_against_a_sort(void **state)
{
    enum { N = 1024, K = 24, M = 7 };
    float *keys = malloc(sizeof(float) * N * K), q[K], sim[M];
    int32_t idx[M];
    double norm[3];

    (void)state;
    assert_non_null(keys);
    rng_fill_normal(keys, N * K, 1, 1, RNG_KEYS, 0, 0);
    for (int n = 0; n < N; n += 3) memcpy(keys + n * K, keys + n / 2 * K, K * sizeof *keys);
    struct pool p = pool_of(keys, N, K, 3, M, 64);
    for (uint64_t s = 0; s < 20; s++) {
        rng_fill_normal(q, K, 1, 1, RNG_A, 0, s * K);
        assert_int_equal(select_top(&p, q, norm, (struct pool_range){0, N}, M, idx, sim), M);
        for (int i = 0; i < M; i++) {
            int better = 0; // slots that go before the i-th
            assert_true(sim[i] == select_cosine(&p, idx[i], q, norm));
            for (int n = 0; n < N; n++) {
                float c = select_cosine(&p, n, q, norm);
                better += c > sim[i] || (c == sim[i] && n < idx[i]);
            }
            assert_int_equal(better, i);
        }
    }
    pool_close(&p);
    free(keys);
}

static void test_mix(void **state)
{
    double alpha[3];

    (void)state;
    select_mix(alpha, (const float[]){0.5f, 0.25f, -0.75f}, 3);
    assert_true(fabs(alpha[0] - 2.0 / 3) < 1e-15 && fabs(alpha[1] - 1.0 / 3) < 1e-15 && alpha[2] == 0);
    select_mix(alpha, (const float[]){-0.1f, -0.2f, -0.3f}, 3);
    assert_true(alpha[0] == 1.0 / 3 && alpha[2] == 1.0 / 3);
    select_mix(alpha, (const float[]){5e-7f, 4e-7f, 0}, 3); // 9e-7 in all counts as nothing
    assert_true(alpha[0] == 1.0 / 3);
}

static void test_softmax(void **state)
{
    const float sim[] = {0.5f, 0.25f, -0.5f};
    double alpha[3], total = 0;

    (void)state;
    select_softmax(alpha, sim, 3, 0.25);
    for (int i = 0; i < 3; i++) total += alpha[i];
    assert_true(fabs(total - 1) < 1e-15);
    assert_true(fabs(alpha[1] / alpha[0] - exp(-1)) < 1e-12 && fabs(alpha[2] / alpha[0] - exp(-4)) < 1e-12);
    select_softmax(alpha, sim, 3, 1e-6); // no overflow: all to the nearest
    assert_true(alpha[0] == 1 && alpha[1] == 0 && alpha[2] == 0);
    select_softmax(alpha, sim, 3, 1e6);
    for (int i = 0; i < 3; i++) assert_true(fabs(alpha[i] - 1.0 / 3) < 1e-5);
}

/* A task whose keys all lean to the question against one with a single key that is nearer than any of them. */
static void test_nearest_mean_key(void **state)
{
    const float keys[4][2] = {{1, 0}, {-1, 0.5f}, {1, 0.8f}, {0.5f, 1}}, asked[] = {1, 0.1f};
    struct pool p = pool_of(keys[0], 4, 2, 1, 2, 2);
    double norm[2];
    float mean[2], sim[1];
    int32_t idx[1];

    (void)state;
    assert_int_equal(select_top(&p, asked, norm, (struct pool_range){0, 4}, 1, idx, sim), 1);
    assert_int_equal(idx[0], 0);
    assert_int_equal(select_task(&p, asked, norm, mean), 1);
    p.keys[2] = NAN;
    pool_keys_changed(&p, (struct pool_range){0, 4});
    assert_int_equal(select_task(&p, asked, norm, mean), -2);
    pool_close(&p);

    struct pool none = pool_of(keys[0], 0, 2, 1, 2, 2);
    assert_int_equal(select_task(&none, asked, norm, mean), -1);
    pool_close(&none);
}

/* Long keys count no more than short ones, and the mean is taken group by group. */
static void test_mean_key_of_groups(void **state)
{
    float once[4][8], longer[4][8];
    double norm[8];
    float mean[8];

    (void)state;
    memcpy(once, key, sizeof once);
    for (int n = 0; n < 4; n++)
        for (int k = 0; k < 8; k++) longer[n][k] = key[n][k] * (float)(n + 1);
    for (int groups = 1; groups <= 4; groups *= 2) {
        struct pool a = pool_of(once[0], 4, 8, groups, 2, 2), b = pool_of(longer[0], 4, 8, groups, 2, 2);
        double best = -2;
        int nearest = -1;
        for (int t = 0; t < 2; t++) { // by hand
            double c = 0;
            for (int g = 0; g < groups; g++) {
                double xy = 0, xx = 0, yy = 0;
                for (int k = g * 8 / groups; k < (g + 1) * 8 / groups; k++) {
                    double x = 0;
                    for (int n = 2 * t; n < 2 * t + 2; n++) x += key[n][k] / a.key_norm[n * groups + g];
                    xy += x * question[k], xx += x * x, yy += (double)question[k] * question[k];
                }
                c += xy / sqrt(xx * yy) / groups;
            }
            if (c > best) best = c, nearest = t;
        }
        assert_int_equal(select_task(&a, question, norm, mean), nearest);
        assert_int_equal(select_task(&b, question, norm, mean), nearest);
        pool_close(&a), pool_close(&b);
    }
}

static void test_random_is_fair_and_repeatable(void **state)
{
    int count[6] = {0};
    int32_t idx[2], again[2];
    float sim[2];
    double norm[1];
    struct pool p = pool_of(key[0], 6, 8, 1, 2, 6);

    (void)state;
    for (uint64_t s = 0; s < 6000; s++) {
        assert_int_equal(select_random(&p, question, norm, (struct pool_range){0, 6}, 2, 4, s, idx, sim), 2);
        assert_true(idx[0] != idx[1] && sim[0] >= sim[1]);
        select_random(&p, question, norm, (struct pool_range){0, 6}, 2, 4, s, again, sim);
        assert_memory_equal(idx, again, sizeof idx);
        count[idx[0]]++;
        count[idx[1]]++;
    }
    for (int n = 0; n < 6; n++) assert_in_range(count[n], 1850, 2150); // 2000 +- 4 sigma
    assert_int_equal(select_random(&p, question, norm, (struct pool_range){4, 5}, 2, 4, 0, idx, sim), 1);
    assert_int_equal(idx[0], 4);
    pool_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cosine_of_groups),
        cmocka_unit_test(test_top_of_a_range),
        cmocka_unit_test(test_equal_cosines_take_the_lower_slot),
        cmocka_unit_test(test_zero_question_and_zero_key),
        cmocka_unit_test(test_not_finite_is_seen),
        cmocka_unit_test(test_against_a_sort),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_nearest_mean_key),
        cmocka_unit_test(test_mean_key_of_groups),
        cmocka_unit_test(test_random_is_fair_and_repeatable),
    };
    return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
