/* learned.c - reading and checking a checkpoint's parts. */
#include "jobs/learned.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "model/tensor.h"
#include "pool/pool_file.h"

enum { MOST_SLOTS = 1 << 20, MOST_TASKS = 1 << 12, MOST_WIDTH = 1 << 24 };

/* ---- small readers: absent is not an error, broken is */

static int text_of(const struct learned *l, const char *object, const char *name, char **out)
{
    return ckpt_has_attr(l->c, object, name) ? ckpt_get_str(l->c, object, name, out) : CL_OK;
}

static int int_of(const struct learned *l, const char *object, const char *name, int64_t *out)
{
    return ckpt_has_attr(l->c, object, name) ? ckpt_get_i64(l->c, object, name, out) : CL_OK;
}

static int real_of(const struct learned *l, const char *object, const char *name, double *out)
{
    return ckpt_has_attr(l->c, object, name) ? ckpt_get_f64(l->c, object, name, out) : CL_OK;
}

static int small_int_of(const struct learned *l, const char *object, const char *name, int *out)
{
    int64_t v = *out;
    int rc;

    TRY(int_of(l, object, name, &v));
    if (v < 0 || v > MOST_WIDTH)
        FAIL(CL_EFORMAT, "%s: attribute %s of %s is %lld (expected 0 to %d)", ckpt_path(l->c), name, object,
             (long long)v, MOST_WIDTH);
    *out = (int)v;
done:
    return rc;
}

/* Shape of a dataset whose dimensions must be what they were before (-1: filled in). */
static int sizes(const struct learned *l, const char *name, int dims, int64_t *expected)
{
    int64_t got[CKPT_MAX_DIMS];
    int n, rc;

    TRY(ckpt_shape(l->c, name, &n, got));
    if (n != dims) FAIL(CL_EFORMAT, "%s: %s has %d dimensions (expected %d)", ckpt_path(l->c), name, n, dims);
    for (int i = 0; i < dims; i++) {
        if (expected[i] < 0 && got[i] <= MOST_WIDTH) expected[i] = got[i];
        if (got[i] != expected[i])
            FAIL(CL_EFORMAT, "%s: size %d of %s is %lld (expected %lld, as other parts of the file say)",
                 ckpt_path(l->c), i, name, (long long)got[i], (long long)(expected[i] < 0 ? MOST_WIDTH : expected[i]));
    }
done:
    return rc;
}

/* ---- the pool */

static int read_keys(struct learned *l, const char *name)
{
    float *keys = mem_new((size_t)l->N, (size_t)(l->K ? l->K : 1) * sizeof *keys);
    int rc;

    if (!keys) FAIL(CL_ENOMEM, "no memory for %d keys", l->N);
    TRY(ckpt_read(l->c, name, CKPT_F32, 2, (int64_t[]){l->N, l->K}, keys));
    for (int n = 0; n < l->N; n++) {
        double square = 0;
        for (int k = 0; k < l->K; k++) square += (double)keys[(int64_t)n * l->K + k] * keys[(int64_t)n * l->K + k];
        l->slot[n].key = l->K ? sqrt(square) : NAN;
    }
done:
    mem_free(keys);
    return rc;
}

static int read_owners(struct learned *l)
{
    const int64_t N = l->N;
    int32_t *task = mem_new((size_t)N, sizeof *task);
    double *use = mem_new((size_t)N, sizeof *use);
    int rc;

    if (!task || !use) FAIL(CL_ENOMEM, "no memory for %d slots", l->N);
    TRY(ckpt_read(l->c, "/pool/task", CKPT_I32, 1, &N, task));
    TRY(ckpt_read(l->c, "/pool/use", CKPT_F64, 1, &N, use));
    for (int n = 0; n < l->N; n++) {
        if (task[n] < 0 || task[n] >= MOST_TASKS)
            FAIL(CL_EFORMAT, "%s: slot %d belongs to task %d (expected 0 to %d)", ckpt_path(l->c), n, task[n],
                 MOST_TASKS - 1);
        l->slot[n].task = task[n];
        l->slot[n].use = use[n];
        l->slot[n].selected = -1;
        if (task[n] >= l->T) l->T = task[n] + 1;
    }
done:
    mem_free(task);
    mem_free(use);
    return rc;
}

