/* continual_llava.c - the method itself: a growing pool, selected per question, with context from earlier tasks.
 *
 * Stage 1 moves the keys of the task's new slots (align.h), stage 2 their increments and the task's row of w (learner.h);
 * everything of earlier tasks is constant. While a task learns, the model holds its own slots, which get gradients, then
 * those slots of earlier tasks that context can reach; afterwards it holds the whole pool and every slot competes. Whether a
 * task gets slots of its own at all: continual_grow.c.
 */
#include "io/err.h"
#include "model/tensor.h"
#include "pool/context.h"
#include "pool/continual_internal.h"
#include "pool/methods.h"
#include "pool/pool_file.h"
#include "pool/select.h"

#include <math.h>
#include <string.h>

/* ---- life */

static void task_buffers_close(struct continual *c)
{
    for (int t = 0; c->history && t < c->tasks; t++) history_close(&c->history[t]);
    mem_free(c->history);
    mem_free(c->share);
    mem_free(c->weight);
    c->history = NULL;
    c->share = c->weight = NULL;
}

/* What is as long as the stream, which a checkpoint may lengthen. */
static int task_buffers_open(struct continual *c)
{
    task_buffers_close(c);
    c->tasks = c->pool.T;
    c->history = mem_new((size_t)c->tasks, sizeof *c->history);
    c->share = mem_new((size_t)c->tasks, sizeof *c->share);
    c->weight = mem_new((size_t)c->tasks, sizeof *c->weight);
    return c->history && c->share && c->weight ? CL_OK : err_set(CL_ENOMEM, "no memory for %d tasks", c->tasks);
}

static void continual_close(struct method *m)
{
    struct continual *c = continual_of(m);

    if (!c) return;
    task_buffers_close(c);
    align_close(&c->align);
    learner_close(&c->learner);
    pool_close(&c->pool);
    pool_close(&c->init);
    lw2g_close(&c->grow);
    mem_free(c->before);
    mem_free(c->train);
    mem_free(c->train_index);
    mem_free(c->alpha);
    mem_free(c->s_norm);
    mem_free(c->sim);
    mem_free(c->mean);
    mem_free(c->idx);
    mem_free(c);
}

static void continual_size(const struct config *cfg, int tasks, struct method_size *out)
{
    const int each = cfg->pool.slots_per_task;

    *out = (struct method_size){tasks * each, each, cfg->pool.rank, cfg->pool.top_m, 0};
}

static int check_config(const struct config *cfg, const struct method_shape *shape)
{
    if (cfg->pool.key_groups < 1 || shape->K % cfg->pool.key_groups)
        return err_set(CL_ECONFIG, "pool.key_groups %d does not divide the %d numbers of a sentence embedding",
                       cfg->pool.key_groups, shape->K);
    if (cfg->pool.slots_per_task < 1 || shape->tasks < 1)
        return err_set(CL_ECONFIG, "%d tasks with %d slots each (expected at least one of both)", shape->tasks,
                       cfg->pool.slots_per_task);
    return CL_OK;
}

static void take_options(struct continual *c, const struct config *cfg)
{
    c->slots_per_task = cfg->pool.slots_per_task;
    c->context = cfg->context.enabled;
    c->learn_w = c->context && !strcmp(cfg->context.weights, "learned");
    c->w_value = !strcmp(cfg->context.weights, "fixed") ? cfg->context.value : -1;
    c->mix = !strcmp(cfg->pool.mix, "softmax")   ? MIX_SOFTMAX
             : !strcmp(cfg->pool.mix, "uniform") ? MIX_UNIFORM
                                                 : MIX_COSINE;
    c->temperature = cfg->pool.temperature;
    c->lines = lines_of(cfg);
    c->seed = (uint64_t)cfg->seed;
    c->a_init = !strcmp(cfg->pool.a_init, "normal") ? "normal" : "kaiming";
    c->adam = (struct adamw){cfg->stage2.beta1, cfg->stage2.beta2, cfg->stage2.eps, cfg->stage2.weight_decay};
    c->clip = cfg->stage2.clip;
    c->decay1 = cfg->stage1.weight_decay;
    c->clip1 = cfg->stage1.clip;
}

