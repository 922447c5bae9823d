/* test_share.c - what ranks hold adds up: every head, column and row is somewhere once, key/value heads where they are used. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "io/err.h"
#include "model/share.h"

static struct lvlm_config model(int heads, int kv_heads)
{
    return (struct lvlm_config){
        .has_vision = true,
        .text = {.heads = heads, .kv_heads = kv_heads, .head_dim = 8, .ffn = 8 * heads + 3, .vocab = 64 * heads + 5},
        .vision = {.heads = 5, .ffn = 22}};
}

/* The next rank begins where the last one ended. */
static void follows(int64_t *end, int64_t first, int64_t n)
{
    assert_int_equal(first, *end);
    *end += n;
}

static void check_group(int heads, int kv_heads, int size)
{
    const struct lvlm_config c = model(heads, kv_heads);
    const int group = heads / kv_heads;
    int64_t head = 0, F = 0, V = 0, tower = 0, tower_F = 0;

    for (int r = 0; r < size; r++) {
        struct share s;
        assert_int_equal(share_of(&s, &c, &(struct tp){.rank = r, .size = size}), 0);
        follows(&head, s.head0, s.heads), follows(&F, s.F0, s.F), follows(&V, s.V0, s.V);
        follows(&tower, s.vision_head0, s.vision_heads), follows(&tower_F, s.vision_F0, s.vision_F);
        assert_true(s.heads >= 1 && s.kv_heads >= 1 && s.F >= 1 && s.V >= 1);
        assert_int_equal(s.heads % s.kv_heads, 0);
        for (int h = 0; h < s.heads; h++) // a query head finds its keys at the place that attention looks at
            assert_int_equal((s.head0 + h) / group, s.kv_head0 + h / (s.heads / s.kv_heads));
        assert_int_equal(s.H, s.heads * 8);
        assert_int_equal(s.KV, s.kv_heads * 8);
    }
    assert_int_equal(head, heads);
    assert_int_equal(F, c.text.ffn);
    assert_int_equal(V, c.text.vocab);
    assert_int_equal(tower, 5);
    assert_int_equal(tower_F, 22);
}

static void shares_add_up(void **state)
{
    static const int model[][2] = {{1, 1}, {4, 4}, {6, 2}, {8, 1}, {12, 3}, {32, 8}, {40, 40}, {9, 3}};
    (void)state;
    for (size_t i = 0; i < sizeof model / sizeof *model; i++)
        for (int size = 1; size <= model[i][0]; size++) check_group(model[i][0], model[i][1], size);
}

/* Up to as many ranks as key/value heads the largest share is as small as whole heads allow. */
static void shares_are_even(void **state)
{
    const struct lvlm_config c = model(32, 8);
    struct share s;
    (void)state;
    for (int size = 1; size <= 32; size *= 2) {
        assert_int_equal(share_of(&s, &c, &(struct tp){.rank = 0, .size = size}), 0);
        assert_int_equal(s.heads, 32 / size);
    }
}

static void one_rank_has_all(void **state)
{
    const struct lvlm_config c = model(6, 2);
    struct share s;
    (void)state;
    assert_int_equal(share_of(&s, &c, NULL), 0);
    assert_int_equal(s.heads, 6);
    assert_int_equal(s.kv_heads, 2);
    assert_int_equal(s.V, c.text.vocab);
    assert_int_equal(s.vision_heads, 5);
}

static void too_many_ranks(void **state)
{
    const struct lvlm_config c = model(6, 2);
    struct share s;
    (void)state;
    assert_int_equal(share_of(&s, &c, &(struct tp){.rank = 0, .size = 7}), CL_ECONFIG);
    assert_non_null(strstr(err_text(), "parallel.tensor: 7 ranks cannot share a base of 6 attention heads"));
    assert_non_null(strstr(err_text(), "any size from 1 to 6 works"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares_add_up), cmocka_unit_test(shares_are_even),
                                       cmocka_unit_test(one_rank_has_all), cmocka_unit_test(too_many_ranks)};
    return cmocka_run_group_tests_name("share", tests, NULL, NULL);
}
