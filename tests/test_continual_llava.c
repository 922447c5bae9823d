/* test_continual_llava.c - the method's own arithmetic on made-up questions and gradients, and its checkpoints: save, load, go
 * on, bit by bit. The golden sets are in test_continual_golden.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "method_fixture.h"
#include "pool/lines.h"

/* ---- its own arithmetic, on made-up embeddings and gradients */

enum { SAMPLES = 7, K = 8 };

static void run_stage1(struct method *m, int task, int steps)
{
    float **s = fixture_embeddings(SAMPLES, K, task);
    struct step_report r;

    for (int i = 0; i < steps; i++) OK(m->ops->align(m, task, FIXTURE_ROWS(s), SAMPLES, 1e-2, &r));
    fixture_embeddings_free(s);
}

static void run_end_align(struct method *m, int task)
{
    float **s = fixture_embeddings(SAMPLES, K, task);
    OK(m->ops->end_align(m, task, FIXTURE_ROWS(s), SAMPLES));
    fixture_embeddings_free(s);
}

static void run_stage2(struct method *m, int task, int from, int to)
{
    float **s = fixture_embeddings(SAMPLES, K, task);
    struct routing r;

    OK(routing_new(&r, SAMPLES, 9, 2));
    for (int i = from; i < to; i++) assert_true(fixture_step(m, task, i, s, SAMPLES, &r, 1e-2) > 0);
    routing_free(&r);
    fixture_embeddings_free(s);
}

static void run_task(struct method *m, int task)
{
    OK(m->ops->begin_task(m, task, SAMPLES));
    run_stage1(m, task, 4);
    run_end_align(m, task);
    run_stage2(m, task, 0, 3);
    OK(m->ops->end_task(m, task));
}

static struct method *fresh(void)
{
    const struct config cfg = fixture_config();
    return fixture_open("continual_llava", &cfg, &fixture_shape);
}

static void test_adapter_sets(void **state)
{
    struct method *m = fresh();
    struct adapters set, all;
    float **one = fixture_embeddings(1, K, 0);

    (void)state;
    OK(m->ops->begin_task(m, 0, 1));
    OK(m->ops->end_align(m, 0, FIXTURE_ROWS(one), 1)); // uses two of the three slots
    OK(m->ops->end_task(m, 0));
    fixture_embeddings_free(one);
    OK(m->ops->begin_task(m, 1, SAMPLES));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 1, &set));
    OK(m->ops->adapters(m, ROUTE_FREE, -1, &all));
    assert_true(set.learned == 3 && set.rank == 2 && set.slots == 3 + 2 && !set.coef);
    assert_true(all.learned == 0 && all.slots == 6);
    for (int i = 0; i < 3; i++) assert_ptr_equal(set.slot[i].A, all.slot[3 + i].A); // own slots first
    assert_true(set.slot[3].A < set.slot[0].A);                                     // then earlier ones
    const uint64_t own = set.slot[0].version, earlier = set.slot[3].version;
    run_end_align(m, 1);
    run_stage2(m, 1, 0, 1);
    assert_true(set.slot[0].version != own && set.slot[3].version == earlier); // a set stays valid over steps
    assert_int_equal(set.slot[0].version, all.slot[3].version);
    assert_true(m->ops->slot_task(m, 0) == 0 && m->ops->slot_task(m, 5) == 1 && m->ops->slot_task(m, 6) == -1);
    assert_int_equal(m->ops->parameters(m), 6 * (8 + 2 * 2 * (7 + 5)) + 1); // keys, A, B; w[1,0]
    FAILS(CL_EINTERNAL, "not the one that learns", m->ops->adapters(m, ROUTE_TRAIN, 0, &set));
    FAILS(CL_EINTERNAL, "cannot begin", m->ops->begin_task(m, 0, 1));
    m->ops->close(m);
}

static void test_without_context(void **state)
{
    struct config cfg = fixture_config();
    struct adapters set;
    struct routing r;
    float **s = fixture_embeddings(SAMPLES, K, 1);
    uint64_t sample[SAMPLES] = {0};

    (void)state;
    cfg.context.enabled = false;
    struct method *m = fixture_open("continual_llava", &cfg, &fixture_shape);
    OK(routing_new(&r, SAMPLES, 9, 2));
    run_task(m, 0);
    run_task(m, 1);
    OK(m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(s), sample, SAMPLES, &r));
    for (int i = 0; i < SAMPLES * r.N; i++) assert_true(r.context[i] == 0);
    OK(m->ops->begin_task(m, 2, SAMPLES));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 2, &set));
    assert_true(set.slots == 3 && set.learned == 3);
    assert_int_equal(m->ops->parameters(m), 9 * (8 + 2 * 2 * (7 + 5)));
    m->ops->close(m);
    routing_free(&r);
    fixture_embeddings_free(s);
}

