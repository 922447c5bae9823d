/* test_taskwise_lora.c - a LoRA for each task: what the model holds, which slot a question gets, checkpoints. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { A = 2 * 4 * 7, B = 2 * 4 * 5 }; // numbers of a slot

static struct method *fresh(const char *name)
{
    const struct config cfg = fixture_config();
    return fixture_open(name, &cfg, &fixture_shape);
}

/* The first task is sequential_lora's, bit by bit; later ones begin from nothing and leave the earlier slots alone. */
static void test_slots(void **state)
{
    const struct config cfg = fixture_config();
    struct method *m = fresh("taskwise_lora"), *plain = fresh("sequential_lora");
    struct adapters set, all, one;
    float a[A], b[B];

    (void)state;
    fixture_task(m, &cfg, 0);
    fixture_task(plain, &cfg, 0);
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &all));
    OK(plain->ops->adapters(plain, ROUTE_FREE, 0, &one));
    assert_true(all.slots == 1 && all.learned == 0);
    assert_memory_equal(all.slot[0].A, one.slot[0].A, sizeof a);
    assert_memory_equal(all.slot[0].B, one.slot[0].B, sizeof b);
    memcpy(a, all.slot[0].A, sizeof a), memcpy(b, all.slot[0].B, sizeof b);

    OK(m->ops->begin_task(m, 1, 10));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 1, &set));
    assert_true(set.slots == 1 && set.learned == 1 && set.rank == 4);
    assert_memory_not_equal(set.slot[0].A, a, sizeof a);
    for (int i = 0; i < B; i++) assert_true(set.slot[0].B[i] == 0);
    fixture_steps(m, &cfg, 1, 0, 3);
    OK(m->ops->end_task(m, 1));
    OK(m->ops->adapters(m, ROUTE_FREE, 0, &all));
    assert_int_equal(all.slots, 2);
    assert_memory_equal(all.slot[0].A, a, sizeof a);
    assert_memory_equal(all.slot[0].B, b, sizeof b);
    assert_true(all.slot[1].B[0] != 0);
    assert_int_equal(m->ops->parameters(m), 2 * (A + B));
    assert_true(m->ops->slot_task(m, 0) == 0 && m->ops->slot_task(m, 1) == 1 && m->ops->slot_task(m, 2) == -1);
    m->ops->close(m);
    plain->ops->close(plain);
}

static void test_routes(void **state)
{
    const struct config cfg = fixture_config();
    struct method *m = fresh("taskwise_lora");
    uint64_t sample[40];
    struct routing r;
    int count[2] = {0};

    (void)state;
    fixture_task(m, &cfg, 0);
    fixture_task(m, &cfg, 1);
    OK(routing_new(&r, 40, 3, 1));
    for (enum route_mode mode = ROUTE_FREE; mode <= ROUTE_ORACLE; mode++)
        for (int task = 0; task < 3; task++) {
            OK(m->ops->route(m, mode, task, NULL, NULL, 2, &r));
            assert_true(r.N == 2 && r.slots == 2);
            for (int i = 0; i < 4; i++) { // task 2 is not learned: the base alone
                assert_true(r.coef[i] == (i % 2 == task ? 1.5f : 0));
                assert_true(r.intrinsic[i] == (i % 2 == task) && r.context[i] == 0);
            }
            assert_int_equal(r.selected[1], task < 2 ? task : -1);
        }
    for (int i = 0; i < 40; i++) sample[i] = (uint64_t)i;
    OK(m->ops->route(m, ROUTE_RANDOM, 0, NULL, sample, 40, &r));
    for (int i = 0; i < 40; i++) {
        assert_true(r.coef[2 * i] + r.coef[2 * i + 1] == 1.5f && r.coef[2 * i] * r.coef[2 * i + 1] == 0);
        count[r.selected[i]]++;
    }
    assert_true(count[0] > 8 && count[1] > 8);
    FAILS(CL_ECONFIG, "the task's number", m->ops->route(m, ROUTE_FREE, -1, NULL, NULL, 1, &r));
    FAILS(CL_EINTERNAL, "room for 40", m->ops->route(m, ROUTE_FREE, 0, NULL, NULL, 41, &r));
    routing_free(&r);
    m->ops->close(m);
}

static void test_resume(void **state)
{
    const struct config cfg = fixture_config();
    fixture_resumes("taskwise_lora", &cfg, *state);
}

static void test_another_pool(void **state)
{
    const struct config cfg = fixture_config();
    struct method *m = fresh("taskwise_lora"), *other = fresh("taskwise_lora");
    struct ckpt *c = NULL;
    int32_t task[2] = {0, 0};

    fixture_task(m, &cfg, 0);
    fixture_task(m, &cfg, 1);
    char *path = fixture_save(m, *state, "two.h5", false);
    hid_t f = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), d = H5Dopen2(f, "/pool/task", H5P_DEFAULT);
    assert_true(H5Dwrite(d, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, task) >= 0);
    H5Dclose(d), H5Fclose(f);
    OK(ckpt_open(&c, path));
    FAILS(CL_EFORMAT, "one slot for each task", other->ops->load(other, c, false));
    ckpt_close(c);
    free(path);
    m->ops->close(m);
    other->ops->close(other);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_routes),
        WITH_FOLDER(test_resume),
        WITH_FOLDER(test_another_pool),
    };
    return cmocka_run_group_tests_name("taskwise_lora", tests, NULL, NULL);
}
