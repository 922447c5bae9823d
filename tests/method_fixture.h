/* method_fixture.h - drives a method without a model: made-up embeddings and gradients by counters, a folder for its
 * checkpoints, comparison of two checkpoints bit by bit. Include after cmocka.h. */
#ifndef CLLAVA_TESTS_METHOD_FIXTURE_H
#define CLLAVA_TESTS_METHOD_FIXTURE_H

#include "golden_file.h"
#include "model/tensor.h"
#include "pool/method.h"
#include "pool/rng.h"
#include "outcome.h"

#include <dirent.h>
#include <math.h>
#include <unistd.h>

#define FIXTURE_FN static inline __attribute__((unused))

/* The call fails with this code and its text contains this. */
#define FAILS(code, part, call)                                                                                        \
    do {                                                                                                               \
        assert_int_equal(call, code);                                                                                  \
        if (!strstr(err_text(), part)) fail_msg("%s:%d: \"%s\" lacks \"%s\"", __FILE__, __LINE__, err_text(), part);   \
    } while (0)

static const struct method_shape fixture_shape = {.tasks = 3, .layers = 2, .H = 7, .D = 5, .K = 8};

/* What a configuration of the tests says; the values are not the defaults on purpose. */
FIXTURE_FN struct config fixture_config(void)
{
    struct config c = {.seed = 11};
    c.pool.slots_per_task = 3;
    c.pool.rank = 2;
    c.pool.top_m = 2;
    c.pool.key_groups = 2;
    c.pool.scale = 1;
    c.pool.a_init = "kaiming";
    c.pool.query = "question";
    c.pool.mix = "cosine";
    c.pool.temperature = 0.1;
    c.context.enabled = true;
    c.context.weights = "learned";
    c.lines.first = c.lines.last = 1;
    c.lw2g.samples = 4;
    c.lw2g.rank = 2;
    c.stage1.weight_decay = 0.01;
    c.stage1.clip = 0.1;
    c.stage2.batch = 8;
    c.stage2.weight_decay = 0.02;
    c.stage2.clip = 1;
    c.stage2.beta1 = 0.9;
    c.stage2.beta2 = 0.999;
    c.stage2.eps = 1e-8;
    c.lora.rank = 4;
    c.lora.alpha = 6;
    c.lora.a_init = "kaiming";
    c.replay.budget = 5;
    c.replay.ratio = 0.5;
    c.replay.choose = "random";
    c.kpig.share = 0.5;
    c.self_guide.seeds = 3;
    c.self_guide.questions = "kept";
    c.ewc.lambda = 1;
    c.ewc.gamma = 0.9;
    c.ewc.samples = 4;
    c.o_lora.lambda = 0.5;
    c.lwf.lambda = 1;
    c.lwf.temperature = 2;
    c.moe_lora.experts = 4;
    c.moe_lora.rank = 2;
    c.moe_lora.router_lr = 1e-3;
    c.stage2.max_length = 64;
    c.l2p.prompts = 4;
    c.l2p.length = 3;
    c.l2p.top_m = 2;
    c.l2p.lambda = 0.5;
    c.l2p.init = 0.1;
    return c;
}

FIXTURE_FN struct method *fixture_open(const char *name, const struct config *cfg, const struct method_shape *shape)
{
    struct method *m = NULL;
    const struct method_ops *ops = method_find(name);
    assert_non_null(ops);
    OK(ops->open(&m, cfg, shape));
    assert_ptr_equal(m->ops, ops);
    return m;
}

/* The same records in the same order. */
FIXTURE_FN void fixture_same_refs(const struct sample_ref *a, const struct sample_ref *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) assert_true(a[i].task == b[i].task && a[i].index == b[i].index);
}

/* A folder of the test's own, in *state; files in it go with it. */
FIXTURE_FN int fixture_folder(void **state)
{
    char *dir = strdup("/tmp/cllava-test-XXXXXX");
    *state = dir;
    return dir && mkdtemp(dir) ? 0 : -1;
}

