/* bench_work.c - see bench_work.h. */
#include "jobs/bench_work.h"

#include <string.h>

#include "io/err.h"
#include "mpi/ranks.h"

/* ---- the base */

/* Embeddings that point everywhere. */
static int make_questions(struct bench_work *w)
{
    uint64_t h = 1;

    w->embedding = mem_new((size_t)BENCH_QUESTIONS * BENCH_EMBEDDING, sizeof *w->embedding);
    if (!w->embedding) return err_set(CL_ENOMEM, "no memory for embeddings");
    for (int i = 0; i < BENCH_QUESTIONS; i++) {
        w->query[i] = w->embedding + i * BENCH_EMBEDDING;
        for (int k = 0; k < BENCH_EMBEDDING; k++) {
            h = h * 6364136223846793005 + 1442695040888963407;
            w->embedding[i * BENCH_EMBEDDING + k] = (float)(h >> 40) / (1 << 24) - 0.5f;
        }
    }
    return CL_OK;
}

int bench_work_open(struct bench_work *w, struct bench *b, const struct backend *be, const char *dir)
{
    int rc;
    const struct bench_shape *s = b->shape;
    const size_t picture = 3 * (size_t)s->image * (size_t)s->image;

    *w = (struct bench_work){.b = b, .be = be, .dir = dir, .shape = *s};
    TRY(lvlm_open(&w->m, dir, be, ranks_now()->tp, true));
    w->pixels = mem_new(BENCH_MOST_BATCH * picture, sizeof *w->pixels);
    if (!w->pixels) FAIL(CL_ENOMEM, "no memory for a batch");
    for (size_t i = 0; i < BENCH_MOST_BATCH * picture; i++) w->pixels[i] = (float)(i * 7919 % 1021) / 255 - 2;
    for (int i = 0; i < BENCH_MOST_BATCH; i++) w->seq[i] = i;
    TRY(make_questions(w));
done:
    return rc;
}

static void let_features_go(struct bench_work *w)
{
    for (int i = 0; i < BENCH_MOST_BATCH; i++) lvlm_feature_free(w->m, w->feature[i]), w->feature[i] = NULL;
}

static void close_pool(struct bench_work *w)
{
    if (w->method) w->method->ops->close(w->method);
    w->method = NULL;
    routing_free(&w->routing);
    config_free(&w->cfg);
    mem_free(w->dcoef);
    w->dcoef = NULL;
}

static void close_layout(struct bench_work *w)
{
    lvlm_kv_free(w->kv);
    w->kv = NULL;
    batch_free(&w->pack), batch_free(&w->prompts);
    mem_free(w->nll);
    w->nll = NULL;
}

void bench_work_close(struct bench_work *w)
{
    close_layout(w);
    close_pool(w);
    if (w->m) let_features_go(w);
    mem_free(w->pixels), mem_free(w->embedding);
    lvlm_close(w->m);
}

/* ---- the pool and the samples */

int bench_work_pool(struct bench_work *w, const struct bench_pool *p)
{
    int rc;
    const struct bench_shape *s = &w->shape;
    const struct method_shape shape = {
        .tasks = p->tasks, .layers = s->layers, .H = s->d, .D = s->d, .K = BENCH_EMBEDDING};

    close_pool(w);
    w->pool = *p;
    TRY(bench_method_open(&w->method, &w->cfg, p, &shape, w->query));
    TRY(routing_new(&w->routing, BENCH_MOST_BATCH, p->tasks * p->slots, p->selected));
    w->dcoef = mem_new((size_t)BENCH_MOST_BATCH * (size_t)(p->tasks * p->slots), sizeof *w->dcoef);
    if (!w->dcoef) FAIL(CL_ENOMEM, "no memory for the gradients of coefficients");
done:
    return rc;
}

static int make_pack(struct bench_work *w, struct packed_batch *b, bool prompts)
{
    int rc;
    const struct bench_shape *s = &w->shape;
    const int64_t P = bench_pictures_tokens(s), n = bench_tokens(s);
    struct sample one = {.n = n, .prompt_n = n - s->answer, .answers = s->answer, .picture = 1};

    one.id = mem_new((size_t)n, sizeof *one.id);
    one.label = mem_new((size_t)n, sizeof *one.label);
    if (!one.id || !one.label) FAIL(CL_ENOMEM, "no memory for a sample");
    for (int64_t i = 0; i < n; i++) {
        bool picture = i >= 1 && i <= P;
        one.id[i] = picture ? s->vocab - 1 : (int32_t)(3 + i * 7919 % (s->vocab - 8));
        one.label[i] = i >= one.prompt_n ? one.id[i] : -100;
    }
    TRY(batch_new(b, w->batch, w->batch * n));
    for (int i = 0; i < w->batch; i++) {
        TRY(batch_add(b, &one, prompts));
        b->feature[i] = w->feature[i];
    }
done:
    mem_free(one.id), mem_free(one.label);
    return rc;
}