/* A w that does not learn and is not 1/t. */
static void fix_w(struct continual *c)
{
    for (int t = 1; c->context && c->w_value >= 0 && t < c->pool.T; t++)
        for (int l = 0; l < t; l++) c->pool.w[(int64_t)t * c->pool.T + l] = (float)c->w_value;
}

static int continual_open(struct method **m, const struct config *cfg, const struct method_shape *shape)
{
    const size_t M = (size_t)cfg->pool.top_m;
    struct continual *c = NULL;
    int rc;

    TRY(method_needs_queries(&continual_llava_ops, shape));
    TRY(check_config(cfg, shape));
    c = mem_new(1, sizeof *c);
    if (!c) FAIL(CL_ENOMEM, "no memory for the method");
    c->base.ops = &continual_llava_ops;
    take_options(c, cfg);
    c->current = -1;
    TRY(pool_open(&c->pool, shape, cfg->pool.rank, cfg->pool.top_m, cfg->pool.key_groups, cfg->pool.scale));
    if (!c->context) memset(c->pool.w, 0, (size_t)c->pool.T * (size_t)c->pool.T * sizeof *c->pool.w);
    fix_w(c);
    TRY(lw2g_open(&c->grow, cfg, c->pool.T, shape->layers, shape->H));
    c->alpha = mem_new(M, sizeof *c->alpha);
    c->sim = mem_new(M, sizeof *c->sim);
    c->idx = mem_new(M, sizeof *c->idx);
    c->s_norm = mem_new(2 * (size_t)cfg->pool.key_groups, sizeof *c->s_norm);
    c->mean = mem_new((size_t)shape->K, sizeof *c->mean);
    if (!c->alpha || !c->sim || !c->idx || !c->s_norm || !c->mean)
        FAIL(CL_ENOMEM, "no memory for %d selected slots", cfg->pool.top_m);
    TRY(task_buffers_open(c));
done:
    if (rc) continual_close((struct method *)c), c = NULL;
    *m = (struct method *)c;
    return rc;
}

/* ---- a task begins */

int continual_learning_buffers(struct continual *c)
{
    int rc = CL_OK;

    if (c->learner.dA) return CL_OK;
    TRY(align_open(&c->align, &c->pool, c->slots_per_task, c->decay1, c->clip1));
    TRY(learner_open(&c->learner, &c->pool, c->slots_per_task, c->learn_w ? c->pool.T : 0, &c->adam, c->clip));
done:
    return rc;
}

int continual_choose_train_slots(struct continual *c)
{
    const struct pool *p = &c->pool;
    int n = 0;

    mem_free(c->train);
    mem_free(c->train_index);
    c->train = mem_new((size_t)p->N, sizeof *c->train);
    c->train_index = mem_new((size_t)p->N, sizeof *c->train_index);
    if (!c->train || !c->train_index) return err_set(CL_ENOMEM, "no memory for the list of %d slots", p->N);
    for (int i = c->own.first; i < c->own.end; i++) c->train_index[n++] = i;
    for (int i = 0; c->context && i < c->own.first; i++)
        if (p->use[i] > 0) c->train_index[n++] = i;
    c->train_slots = n;
    return CL_OK;
}

void continual_view_train_slots(struct continual *c)
{
    for (int i = 0; i < c->train_slots; i++) c->train[i] = c->pool.slot[c->train_index[i]];
}

