/* test_lora.c - one LoRA over several tasks (sequential_lora, joint): sets, scale, what carries over, checkpoints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { SAMPLES = 3 };

static struct method *fresh(const char *name)
{
    const struct config cfg = fixture_config();
    return fixture_open(name, &cfg, &fixture_shape);
}

static void run_steps(struct method *m, int task, int from, int to)
{
    float *none[SAMPLES] = {NULL}; // no method of this file looks at a question
    struct routing r;

    OK(routing_new(&r, SAMPLES, 1, 1));
    for (int i = from; i < to; i++) fixture_step(m, task, i, none, SAMPLES, &r, 1e-2);
    routing_free(&r);
}

static void run_task(struct method *m, int task)
{
    OK(m->ops->begin_task(m, task, 10));
    run_steps(m, task, 0, 3);
    OK(m->ops->end_task(m, task));
}

static void test_one_slot_for_every_sample(void **state)
{
    struct method *m = fresh("sequential_lora");
    struct adapters set, later;
    struct routing r;

    (void)state;
    OK(m->ops->begin_task(m, 0, 10));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 0, &set));
    assert_true(set.slots == 1 && set.learned == 1 && set.rank == 4);
    for (int i = 0; i < 2 * 5 * 4; i++) assert_true(set.slot[0].B[i] == 0); // begins as the base
    assert_true(set.slot[0].A[0] != 0);
    const uint64_t version = set.slot[0].version;
    OK(routing_new(&r, 2, 1, 4));
    OK(m->ops->route(m, ROUTE_TRAIN, 0, NULL, NULL, 2, &r));
    for (int i = 0; i < 2; i++) {
        assert_true(r.coef[i] == 1.5f && r.intrinsic[i] == 1 && r.context[i] == 0); // alpha 6 / rank 4
        assert_true(r.selected[4 * i] == 0 && r.selected[4 * i + 1] == -1);
    }
    run_steps(m, 0, 0, 1);
    assert_true(set.slot[0].version != version && set.slot[0].B[0] != 0);
    OK(m->ops->end_task(m, 0));
    run_task(m, 1); // goes on with the same slot
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &later));
    assert_true(later.slots == 1 && later.learned == 0 && later.slot[0].A == set.slot[0].A);
    assert_int_equal(m->ops->parameters(m), 2 * 4 * (7 + 5));
    assert_int_equal(m->ops->slot_task(m, 0), -1);
    FAILS(CL_EINTERNAL, "not the one that learns", m->ops->end_task(m, 1));
    m->ops->close(m);
    routing_free(&r);
}

static void test_alpha_0_is_scale_1(void **state)
{
    struct config cfg = fixture_config();
    struct routing r;

    (void)state;
    cfg.lora.alpha = 0;
    struct method *m = fixture_open("joint", &cfg, &fixture_shape);
    assert_true(m->ops->joint && m->ops->trains && !m->ops->routes);
    OK(m->ops->begin_task(m, 0, 10));
    OK(routing_new(&r, 1, 1, 1));
    OK(m->ops->route(m, ROUTE_TRAIN, 0, NULL, NULL, 1, &r));
    assert_true(r.coef[0] == 1);
    m->ops->close(m);
    routing_free(&r);
}

/* A task's steps do not depend on moments of the task before: only on A and B. */
static void test_optimizer_begins_anew(void **state)
{
    struct method *m = fresh("sequential_lora"), *other = fresh("sequential_lora");

    run_task(m, 0);
    char *between = fixture_save(m, *state, "between.h5", false);
    fixture_load(other, between, false); // without moments
    run_task(m, 1);
    run_task(other, 1);
    char *one = fixture_save(m, *state, "one.h5", false), *two = fixture_save(other, *state, "two.h5", false);
    assert_int_equal(fixture_same(one, two), 5);
    free(between), free(one), free(two);
    m->ops->close(m);
    other->ops->close(other);
}

static void test_resume_is_bit_equal(void **state)
{
    struct method *whole = fresh("joint");

    run_task(whole, 0);
    char *expected = fixture_save(whole, *state, "whole.h5", false);
    for (int stop = 0; stop < 3; stop++) {
        struct method *first = fresh("joint"), *second = fresh("joint");
        OK(first->ops->begin_task(first, 0, 10));
        run_steps(first, 0, 0, stop);
        char *path = fixture_save(first, *state, "stop.h5", true);
        fixture_load(second, path, true);
        run_steps(second, 0, stop, 3);
        OK(second->ops->end_task(second, 0));
        char *end = fixture_save(second, *state, "end.h5", false);
        fixture_same(expected, end);
        free(path), free(end);
        first->ops->close(first);
        second->ops->close(second);
    }
    free(expected);
    whole->ops->close(whole);
}

static void test_another_methods_file(void **state)
{
    struct method *m = fresh("joint"), *other = fresh("sequential_lora");
    struct ckpt *c = NULL;

    run_task(m, 0);
    char *path = fixture_save(m, *state, "joint.h5", false);
    OK(ckpt_open(&c, path));
    FAILS(CL_EMISMATCH, "joint", other->ops->load(other, c, false));
    ckpt_close(c);
    free(path);
    m->ops->close(m);
    other->ops->close(other);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_slot_for_every_sample), cmocka_unit_test(test_alpha_0_is_scale_1),
        WITH_FOLDER(test_optimizer_begins_anew),          WITH_FOLDER(test_resume_is_bit_equal),
        WITH_FOLDER(test_another_methods_file),
    };
    return cmocka_run_group_tests_name("lora", tests, NULL, NULL);
}
