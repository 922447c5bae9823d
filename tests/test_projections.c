/* test_projections.c - which linear maps: names in any order, widths and places on a base, what a checkpoint says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/projections.h"
#include "outcome.h"

static const struct text_config shape = {.hidden = 24, .ffn = 40, .heads = 6, .kv_heads = 2, .head_dim = 5};

static void test_names(void **state)
{
    unsigned chosen;
    char text[PROJECTIONS_TEXT];

    (void)state;
    OK(projections_read(&chosen, "o_proj"));
    assert_int_equal(chosen, PROJECTIONS_DEFAULT);
    OK(projections_read(&chosen, "all"));
    assert_int_equal(chosen, PROJECTIONS_ALL);
    projections_text(text, sizeof text, chosen);
    assert_string_equal(text, "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj");
    OK(projections_read(&chosen, text));
    assert_int_equal(chosen, PROJECTIONS_ALL);
    projections_modules(text, sizeof text, chosen);
    assert_string_equal(text, "self_attn.q_proj, self_attn.k_proj, self_attn.v_proj, self_attn.o_proj, mlp.gate_proj, "
                              "mlp.up_proj, mlp.down_proj");
    OK(projections_read(&chosen, "down_proj,v_proj ,  q_proj"));
    projections_text(text, sizeof text, chosen);
    assert_string_equal(text, "q_proj, v_proj, down_proj"); // in the list's order
    projections_text(text, 8, chosen);
    assert_string_equal(text, "q_proj,");
}

static void test_refused(void **state)
{
    unsigned chosen;

    (void)state;
    REFUSED(projections_read(&chosen, "q_proj, lm_head"), CL_ECONFIG,
            "lm_head is no linear map of a decoder layer (expected some of q_proj, k_proj, v_proj, o_proj, gate_proj, "
            "up_proj, down_proj, or all)");
    REFUSED(projections_read(&chosen, "q_proj, v_proj, q_proj"), CL_ECONFIG, "q_proj is given twice");
    REFUSED(projections_read(&chosen, ""), CL_ECONFIG, "an empty name is no linear map");
    REFUSED(projections_read(&chosen, "q_proj,"), CL_ECONFIG, "an empty name is no linear map");
    REFUSED(projections_read(&chosen, "q_proj, all"), CL_ECONFIG, "all is no linear map");
    REFUSED(projections_read(&chosen, "Q_proj"), CL_ECONFIG, "Q_proj is no linear map");
    REFUSED(projections_read(&chosen, "q_proj v_proj"), CL_ECONFIG, "q_proj v_proj is no linear map");
}

/* Inputs beside each other, outputs below each other, without gaps. */
static void test_places(void **state)
{
    static const struct {
        int64_t in, out;
    } want[PROJECTIONS] = {{24, 30}, {24, 10}, {24, 10}, {30, 24}, {24, 40}, {24, 40}, {40, 24}};
    struct projections p;
    int64_t H = 0, D = 0;

    (void)state;
    projections_of(&p, PROJECTIONS_ALL, &shape);
    assert_int_equal(p.n, PROJECTIONS);
    for (int i = 0; i < p.n; i++) {
        assert_int_equal(p.at[i].is, i);
        assert_true(p.at[i].in == want[i].in && p.at[i].out == want[i].out);
        assert_true(p.at[i].in0 == H && p.at[i].out0 == D);
        H += want[i].in, D += want[i].out;
    }
    assert_true(p.H == H && p.D == D);
    assert_int_equal(projections_widest(&p), 30 + 10 + 10 + 30 + 40 + 40 + 40); // what ranks split is more here
    projections_of(&p, PROJECTIONS_DEFAULT, &shape);
    const struct projections single = projections_single(30, 24);
    assert_memory_equal(&p, &single, sizeof p);
    assert_int_equal(projections_widest(&p), 30);
}

static void test_restored(void **state)
{
    struct projections p, q;
    int64_t widths[PROJECTIONS][2];
    char modules[PROJECTIONS_TEXT];

    (void)state;
    projections_of(&p, PROJECTIONS_ALL, &shape);
    projections_modules(modules, sizeof modules, p.chosen);
    for (int i = 0; i < p.n; i++) widths[i][0] = p.at[i].in, widths[i][1] = p.at[i].out;
    OK(projections_restore(&q, modules, widths[0], p.H, p.D));
    assert_memory_equal(&p, &q, sizeof p);
    OK(projections_restore(&q, "mlp.down_proj", NULL, 40, 24));
    projections_of(&p, PROJECTION_BIT(PROJ_down), &shape);
    assert_memory_equal(&p, &q, sizeof p);
    REFUSED(projections_restore(&q, modules, widths[0], p.H + 1, p.D), CL_EFORMAT, "(expected");
    REFUSED(projections_restore(&q, modules, NULL, 40, 24), CL_EFORMAT, "without their widths");
    REFUSED(projections_restore(&q, "o_proj", NULL, 40, 24), CL_EFORMAT, "o_proj is no linear map");
    REFUSED(projections_restore(&q, "self_attn.v_proj, self_attn.q_proj", widths[0], 48, 40), CL_EFORMAT,
            "self_attn.q_proj is no linear map of a decoder layer, or out of order");
    REFUSED(projections_restore(&q, "self_attn.q_proj, self_attn.q_proj", widths[0], 48, 40), CL_EFORMAT,
            "out of order");
    widths[1][0] = INT64_MIN;
    REFUSED(projections_restore(&q, "self_attn.q_proj, self_attn.k_proj", widths[0], 48, 40), CL_EFORMAT,
            "self_attn.k_proj has");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_places), cmocka_unit_test(test_restored)};
    return cmocka_run_group_tests_name("projections", tests, NULL, NULL);
}
