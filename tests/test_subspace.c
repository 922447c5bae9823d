/* test_subspace.c - eigenvectors, and bases of rows that come in one after the other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "outcome.h"
#include "pool/rng.h"
#include "pool/subspace.h"

#include <math.h>
#include <string.h>

enum { N = 9, H = 23, RANK = 4 };

static double noise(uint64_t i)
{
    return rng_normal(3, RNG_A, 1, i);
}

static void eigenvectors(void **state)
{
    double a[N * N], kept[N * N], value[N], v[N * N];
    (void)state;
    for (int i = 0; i < N; i++)
        for (int k = 0; k <= i; k++) a[i * N + k] = a[k * N + i] = noise((uint64_t)(i * N + k));
    memcpy(kept, a, sizeof a);
    subspace_eigen(a, value, v, N);
    for (int i = 0; i < N; i++) {
        if (i) assert_true(value[i] <= value[i - 1]);
        for (int k = 0; k < N; k++) {
            double product = 0, dot = 0;
            for (int j = 0; j < N; j++) product += kept[k * N + j] * v[i * N + j], dot += v[i * N + j] * v[k * N + j];
            assert_true(fabs(product - value[i] * v[i * N + k]) < 1e-10);
            assert_true(fabs(dot - (i == k)) < 1e-10);
        }
    }
    double zero[4] = {0}, none[2], unit[4]; // nothing to turn
    subspace_eigen(zero, none, unit, 2);
    assert_true(none[0] == 0 && none[1] == 0 && unit[0] == 1 && unit[3] == 1);
}

static double dot(const float *x, const float *y)
{
    double sum = 0;
    for (int i = 0; i < H; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static void assert_orthonormal(const float *q, int n)
{
    for (int i = 0; i < RANK; i++)
        for (int k = 0; k < RANK; k++) assert_true(fabs(dot(q + i * H, q + k * H) - (i == k && i < n)) < 1e-5);
}

/* Rows of three directions, more than come in at once, in any portions: the basis spans them and nothing else. */
static void spans(void **state)
{
    enum { ROWS = 150 };
    float direction[3 * H], x[ROWS * H], q[RANK * H], rest[H];
    double sigma[RANK], whole = 0, squares = 0;
    (void)state;
    for (int i = 0; i < 3 * H; i++) direction[i] = (float)noise(1000 + (uint64_t)i);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < H; i++) {
            double sum = 0;
            for (int d = 0; d < 3; d++) sum += noise(5000 + (uint64_t)(3 * r + d)) * (double)direction[d * H + i];
            x[r * H + i] = (float)sum, whole += sum * sum;
        }
    static const int portion[] = {ROWS, 7, 1};
    for (int p = 0; p < 3; p++) {
        memset(q, 0, sizeof q), memset(sigma, 0, sizeof sigma), squares = 0;
        for (int r = 0; r < ROWS; r += portion[p])
            OK(subspace_add(q, sigma, RANK, H, x + r * H, ROWS - r < portion[p] ? ROWS - r : portion[p]));
        assert_true(sigma[0] >= sigma[1] && sigma[1] >= sigma[2] && sigma[2] > 0 && sigma[3] == 0);
        assert_orthonormal(q, 3);
        for (int d = 0; d < 3; d++) {
            memcpy(rest, direction + d * H, sizeof rest);
            subspace_remove(rest, q, RANK, H);
            assert_true(dot(rest, rest) < 1e-8 * dot(direction + d * H, direction + d * H));
            squares += sigma[d] * sigma[d];
        }
        assert_true(fabs(squares - whole) < 1e-4 * whole); // nothing fell off the end
    }
    subspace_remove(direction, q, RANK, H); // twice is once
    memcpy(rest, direction, sizeof rest);
    subspace_remove(rest, q, RANK, H);
    for (int i = 0; i < H; i++) assert_true(fabs((double)rest[i] - (double)direction[i]) < 1e-5);
}

/* More directions than there is room for: the strongest stay. Rows of zeros change nothing. */
static void strongest(void **state)
{
    float x[6 * H] = {0}, q[RANK * H] = {0};
    double sigma[RANK] = {0};
    static const float size[] = {3, 0.002f, 5, 1, 4, 2};
    (void)state;
    for (int r = 0; r < 6; r++) x[r * H + 2 * r] = size[r];
    OK(subspace_add(q, sigma, RANK, H, x, 6));
    static const int at[] = {4, 8, 0, 10};
    for (int k = 0; k < RANK; k++) {
        assert_true(fabs(sigma[k] - (5 - k)) < 1e-6);
        assert_true(fabs(fabs((double)q[k * H + at[k]]) - 1) < 1e-6);
    }
    float kept[RANK * H], zeros[2 * H] = {0};
    memcpy(kept, q, sizeof q);
    OK(subspace_add(q, sigma, RANK, H, zeros, 2));
    for (int i = 0; i < RANK * H; i++) assert_true(fabs(fabs((double)q[i]) - fabs((double)kept[i])) < 1e-6);
    memset(q, 0, sizeof q), memset(sigma, 0, sizeof sigma);
    OK(subspace_add(q, sigma, RANK, H, zeros, 2));
    assert_true(sigma[0] == 0 && q[0] == 0);
    memset(x, 0, sizeof x), x[0] = 1, x[H + 1] = 1e-4f; // less than a thousandth
    OK(subspace_add(q, sigma, RANK, H, x, 2));
    assert_true(sigma[0] > 0 && sigma[1] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(eigenvectors), cmocka_unit_test(spans),
                                       cmocka_unit_test(strongest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
