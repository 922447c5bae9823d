/* moe_lora.c - experts that all tasks share and a router that mixes them for each question.
 *
 * The pool has moe_lora.experts slots. The router is a linear map of the question's embedding at unit length and a softmax:
 *
 *     p = softmax(W s / |s|)    over all experts, or over the top_k largest (then they alone share the weight)
 *     increment = scale * sum over experts e of p_e B_e A_e
 *
 * Experts and W go on learning from task to task with nothing against forgetting. W's rows are the slots' keys. Their gradient
 * comes from the coefficients': dL/dz_e = p_e (g_e - sum of p g), with g = scale * dL/dcoef.
 *
 * MoELoRA of CoIN (arXiv 2403.08350) routes every token in every layer by the layer's own input. Here a question gets one mixture
 * for all its tokens and layers, since the model knows increments as one coefficient per sample (model/adapters.h): what is
 * compared is a learned router with shared experts against Continual LLaVA's frozen, keyed slots, all else being equal.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"
#include "pool/rng.h"
#include "pool/select.h"

#include <math.h>

struct moe {
    struct lora lora;
    int top_k;    // experts of a question
    double rate;  // learning rate of W over that of the experts
    double *z;    // (experts) scratch of one question
    float *sim;   // (top_k)
    int32_t *idx; // (top_k)
};

static struct moe *self(struct method *m)
{
    return (struct moe *)m;
}

static void moe_close(struct method *m)
{
    struct moe *e = self(m);

    if (!e) return;
    mem_free(e->z), mem_free(e->sim), mem_free(e->idx);
    lora_teardown(&e->lora);
    mem_free(e);
}

/* Experts of a question: more than there are cannot be. */
static int chosen(const struct config *cfg)
{
    const int k = cfg->moe_lora.top_k, all = cfg->moe_lora.experts;
    return k > 0 && k < all ? k : all;
}

static void moe_size(const struct config *cfg, int tasks, struct method_size *out)
{
    (void)tasks;
    *out = (struct method_size){cfg->moe_lora.experts, cfg->moe_lora.experts, cfg->moe_lora.rank, chosen(cfg), 0};
}

static int check_config(const struct config *cfg, const struct method_shape *shape)
{
    if ((int64_t)shape->K * cfg->moe_lora.experts > INT32_MAX)
        return err_set(CL_ECONFIG, "moe_lora.experts: %d of them over embeddings of %d numbers are too many",
                       cfg->moe_lora.experts, shape->K);
    return CL_OK;
}

static int moe_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct moe *e = NULL;
    const size_t k = (size_t)chosen(cfg), experts = (size_t)cfg->moe_lora.experts;
    int rc;

    TRY(method_needs_queries(&moe_lora_ops, shape));
    TRY(check_config(cfg, shape));
    e = mem_new(1, sizeof *e);
    if (!e) FAIL(CL_ENOMEM, "no memory for the method");
    TRY(lora_setup_pool(&e->lora, &moe_lora_ops, cfg, shape, (int)experts, cfg->moe_lora.rank, (int)k,
                        (int)experts * shape->K));
    e->top_k = (int)k;
    e->rate = cfg->stage2.lr > 0 ? cfg->moe_lora.router_lr / cfg->stage2.lr : 0;
    e->z = mem_new(experts, sizeof *e->z);
    e->sim = mem_new(k, sizeof *e->sim);
    e->idx = mem_new(k, sizeof *e->idx);
    if (!e->z || !e->sim || !e->idx) FAIL(CL_ENOMEM, "no memory for %zu experts", experts);
done:
    if (rc) moe_close((struct method *)e), e = NULL;
    *m = (struct method *)e;
    return rc;
}

/* W begins with numbers from N(0, 1): logits of about 1, so that questions differ and no expert is always the last. */
static int moe_begin_task(struct method *m, int task, int64_t n)
{
    struct moe *e = self(m);
    struct pool *p = &e->lora.pool;
    const bool first = !p->N;
    int rc;

    TRY(lora_begin_task(m, task, n));
    e->lora.learner.x_rate = e->rate, e->lora.learner.x_free = true;
    if (!first) goto done;
    rng_fill_normal(p->keys, (int64_t)p->N * p->K, 1, e->lora.seed, RNG_KEYS, 0, 0);
    pool_keys_changed(p, e->lora.own);
done:
    return rc;
}

/* ---- routing */

/* z := logits of a question. */
static void logits(const struct moe *e, const float *s)
{
    const struct pool *p = &e->lora.pool;
    double norm;

    select_norms(&norm, s, p->K, 1);
    for (int n = 0; n < p->N; n++) {
        const float *w = p->keys + (int64_t)n * p->K;
        double dot = 0;
        for (int k = 0; k < p->K; k++) dot += (double)w[k] * s[k];
        e->z[n] = dot / norm;
    }
}