static void test_modes(void **state)
{
    struct config cfg = fixture_config();
    struct routing r;
    float **s = fixture_embeddings(SAMPLES, K, 1);
    uint64_t sample[SAMPLES] = {0, 1, 2, 3, 4, 5, 6};
    int other = 0;

    (void)state;
    cfg.pool.scale = 0.5;
    struct method *m = fixture_open("continual_llava", &cfg, &fixture_shape);
    OK(routing_new(&r, SAMPLES, 9, 3)); // room for more than top_m
    run_task(m, 0);
    run_task(m, 1);
    OK(m->ops->route(m, ROUTE_ORACLE, 0, FIXTURE_ROWS(s), sample, SAMPLES, &r));
    for (int i = 0; i < SAMPLES; i++) {
        double sum = 0;
        assert_true(r.selected[3 * i] >= 0 && r.selected[3 * i] < 3 && r.selected[3 * i + 1] < 3 &&
                    r.selected[3 * i + 2] == -1);
        for (int n = 0; n < r.N; n++) {
            sum += r.intrinsic[i * r.N + n];
            assert_true(fabs(r.coef[i * r.N + n] - 0.5 * (r.intrinsic[i * r.N + n] + r.context[i * r.N + n])) < 1e-7);
        }
        assert_true(fabs(sum - 1) < 1e-12);
    }
    OK(m->ops->route(m, ROUTE_ORACLE, 2, FIXTURE_ROWS(s), sample, SAMPLES, &r)); // not begun: the base alone
    for (int i = 0; i < SAMPLES * 3; i++) assert_int_equal(r.selected[i], -1);
    for (int i = 0; i < SAMPLES * r.N; i++) assert_true(r.coef[i] == 0);
    OK(m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(s), sample, SAMPLES, &r));
    for (int i = 0; i < SAMPLES; i++)
        assert_int_equal(m->ops->slot_task(m, r.selected[3 * i]), 1); // they find their task
    OK(m->ops->route(m, ROUTE_RANDOM, -1, FIXTURE_ROWS(s), sample, SAMPLES, &r));
    for (int i = 0; i < SAMPLES; i++) other += m->ops->slot_task(m, r.selected[3 * i]) == 0;
    assert_true(other > 0);
    s[2][0] = NAN;
    FAILS(CL_ENUM, "question 2", m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(s), sample, SAMPLES, &r));
    r.max_slots = 5;
    FAILS(CL_EINTERNAL, "room for", m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(s), sample, SAMPLES, &r));
    m->ops->close(m);
    routing_free(&r);
    fixture_embeddings_free(s);
}

static void test_not_finite_gradient_changes_nothing(void **state)
{
    struct method *m = fresh();
    struct step_report r;
    float *dA, *dB;

    OK(m->ops->begin_task(m, 0, SAMPLES));
    run_end_align(m, 0);
    run_stage2(m, 0, 0, 1);
    char *before = fixture_save(m, *state, "before.h5", true);
    m->ops->gradients(m, &dA, &dB);
    dB[3] = INFINITY;
    FAILS(CL_ENUM, "norm is inf", m->ops->step(m, 0, 1e-2, &r));
    char *after = fixture_save(m, *state, "after.h5", true);
    assert_true(fixture_same(before, after) > 10);
    free(before), free(after);
    m->ops->close(m);
}

static void test_w_stays_between_0_and_1(void **state)
{
    struct method *m = fresh();
    float **s = fixture_embeddings(1, K, 1);
    struct adapters set;
    struct routing r;
    struct step_report report;
    uint64_t sample = 0;
    double dcoef[9] = {0};

    run_task(m, 0);
    OK(m->ops->begin_task(m, 1, SAMPLES));
    run_end_align(m, 1);
    OK(routing_new(&r, 1, 9, 2));
    OK(m->ops->adapters(m, ROUTE_TRAIN, 1, &set));
    for (int i = 0; i < 20; i++) { // pushes w[1,0] = 1 up, past its bound
        OK(m->ops->route(m, ROUTE_TRAIN, 1, FIXTURE_ROWS(s), &sample, 1, &r));
        for (int k = set.learned; k < set.slots; k++) dcoef[k] = i < 10 ? -1 : 1;
        OK(m->ops->learn(m, 1, &r, dcoef));
        OK(m->ops->step(m, 1, 0.3, &report));
    }
    char *path = fixture_save(m, *state, "w.h5", false);
    hid_t f = golden_open_file(path);
    double *w = golden_read_f64(f, NULL, "context/w");
    assert_true(w[3] >= 0 && w[3] < 1 && w[6] == 0.5 && w[1] == 0);
    golden_close(f);
    free(w), free(path);
    m->ops->close(m);
    routing_free(&r);
    fixture_embeddings_free(s);
}