FIXTURE_FN int fixture_remove(void **state)
{
    char path[1024];
    DIR *d = opendir(*state);
    for (struct dirent *e; d && (e = readdir(d));)
        if (snprintf(path, sizeof path, "%s/%s", (char *)*state, e->d_name) < (int)sizeof path) unlink(path);
    if (d) closedir(d);
    rmdir(*state);
    free(*state);
    return 0;
}

/* Saves to DIR/name, whose path is returned (malloc'ed). */
FIXTURE_FN char *fixture_save(struct method *m, const char *dir, const char *name, bool resume)
{
    struct ckpt *c = NULL;
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    OK(ckpt_create(&c, path));
    OK(m->ops->save(m, c, resume));
    OK(ckpt_commit(c));
    return path;
}

FIXTURE_FN void fixture_load(struct method *m, const char *path, bool resume)
{
    struct ckpt *c = NULL;
    OK(ckpt_open(&c, path));
    OK(m->ops->load(m, c, resume));
    ckpt_close(c);
}

struct fixture_compare {
    hid_t a, b;
    int datasets;
};

FIXTURE_FN herr_t fixture_compare_one(hid_t a, const char *name, const H5O_info_t *info, void *user)
{
    struct fixture_compare *k = user;
    size_t n, m;
    (void)a;
    if (info->type != H5O_TYPE_DATASET) return 0;
    if (!golden_has(k->b, "%s", name)) fail_msg("%s is in one file only", name);
    double *x = golden_read_f64(k->a, &n, "%s", name), *y = golden_read_f64(k->b, &m, "%s", name);
    assert_int_equal(n, m);
    if (memcmp(x, y, n * sizeof *x)) fail_msg("%s differs", name); // every stored type converts to f64 without loss
    free(x);
    free(y);
    k->datasets++;
    return 0;
}

/* Both files hold the same numbers under the same names; returns how many datasets. */
FIXTURE_FN int fixture_same(const char *a, const char *b)
{
    struct fixture_compare k = {golden_open_file(a), golden_open_file(b), 0}, back = {k.b, k.a, 0};
    assert_true(H5Ovisit2(k.a, H5_INDEX_NAME, H5_ITER_INC, fixture_compare_one, &k, H5O_INFO_BASIC) >= 0);
    assert_true(H5Ovisit2(k.b, H5_INDEX_NAME, H5_ITER_INC, fixture_compare_one, &back, H5O_INFO_BASIC) >= 0);
    golden_close(k.a);
    golden_close(k.b);
    return k.datasets;
}

/* n embeddings of width K around a direction of their own per task. Free row[0], row. */
FIXTURE_FN float **fixture_embeddings(int n, int K, int task)
{
    float **row = malloc((size_t)n * sizeof *row), *x = malloc((size_t)n * (size_t)K * sizeof *x), centre[64];
    assert_true(row && x && K <= 64);
    rng_fill_normal(centre, K, 1, 99, RNG_KEYS, (uint32_t)task, 1000);
    rng_fill_normal(x, (int64_t)n * K, 0.7, 99, RNG_A, (uint32_t)task, 1000);
    for (int i = 0; i < n; i++) {
        row[i] = x + (int64_t)i * K;
        for (int k = 0; k < K; k++) row[i][k] += centre[k];
    }
    return row;
}

FIXTURE_FN void fixture_embeddings_free(float **row)
{
    free(row[0]);
    free(row);
}

#define FIXTURE_ROWS(x) ((const float *const *)(x))

/* One optimizer step of stage 2 with gradients that depend on (task, step) only. Returns the norm. Debug builds abort when
 * the method allocates in it. */