static void take_initial_values(struct continual *c, int task)
{
    struct pool *p = &c->pool, *q = &c->init;
    const struct pool_range r = pool_of_task(q, task);
    const int64_t a = pool_a_size(p), b = pool_b_size(p);
    const size_t n = (size_t)(r.end - r.first);

    memcpy(p->keys + (int64_t)c->own.first * p->K, q->keys + (int64_t)r.first * p->K,
           n * (size_t)p->K * sizeof *p->keys);
    memcpy(p->A + c->own.first * a, q->A + r.first * a, n * (size_t)a * sizeof *p->A);
    memcpy(p->B + c->own.first * b, q->B + r.first * b, n * (size_t)b * sizeof *p->B);
    if (c->learn_w) memcpy(p->w + (int64_t)task * p->T, q->w + (int64_t)task * q->T, (size_t)task * sizeof *p->w);
    pool_keys_changed(p, c->own);
    pool_touch(p, c->own);
}

/* New slots, or (w and B stay then) those that the task shares. */
static int take_slots(struct continual *c, int task)
{
    int rc = CL_OK;
    struct pool *p = &c->pool;

    lw2g_decide(&c->grow, task);
    TRY(continual_fit_learner(c, task));
    if (!continual_shares(c, task)) TRY(pool_grow(p, task, c->slots_per_task));
    c->own = continual_slots_of(c, task);
    if (continual_shares(c, task)) goto done;
    if (c->init.N)
        take_initial_values(c, task);
    else {
        pool_draw_keys(p, c->own, c->seed);
        pool_draw_a(p, c->own, c->a_init, c->seed);
    }
done:
    return rc;
}

static int continual_begin_task(struct method *m, int task, int64_t n)
{
    struct continual *c = continual_of(m);
    struct pool *p = &c->pool;
    const struct pool_range r = pool_of_task(p, task);
    int rc;

    (void)n;
    if (task < 0 || task >= p->T || r.first < r.end)
        FAIL(CL_EINTERNAL, "task %d cannot begin: the stream has %d tasks, the pool %d slots of it", task, p->T,
             r.end - r.first);
    TRY(continual_learning_buffers(c));
    TRY(take_slots(c, task));
    align_begin_task(&c->align);
    learner_begin_task(&c->learner);
    TRY(history_open(&c->history[task], c->slots_per_task, p->K));
    memcpy(c->history[task].before, p->keys + (int64_t)c->own.first * p->K,
           (size_t)c->slots_per_task * (size_t)p->K * sizeof *p->keys);
    TRY(continual_choose_train_slots(c));
    continual_view_train_slots(c);
    c->current = task;
done:
    return rc;
}

int continual_check_current(const struct continual *c, int task)
{
    if (task == c->current && task >= 0) return CL_OK;
    return err_set(CL_EINTERNAL, "task %d is not the one that learns (%d)", task, c->current);
}

static int continual_end_task(struct method *m, int task)
{
    struct continual *c = continual_of(m);
    int rc;

    TRY(continual_check_current(c, task));
    lines_scale(&c->lines, &c->pool, c->own);
    c->current = -1;
done:
    return rc;
}

/* ---- stage 1 */

static int continual_align(struct method *m, int task, const float *const *embedding, int n, double lr,
                           struct step_report *out)
{
    struct continual *c = continual_of(m);
    int rc;

    TRY(continual_check_current(c, task));
    TRY(align_step(&c->align, &c->pool, c->own, embedding, n, lr, out));
done:
    return rc;
}

/* c->alpha of the `have` slots that were selected. */
static void weigh(struct continual *c, int have)
{
    if (c->mix == MIX_SOFTMAX)
        select_softmax(c->alpha, c->sim, have, c->temperature);
    else if (c->mix == MIX_UNIFORM)
        for (int i = 0; i < have; i++) c->alpha[i] = 1.0 / have;
    else
        select_mix(c->alpha, c->sim, have);
}