/* idx := the top_k largest of z, the lower expert first where two are equal. False: one is not finite. */
static bool pick(const struct moe *e)
{
    const int N = e->lora.pool.N, k = e->top_k;
    int have = 0;

    for (int n = 0; n < N; n++) {
        int at = have;
        if (!isfinite(e->z[n])) return false;
        while (at > 0 && e->z[n] > e->z[e->idx[at - 1]]) at--;
        if (at == k) continue;
        if (have < k) have++;
        for (int i = have - 1; i > at; i--) e->idx[i] = e->idx[i - 1];
        e->idx[at] = n;
    }
    return true;
}

/* Row s of the routing from idx; uniform: chance routing has no weights. */
static void fill_row(const struct moe *e, struct routing *out, int s, bool uniform)
{
    const struct pool *p = &e->lora.pool;
    double *weight = out->intrinsic + (int64_t)s * p->N, sum = 0;

    for (int n = 0; n < p->N; n++) weight[n] = out->context[(int64_t)s * p->N + n] = 0;
    for (int i = 0; i < e->top_k; i++) sum += weight[e->idx[i]] = uniform ? 1 : exp(e->z[e->idx[i]] - e->z[e->idx[0]]);
    for (int n = 0; n < p->N; n++) {
        weight[n] /= sum;
        out->coef[(int64_t)s * p->N + n] = (float)(p->scale * weight[n]);
    }
    for (int i = 0; i < out->M; i++) out->selected[(int64_t)s * out->M + i] = i < e->top_k ? e->idx[i] : -1;
}

static int moe_route(struct method *m, enum route_mode mode, int task, const float *const *embedding,
                     const uint64_t *sample, int n, struct routing *out)
{
    struct moe *e = self(m);
    const struct pool *p = &e->lora.pool;
    const bool chance = mode == ROUTE_RANDOM;
    double norm;
    int rc = CL_OK;

    if (mode == ROUTE_TRAIN) TRY(lora_check_current(&e->lora, task));
    TRY(lora_check_room(&e->lora, n, p->N, out));
    out->n = n, out->query = embedding;
    out->N = out->slots = p->N;
    for (int s = 0; s < n; s++) {
        if (!embedding[s]) FAIL(CL_EINTERNAL, "sample %d of a routing has no embedding", s);
        for (int i = 0; !p->N && i < out->M; i++) out->selected[(int64_t)s * out->M + i] = -1;
        if (!p->N) continue;
        logits(e, embedding[s]);
        if (!pick(e)) FAIL(CL_ENUM, "logits of question %d of the batch are not finite; hint: check the encoder", s);
        if (chance)
            select_random(p, embedding[s], &norm, (struct pool_range){0, p->N}, e->top_k, e->lora.seed, sample[s],
                          e->idx, e->sim);
        fill_row(e, out, s, chance);
    }
done:
    return rc;
}

/* ---- learning */

/* dW += dz of one question times its unit embedding. */
static void learn_one(struct moe *e, const double *weight, const double *dcoef, const float *s)
{
    const struct pool *p = &e->lora.pool;
    double mean = 0, norm;

    select_norms(&norm, s, p->K, 1);
    for (int n = 0; n < p->N; n++) mean += weight[n] * p->scale * dcoef[n];
    for (int n = 0; n < p->N; n++) {
        const double dz = weight[n] * (p->scale * dcoef[n] - mean) / norm;
        double *dW = e->lora.learner.dx + (int64_t)n * p->K;
        for (int k = 0; dz != 0 && k < p->K; k++) dW[k] += dz * s[k];
    }
}

static int moe_learn(struct method *m, int task, const struct routing *r, const double *dcoef)
{
    struct moe *e = self(m);
    const int N = e->lora.pool.N;
    int rc;

    TRY(lora_check_current(&e->lora, task));
    if (r->slots != N || r->N != N)
        FAIL(CL_EINTERNAL, "gradients of %d of %d experts (expected %d)", r->slots, r->N, N);
    for (int s = 0; s < r->n; s++) learn_one(e, r->intrinsic + (int64_t)s * N, dcoef + (int64_t)s * N, r->query[s]);
done:
    return rc;
}

static int moe_step(struct method *m, int task, double lr, struct step_report *out)
{
    struct lora *l = &self(m)->lora;
    int rc;

    TRY(lora_check_current(l, task));
    TRY(learner_step(&l->learner, &l->pool, l->own, l->pool.keys, lr, out));
    pool_keys_changed(&l->pool, l->own);
done:
    return rc;
}

static int moe_load(struct method *m, struct ckpt *c, bool resume)
{
    struct moe *e = self(m);
    int rc;

    TRY(lora_load(m, c, resume));
    e->lora.learner.x_rate = e->rate, e->lora.learner.x_free = true;
done:
    return rc;
}

const struct method_ops moe_lora_ops = {
    .name = "moe_lora",
    .help = "experts that all tasks share, mixed per question (MoELoRA: per token) by a router that learns with them",
    .routes = true,
    .trains = true,
    .size = moe_size,
    .open = moe_open,
    .close = moe_close,
    .begin_task = moe_begin_task,
    .adapters = lora_adapters,
    .route = moe_route,
    .learn = moe_learn,
    .gradients = lora_gradients,
    .step = moe_step,
    .end_task = lora_end_task,
    .save = lora_save,
    .load = moe_load,
    .parameters = lora_parameters,
    .slot_task = lora_slot_task,
};
