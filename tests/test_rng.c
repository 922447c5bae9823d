/* test_rng.c - known answers of Philox4x32-10, distributions, permutations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pool/rng.h"

#include <math.h>
#include <string.h>

static void test_known_answers(void **state)
{
    // kat_vectors of the authors' Random123 library
    static const uint32_t in[3][6] = {{0, 0, 0, 0, 0, 0},
                                      {~0u, ~0u, ~0u, ~0u, ~0u, ~0u},
                                      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0}};
    static const uint32_t expected[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                            {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                            {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    uint32_t out[4];

    (void)state;
    for (int i = 0; i < 3; i++) {
        rng_philox(out, in[i], in[i] + 4);
        assert_memory_equal(out, expected[i], sizeof out);
    }
}

static void test_every_word_counts(void **state)
{
    const uint64_t x = rng_at(1, RNG_A, 2, 3);

    (void)state;
    assert_true(x == rng_at(1, RNG_A, 2, 3));
    assert_true(x != rng_at(1 + (1ull << 40), RNG_A, 2, 3));
    assert_true(x != rng_at(1, RNG_KEYS, 2, 3));
    assert_true(x != rng_at(1, RNG_A, 3, 3));
    assert_true(x != rng_at(1, RNG_A, 2, 3 + (1ull << 40)));
}

static void moments(const float *x, int n, double *mean, double *variance)
{
    *mean = *variance = 0;
    for (int i = 0; i < n; i++) *mean += x[i] / n;
    for (int i = 0; i < n; i++) *variance += (x[i] - *mean) * (x[i] - *mean) / n;
}

static void test_distributions(void **state)
{
    enum { N = 100000 };
    static float x[N];
    double mean, variance;

    (void)state;
    rng_fill_normal(x, N, 2, 7, RNG_KEYS, 0, 0);
    moments(x, N, &mean, &variance);
    assert_true(fabs(mean) < 0.03 && fabs(variance - 4) < 0.08); // 5 standard errors or so
    rng_fill_uniform(x, N, 0.5, 7, RNG_KEYS, 0, 0);
    moments(x, N, &mean, &variance);
    assert_true(fabs(mean) < 0.005 && fabs(variance - 1.0 / 12) < 0.002);
    for (int i = 0; i < N; i++) assert_true(x[i] >= -0.5 && x[i] <= 0.5);
    for (int i = 0; i < 1000; i++) assert_true(rng_below(7, RNG_A, 0, (uint64_t)i, 3) < 3);
}

static void test_fill_is_by_index(void **state)
{
    float a[8], b[4];

    (void)state;
    rng_fill_normal(a, 8, 1, 3, RNG_A, 1, 10);
    rng_fill_normal(b, 4, 1, 3, RNG_A, 1, 14);
    assert_memory_equal(a + 4, b, sizeof b);
}

static void test_permutation(void **state)
{
    enum { N = 1000 };
    static int64_t a[N], b[N];
    static int seen[N];
    int moved = 0, differ = 0;

    (void)state;
    rng_permutation(a, N, 5, RNG_STAGE2_ORDER, 1, 0);
    rng_permutation(b, N, 5, RNG_STAGE2_ORDER, 1, 1);
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < N; i++) {
        assert_in_range(a[i], 0, N - 1);
        seen[a[i]]++;
        moved += a[i] != i;
        differ += a[i] != b[i];
    }
    for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    assert_true(moved > N - 20 && differ > N - 20);
}

static void test_permutations_of_three_are_fair(void **state)
{
    int count[27] = {0};
    int64_t a[3];

    (void)state;
    for (uint64_t e = 0; e < 6000; e++) {
        rng_permutation(a, 3, 9, RNG_STAGE1_ORDER, 0, e);
        count[a[0] * 9 + a[1] * 3 + a[2]]++;
    }
    for (int i = 0; i < 27; i++) assert_true(!count[i] || (count[i] > 850 && count[i] < 1150)); // 1000 +- 5 sigma
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers), cmocka_unit_test(test_every_word_counts),
        cmocka_unit_test(test_distributions), cmocka_unit_test(test_fill_is_by_index),
        cmocka_unit_test(test_permutation),   cmocka_unit_test(test_permutations_of_three_are_fair),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