/* ---- ablations */

static void test_weights_of_selected_slots(void **state)
{
    static const char *const mixes[] = {"uniform", "softmax"};
    float **s = fixture_embeddings(SAMPLES, K, 0);
    struct routing r;

    (void)state;
    OK(routing_new(&r, SAMPLES, 9, 2));
    for (int k = 0; k < 2; k++) {
        struct config cfg = fixture_config();
        cfg.pool.mix = (char *)mixes[k];
        cfg.pool.temperature = 1e-6;
        struct method *m = fixture_open("continual_llava", &cfg, &fixture_shape);
        run_task(m, 0);
        OK(m->ops->route(m, ROUTE_FREE, -1, FIXTURE_ROWS(s), NULL, SAMPLES, &r));
        for (int i = 0; i < SAMPLES; i++) {
            const double *c = r.intrinsic + i * r.N;
            assert_true(c[r.selected[2 * i]] == (k ? 1 : 0.5) && c[r.selected[2 * i + 1]] == (k ? 0 : 0.5));
        }
        m->ops->close(m);
    }
    routing_free(&r);
    fixture_embeddings_free(s);
}

/* w stays where the options put it, and only learned ones count. */
static void test_w_that_does_not_learn(void **state)
{
    static const struct {
        const char *weights;
        double value, w10, w21;
        int learned;
    } cases[] = {{"uniform", 0.25, 1, 0.5, 0}, {"fixed", 0.25, 0.25, 0.25, 0}, {"learned", 0.25, -1, -1, 3}};

    for (int k = 0; k < 3; k++) {
        struct config cfg = fixture_config();
        cfg.context.weights = (char *)cases[k].weights;
        cfg.context.value = cases[k].value;
        struct method *m = fixture_open("continual_llava", &cfg, &fixture_shape);
        for (int t = 0; t < 3; t++) run_task(m, t);
        assert_int_equal(m->ops->parameters(m), 9 * (8 + 2 * 2 * (7 + 5)) + cases[k].learned);
        char *path = fixture_save(m, *state, "w.h5", false);
        hid_t f = golden_open_file(path);
        double *w = golden_read_f64(f, NULL, "context/w");
        if (cases[k].learned)
            assert_true(w[3] != 1 || w[7] != 0.5);
        else
            assert_true(w[3] == cases[k].w10 && w[6] == cases[k].w21 && w[7] == cases[k].w21 && w[1] == 0);
        golden_close(f);
        free(w), free(path);
        m->ops->close(m);
    }
}

/* All selected slots belong to one task, the same as that of the nearest mean key. */
static void test_mean_key_routing(void **state)
{
    struct method *m = fresh();
    float **s = fixture_embeddings(SAMPLES, K, 1);
    struct routing r;

    (void)state;
    OK(routing_new(&r, SAMPLES, 9, 2));
    OK(m->ops->route(m, ROUTE_MEAN_KEY, -1, FIXTURE_ROWS(s), NULL, SAMPLES, &r)); // no slots yet: the base
    assert_int_equal(r.selected[0], -1);
    for (int t = 0; t < 3; t++) run_task(m, t);
    OK(m->ops->route(m, ROUTE_MEAN_KEY, -1, FIXTURE_ROWS(s), NULL, SAMPLES, &r));
    for (int i = 0; i < SAMPLES; i++) {
        int a = m->ops->slot_task(m, r.selected[2 * i]), b = m->ops->slot_task(m, r.selected[2 * i + 1]);
        assert_true(a >= 0 && a == b);
    }
    s[2][0] = NAN;
    FAILS(CL_ENUM, "question 2", m->ops->route(m, ROUTE_MEAN_KEY, -1, FIXTURE_ROWS(s), NULL, SAMPLES, &r));
    m->ops->close(m);
    routing_free(&r);
    fixture_embeddings_free(s);
}

