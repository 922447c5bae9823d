/* Packing: rows, targets, positions and pictures of samples end to end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "io/batch.h"
#include "io/err.h"

// BOS, text, two picture tokens, text, answer (2, its end token included), question, answer (1)
static int32_t id_a[] = {1, 10, 99, 99, 11, 20, 2, 12, 2};
static int32_t label_a[] = {-100, -100, -100, -100, -100, 20, 2, -100, 2};
static const struct sample a = {.id = id_a, .label = label_a, .n = 9, .prompt_n = 5, .answers = 3, .picture = 2};
static int32_t id_b[] = {1, 30, 31};
static int32_t label_b[] = {-100, 30, 31};
static const struct sample b = {.id = id_b, .label = label_b, .n = 3, .prompt_n = 1, .answers = 2, .picture = -1};

static void check_n(const int64_t *got, const int64_t *want, int n)
{
    for (int i = 0; i < n; i++) assert_int_equal(got[i], want[i]);
}

static void packs_whole_samples(void **state)
{
    struct packed_batch p;

    (void)state;
    assert_int_equal(batch_new(&p, 3, 21), CL_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(batch_add(&p, &b, 0), CL_OK);
        assert_int_equal(batch_add(&p, &a, 0), CL_OK);
        assert_int_equal(batch_add(&p, &a, 0), CL_OK);
        assert_int_equal(p.samples, 3);
        assert_int_equal(p.n, 21);
        check_n(p.cu, (int64_t[]){0, 3, 12, 21}, 4);
        check_n(p.cu_row, (int64_t[]){0, 2, 5, 8}, 4);
        assert_int_equal(p.rows, 8);
        check_n(p.row, (int64_t[]){0, 1, 7, 8, 10, 16, 17, 19}, 8);
        for (int i = 0; i < 8; i++) assert_int_equal(p.target[i], ((int32_t[]){30, 31, 20, 2, 2, 20, 2, 2})[i]);
        for (int i = 0; i < 21; i++) {
            assert_int_equal(p.id[i], i < 3 ? id_b[i] : id_a[(i - 3) % 9]);
            assert_int_equal(p.pos[i], i < 3 ? i : (i - 3) % 9);
        }
        assert_int_equal(p.pictures, 2);
        check_n(p.picture_at, (int64_t[]){5, 14}, 2);
        assert_int_equal(p.picture_sample[0], 1);
        assert_int_equal(p.picture_sample[1], 2);
        assert_null(p.feature[0]);
        p.feature[0] = (const struct feature *)&p;
        batch_clear(&p);
        assert_true(p.samples == 0 && p.n == 0 && p.rows == 0 && p.pictures == 0);
    }
    batch_free(&p);
}

static void packs_prompts(void **state)
{
    struct packed_batch p;

    (void)state;
    assert_int_equal(batch_new(&p, 2, 6), CL_OK);
    assert_int_equal(batch_add(&p, &a, 1), CL_OK);
    assert_int_equal(batch_add(&p, &b, 1), CL_OK);
    assert_int_equal(p.n, 6);
    check_n(p.cu, (int64_t[]){0, 5, 6}, 3);
    check_n(p.row, (int64_t[]){4, 5}, 2);
    assert_int_equal(p.rows, 2);
    assert_int_equal(p.target[0], -1);
    assert_int_equal(p.target[1], -1);
    assert_int_equal(p.pictures, 1);
    batch_free(&p);
}

/* The same answers behind another prompt. */
static void packs_other_prompts(void **state)
{
    int32_t longer[] = {1, 10, 50, 99, 99, 51, 52, 53}, shorter[] = {1};
    const struct sample with = {.id = longer, .prompt_n = 8, .picture = 3},
                        without = {.id = shorter, .prompt_n = 1, .picture = -1};
    struct packed_batch p, q;

    (void)state;
    assert_int_equal(batch_new(&p, 2, 12), CL_OK);
    assert_int_equal(batch_new(&q, 2, 17), CL_OK);
    assert_int_equal(batch_add(&p, &b, 0), CL_OK);
    assert_int_equal(batch_add(&p, &a, 0), CL_OK);
    assert_int_equal(batch_add_prompted(&q, &p, 1, &with), CL_OK);
    assert_int_equal(batch_add_prompted(&q, &p, 1, &without), CL_OK);
    assert_true(q.samples == 2 && q.n == 17 && q.rows == 6 && q.pictures == 1);
    check_n(q.cu, (int64_t[]){0, 12, 17}, 3);
    check_n(q.cu_row, (int64_t[]){0, 3, 6}, 3);
    check_n(q.row, (int64_t[]){7, 8, 10, 12, 13, 15}, 6);
    for (int i = 0; i < 6; i++) assert_int_equal(q.target[i], ((int32_t[]){20, 2, 2})[i % 3]);
    for (int i = 0; i < 17; i++) {
        assert_int_equal(q.id[i], i < 8 ? longer[i] : i < 12 ? id_a[i - 3] : i == 12 ? 1 : id_a[i - 8]);
        assert_int_equal(q.pos[i], i < 12 ? i : i - 12);
    }
    assert_true(q.picture_at[0] == 3 && q.picture_sample[0] == 0);
    batch_clear(&q);
    assert_int_equal(batch_add_prompted(&q, &p, 1, &with), CL_OK);
    assert_int_equal(batch_add_prompted(&q, &p, 1, &with), CL_EINTERNAL); // 24 tokens
    assert_true(q.samples == 1 && q.n == 12 && q.rows == 3);
    batch_free(&p), batch_free(&q);
}

static void refuses_what_does_not_fit(void **state)
{
    const struct sample none = {.picture = -1};
    struct packed_batch p;

    (void)state;
    assert_int_equal(batch_new(&p, 0, 5), CL_EINTERNAL);
    assert_int_equal(batch_new(&p, 1, -5), CL_EINTERNAL);
    assert_int_equal(batch_new(&p, 2, 11), CL_OK);
    assert_int_equal(batch_add(&p, &none, 0), CL_EINTERNAL);
    assert_int_equal(batch_add(&p, &a, 0), CL_OK);
    assert_int_equal(batch_add(&p, &b, 0), CL_EINTERNAL); // 12 tokens
    assert_true(p.samples == 1 && p.n == 9 && p.rows == 3);
    assert_int_equal(batch_add(&p, &b, 1), CL_OK);
    assert_int_equal(batch_add(&p, &b, 1), CL_EINTERNAL); // 3 samples
    batch_free(&p);
    batch_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs_whole_samples),
        cmocka_unit_test(packs_prompts),
        cmocka_unit_test(packs_other_prompts),
        cmocka_unit_test(refuses_what_does_not_fit),
    };

    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