static int read_pool(struct learned *l)
{
    int64_t keys[] = {-1, -1}, A[] = {-1, -1, -1, -1}, B[] = {-1, -1, -1, -1};
    int rc;

    TRY(sizes(l, "/pool/keys", 2, keys));
    A[0] = B[0] = keys[0];
    TRY(sizes(l, "/pool/A", 4, A));
    B[1] = A[1], B[3] = A[2];
    TRY(sizes(l, "/pool/B", 4, B));
    if (keys[0] > MOST_SLOTS)
        FAIL(CL_EFORMAT, "%s: a pool of %lld slots (expected at most %d)", ckpt_path(l->c), (long long)keys[0],
             MOST_SLOTS);
    TRY(pool_file_projections(&l->on, l->c, A[3], B[2]));
    l->N = (int)keys[0], l->K = (int)keys[1], l->L = (int)A[1], l->R = (int)A[2], l->H = A[3], l->D = B[2];
    l->slot = mem_new((size_t)l->N, sizeof *l->slot);
    if (!l->slot) FAIL(CL_ENOMEM, "no memory for %d slots", l->N);
    TRY(read_keys(l, "/pool/keys"));
    TRY(read_owners(l));
    TRY(small_int_of(l, "/pool", "top_m", &l->top_m));
    TRY(small_int_of(l, "/pool", "key_groups", &l->groups));
    TRY(real_of(l, "/pool", "scale", &l->scale));
    TRY(text_of(l, "/pool", "method", &l->method));
done:
    return rc;
}

/* Prompts of l2p, which belong to no task: the first stands for all. */
static int read_prompts(struct learned *l)
{
    int64_t prompts[] = {-1, -1, -1}, keys[] = {-1, -1}, *chosen = NULL;
    int rc;

    TRY(sizes(l, "/l2p/prompts", 3, prompts));
    keys[0] = prompts[0];
    TRY(sizes(l, "/l2p/keys", 2, keys));
    if (prompts[0] > MOST_SLOTS)
        FAIL(CL_EFORMAT, "%s: %lld prompts (expected at most %d)", ckpt_path(l->c), (long long)prompts[0], MOST_SLOTS);
    l->N = (int)prompts[0], l->rows = (int)prompts[1], l->D = prompts[2], l->K = (int)keys[1];
    l->groups = 1, l->T = l->N > 0;
    l->slot = mem_new((size_t)l->N, sizeof *l->slot);
    chosen = mem_new((size_t)l->N, sizeof *chosen);
    if (!l->slot || !chosen || !(l->method = strdup("l2p"))) FAIL(CL_ENOMEM, "no memory for %d prompts", l->N);
    TRY(read_keys(l, "/l2p/keys"));
    TRY(ckpt_read(l->c, "/l2p/chosen", CKPT_I64, 1, keys, chosen));
    for (int n = 0; n < l->N; n++) l->slot[n].selected = chosen[n], l->slot[n].use = NAN;
    TRY(small_int_of(l, "/l2p", "top_m", &l->top_m));
done:
    mem_free(chosen);
    return rc;
}

/* ---- stream, history, context, accuracy */