/* Two runs alike but for LiNeS: after the task B differs by a line of factors over the layers, A not at all. */
static void test_lines(void **state)
{
    struct config cfg = fixture_config();
    struct method *plain = fresh();
    struct adapters without, with;
    uint64_t version;

    (void)state;
    cfg.lines.first = 0.25;
    cfg.lines.last = 0.75;
    struct method *scaled = fixture_open("continual_llava", &cfg, &fixture_shape);
    run_task(plain, 0);
    OK(scaled->ops->begin_task(scaled, 0, SAMPLES));
    run_stage1(scaled, 0, 4);
    run_end_align(scaled, 0);
    run_stage2(scaled, 0, 0, 3);
    OK(scaled->ops->adapters(scaled, ROUTE_FREE, -1, &with));
    version = with.slot[0].version;
    OK(scaled->ops->end_task(scaled, 0));
    OK(plain->ops->adapters(plain, ROUTE_FREE, -1, &without));
    OK(scaled->ops->adapters(scaled, ROUTE_FREE, -1, &with));
    assert_true(with.slot[0].version != version); // ranks fetch it anew
    for (int n = 0; n < 3; n++) {
        assert_memory_equal(with.slot[n].A, without.slot[n].A, 2 * 2 * 7 * sizeof(float));
        for (int i = 0; i < 2 * 5 * 2; i++)
            assert_true(with.slot[n].B[i] == (float)(without.slot[n].B[i] * (i < 5 * 2 ? 0.25 : 0.75)));
    }
    plain->ops->close(plain);
    scaled->ops->close(scaled);
}

static void test_lines_need_slots_of_a_task(void **state)
{
    struct config cfg;

    (void)state;
    OK(config_load_text(&cfg, "{\"seed\": 1}", "a file", NULL, 0, 0));
    OK(lines_check(&cfg, method_find("sequential_lora")));
    config_free(&cfg);
    OK(config_load_text(&cfg, "{\"lines\": {\"last\": 0.5}}", "a file", NULL, 0, 0));
    OK(lines_check(&cfg, method_find("continual_llava")));
    FAILS(CL_ECONFIG, "no slots for each task", lines_check(&cfg, method_find("sequential_lora")));
    FAILS(CL_ECONFIG, "lines.last", lines_check(&cfg, method_find("sequential_lora")));
    config_free(&cfg);
}

/* ---- checkpoints */

static void test_save_and_load(void **state)
{
    struct method *m = fresh(), *other = fresh();

    run_task(m, 0);
    run_task(m, 1);
    char *one = fixture_save(m, *state, "one.h5", false);
    fixture_load(other, one, false);
    char *two = fixture_save(other, *state, "two.h5", false);
    assert_int_equal(fixture_same(one, two), 6 + 2 * 4);
    run_task(m, 2); // and the next task begins the same
    run_task(other, 2);
    free(one), free(two);
    one = fixture_save(m, *state, "one.h5", false);
    two = fixture_save(other, *state, "two.h5", false);
    assert_int_equal(fixture_same(one, two), 6 + 3 * 4);
    free(one), free(two);
    m->ops->close(m);
    other->ops->close(other);
}

/* The uninterrupted run against one that stops after `stop` of 4 + 1 + 3 events of task 1 and goes on from its file. */
static void events(struct method *m, int from, int to)
{
    for (int e = from; e < to; e++) {
        if (e < 4)
            run_stage1(m, 1, 1);
        else if (e == 4)
            run_end_align(m, 1);
        else
            run_stage2(m, 1, e - 5, e - 4);
    }
    if (to == 8) OK(m->ops->end_task(m, 1));
}

static void test_resume_is_bit_equal(void **state)
{
    struct method *whole = fresh();

    run_task(whole, 0);
    OK(whole->ops->begin_task(whole, 1, SAMPLES));
    events(whole, 0, 8);
    char *expected = fixture_save(whole, *state, "whole.h5", false);
    for (int stop = 0; stop < 8; stop++) {
        struct method *first = fresh(), *second = fresh();
        run_task(first, 0);
        OK(first->ops->begin_task(first, 1, SAMPLES));
        events(first, 0, stop);
        char *path = fixture_save(first, *state, "stop.h5", true), *end;
        first->ops->close(first);
        fixture_load(second, path, true);
        events(second, stop, 8);
        end = fixture_save(second, *state, "end.h5", false);
        assert_int_equal(fixture_same(expected, end), 6 + 2 * 4);
        second->ops->close(second);
        free(path), free(end);
    }
    whole->ops->close(whole);
    free(expected);
}

static void test_empty_pool_round_trip(void **state)
{
    struct method *m = fresh(), *other = fresh();
    char *one = fixture_save(m, *state, "one.h5", false);

    fixture_load(other, one, false);
    run_task(other, 0);
    m->ops->close(m);
    other->ops->close(other);
    free(one);
}

