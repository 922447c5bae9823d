/* l2p.c - prompts that all tasks share, chosen by the question (Learning to Prompt, Wang et al., arXiv 2112.08654).
 *
 * The pool has l2p.prompts prompts of l2p.length rows and a key each. A question gets the l2p.top_m prompts whose keys are nearest
 * by cosine; their rows stand in front of its embeddings (io/sample.h says where). Prompts learn by the answers' loss, and the
 * keys that were chosen are drawn to their questions:
 *
 *     loss + lambda * mean over samples of the sum over chosen prompts of 1 - cos(key, question)
 *
 * With l2p.diversity a step chooses by (1 - cosine) times the share that the prompt has in what earlier tasks chose, so prompts
 * that nobody took come first. Evaluation chooses by the cosine alone and needs no task.
 *
 * A slot of the pool (pool/pool.h) is a prompt: its A, of one layer, are the rows, and there is no B.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/lora.h"
#include "pool/methods.h"
#include "pool/pool_file.h"
#include "pool/rng.h"
#include "pool/select.h"

#include <math.h>
#include <string.h>

struct l2p {
    struct lora lora;
    int top_m;
    double lambda, init;
    double rate; // learning rate of keys over that of prompts
    bool diversity;
    double penalty;          // of the coming step
    int64_t *before, *count; // (prompts) choices in steps of earlier tasks, of this one
    float *sim;              // (top_m) scratch of one question
    int32_t *idx;            // (top_m)
};

static struct l2p *self(struct method *m)
{
    return (struct l2p *)m;
}

static void l2p_close(struct method *m)
{
    struct l2p *e = self(m);

    if (!e) return;
    mem_free(e->before), mem_free(e->count), mem_free(e->sim), mem_free(e->idx);
    lora_teardown(&e->lora);
    mem_free(e);
}

static void l2p_size(const struct config *cfg, int tasks, struct method_size *out)
{
    (void)tasks;
    *out = (struct method_size){cfg->l2p.prompts, cfg->l2p.prompts, prompt_set(cfg->l2p.length), cfg->l2p.top_m, 0};
}

static int check_config(const struct config *cfg, const struct method_shape *shape)
{
    const int64_t rows = (int64_t)cfg->l2p.top_m * cfg->l2p.length;

    if (method_projections(cfg) != PROJECTIONS_DEFAULT)
        return config_error(cfg, "adapter.projections",
                            "method l2p learns prompts, which are on no linear map (got %s); hint: leave it out",
                            cfg->adapter.projections);
    if (cfg->l2p.top_m > cfg->l2p.prompts)
        return config_error(cfg, "l2p.top_m", "%d prompts of a question, but l2p.prompts is %d; hint: at most as many",
                            cfg->l2p.top_m, cfg->l2p.prompts);
    if (rows >= cfg->stage2.max_length)
        return config_error(cfg, "l2p.length",
                            "%d prompts of %d rows leave nothing of stage2.max_length %lld; hint: lower l2p.length or "
                            "l2p.top_m",
                            cfg->l2p.top_m, cfg->l2p.length, (long long)cfg->stage2.max_length);
    if ((int64_t)shape->K * cfg->l2p.prompts > INT32_MAX)
        return config_error(cfg, "l2p.prompts", "%d keys of %d numbers are too many", cfg->l2p.prompts, shape->K);
    return CL_OK;
}

static int l2p_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    struct l2p *e = NULL;
    struct method_shape rows = *shape;
    const size_t n = (size_t)cfg->l2p.prompts, k = (size_t)cfg->l2p.top_m;
    int rc;

    TRY(method_needs_queries(&l2p_ops, shape));
    TRY(check_config(cfg, shape));
    e = mem_new(1, sizeof *e);
    if (!e) FAIL(CL_ENOMEM, "no memory for the method");
    rows.layers = 1, rows.H = shape->D, rows.D = 0;
    rows.on = (struct projections){0}; // a prompt is on none
    TRY(lora_setup_pool(&e->lora, &l2p_ops, cfg, &rows, (int)n, cfg->l2p.length, (int)k, (int)n * shape->K));
    e->top_m = (int)k;
    e->lambda = cfg->l2p.lambda, e->init = cfg->l2p.init, e->diversity = cfg->l2p.diversity;
    e->rate = cfg->l2p.key_lr > 0 && cfg->stage2.lr > 0 ? cfg->l2p.key_lr / cfg->stage2.lr : 1;
    e->before = mem_new(n, sizeof *e->before);
    e->count = mem_new(n, sizeof *e->count);
    e->sim = mem_new(k, sizeof *e->sim);
    e->idx = mem_new(k, sizeof *e->idx);
    if (!e->before || !e->count || !e->sim || !e->idx) FAIL(CL_ENOMEM, "no memory for %zu prompts", n);
done:
    if (rc) l2p_close((struct method *)e), e = NULL;
    *m = (struct method *)e;
    return rc;
}

static void learn_keys(struct l2p *e)
{
    e->lora.learner.x_rate = e->rate, e->lora.learner.x_free = true;
}

static int l2p_begin_task(struct method *m, int task, int64_t n)
{
    struct l2p *e = self(m);
    struct pool *p = &e->lora.pool;
    const bool first = !p->N;
    int rc;

    TRY(lora_begin_task(m, task, n));
    learn_keys(e);
    memset(e->count, 0, (size_t)p->N * sizeof *e->count);
    e->penalty = 0;
    if (!first) goto done;
    pool_draw_keys(p, e->lora.own, e->lora.seed);
    rng_fill_normal(p->A, p->N * pool_a_size(p), e->init, e->lora.seed, RNG_PROMPT, 0, 0);
    pool_touch(p, e->lora.own);
done:
    return rc;
}

static int l2p_end_task(struct method *m, int task)
{
    struct l2p *e = self(m);
    int rc;

    TRY(lora_end_task(m, task));
    for (int n = 0; n < e->lora.pool.N; n++) e->before[n] += e->count[n], e->count[n] = 0;
done:
    return rc;
}

/* ---- routing */