static int read_names(struct learned *l)
{
    char **names = NULL;
    int64_t n = 0;
    int rc = CL_OK;

    if (ckpt_has(l->c, "/stream/tasks")) TRY(ckpt_read_strings(l->c, "/stream/tasks", &names, &n));
    if (n > MOST_TASKS || (names && n < l->T))
        FAIL(CL_EFORMAT, "%s: /stream/tasks has %lld names (expected %d to %d)", ckpt_path(l->c), (long long)n, l->T,
             MOST_TASKS);
    if (n > l->T) l->T = (int)n;
    l->task = mem_new((size_t)l->T, sizeof *l->task);
    if (!l->task) FAIL(CL_ENOMEM, "no memory for %d tasks", l->T);
    for (int t = 0; t < l->T; t++) {
        struct learned_task *k = &l->task[t];
        *k = (struct learned_task){.home = t, .done = -1, .samples = -1, .steps = -1, .tokens = -1};
        k->seconds = k->first_loss = k->last_loss = k->drift = NAN;
        if ((names ? asprintf(&k->name, "%s", names[t]) : asprintf(&k->name, "task%d", t)) < 0) {
            k->name = NULL;
            FAIL(CL_ENOMEM, "no memory for %d tasks", l->T);
        }
    }
    for (int s = 0; s < l->N && !l->rows; s++) l->task[l->slot[s].task].slots++;
done:
    ckpt_strings_free(names, n);
    return rc;
}

static int read_done(struct learned *l)
{
    const int64_t T = l->T;
    int32_t *done = NULL;
    int rc = CL_OK;

    if (!ckpt_has(l->c, "/stream/done")) return CL_OK;
    done = mem_new((size_t)T, sizeof *done);
    if (!done) FAIL(CL_ENOMEM, "no memory for %d tasks", l->T);
    TRY(ckpt_read(l->c, "/stream/done", CKPT_I32, 1, &T, done));
    for (int t = 0; t < l->T; t++) {
        if (done[t] < 0 || done[t] > 3)
            FAIL(CL_EFORMAT, "%s: /stream/done of task %d is %d (expected 0 to 3)", ckpt_path(l->c), t, done[t]);
        l->task[t].done = done[t];
    }
done:
    mem_free(done);
    return rc;
}

static int read_homes(struct learned *l)
{
    const int64_t T = l->T;
    int32_t *home = NULL;
    int rc = CL_OK;

    if (!ckpt_has(l->c, "/lw2g/home")) return CL_OK;
    home = mem_new((size_t)T, sizeof *home);
    if (!home) FAIL(CL_ENOMEM, "no memory for %d tasks", l->T);
    TRY(ckpt_read(l->c, "/lw2g/home", CKPT_I32, 1, &T, home));
    for (int t = 0; t < l->T; t++) {
        if (home[t] < -1 || home[t] > t)
            FAIL(CL_EFORMAT, "%s: /lw2g/home of task %d is %d (expected -1 to %d)", ckpt_path(l->c), t, home[t], t);
        if (home[t] >= 0) l->task[t].home = home[t];
    }
done:
    mem_free(home);
    return rc;
}

static int read_losses(struct learned *l, struct learned_task *k, const char *name)
{
    int64_t n = -1;
    int rc = CL_OK;

    if (!ckpt_has(l->c, name)) return CL_OK;
    TRY(sizes(l, name, 1, &n));
    k->losses = n;
    if (!n) goto done;
    TRY(ckpt_read_rows(l->c, name, CKPT_F64, 1, &n, 0, 1, &k->first_loss));
    TRY(ckpt_read_rows(l->c, name, CKPT_F64, 1, &n, n - 1, 1, &k->last_loss));
done:
    return rc;
}