static int continual_end_align(struct method *m, int task, const float *const *embedding, int64_t n)
{
    struct continual *c = continual_of(m);
    struct pool *p = &c->pool;
    struct history *h = NULL;
    int rc;

    TRY(continual_check_current(c, task));
    if (n < 1) FAIL(CL_EINTERNAL, "stage 1 of task %d ends with %lld questions", task, (long long)n);
    h = &c->history[task];
    memset(h->selected, 0, (size_t)h->slots * sizeof *h->selected);
    memset(h->weight, 0, (size_t)h->slots * sizeof *h->weight);
    for (int64_t s = 0; s < n; s++) {
        int have = select_top(p, embedding[s], c->s_norm, c->own, p->top_m, c->idx, c->sim);
        if (have < 0)
            FAIL(CL_ENUM, "similarity of question %lld of task %d is not finite; hint: check the encoder", (long long)s,
                 task);
        weigh(c, have);
        for (int i = 0; i < have; i++) {
            h->selected[c->idx[i] - c->own.first]++;
            h->weight[c->idx[i] - c->own.first] += c->alpha[i];
        }
    }
    for (int i = 0; !continual_shares(c, task) && i < h->slots; i++)
        p->use[c->own.first + i] = h->weight[i] / (double)n;
    memcpy(h->after, p->keys + (int64_t)c->own.first * p->K, (size_t)h->slots * (size_t)p->K * sizeof *p->keys);
    h->aligned = true;
done:
    return rc;
}

/* ---- routing */

static int continual_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set)
{
    struct continual *c = continual_of(m);
    int rc = CL_OK;

    if (mode == ROUTE_TRAIN) {
        TRY(continual_check_current(c, task));
        *set = (struct adapters){
            .slots = c->train_slots, .learned = c->slots_per_task, .rank = c->pool.R, .slot = c->train};
    } else
        *set = (struct adapters){.slots = c->pool.N, .rank = c->pool.R, .slot = c->pool.slot};
done:
    return rc;
}

/* Selected slots and weights of one sample into c->idx and c->alpha; returns how many, -1: not finite. */
static int pick(struct continual *c, enum route_mode mode, struct pool_range candidates, const float *embedding,
                uint64_t sample)
{
    const struct pool *p = &c->pool;
    int have = mode == ROUTE_RANDOM
                   ? select_random(p, embedding, c->s_norm, candidates, p->top_m, c->seed, sample, c->idx, c->sim)
                   : select_top(p, embedding, c->s_norm, candidates, p->top_m, c->idx, c->sim);

    if (have > 0) weigh(c, have);
    return have;
}

/* Row s of the routing from c->idx and c->alpha. */
static void fill_row(struct continual *c, struct routing *out, int s, int have, bool train)
{
    const struct pool *p = &c->pool;
    double *intrinsic = out->intrinsic + (int64_t)s * p->N, *context = out->context + (int64_t)s * p->N;
    float *coef = out->coef + (int64_t)s * out->slots;

    for (int i = 0; i < out->M; i++) out->selected[(int64_t)s * out->M + i] = i < have ? c->idx[i] : -1;
    context_coefficients(p, c->idx, c->alpha, have, c->context, c->share, c->weight, intrinsic, context);
    for (int i = 0; i < out->slots; i++) {
        int n = train ? c->train_index[i] : i;
        coef[i] = (float)(p->scale * (intrinsic[n] + context[n]));
    }
}

static int check_room(const struct continual *c, int n, const struct routing *out)
{
    if (n <= out->room && c->pool.N <= out->max_slots && c->pool.top_m <= out->M) return CL_OK;
    return err_set(CL_EINTERNAL, "routing of %d samples, %d slots, %d selected has room for %d, %d, %d", n, c->pool.N,
                   c->pool.top_m, out->room, out->max_slots, out->M);
}