static int l2p_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set)
{
    int rc;

    TRY(lora_adapters(m, mode, task, set));
    set->rank = prompt_set(self(m)->lora.pool.R);
done:
    return rc;
}

/* idx := the top_m prompts whose distance times their share in earlier choices is least, the lower number first where two are
 * equal. False: one is not finite. */
static bool pick_rare(const struct l2p *e, const float *s, int64_t all)
{
    const struct pool *p = &e->lora.pool;
    double norm;
    int have = 0;

    select_norms(&norm, s, p->K, 1);
    for (int n = 0; n < p->N; n++) {
        const float far = (float)((1 - (double)select_cosine(p, n, s, &norm)) * (double)e->before[n] / (double)all);
        if (!isfinite(far)) return false;
        have = select_insert(e->idx, e->sim, have, e->top_m, n, -far);
    }
    return true;
}

static bool pick(const struct l2p *e, enum route_mode mode, const float *s, uint64_t sample)
{
    const struct pool *p = &e->lora.pool;
    const struct pool_range every = {0, p->N};
    int64_t all = 0;
    double norm;

    if (mode == ROUTE_RANDOM)
        return select_random(p, s, &norm, every, e->top_m, e->lora.seed, sample, e->idx, e->sim) == e->top_m;
    for (int n = 0; n < p->N; n++) all += e->before[n];
    if (mode == ROUTE_TRAIN && e->diversity && all) return pick_rare(e, s, all);
    return select_top(p, s, &norm, every, e->top_m, e->idx, e->sim) == e->top_m;
}

/* Row s of the routing from idx. */
static void fill_row(const struct l2p *e, struct routing *out, int s)
{
    const int N = e->lora.pool.N;

    for (int n = 0; n < N; n++) {
        const int64_t at = (int64_t)s * N + n;
        out->coef[at] = 0, out->intrinsic[at] = out->context[at] = 0;
    }
    for (int i = 0; i < out->M; i++) {
        out->selected[(int64_t)s * out->M + i] = i < e->top_m ? e->idx[i] : -1;
        if (i < e->top_m) out->coef[(int64_t)s * N + e->idx[i]] = 1, out->intrinsic[(int64_t)s * N + e->idx[i]] = 1;
    }
}