/* How far the task's keys went in stage 1: the largest distance. */
static int read_drift(struct learned *l, struct learned_task *k, const char *before, const char *after)
{
    int64_t shape[] = {k->slots, l->K}, n = (int64_t)k->slots * l->K;
    float *x = NULL, *y = NULL;
    int rc = CL_OK;

    if (!n || !ckpt_has(l->c, before) || !ckpt_has(l->c, after)) return CL_OK;
    x = mem_new((size_t)n, sizeof *x);
    y = mem_new((size_t)n, sizeof *y);
    if (!x || !y) FAIL(CL_ENOMEM, "no memory for the keys of %s", k->name);
    TRY(ckpt_read(l->c, before, CKPT_F32, 2, shape, x));
    TRY(ckpt_read(l->c, after, CKPT_F32, 2, shape, y));
    k->drift = 0;
    for (int s = 0; s < k->slots; s++) {
        double square = 0;
        for (int64_t i = s * (int64_t)l->K; i < (s + 1) * (int64_t)l->K; i++)
            square += ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
        if (sqrt(square) > k->drift) k->drift = sqrt(square);
    }
done:
    mem_free(x);
    mem_free(y);
    return rc;
}

static int read_selected(struct learned *l, int task, const char *name)
{
    const int64_t slots = l->task[task].slots;
    int64_t *count = NULL, i = 0;
    int rc = CL_OK;

    if (!slots || !ckpt_has(l->c, name)) return CL_OK;
    count = mem_new((size_t)slots, sizeof *count);
    if (!count) FAIL(CL_ENOMEM, "no memory for the history of %s", l->task[task].name);
    TRY(ckpt_read(l->c, name, CKPT_I64, 1, &slots, count));
    for (int n = 0; n < l->N; n++)
        if (l->slot[n].task == task) l->slot[n].selected = count[i++];
done:
    mem_free(count);
    return rc;
}

/* One group of a task's history: what is in it goes into its place. A group may stand under the task's name or number. */
static int read_history_group(struct learned *l, int task, const char *group)
{
    struct learned_task *k = &l->task[task];
    char loss[640], before[640], after[640], selected[640];
    int rc = CL_OK;

    if (!ckpt_has(l->c, group)) return CL_OK;
    snprintf(loss, sizeof loss, "%s/loss", group);
    snprintf(before, sizeof before, "%s/keys_before", group);
    snprintf(after, sizeof after, "%s/keys_after", group);
    snprintf(selected, sizeof selected, "%s/selected", group);
    TRY(int_of(l, group, "samples", &k->samples));
    TRY(int_of(l, group, "steps", &k->steps));
    TRY(int_of(l, group, "tokens", &k->tokens));
    TRY(real_of(l, group, "seconds", &k->seconds));
    if (!k->started) TRY(text_of(l, group, "started", &k->started));
    if (!k->finished) TRY(text_of(l, group, "finished", &k->finished));
    TRY(read_losses(l, k, loss));
    TRY(read_drift(l, k, before, after));
    TRY(read_selected(l, task, selected));
done:
    return rc;
}

static int read_history(struct learned *l)
{
    char group[600], number[32];
    int rc = CL_OK;

    for (int t = 0; t < l->T; t++) {
        if (strlen(l->task[t].name) > 512 || strchr(l->task[t].name, '/')) continue; // names of other programs
        snprintf(number, sizeof number, "/history/%d", t);
        snprintf(group, sizeof group, "/history/%s", l->task[t].name);
        TRY(read_history_group(l, t, number));
        if (*l->task[t].name && strcmp(group, number)) TRY(read_history_group(l, t, group));
    }
done:
    return rc;
}

static int read_context(struct learned *l)
{
    int64_t shape[] = {-1, -1};
    double *w = NULL;
    int rc = CL_OK;

    if (!ckpt_has(l->c, "/context/w")) return CL_OK;
    TRY(sizes(l, "/context/w", 2, shape));
    if (shape[0] != shape[1] || shape[0] < l->T || shape[0] > MOST_TASKS)
        FAIL(CL_EFORMAT, "%s: /context/w is %lld x %lld (expected %d x %d)", ckpt_path(l->c), (long long)shape[0],
             (long long)shape[1], l->T, l->T);
    w = mem_new((size_t)(shape[0] * shape[1]), sizeof *w);
    l->w = mem_new((size_t)l->T * (size_t)l->T, sizeof *l->w);
    if (!w || !l->w) FAIL(CL_ENOMEM, "no memory for the context weights of %d tasks", l->T);
    TRY(ckpt_read(l->c, "/context/w", CKPT_F64, 2, shape, w));
    for (int t = 0; t < l->T; t++)
        for (int i = 0; i < t; i++) l->w[t * l->T + i] = w[t * shape[1] + i]; // strictly lower: the rest stays 0
done:
    mem_free(w);
    return rc;
}

