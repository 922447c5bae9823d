/* test_replay.c - which records are kept, which join a step, and that a resumed run draws the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"

enum { BATCH = 8, KEEP = 5 };

static struct method *fresh(double ratio)
{
    struct config cfg = fixture_config(); // budget 5, batch 8
    cfg.replay.ratio = ratio;
    return fixture_open("replay", &cfg, &fixture_shape);
}

static void run_task(struct method *m, int task, int64_t n)
{
    OK(m->ops->begin_task(m, task, n));
    OK(m->ops->end_task(m, task));
}

static void test_nothing_joins_the_first_task(void **state)
{
    struct method *m = fresh(0.5);
    struct sample_ref refs[8];
    int n = -1;

    (void)state;
    OK(m->ops->begin_task(m, 0, 20));
    OK(m->ops->mix(m, 0, 0, BATCH, refs, 8, &n));
    assert_int_equal(n, 0);
    m->ops->close(m);
}

/* 5 + 3 kept records (the second task has only 3), 4 per step: each pass of two steps shows every one of them once. */
static void test_every_kept_record_comes_up_equally(void **state)
{
    struct method *m = fresh(0.5);
    struct sample_ref refs[8];
    int count[2][20] = {{0}}, kept[2] = {0}, n;

    (void)state;
    run_task(m, 0, 20);
    run_task(m, 1, 3);
    OK(m->ops->begin_task(m, 2, 50));
    for (int step = 0; step < 20; step++) {
        OK(m->ops->mix(m, 2, step, BATCH, refs, 8, &n));
        assert_int_equal(n, 4);
        for (int i = 0; i < n; i++) {
            assert_true(refs[i].task == 0 || refs[i].task == 1);
            assert_in_range(refs[i].index, 0, refs[i].task ? 2 : 19);
            count[refs[i].task][refs[i].index]++;
        }
    }
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < 20; i++) {
            kept[t] += count[t][i] > 0;
            assert_true(count[t][i] == 0 || count[t][i] == 10);
        }
    assert_true(kept[0] == KEEP && kept[1] == 3);
    m->ops->close(m);
}

static void test_sizes(void **state)
{
    struct method *m = fresh(0.25), *many = fresh(10);
    struct sample_ref refs[8];
    int n;

    (void)state;
    run_task(m, 0, 20);
    OK(m->ops->begin_task(m, 1, 20));
    OK(m->ops->mix(m, 1, 0, BATCH, refs, 8, &n));
    assert_int_equal(n, 2);
    OK(m->ops->mix(m, 1, 9, 3, refs, 8, &n)); // a short last batch: round(0.75)
    assert_int_equal(n, 1);
    FAILS(CL_EINTERNAL, "room for 1", m->ops->mix(m, 1, 0, BATCH, refs, 1, &n));
    m->ops->close(m);
    run_task(many, 0, 20);
    OK(many->ops->begin_task(many, 1, 20));
    OK(many->ops->mix(many, 1, 3, BATCH, refs, 8, &n));
    assert_int_equal(n, KEEP); // no more than there are
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) assert_true(refs[i].index != refs[j].index);
    many->ops->close(many);
}

static void test_resume_draws_the_same(void **state)
{
    struct method *m = fresh(0.5), *other = fresh(0.5);
    struct sample_ref a[8], b[8];
    int n, k;

    run_task(m, 0, 20);
    OK(m->ops->begin_task(m, 1, 30));
    OK(m->ops->mix(m, 1, 0, BATCH, a, 8, &n));
    char *path = fixture_save(m, *state, "stop.h5", true);
    fixture_load(other, path, true);
    for (int step = 3; step >= 1; step--) { // in any order
        OK(m->ops->mix(m, 1, step, BATCH, a, 8, &n));
        OK(other->ops->mix(other, 1, step, BATCH, b, 8, &k));
        assert_int_equal(n, k);
        fixture_same_refs(a, b, n);
    }
    OK(m->ops->end_task(m, 1));
    OK(other->ops->end_task(other, 1));
    char *one = fixture_save(m, *state, "one.h5", false), *two = fixture_save(other, *state, "two.h5", false);
    assert_int_equal(fixture_same(one, two), 5 + 2); // the pool, kept records of both tasks
    free(path), free(one), free(two);
    m->ops->close(m);
    other->ops->close(other);
}

static struct method *fresh_kpig(double share)
{
    struct config cfg = fixture_config();
    cfg.replay.choose = "kpig";
    cfg.kpig.share = share;
    cfg.replay.ratio = 0.375; // 3 of 8
    return fixture_open("replay", &cfg, &fixture_shape);
}

/* Nothing is asked for where records come at random, or none can come. */
static void test_who_asks_for_gains(void **state)
{
    struct method *m = fresh(0.5), *half = fresh_kpig(0.5);
    int64_t n;

    (void)state;
    run_task(m, 0, 20);
    OK(m->ops->begin_task(m, 1, 20));
    m->ops->kept(m, &n);
    assert_int_equal(n, 0);
    OK(half->ops->begin_task(half, 0, 20));
    half->ops->kept(half, &n);
    assert_int_equal(n, 0);
    m->ops->close(m), half->ops->close(half);
}

/* Gains of 5 kept records: 3 of them, the lowest, join, after a resume too. */
static void test_records_with_low_gain_join(void **state)
{
    static const double gain[KEEP] = {0.5, 0.1, 0.9, -0.2, 0.3};
    struct method *m = fresh_kpig(0.6), *other = fresh_kpig(0.6);
    static const double later[KEEP] = {0.0, 0.1, 0.2, 0.3, 0.4};
    struct sample_ref before[KEEP], refs[8], again[8];
    bool chosen[KEEP];
    int64_t n;
    int k, count[20] = {0};

    run_task(m, 0, 20);
    OK(m->ops->begin_task(m, 1, 20));
    memcpy(before, m->ops->kept(m, &n), sizeof before);
    assert_int_equal(n, KEEP);
    OK(m->ops->weigh(m, later, chosen)); // is not the last word
    OK(m->ops->weigh(m, gain, chosen));
    fixture_same_refs(m->ops->kept(m, &n), before, KEEP);
    for (int i = 0; i < KEEP; i++) assert_int_equal(chosen[i], gain[i] < 0.4);
    char *path = fixture_save(m, *state, "stop.h5", true);
    fixture_load(other, path, true);
    for (int step = 0; step < 6; step++) {
        OK(m->ops->mix(m, 1, step, BATCH, refs, 8, &k));
        assert_int_equal(k, 3); // no more than there are
        OK(other->ops->mix(other, 1, step, BATCH, again, 8, &k));
        fixture_same_refs(refs, again, 3);
        for (int i = 0; i < k; i++) count[refs[i].index]++;
    }
    for (int i = 0; i < KEEP; i++) assert_int_equal(count[before[i].index], gain[i] < 0.4 ? 6 : 0);
    OK(m->ops->end_task(m, 1));
    OK(m->ops->begin_task(m, 2, 20)); // all over again
    m->ops->kept(m, &n);
    assert_int_equal(n, 2 * KEEP);
    free(path);
    m->ops->close(m), other->ops->close(other);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_joins_the_first_task),
        cmocka_unit_test(test_every_kept_record_comes_up_equally),
        cmocka_unit_test(test_sizes),
        WITH_FOLDER(test_resume_draws_the_same),
        cmocka_unit_test(test_who_asks_for_gains),
        WITH_FOLDER(test_records_with_low_gain_join),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