static int l2p_route(struct method *m, enum route_mode mode, int task, const float *const *embedding,
                     const uint64_t *sample, int n, struct routing *out)
{
    struct l2p *e = self(m);
    const int N = e->lora.pool.N;
    int rc = CL_OK;

    if (mode == ROUTE_TRAIN) TRY(lora_check_current(&e->lora, task));
    TRY(lora_check_room(&e->lora, n, N, out));
    out->n = n, out->query = embedding;
    out->N = out->slots = N;
    for (int s = 0; s < n; s++) {
        if (!embedding[s]) FAIL(CL_EINTERNAL, "sample %d of a routing has no embedding", s);
        for (int i = 0; !N && i < out->M; i++) out->selected[(int64_t)s * out->M + i] = -1;
        if (!N) continue;
        if (!pick(e, mode, embedding[s], sample ? sample[s] : 0))
            FAIL(CL_ENUM, "similarities of question %d of the batch are not finite; hint: check the encoder", s);
        fill_row(e, out, s);
    }
done:
    return rc;
}

/* ---- learning */

/* The key of prompt n, which question s chose: weight times what 1 - cos(key, s) has as its gradient. */
static void draw_key(struct l2p *e, int n, const float *s, double norm, double weight)
{
    const struct pool *p = &e->lora.pool;
    const float *key = p->keys + (int64_t)n * p->K;
    double *dkey = e->lora.learner.dx + (int64_t)n * p->K;
    const double length = p->key_norm[n], cosine = (double)select_cosine(p, n, s, &norm);

    e->penalty += weight * (1 - cosine);
    for (int k = 0; k < p->K; k++)
        dkey[k] -= weight * ((double)s[k] / norm - cosine * (double)key[k] / length) / length;
}

/* Once a step, all of its samples; what coefficients get is nothing to learn from. */
static int l2p_learn(struct method *m, int task, const struct routing *r, const double *dcoef)
{
    struct l2p *e = self(m);
    int rc;

    (void)dcoef;
    TRY(lora_check_current(&e->lora, task));
    e->penalty = 0;
    for (int s = 0; s < r->n; s++) {
        double norm;
        select_norms(&norm, r->query[s], e->lora.pool.K, 1);
        for (int i = 0; i < r->M; i++) {
            const int32_t n = r->selected[(int64_t)s * r->M + i];
            if (n < 0) continue;
            e->count[n]++;
            draw_key(e, n, r->query[s], norm, e->lambda / r->n);
        }
    }
done:
    return rc;
}

static int l2p_step(struct method *m, int task, double lr, struct step_report *out)
{
    struct l2p *e = self(m);
    struct lora *l = &e->lora;
    int rc;

    TRY(lora_check_current(l, task));
    TRY(learner_step(&l->learner, &l->pool, l->own, l->pool.keys, lr, out));
    out->penalty = e->penalty;
    pool_keys_changed(&l->pool, l->own);
done:
    return rc;
}

/* ---- checkpoint */

static int l2p_save(struct method *m, struct ckpt *c, bool resume)
{
    struct l2p *e = self(m);
    const struct pool *p = &e->lora.pool;
    const int64_t N = p->N;
    int rc;

    TRY(ckpt_write(c, "/l2p/keys", CKPT_F32, 2, (const int64_t[]){N, p->K}, p->keys, true));
    TRY(ckpt_write(c, "/l2p/prompts", CKPT_F32, 3, (const int64_t[]){N, p->R, p->H}, p->A, true));
    TRY(ckpt_write(c, "/l2p/chosen", CKPT_I64, 1, &N, e->before, true));
    TRY(ckpt_attr_i64(c, "/l2p", "top_m", e->top_m));
    if (!resume) goto done;
    TRY(lora_save_learning(&e->lora, c));
    TRY(ckpt_write(c, "/resume/chosen", CKPT_I64, 1, &N, e->count, false));
done:
    return rc;
}