static int read_accuracy(struct learned *l)
{
    const char **names = NULL;
    int rc = CL_OK;

    if (!ckpt_has(l->c, "/metrics/accuracy") || !l->T) return CL_OK;
    names = mem_new((size_t)l->T, sizeof *names);
    if (!names) FAIL(CL_ENOMEM, "no memory for %d tasks", l->T);
    for (int t = 0; t < l->T; t++) names[t] = l->task[t].name;
    TRY(accuracy_new(&l->accuracy, l->T, names));
    TRY(ckpt_read(l->c, "/metrics/accuracy", CKPT_F64, 2, (int64_t[]){l->T + 1, l->T}, l->accuracy.a));
    if (!ckpt_has(l->c, "/metrics/loss")) goto done;
    if (!(l->loss = mem_new((size_t)l->T * (size_t)l->T, sizeof *l->loss)))
        FAIL(CL_ENOMEM, "no memory for the losses of %d tasks", l->T);
    TRY(ckpt_read(l->c, "/metrics/loss", CKPT_F64, 2, (int64_t[]){l->T, l->T}, l->loss));
done:
    mem_free(names);
    return rc;
}

static int read_root(struct learned *l)
{
    int rc;

    TRY(text_of(l, "/", "cllava_version", &l->cllava));
    TRY(text_of(l, "/", "created", &l->created));
    TRY(text_of(l, "/", "base_hash", &l->base_hash));
    TRY(text_of(l, "/", "encoder_hash", &l->encoder_hash));
    TRY(text_of(l, "/", "config", &l->config));
    l->resumes = ckpt_has(l->c, "/resume");
    if (l->resumes) {
        TRY(int_of(l, "/resume", "task", &l->at_task));
        TRY(int_of(l, "/resume", "stage", &l->at_stage));
        TRY(int_of(l, "/resume", "step", &l->at_step));
    }
done:
    return rc;
}

int learned_open(struct learned *l, const char *path)
{
    int rc;

    *l = (struct learned){.scale = 1};
    TRY(ckpt_open(&l->c, path));
    TRY(read_root(l));
    if (ckpt_has(l->c, "/pool")) TRY(read_pool(l)); // zero_shot has none
    if (ckpt_has(l->c, "/l2p")) TRY(read_prompts(l));
    TRY(read_names(l));
    TRY(read_done(l));
    TRY(read_homes(l));
    TRY(read_history(l));
    TRY(read_context(l));
    TRY(read_accuracy(l));
done:
    if (rc) learned_close(l);
    return rc;
}

void learned_close(struct learned *l)
{
    for (int t = 0; l->task && t < l->T; t++) {
        free(l->task[t].name);
        free(l->task[t].started);
        free(l->task[t].finished);
    }
    for (int n = 0; l->slot && n < l->N; n++) mem_free(l->slot[n].norm);
    mem_free(l->task);
    mem_free(l->slot);
    mem_free(l->w), mem_free(l->loss);
    accuracy_free(&l->accuracy);
    free(l->cllava), free(l->created), free(l->base_hash), free(l->encoder_hash), free(l->config), free(l->method);
    ckpt_close(l->c);
    *l = (struct learned){0};
}

/* ---- increments */

int learned_read_slot(const struct learned *l, int slot, float *A, float *B)
{
    const int64_t a[] = {l->N, l->L, l->R, l->H}, b[] = {l->N, l->L, l->D, l->R};
    int rc;

    TRY(ckpt_read_rows(l->c, "/pool/A", CKPT_F32, 4, a, slot, 1, A));
    TRY(ckpt_read_rows(l->c, "/pool/B", CKPT_F32, 4, b, slot, 1, B));
done:
    return rc;
}