FIXTURE_FN double fixture_step(struct method *m, int task, int step, float *const *embedding, int n, struct routing *r,
                               double lr)
{
    struct adapters set;
    struct step_report report = {0};
    const uint64_t sample[64] = {0};
    double dcoef[4096];
    float *dA, *dB;

    mem_guard_begin();
    OK(m->ops->adapters(m, ROUTE_TRAIN, task, &set));
    OK(m->ops->route(m, ROUTE_TRAIN, task, FIXTURE_ROWS(embedding), sample, n, r));
    assert_int_equal(r->slots, set.slots);
    assert_true(set.learned > 0 && n * r->slots <= 4096);
    for (int i = 0; i < set.slots; i++) assert_true(set.slot[i].A && set.slot[i].B && set.slot[i].version);
    for (int i = 0; i < n * r->slots; i++)
        dcoef[i] = rng_normal(5, RNG_A, (uint32_t)task, (uint64_t)(step * 100000 + i));
    if (m->ops->learn) OK(m->ops->learn(m, task, r, dcoef));
    m->ops->gradients(m, &dA, &dB);
    const struct method_shape *s = &fixture_shape;
    rng_fill_normal(dA, set.learned * adapter_a_size(set.rank, s->layers, s->H, s->D), 0.1, 5, RNG_KEYS, (uint32_t)task,
                    (uint64_t)step << 20);
    rng_fill_normal(dB, set.learned * adapter_b_size(set.rank, s->layers, s->D), 0.1, 6, RNG_KEYS, (uint32_t)task,
                    (uint64_t)step << 20);
    OK(m->ops->step(m, task, lr, &report));
    mem_guard_end();
    return report.grad_norm;
}

enum { FIXTURE_SAMPLES = 3, FIXTURE_STEPS = 3 };

/* Steps [from, to) of a task, whose samples have embeddings around the task's direction. */
FIXTURE_FN void fixture_steps(struct method *m, const struct config *cfg, int task, int from, int to)
{
    float **x = fixture_embeddings(FIXTURE_SAMPLES, fixture_shape.K, task);
    struct method_size size;
    struct routing r;

    m->ops->size(cfg, fixture_shape.tasks, &size);
    OK(routing_new(&r, FIXTURE_SAMPLES, size.slots, size.selected));
    for (int i = from; i < to; i++) fixture_step(m, task, i, x, FIXTURE_SAMPLES, &r, 1e-2);
    routing_free(&r);
    fixture_embeddings_free(x);
}

FIXTURE_FN void fixture_task(struct method *m, const struct config *cfg, int task)
{
    OK(m->ops->begin_task(m, task, 10));
    fixture_steps(m, cfg, task, 0, FIXTURE_STEPS);
    OK(m->ops->end_task(m, task));
}

/* Two tasks; the second is stopped after each of its steps and goes on in another process: the same bits. */
FIXTURE_FN void fixture_resumes(const char *name, const struct config *cfg, const char *dir)
{
    struct method *whole = fixture_open(name, cfg, &fixture_shape);

    fixture_task(whole, cfg, 0);
    char *before = fixture_save(whole, dir, "before.h5", false);
    fixture_task(whole, cfg, 1);
    char *expected = fixture_save(whole, dir, "whole.h5", false);
    for (int stop = 0; stop <= FIXTURE_STEPS; stop++) {
        struct method *first = fixture_open(name, cfg, &fixture_shape), *second;
        fixture_load(first, before, false);
        OK(first->ops->begin_task(first, 1, 10));
        fixture_steps(first, cfg, 1, 0, stop);
        char *path = fixture_save(first, dir, "stop.h5", true);
        second = fixture_open(name, cfg, &fixture_shape);
        fixture_load(second, path, true);
        fixture_steps(second, cfg, 1, stop, FIXTURE_STEPS);
        OK(second->ops->end_task(second, 1));
        char *end = fixture_save(second, dir, "end.h5", false);
        assert_true(fixture_same(expected, end) > 0);
        free(path), free(end);
        first->ops->close(first);
        second->ops->close(second);
    }
    free(before), free(expected);
    whole->ops->close(whole);
}

#endif
