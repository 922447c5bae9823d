/* test_method.c - the list of methods, and what every one of them promises. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(method_names(), "continual_llava, zero_shot, sequential_lora, joint, replay, self_guide, "
                                        "taskwise_lora, lwf, ewc, o_lora, moe_lora, l2p");
    assert_null(method_find("lora"));
    assert_null(method_find(""));
    for (const char *p = method_names(); *p;) {
        char name[64];
        size_t n = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        assert_string_equal(method_find(name)->name, name);
        assert_true(strlen(method_find(name)->help) > 10);
        p += n + strspn(p + n, ", ");
    }
}

/* Before any task every method is the base alone, in every mode of evaluation. */
static void test_zero_shot_row(void **state)
{
    static const char *const name[] = {"continual_llava", "zero_shot",     "sequential_lora", "joint",
                                       "replay",          "taskwise_lora", "self_guide"};
    const struct config cfg = fixture_config();
    float **s = fixture_embeddings(2, 8, 0);
    const uint64_t sample[2] = {4, 5};
    struct adapters set;
    struct routing r;

    (void)state;
    OK(routing_new(&r, 2, 9, 2));
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        struct method *m = fixture_open(name[i], &cfg, &fixture_shape);
        for (enum route_mode mode = ROUTE_FREE; mode <= ROUTE_RANDOM; mode++) {
            OK(m->ops->adapters(m, mode, 0, &set));
            assert_int_equal(set.slots, 0);
            OK(m->ops->route(m, mode, 0, FIXTURE_ROWS(s), sample, 2, &r));
            assert_true(r.n == 2 && r.slots == 0 && r.N == 0);
            for (int k = 0; k < 4; k++) assert_int_equal(r.selected[k], -1);
        }
        assert_int_equal(m->ops->parameters(m), 0);
        assert_int_equal(m->ops->slot_task(m, 0), -1);
        m->ops->close(m);
    }
    routing_free(&r);
    fixture_embeddings_free(s);
}

static void test_routing_buffers(void **state)
{
    struct routing r;

    (void)state;
    OK(routing_new(&r, 3, 4, 2));
    assert_true(r.room == 3 && r.max_slots == 4 && r.M == 2 && r.coef && r.selected);
    routing_free(&r);
    assert_null(r.coef);
    assert_int_equal(routing_new(&r, -1, 4, 2), CL_EINTERNAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_zero_shot_row),
        cmocka_unit_test(test_routing_buffers),
    };
    return cmocka_run_group_tests_name("method", tests, NULL, NULL);
}