static void refuse(const char *path, const struct config *cfg, const struct method_shape *shape, bool resume, int code,
                   const char *part)
{
    struct method *m = fixture_open("continual_llava", cfg, shape);
    struct ckpt *c = NULL;

    OK(ckpt_open(&c, path));
    FAILS(code, part, m->ops->load(m, c, resume));
    ckpt_close(c);
    m->ops->close(m);
}

static void test_files_that_do_not_belong(void **state)
{
    struct method *m = fresh();
    struct config cfg = fixture_config();
    struct method_shape shape = fixture_shape;

    run_task(m, 0);
    char *path = fixture_save(m, *state, "file.h5", false);
    m->ops->close(m);
    cfg.pool.rank = 3;
    refuse(path, &cfg, &shape, false, CL_EMISMATCH, "rank 2 (the configuration gives 3)");
    cfg = fixture_config(), cfg.pool.top_m = 1;
    refuse(path, &cfg, &shape, false, CL_EMISMATCH, "top_m");
    cfg = fixture_config(), cfg.pool.key_groups = 1;
    refuse(path, &cfg, &shape, false, CL_EMISMATCH, "key_groups");
    cfg = fixture_config(), cfg.pool.scale = 2;
    refuse(path, &cfg, &shape, false, CL_EMISMATCH, "scale");
    cfg = fixture_config();
    shape.H = 8;
    refuse(path, &cfg, &shape, false, CL_EMISMATCH, "/pool/A has size 7 in dimension 3 (expected 8");
    shape = fixture_shape, shape.K = 10;
    refuse(path, &cfg, &shape, false, CL_EMISMATCH, "/pool/keys has size 8");
    shape = fixture_shape, shape.layers = 1;
    refuse(path, &cfg, &shape, false, CL_EMISMATCH, "/pool/A");
    shape = fixture_shape;
    refuse(path, &cfg, &shape, true, CL_EFORMAT, "/resume"); // a finished task's file has nothing to go on from
    struct method *lora = fixture_open("sequential_lora", &cfg, &shape);
    struct ckpt *c = NULL;
    OK(ckpt_open(&c, path));
    assert_int_equal(lora->ops->load(lora, c, false), CL_EMISMATCH);
    ckpt_close(c);
    lora->ops->close(lora);
    free(path);
}

static void test_longer_stream_in_the_file(void **state)
{
    struct method *m = fresh();
    struct config cfg = fixture_config();
    struct method_shape one = fixture_shape;

    run_task(m, 0);
    run_task(m, 1);
    char *path = fixture_save(m, *state, "file.h5", false);
    one.tasks = 1; // evaluation of one data set with a pool of three tasks
    struct method *other = fixture_open("continual_llava", &cfg, &one);
    fixture_load(other, path, false);
    char *again = fixture_save(other, *state, "again.h5", false);
    assert_int_equal(fixture_same(path, again), 6 + 2 * 4);
    m->ops->close(m);
    other->ops->close(other);
    free(path), free(again);
}

static void test_configurations_that_cannot_be(void **state)
{
    struct config cfg = fixture_config();
    struct method_shape shape = fixture_shape;
    struct method *m;
    const struct method_ops *ops = method_find("continual_llava");

    (void)state;
    shape.K = 0;
    FAILS(CL_ECONFIG, "encoder", ops->open(&m, &cfg, &shape));
    assert_null(m);
    shape.K = 9;
    FAILS(CL_ECONFIG, "key_groups 2 does not divide", ops->open(&m, &cfg, &shape));
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_folder, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapter_sets),
        cmocka_unit_test(test_without_context),
        cmocka_unit_test(test_modes),
        WITH_FOLDER(test_not_finite_gradient_changes_nothing),
        WITH_FOLDER(test_w_stays_between_0_and_1),
        cmocka_unit_test(test_weights_of_selected_slots),
        WITH_FOLDER(test_w_that_does_not_learn),
        cmocka_unit_test(test_mean_key_routing),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_lines_need_slots_of_a_task),
        WITH_FOLDER(test_save_and_load),
        WITH_FOLDER(test_resume_is_bit_equal),
        WITH_FOLDER(test_empty_pool_round_trip),
        WITH_FOLDER(test_files_that_do_not_belong),
        WITH_FOLDER(test_longer_stream_in_the_file),
        cmocka_unit_test(test_configurations_that_cannot_be),
    };
    return cmocka_run_group_tests_name("continual_llava", tests, NULL, NULL);
}
