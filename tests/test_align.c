/* test_align.c - the keys' loss and gradient: finite differences, groups, bounds of a norm, not-finite questions. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"
#include "pool/align.h"
#include "pool/select.h"

enum { K = 8, SLOTS = 3 };

static struct pool pool_with_keys(int groups)
{
    const struct method_shape shape = {.tasks = 2, .layers = 1, .H = 1, .D = 1, .K = K};
    struct pool p;

    OK(pool_open(&p, &shape, 1, 2, groups, 1));
    OK(pool_grow(&p, 0, 2));
    OK(pool_grow(&p, 1, SLOTS));
    rng_fill_normal(p.keys, 5 * K, 1, 1, RNG_KEYS, 0, 0);
    pool_keys_changed(&p, (struct pool_range){0, 5});
    return p;
}

/* The cosine in float64, from its definition. */
static double cosine(const double *key, const float *s, int groups)
{
    double sum = 0;

    for (int g = 0, part = K / groups; g < groups; g++) {
        double dot = 0, a = 0, b = 0;
        for (int i = g * part; i < (g + 1) * part; i++)
            dot += key[i] * s[i], a += key[i] * key[i], b += (double)s[i] * s[i];
        sum += dot / (fmax(sqrt(a), 1e-12) * fmax(sqrt(b), 1e-12)) / groups;
    }
    return sum;
}

static void test_gradient_of_a_cosine(void **state)
{
    float **s = fixture_embeddings(1, K, 0);

    (void)state;
    for (int groups = 1; groups <= 4; groups *= 2) {
        struct pool p = pool_with_keys(groups);
        double sum[K] = {0}, norm[4], key[K];
        select_norms(norm, s[0], K, groups);
        align_cosine_gradient(sum, &p, 3, s[0], norm, -2.5);
        for (int k = 0; k < K; k++) key[k] = p.keys[3 * K + k];
        for (int k = 0; k < K; k++) {
            const double h = 1e-5, keep = key[k];
            key[k] = keep + h;
            double up = cosine(key, s[0], groups);
            key[k] = keep - h;
            double down = cosine(key, s[0], groups);
            key[k] = keep;
            assert_true(fabs(-2.5 * (up - down) / (2 * h) - sum[k]) < 1e-8);
        }
        pool_close(&p);
    }
    fixture_embeddings_free(s);
}

static void test_a_zero_key_has_the_gradient_of_the_bound(void **state)
{
    struct pool p = pool_with_keys(1);
    float **s = fixture_embeddings(1, K, 0);
    double sum[K] = {0}, norm[1];

    (void)state;
    memset(p.keys, 0, K * sizeof *p.keys);
    pool_keys_changed(&p, (struct pool_range){0, 1});
    select_norms(norm, s[0], K, 1);
    align_cosine_gradient(sum, &p, 0, s[0], norm, 1);
    for (int k = 0; k < K; k++) assert_true(fabs(sum[k] / (s[0][k] / (1e-12 * norm[0])) - 1) < 1e-12);
    pool_close(&p);
    fixture_embeddings_free(s);
}

static void test_only_own_keys_move(void **state)
{
    struct pool p = pool_with_keys(2);
    float **s = fixture_embeddings(6, K, 1), before[5 * K];
    struct align a;
    struct step_report r = {0};
    double first = 0;

    (void)state;
    memcpy(before, p.keys, sizeof before);
    OK(align_open(&a, &p, SLOTS, 0.01, 0.1));
    align_begin_task(&a);
    for (int step = 0; step < 50; step++) {
        OK(align_step(&a, &p, pool_of_task(&p, 1), FIXTURE_ROWS(s), 6, 1e-2, &r));
        if (!step) first = r.loss;
        assert_true(r.grad_norm > 0);
    }
    assert_true(r.loss < first - 0.1 && r.loss > -1); // minus a mean cosine, and it fell
    assert_int_equal(a.steps, 50);
    assert_memory_equal(before, p.keys, 2 * K * sizeof *before);
    assert_memory_not_equal(before + 2 * K, p.keys + 2 * K, 3 * K * sizeof *before);
    align_close(&a);
    pool_close(&p);
    fixture_embeddings_free(s);
}

static void test_not_finite_changes_nothing(void **state)
{
    struct pool p = pool_with_keys(1);
    float **s = fixture_embeddings(2, K, 1), before[5 * K];
    struct align a;
    struct step_report r;

    (void)state;
    memcpy(before, p.keys, sizeof before);
    OK(align_open(&a, &p, SLOTS, 0.01, 0.1));
    s[1][2] = NAN;
    FAILS(CL_ENUM, "question 1", align_step(&a, &p, pool_of_task(&p, 1), FIXTURE_ROWS(s), 2, 1e-2, &r));
    assert_memory_equal(before, p.keys, sizeof before);
    assert_int_equal(a.steps, 0);
    align_close(&a);
    pool_close(&p);
    fixture_embeddings_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_of_a_cosine),
        cmocka_unit_test(test_a_zero_key_has_the_gradient_of_the_bound),
        cmocka_unit_test(test_only_own_keys_move),
        cmocka_unit_test(test_not_finite_changes_nothing),
    };
    return cmocka_run_group_tests_name("align", tests, NULL, NULL);
}