/* The file's prompts are those of the configuration, or none yet. */
static int check_file(const struct l2p *e, struct ckpt *c, int64_t *N)
{
    const struct pool *p = &e->lora.pool;
    const int64_t want[] = {e->lora.slots, p->R, p->H};
    int64_t shape[CKPT_MAX_DIMS], top_m;
    int dims, rc;

    if (!ckpt_has(c, "/l2p/prompts"))
        FAIL(CL_EMISMATCH, "%s has no /l2p; hint: set `method` to what the file was made with", ckpt_path(c));
    TRY(ckpt_shape(c, "/l2p/prompts", &dims, shape));
    for (int i = 0; i < 3; i++)
        if (dims != 3 || (shape[i] != want[i] && !(i == 0 && !shape[0])))
            FAIL(CL_EMISMATCH,
                 "%s: /l2p/prompts has other sizes than %lld prompts of %lld rows of %lld numbers, as base and "
                 "configuration give; hint: configure what the file was made with",
                 ckpt_path(c), (long long)want[0], (long long)want[1], (long long)want[2]);
    TRY(ckpt_get_i64(c, "/l2p", "top_m", &top_m));
    if (top_m != e->top_m)
        FAIL(CL_EMISMATCH,
             "%s: /l2p has top_m %lld (the configuration gives %d); hint: configure what the file was made with",
             ckpt_path(c), (long long)top_m, e->top_m);
    *N = shape[0];
done:
    return rc;
}

static int load_prompts(struct l2p *e, struct ckpt *c, int64_t N)
{
    struct lora *l = &e->lora;
    struct pool *p = &l->pool;
    int rc;

    if (p->N) FAIL(CL_EINTERNAL, "a checkpoint is read into a pool of %d prompts", p->N);
    if (!N) return CL_OK;
    TRY(pool_grow(p, 0, (int)N));
    l->own = (struct pool_range){0, p->N};
    TRY(ckpt_read(c, "/l2p/keys", CKPT_F32, 2, (const int64_t[]){N, p->K}, p->keys));
    TRY(ckpt_read(c, "/l2p/prompts", CKPT_F32, 3, (const int64_t[]){N, p->R, p->H}, p->A));
    TRY(ckpt_read(c, "/l2p/chosen", CKPT_I64, 1, &N, e->before));
    TRY(pool_file_finite(c, "/l2p/keys", p->keys, N * p->K));
    TRY(pool_file_finite(c, "/l2p/prompts", p->A, N * pool_a_size(p)));
    pool_keys_changed(p, l->own);
    pool_touch(p, l->own);
done:
    return rc;
}

static int l2p_load(struct method *m, struct ckpt *c, bool resume)
{
    struct l2p *e = self(m);
    int64_t N = 0;
    int rc;

    TRY(check_file(e, c, &N));
    TRY(load_prompts(e, c, N));
    if (!resume) goto done;
    TRY(lora_load_learning(&e->lora, c));
    TRY(ckpt_read(c, "/resume/chosen", CKPT_I64, 1, &N, e->count));
    learn_keys(e);
done:
    return rc;
}

const struct method_ops l2p_ops = {
    .name = "l2p",
    .help = "prompts that all tasks share, learned rows in front of the question, chosen by it (Learning to Prompt)",
    .routes = true,
    .trains = true,
    .penalises = true,
    .size = l2p_size,
    .open = l2p_open,
    .close = l2p_close,
    .begin_task = l2p_begin_task,
    .adapters = l2p_adapters,
    .route = l2p_route,
    .learn = l2p_learn,
    .gradients = lora_gradients,
    .step = l2p_step,
    .end_task = l2p_end_task,
    .save = l2p_save,
    .load = l2p_load,
    .parameters = lora_parameters,
    .slot_task = lora_slot_task,
};
