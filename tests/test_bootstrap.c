/* test_bootstrap.c - intervals of means: known shapes, coverage, the same for the same scores; spread over seeds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "io/bootstrap.h"
#include "pool/rng.h"

static struct bootstrap_interval interval(const double *score, int64_t n)
{
    struct bootstrap_interval b;

    assert_int_equal(bootstrap_mean(&b, score, n), 0);
    return b;
}

static void test_edges(void **state)
{
    const double same[] = {3, 3, 3, 3}, one = 7;
    struct bootstrap_interval b = interval(same, 4);

    (void)state;
    assert_true(b.mean == 3 && b.low == 3 && b.high == 3);
    b = interval(&one, 1);
    assert_true(b.mean == 7 && b.low == 7 && b.high == 7);
    b = interval(NULL, 0);
    assert_true(isnan(b.mean) && isnan(b.low) && isnan(b.high));
}

/* Half of 400 answers right: near 1.96 standard errors on both sides, equal when asked again. */
static void test_binary(void **state)
{
    double score[400];
    struct bootstrap_interval b, again;

    (void)state;
    for (int i = 0; i < 400; i++) score[i] = i % 2;
    b = interval(score, 400), again = interval(score, 400);
    assert_true(b.mean == 0.5 && b.low == again.low && b.high == again.high);
    assert_true(fabs(b.high - 0.5 - 0.049) < 0.006 && fabs(0.5 - b.low - 0.049) < 0.006);
}

/* Of 200 samples whose mean is 0.3, about 95 % have it in their interval. */
static void test_coverage(void **state)
{
    int held = 0;

    (void)state;
    for (uint32_t k = 0; k < 200; k++) {
        double score[150];
        struct bootstrap_interval b;

        for (uint64_t i = 0; i < 150; i++) score[i] = rng_uniform(5, RNG_KEYS, k, i) < 0.3;
        b = interval(score, 150);
        held += b.low <= 0.3 && 0.3 <= b.high;
    }
    if (held < 178 || held > 199) fail_msg("%d of 200", held);
}

/* Beyond the limit the normal interval takes over without a step. */
static void test_many(void **state)
{
    int64_t n = BOOTSTRAP_MOST + 1;
    double *score = malloc((size_t)n * sizeof *score);
    struct bootstrap_interval many, few;

    (void)state;
    assert_non_null(score);
    for (int64_t i = 0; i < n; i++) score[i] = i % 3 == 0;
    many = interval(score, n), few = interval(score, BOOTSTRAP_MOST);
    assert_true(fabs(many.low - few.low) < 5e-4 && fabs(many.high - few.high) < 5e-4 && many.low < many.mean);
    free(score);
}

static void test_seeds(void **state)
{
    const double v[] = {70, NAN, 72, 77};
    struct bootstrap_spread s = bootstrap_seeds(v, 4);

    (void)state;
    assert_int_equal(s.n, 3);
    assert_true(fabs(s.mean - 73) < 1e-12 && fabs(s.deviation - sqrt(13)) < 1e-12);
    s = bootstrap_seeds(v, 2);
    assert_true(s.n == 1 && s.mean == 70 && isnan(s.deviation));
    s = bootstrap_seeds(v, 0);
    assert_true(s.n == 0 && isnan(s.mean) && isnan(s.deviation));
}

int main(void)
{
    const struct CMUnitTest bootstrap[] = {cmocka_unit_test(test_edges), cmocka_unit_test(test_binary),
                                           cmocka_unit_test(test_coverage), cmocka_unit_test(test_many),
                                           cmocka_unit_test(test_seeds)};

    return cmocka_run_group_tests(bootstrap, NULL, NULL);
}
