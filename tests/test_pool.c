/* test_pool.c - growth, versions, initial values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "io/err.h"
#include "pool/pool.h"

#include <math.h>
#include <string.h>

static const struct method_shape shape = {.tasks = 3, .layers = 2, .H = 5, .D = 4, .K = 6};

static void test_growth_keeps_what_is_there(void **state)
{
    struct pool p;

    (void)state;
    assert_int_equal(pool_open(&p, &shape, 2, 2, 1, 1), 0);
    assert_int_equal(p.N, 0);
    assert_int_equal(pool_grow(&p, 0, 2), 0);
    for (int64_t i = 0; i < 2 * pool_a_size(&p); i++) p.A[i] = (float)i;
    for (int64_t i = 0; i < 2 * pool_b_size(&p); i++) p.B[i] = -(float)i;
    for (int i = 0; i < 2 * 6; i++) p.keys[i] = 1;
    p.use[1] = 0.25;
    uint64_t version = p.slot[1].version;
    assert_int_equal(pool_grow(&p, 2, 3), 0);
    assert_int_equal(p.N, 5);
    for (int64_t i = 0; i < 2 * pool_a_size(&p); i++) assert_true(p.A[i] == (float)i);
    for (int64_t i = 0; i < 2 * pool_b_size(&p); i++) assert_true(p.B[i] == -(float)i);
    for (int64_t i = 2 * pool_b_size(&p); i < 5 * pool_b_size(&p); i++) assert_true(p.B[i] == 0);
    assert_true(p.use[1] == 0.25 && p.slot[1].version == version);
    assert_ptr_equal(p.slot[3].A, p.A + 3 * pool_a_size(&p));
    assert_ptr_equal(p.slot[3].B, p.B + 3 * pool_b_size(&p));
    struct pool_range none = pool_of_task(&p, 1), last = pool_of_task(&p, 2);
    assert_true(none.first == none.end && last.first == 2 && last.end == 5);
    assert_int_equal(pool_parameters(&p), 5 * (6 + 2 * 2 * 5 + 2 * 4 * 2));
    assert_int_equal(pool_grow(&p, 1, 1), CL_EINTERNAL); // slots stay in task order
    assert_int_equal(pool_grow(&p, 3, 1), CL_EINTERNAL);
    assert_int_equal(p.N, 5);
    pool_close(&p);
}

static void test_versions_are_unique(void **state)
{
    struct pool p, q;

    (void)state;
    pool_open(&p, &shape, 2, 2, 1, 1);
    pool_open(&q, &shape, 2, 2, 1, 1);
    pool_grow(&p, 0, 2);
    pool_grow(&q, 0, 1);
    uint64_t before = p.slot[0].version;
    assert_true(before != p.slot[1].version && before != q.slot[0].version && p.slot[1].version != q.slot[0].version);
    pool_touch(&p, (struct pool_range){0, 1});
    assert_true(p.slot[0].version > q.slot[0].version && p.slot[0].version != before);
    pool_close(&p);
    pool_close(&q);
}

static double product(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void test_keys_are_orthogonal(void **state)
{
    struct pool p;

    (void)state;
    pool_open(&p, &shape, 1, 2, 1, 1);
    pool_grow(&p, 0, 8); // more than K = 6: the last two begin anew
    pool_draw_keys(&p, (struct pool_range){0, 8}, 3);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j <= i; j++) {
            double dot = product(p.keys + i * 6, p.keys + j * 6, 6);
            if (i == j)
                assert_true(fabs(dot - 1) < 1e-6);
            else if (i / 6 == j / 6)
                assert_true(fabs(dot) < 1e-6);
        }
    for (int i = 0; i < 8; i++) assert_true(fabs(p.key_norm[i] - 1) < 1e-6);
    pool_close(&p);
}

static void test_a_is_drawn_in_bounds(void **state)
{
    const struct method_shape wide = {.tasks = 2, .layers = 2, .H = 400, .D = 4, .K = 6};
    struct pool p;
    double most = 0, squares = 0;

    (void)state;
    pool_open(&p, &wide, 2, 2, 1, 1);
    pool_grow(&p, 0, 2);
    pool_draw_a(&p, (struct pool_range){0, 2}, "kaiming", 1);
    const int64_t n = 2 * pool_a_size(&p);
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(p.A[i]));
    assert_true(most <= 0.05 && most > 0.049);   // 1 / sqrt(400)
    assert_true(p.A[0] != p.A[pool_a_size(&p)]); // slots differ
    float first = p.A[0];
    pool_draw_a(&p, (struct pool_range){0, 2}, "normal", 1);
    for (int64_t i = 0; i < n; i++) squares += (double)p.A[i] * p.A[i] / (double)n;
    assert_true(fabs(squares - 1) < 0.1);
    pool_draw_a(&p, (struct pool_range){0, 2}, "kaiming", 1);
    assert_true(p.A[0] == first);
    pool_draw_a(&p, (struct pool_range){0, 2}, "kaiming", 2);
    assert_true(p.A[0] != first);
    pool_close(&p);
}

/* Each map's columns by the number of its own inputs; what stands where is drawn by its place. */
static void test_a_of_several_maps(void **state)
{
    const struct text_config c = {.hidden = 100, .ffn = 400, .heads = 1, .kv_heads = 1, .head_dim = 25};
    struct method_shape several = {.tasks = 1, .layers = 2, .K = 6};
    struct pool p, one;

    (void)state;
    projections_of(&several.on, PROJECTION_BIT(PROJ_q) | PROJECTION_BIT(PROJ_o) | PROJECTION_BIT(PROJ_down), &c);
    several.H = several.on.H, several.D = several.on.D;
    assert_true(several.H == 525 && several.D == 225);
    const struct method_shape same = {.tasks = 1, .layers = 2, .K = 6, .H = 525, .D = 225};
    pool_open(&p, &several, 3, 2, 1, 1), pool_open(&one, &same, 3, 2, 1, 1);
    pool_grow(&p, 0, 2), pool_grow(&one, 0, 2);
    pool_draw_a(&p, (struct pool_range){0, 2}, "kaiming", 1),
        pool_draw_a(&one, (struct pool_range){0, 2}, "kaiming", 1);
    for (int i = 0; i < 3; i++) {
        const struct projection_place *t = &several.on.at[i];
        const double limit = 1 / sqrt((double)t->in);
        double most = 0;
        for (int64_t row = 0; row < 2 * 2 * 3; row++)
            for (int64_t k = row * 525 + t->in0; k < row * 525 + t->in0 + t->in; k++) {
                most = fmax(most, fabs((double)p.A[k]));
                assert_true(fabs(p.A[k] - (double)one.A[k] * limit * sqrt(525)) < 1e-6);
            }
        assert_true(most <= limit && most > 0.95 * limit);
    }
    pool_draw_a(&p, (struct pool_range){0, 2}, "normal", 1), pool_draw_a(&one, (struct pool_range){0, 2}, "normal", 1);
    assert_memory_equal(p.A, one.A, 2 * (size_t)pool_a_size(&p) * sizeof *p.A);
    assert_int_equal(pool_parameters(&p), 2 * (6 + 2 * 3 * (525 + 225)));
    pool_close(&p), pool_close(&one);
}