static int continual_route(struct method *m, enum route_mode mode, int task, const float *const *embedding,
                           const uint64_t *sample, int n, struct routing *out)
{
    struct continual *c = continual_of(m);
    const bool train = mode == ROUTE_TRAIN;
    struct pool_range candidates = {0, c->pool.N};
    int rc;

    TRY(check_room(c, n, out));
    if (train) TRY(continual_check_current(c, task));
    if (train || mode == ROUTE_ORACLE)
        candidates = continual_slots_of(c, task); // empty before that task: the base alone
    out->n = n, out->query = embedding;
    out->N = c->pool.N;
    out->slots = train ? c->train_slots : c->pool.N;
    for (int s = 0; s < n; s++) {
        if (!embedding[s]) FAIL(CL_EINTERNAL, "sample %d of a routing has no embedding", s);
        if (mode == ROUTE_MEAN_KEY) {
            int nearest = select_task(&c->pool, embedding[s], c->s_norm, c->mean);
            candidates = pool_of_task(&c->pool, nearest); // none: the search for slots says what is wrong
            if (nearest == -2) candidates = (struct pool_range){0, c->pool.N};
        }
        int have = pick(c, mode, candidates, embedding[s], mode == ROUTE_RANDOM ? sample[s] : 0);
        if (have < 0) FAIL(CL_ENUM, "similarity of question %d of the batch is not finite; hint: check the encoder", s);
        fill_row(c, out, s, have, train);
    }
    rc = CL_OK;
done:
    return rc;
}

/* ---- stage 2 */

static int continual_learn(struct method *m, int task, const struct routing *r, const double *dcoef)
{
    struct continual *c = continual_of(m);
    int rc;

    TRY(continual_check_current(c, task));
    if (r->slots != c->train_slots || r->N != c->pool.N)
        FAIL(CL_EINTERNAL, "gradients of %d of %d slots (expected %d of %d)", r->slots, r->N, c->train_slots,
             c->pool.N);
    for (int s = 0; c->learn_w && !continual_shares(c, task) && s < r->n; s++) {
        double share = 0; // of the task: all of it up to rounding, as only own slots were candidates
        for (int i = c->own.first; i < c->own.end; i++) share += r->intrinsic[(int64_t)s * r->N + i];
        context_w_gradient(&c->pool, task, share, c->train_index, dcoef + (int64_t)s * r->slots, r->slots,
                           c->learner.dx);
    }
done:
    return rc;
}

static void continual_gradients(struct method *m, float **dA, float **dB)
{
    *dA = continual_of(m)->learner.dA;
    *dB = continual_of(m)->learner.dB;
}

static int continual_step(struct method *m, int task, double lr, struct step_report *out)
{
    struct continual *c = continual_of(m);
    int rc;

    TRY(continual_check_current(c, task));
    if (continual_shares(c, task))
        TRY(continual_step_shared(c, task, lr, out));
    else
        TRY(learner_step(&c->learner, &c->pool, c->own, c->learn_w ? c->pool.w + (int64_t)task * c->pool.T : NULL, lr,
                         out));
    continual_view_train_slots(c);
done:
    return rc;
}

/* ---- checkpoint */

static int continual_save(struct method *m, struct ckpt *f, bool resume)
{
    struct continual *c = continual_of(m);
    int rc;

    TRY(pool_file_save(&c->pool, f, c->base.ops->name, true));
    for (int t = 0; t < c->tasks; t++) TRY(history_save(&c->history[t], f, t));
    TRY(lw2g_save(&c->grow, f));
    if (!resume) goto done;
    if (c->current < 0) FAIL(CL_EINTERNAL, "no task is being learned that could be resumed");
    TRY(align_save(&c->align, f));
    TRY(learner_save(&c->learner, &c->pool, f));
    TRY(ckpt_attr_i64(f, "/resume", "learning_task", c->current));
done:
    return rc;
}

