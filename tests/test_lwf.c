/* test_lwf.c - learning without forgetting without a model: who the teacher is, what lambda 0 comes to, checkpoints. What the
 * distance from a teacher does to the loss: test_backend_cpu.c, mpi_crew.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { A = 2 * 4 * 7, B = 2 * 4 * 5 }; // numbers of the LoRA

static struct config config_of(double lambda)
{
    struct config cfg = fixture_config();

    cfg.lwf.lambda = lambda;
    cfg.lwf.temperature = 3;
    return cfg;
}

static void test_teacher(void **state)
{
    const struct config cfg = config_of(0.25);
    struct method *m = fixture_open("lwf", &cfg, &fixture_shape);
    struct adapters set;
    struct routing r;
    float a[A], b[B];
    uint64_t version;

    (void)state;
    assert_true(m->ops->penalises);
    OK(routing_new(&r, 3, 2, 1));
    OK(m->ops->begin_task(m, 0, 10));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 0, &set));
    OK(m->ops->route(m, ROUTE_TRAIN, 0, NULL, NULL, 3, &r));
    assert_true(set.slots == 1 && r.slots == 1 && !r.teacher.coef); // nothing to forget yet
    fixture_steps(m, &cfg, 0, 0, 3);
    OK(m->ops->end_task(m, 0));
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &set));
    memcpy(a, set.slot[0].A, sizeof a), memcpy(b, set.slot[0].B, sizeof b);
    for (int task = 1; task < 3; task++) {
        OK(m->ops->begin_task(m, task, 10));
        for (int steps = 0; steps < 3; steps++) { // the teacher stands still while the learner moves
            OK(m->ops->adapters(m, ROUTE_TRAIN, task, &set));
            assert_true(set.slots == 2 && set.learned == 1);
            if (!steps) version = set.slot[1].version;
            assert_int_equal(set.slot[1].version, version);
            assert_memory_equal(set.slot[1].A, a, sizeof a);
            assert_memory_equal(set.slot[1].B, b, sizeof b);
            assert_true(!memcmp(set.slot[0].A, a, sizeof a) == !steps);
            OK(m->ops->route(m, ROUTE_TRAIN, task, NULL, NULL, 3, &r));
            assert_true(r.slots == 2 && r.N == 1 && r.teacher.weight == 0.25f && r.teacher.temperature == 3);
            for (int i = 0; i < 6; i++) {
                assert_true(r.coef[i] == (i % 2 ? 0 : 1.5f));
                assert_true(r.teacher.coef[i] == (i % 2 ? 1.5f : 0));
            }
            fixture_steps(m, &cfg, task, steps, steps + 1);
        }
        OK(m->ops->end_task(m, task));
        OK(m->ops->adapters(m, ROUTE_FREE, 0, &set));
        OK(m->ops->route(m, ROUTE_FREE, 0, NULL, NULL, 3, &r));
        assert_true(set.slots == 1 && r.slots == 1 && r.coef[0] == 1.5f && !r.teacher.coef);
        memcpy(a, set.slot[0].A, sizeof a), memcpy(b, set.slot[0].B, sizeof b); // the next task's teacher
    }
    assert_int_equal(m->ops->parameters(m), A + B);
    routing_free(&r);
    m->ops->close(m);
}

static void test_lambda_0(void **state)
{
    const struct config cfg = config_of(0);
    struct method *m = fixture_open("lwf", &cfg, &fixture_shape),
                  *plain = fixture_open("sequential_lora", &cfg, &fixture_shape);
    struct adapters x, y;

    (void)state;
    for (int task = 0; task < 3; task++) {
        OK(m->ops->begin_task(m, task, 10));
        OK(m->ops->adapters(m, ROUTE_TRAIN, task, &x));
        assert_int_equal(x.slots, 1);
        fixture_steps(m, &cfg, task, 0, 3);
        OK(m->ops->end_task(m, task));
        fixture_task(plain, &cfg, task);
        OK(m->ops->adapters(m, ROUTE_FREE, 0, &x));
        OK(plain->ops->adapters(plain, ROUTE_FREE, 0, &y));
        assert_memory_equal(x.slot[0].A, y.slot[0].A, A * sizeof(float));
        assert_memory_equal(x.slot[0].B, y.slot[0].B, B * sizeof(float));
    }
    m->ops->close(m), plain->ops->close(plain);
}

/* The steps of fixture_resumes do not feel the teacher, so that it is looked at here. */
static void test_resume(void **state)
{
    const struct config cfg = config_of(1);
    struct method *m = fixture_open("lwf", &cfg, &fixture_shape), *other = fixture_open("lwf", &cfg, &fixture_shape);
    struct adapters x, y;

    fixture_resumes("lwf", &cfg, *state);
    fixture_task(m, &cfg, 0);
    OK(m->ops->begin_task(m, 1, 10));
    fixture_steps(m, &cfg, 1, 0, 2);
    char *path = fixture_save(m, *state, "stop.h5", true);
    fixture_load(other, path, true);
    OK(m->ops->adapters(m, ROUTE_TRAIN, 1, &x));
    OK(other->ops->adapters(other, ROUTE_TRAIN, 1, &y));
    assert_true(x.slots == 2 && y.slots == 2);
    for (int i = 0; i < 2; i++) {
        assert_memory_equal(x.slot[i].A, y.slot[i].A, A * sizeof(float));
        assert_memory_equal(x.slot[i].B, y.slot[i].B, B * sizeof(float));
        assert_true(x.slot[i].version != y.slot[i].version);
    }
    free(path);
    m->ops->close(m), other->ops->close(other);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_teacher),
        cmocka_unit_test(test_lambda_0),
        WITH_FOLDER(test_resume),
    };
    return cmocka_run_group_tests_name("lwf", tests, NULL, NULL);
}