static void test_w_begins_as_the_mean(void **state)
{
    struct pool p;

    (void)state;
    pool_open(&p, &shape, 1, 1, 1, 1);
    assert_true(p.w[0] == 0 && p.w[3] == 1 && p.w[4] == 0 && p.w[6] == 0.5f && p.w[7] == 0.5f && p.w[8] == 0);
    p.w[3] = 0.75f;
    assert_int_equal(pool_more_tasks(&p, 5), 0);
    assert_int_equal(p.T, 5);
    assert_true(p.w[5] == 0.75f && p.w[10] == 0.5f && p.w[15] == 1.0f / 3 && p.w[23] == 0.25f && p.w[24] == 0 &&
                p.w[4] == 0);
    pool_close(&p);
}

static void test_impossible_sizes(void **state)
{
    const struct method_shape huge = {.tasks = 1, .layers = 1 << 20, .H = 1ll << 40, .D = 1, .K = 1};
    struct pool p;

    (void)state;
    assert_int_equal(pool_open(&p, &huge, 1024, 1, 1, 1), CL_ECONFIG);
    pool_close(&p);
    assert_int_equal(pool_open(&p, &shape, 0, 1, 1, 1), CL_EINTERNAL);
    pool_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_keeps_what_is_there), cmocka_unit_test(test_versions_are_unique),
        cmocka_unit_test(test_keys_are_orthogonal),        cmocka_unit_test(test_a_is_drawn_in_bounds),
        cmocka_unit_test(test_a_of_several_maps),          cmocka_unit_test(test_w_begins_as_the_mean),
        cmocka_unit_test(test_impossible_sizes),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