/* The task that was being learned goes on. */
static int resume_task(struct continual *c, struct ckpt *f)
{
    int64_t task;
    int rc;

    TRY(ckpt_get_i64(f, "/resume", "learning_task", &task));
    if (task < 0 || task >= c->tasks)
        FAIL(CL_EFORMAT, "%s: /resume learning_task is %lld", ckpt_path(f), (long long)task);
    c->own = continual_slots_of(c, (int)task);
    if ((c->own.end != c->pool.N && !continual_shares(c, (int)task)) || c->own.end - c->own.first != c->slots_per_task)
        FAIL(CL_EMISMATCH, "%s: task %lld has %d slots of %d (pool.slots_per_task is %d)", ckpt_path(f),
             (long long)task, c->own.end - c->own.first, c->pool.N, c->slots_per_task);
    TRY(continual_learning_buffers(c));
    TRY(align_load(&c->align, f));
    TRY(learner_load(&c->learner, &c->pool, f));
    TRY(continual_fit_learner(c, (int)task));
    TRY(continual_choose_train_slots(c));
    continual_view_train_slots(c);
    c->current = (int)task;
done:
    return rc;
}

static int continual_load(struct method *m, struct ckpt *f, bool resume)
{
    struct continual *c = continual_of(m);
    struct pool_range r;
    int rc;

    TRY(pool_file_load(&c->pool, f, c->base.ops->name, true, true));
    fix_w(c); // rows of a longer stream
    align_close(&c->align);
    learner_close(&c->learner); // its vector is as long as the stream, which the file may have lengthened
    TRY(task_buffers_open(c));
    TRY(lw2g_load(&c->grow, c->pool.T, f));
    for (int t = 0; t < c->tasks; t++) {
        r = continual_slots_of(c, t);
        TRY(history_load(&c->history[t], f, t, r.end - r.first, c->pool.K));
    }
    if (resume) TRY(resume_task(c, f));
done:
    return rc;
}

static int continual_init_from(struct method *m, struct ckpt *f)
{
    struct continual *c = continual_of(m);
    const struct pool *p = &c->pool;
    const struct method_shape shape = {p->T, p->L, p->H, p->D, p->K, p->on};
    int rc;

    pool_close(&c->init);
    TRY(pool_open(&c->init, &shape, p->R, p->top_m, p->groups, p->scale));
    TRY(pool_file_load(&c->init, f, c->base.ops->name, true, false));
    for (int t = 0; t < p->T; t++) {
        struct pool_range r = pool_of_task(&c->init, t);
        if (r.end - r.first != c->slots_per_task)
            FAIL(CL_EMISMATCH, "%s: pool.init has %d slots of task %d (expected %d, pool.slots_per_task)", ckpt_path(f),
                 r.end - r.first, t, c->slots_per_task);
    }
done:
    if (rc) pool_close(&c->init);
    return rc;
}

/* ---- what others ask */

static int64_t continual_parameters(const struct method *m)
{
    const struct continual *c = (const struct continual *)m;
    int64_t n = pool_parameters(&c->pool);

    for (int t = 0; c->learn_w && t < c->pool.T; t++) {
        struct pool_range r = pool_of_task(&c->pool, t);
        if (r.first < r.end) n += t; // w[t,l], l < t
    }
    return n;
}

static int continual_slot_task(const struct method *m, int slot)
{
    const struct pool *p = &((const struct continual *)m)->pool;
    return slot >= 0 && slot < p->N ? p->task[slot] : -1;
}

const struct method_ops continual_llava_ops = {
    .name = "continual_llava",
    .help = "a growing pool of low-rank increments, selected per question, with context from earlier tasks",
    .routes = true,
    .trains = true,
    .owns = true,
    .size = continual_size,
    .open = continual_open,
    .close = continual_close,
    .begin_task = continual_begin_task,
    .align = continual_align,
    .end_align = continual_end_align,
    .adapters = continual_adapters,
    .route = continual_route,
    .learn = continual_learn,
    .gradients = continual_gradients,
    .step = continual_step,
    .end_task = continual_end_task,
    .candidate = continual_candidate,
    .try_slots = continual_try_slots,
    .tried = continual_tried,
    .look_samples = continual_look_samples,
    .look = continual_look,
    .home = continual_home,
    .save = continual_save,
    .load = continual_load,
    .init_from = continual_init_from,
    .parameters = continual_parameters,
    .slot_task = continual_slot_task,
};