int bench_work_layout(struct bench_work *w, const struct bench_shape *shape, int batch)
{
    int rc;
    struct adapters set;
    const int64_t n = bench_tokens(shape);

    close_layout(w);
    w->shape = *shape, w->batch = batch;
    TRY(w->method->ops->adapters(w->method, ROUTE_TRAIN, w->pool.tasks - 1, &set));
    w->limits = (struct lvlm_limits){.samples = batch,
                                     .tokens = batch * n,
                                     .rows = (int64_t)batch * shape->answer,
                                     .slots = set.slots,
                                     .rank = set.rank,
                                     .train = true};
    TRY(lvlm_reserve(w->m, &w->limits));
    if (!(w->nll = mem_new((size_t)w->limits.rows, sizeof *w->nll))) FAIL(CL_ENOMEM, "no memory for losses");
    TRY(make_pack(w, &w->pack, false));
    TRY(make_pack(w, &w->prompts, true));
    TRY(bench_work_see(w));
    bench_work_forget(w);
done:
    return rc;
}

int bench_work_begin_generation(struct bench_work *w)
{
    lvlm_kv_free(w->kv);
    w->kv = NULL;
    return lvlm_kv_new(&w->kv, w->m, w->batch, bench_tokens(&w->shape) - w->shape.answer + BENCH_DECODE_STEPS);
}

void bench_work_forget(struct bench_work *w)
{
    w->last = w->best = (struct bench_spent){0};
}

/* ---- steps */

int bench_work_see(void *x)
{
    int rc;
    struct bench_work *w = x;

    let_features_go(w);
    TRY(lvlm_see(w->m, w->feature, w->pixels, w->batch));
    for (int i = 0; i < w->batch; i++) w->pack.feature[i] = w->prompts.feature[i] = w->feature[i];
done:
    return rc;
}

/* Increments and coefficients of the batch. */
static int route(struct bench_work *w, enum route_mode mode, struct adapters *set)
{
    int rc;
    const struct method_ops *ops = w->method->ops;
    const int task = w->pool.tasks - 1;

    TRY(ops->adapters(w->method, mode, task, set));
    TRY(ops->route(w->method, mode, task, w->query, NULL, w->batch, &w->routing));
    set->coef = w->routing.coef;
done:
    return rc;
}

/* What was learned from the batch, into the pool. */
static int learn(struct bench_work *w, const struct adapters *set)
{
    int rc;
    const struct method_ops *ops = w->method->ops;
    float *dA, *dB;
    struct step_report report;

    ops->gradients(w->method, &dA, &dB);
    TRY(lvlm_grads_read(w->m, dA, dB, set->learned, set->rank));
    TRY(ops->learn(w->method, w->pool.tasks - 1, &w->routing, w->dcoef));
    TRY(ops->step(w->method, w->pool.tasks - 1, w->cfg.stage2.lr, &report));
done:
    return rc;
}

/* Seconds since *at, which moves on. */
static double lap(const struct bench_work *w, double *at)
{
    const double now = bench_now(w->b), took = now - *at;

    *at = now;
    return took;
}

int bench_work_train(void *x)
{
    int rc;
    struct bench_work *w = x;
    struct bench_spent *s = &w->last;
    struct adapters set;
    const double begun = bench_now(w->b);
    double at = begun;

    backend_timing_clear();
    TRY(route(w, ROUTE_TRAIN, &set));
    s->routing = lap(w, &at);
    TRY(lvlm_grads_clear(w->m));
    TRY(lvlm_forward(w->m, &w->pack, &set, w->nll, 1.0f / (float)w->pack.rows));
    TRY(lvlm_backward(w->m, &w->pack, &set, w->dcoef));
    TRY(lvlm_coef_reduce(w->m, w->dcoef, (int64_t)w->batch * set.slots));
    lap(w, &at);
    s->ops = backend_timing_read(s->op, sizeof s->op / sizeof *s->op);
    TRY(learn(w, &set));
    s->optimizer = lap(w, &at);
    s->all = at - begun;
    if (!w->best.ops || s->all < w->best.all) w->best = *s;
done:
    return rc;
}

int bench_work_score(void *x)
{
    int rc;
    struct bench_work *w = x;
    struct adapters set;

    TRY(route(w, ROUTE_FREE, &set));
    TRY(lvlm_forward(w->m, &w->pack, &set, w->nll, 0));
done:
    return rc;
}

int bench_work_prefill(void *x)
{
    int rc;
    struct bench_work *w = x;
    struct adapters set;

    TRY(route(w, ROUTE_FREE, &set));
    TRY(lvlm_prefill(w->m, w->kv, w->seq, &w->prompts, &set, NULL, w->token));
done:
    return rc;
}

int bench_work_decode(void *x)
{
    int rc;
    struct bench_work *w = x;
    struct adapters set;

    TRY(w->method->ops->adapters(w->method, ROUTE_FREE, w->pool.tasks - 1, &set));
    set.coef = w->routing.coef; // as the prompts were routed
    TRY(lvlm_decode(w->m, w->kv, w->batch, w->seq, w->token, &set, NULL, w->token));
done:
    return rc;
}