/* trace((A A^T)(B^T B)) of A (R, in), whose rows are H apart, and B (out, R). */
static double square_of(const float *A, const float *B, int R, int64_t H, int64_t in, int64_t out)
{
    double trace = 0;

    for (int r = 0; r < R; r++)
        for (int s = 0; s < R; s++) {
            double a = 0, b = 0;
            for (int64_t h = 0; h < in; h++) a += (double)A[r * H + h] * A[s * H + h];
            for (int64_t d = 0; d < out; d++) b += (double)B[d * R + r] * B[d * R + s];
            trace += a * b;
        }
    return trace;
}

double learned_norm(const float *A, const float *B, int R, const struct projections *on)
{
    double trace = 0;

    for (int i = 0; i < on->n; i++)
        trace += square_of(A + on->at[i].in0, B + on->at[i].out0 * R, R, on->H, on->at[i].in, on->at[i].out);
    return sqrt(trace > 0 ? trace : trace < 0 ? 0 : trace); // rounding may leave less than nothing; NaN stays
}

int learned_norms(struct learned *l)
{
    const int64_t a = l->R * l->H, b = l->D * l->R;
    float *A = mem_new((size_t)l->L, (size_t)(a ? a : 1) * sizeof *A);
    float *B = mem_new((size_t)l->L, (size_t)(b ? b : 1) * sizeof *B);
    int rc = CL_OK;

    if (!A || !B) FAIL(CL_ENOMEM, "no memory for an increment of %d layers", l->L);
    for (int n = 0; n < l->N && !l->rows; n++) {
        TRY(learned_read_slot(l, n, A, B));
        if (!l->slot[n].norm) l->slot[n].norm = mem_new((size_t)l->L, sizeof *l->slot[n].norm);
        if (!l->slot[n].norm) FAIL(CL_ENOMEM, "no memory for norms of %d layers", l->L);
        for (int i = 0; i < l->L; i++) l->slot[n].norm[i] = learned_norm(A + i * a, B + i * b, l->R, &l->on);
    }
done:
    mem_free(A);
    mem_free(B);
    return rc;
}

int learned_find_task(const struct learned *l, const char *name)
{
    char *end;
    long t;

    for (int i = 0; i < l->T; i++)
        if (!strcmp(l->task[i].name, name)) return i;
    t = strtol(name, &end, 10);
    if (*name && !*end && t >= 0 && t < l->T) return (int)t;
    err_set(CL_EUSAGE, "no task '%s' in %s (expected a name or 0 to %d); hint: `cllava inspect` lists them", name,
            ckpt_path(l->c), l->T - 1);
    return -1;
}

/* A pool without keys is one LoRA for all tasks, or one for each: for it alone, or (o_lora) on top of those before. */
static double keyless(const struct learned *l, int owner, int task)
{
    const char *method = l->method ? l->method : "";

    if (!strcmp(method, "taskwise_lora")) return owner == task;
    if (!strcmp(method, "o_lora")) return owner <= task;
    return 1;
}

void learned_mixture(const struct learned *l, int task, double *coefficient)
{
    double share = 0; // of the task's own slots in a mean sample: 1, up to rounding

    if (l->K) task = l->task[task].home;
    for (int n = 0; n < l->N; n++) {
        bool own = l->slot[n].task == task;
        coefficient[n] = !l->K ? keyless(l, l->slot[n].task, task) : own ? l->slot[n].use : 0;
        if (own) share += l->slot[n].use;
    }
    for (int n = 0; l->K && l->w && n < l->N; n++)
        if (l->slot[n].task < task) coefficient[n] = share * l->w[task * l->T + l->slot[n].task] * l->slot[n].use;
}
