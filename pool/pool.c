/* pool.c - storage of the slots, growth, initial values. */
#include "pool/pool.h"

#include "io/err.h"
#include "model/tensor.h"
#include "pool/rng.h"
#include "pool/select.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* A slot's version is unique over the process, so that whoever caches slots never mistakes one for another. */
uint64_t pool_new_version(void)
{
    static atomic_uint_fast64_t last;
    return (uint64_t)atomic_fetch_add(&last, 1) + 1;
}

static void default_w(float *w, int from, int T)
{
    for (int t = from; t < T; t++)
        for (int l = 0; l < t; l++) w[(int64_t)t * T + l] = (float)(1.0 / t);
}

int pool_open(struct pool *p, const struct method_shape *s, int rank, int top_m, int groups, double scale)
{
    int64_t a, b, bytes;
    int rc;

    *p = (struct pool){.T = s->tasks, .L = s->layers, .R = rank, .K = s->K, .H = s->H, .D = s->D};
    p->on = s->on.n ? s->on : projections_single(s->H, s->D);
    p->groups = groups;
    p->top_m = top_m;
    p->scale = scale;
    if (s->tasks < 0 || s->layers < 1 || s->H < 1 || s->D < 0 || s->K < 0 || rank < 1 || groups < 1 || top_m < 1)
        FAIL(CL_EINTERNAL, "pool of %d tasks, %d layers, %lld x %lld, rank %d, top_m %d, %d key groups", s->tasks,
             s->layers, (long long)s->D, (long long)s->H, rank, top_m, groups);
    if (__builtin_mul_overflow(s->H, (int64_t)rank * s->layers, &a) ||
        __builtin_mul_overflow(s->D, (int64_t)rank * s->layers, &b) || __builtin_add_overflow(a, b, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)sizeof(float) << 20, &bytes)) // a million slots still count
        FAIL(CL_ECONFIG, "a slot of rank %d over %d layers of %lld x %lld is too large; hint: lower pool.rank", rank,
             s->layers, (long long)s->D, (long long)s->H);
    p->w = mem_new((size_t)s->tasks * (size_t)s->tasks, sizeof *p->w);
    if (!p->w) FAIL(CL_ENOMEM, "no memory for the context weights of %d tasks", s->tasks);
    default_w(p->w, 0, p->T);
    rc = CL_OK;
done:
    return rc;
}

void pool_close(struct pool *p)
{
    mem_free(p->keys);
    mem_free(p->key_norm);
    mem_free(p->A);
    mem_free(p->B);
    mem_free(p->task);
    mem_free(p->use);
    mem_free(p->w);
    mem_free(p->slot);
    *p = (struct pool){0};
}

/* Where the slots' A and B are now. */
static void point_slots(struct pool *p)
{
    for (int n = 0; n < p->N; n++) {
        p->slot[n].A = p->A + n * pool_a_size(p);
        p->slot[n].B = p->B + n * pool_b_size(p);
    }
}

int pool_grow(struct pool *p, int task, int n)
{
    const size_t old = (size_t)p->N, now = old + (size_t)n;
    int rc;

    if (n < 1 || task < 0 || task >= p->T || (p->N && p->task[p->N - 1] > task))
        FAIL(CL_EINTERNAL, "%d slots for task %d of %d behind %d slots", n, task, p->T, p->N);
    if (n > INT32_MAX - p->N) FAIL(CL_ECONFIG, "the pool cannot have %d + %d slots", p->N, n);
// A field that has grown before a later one fails is only longer than needed: N still says what counts.
#define GROW(field, each)                                                                                              \
    do {                                                                                                               \
        void *bigger = mem_grow(p->field, old * (size_t)(each), now * (size_t)(each), sizeof *p->field);               \
        if (!bigger)                                                                                                   \
            FAIL(CL_ENOMEM, "no memory for %zu slots of rank %d (%.1f MiB); hint: fewer or smaller slots", now, p->R,  \
                 (double)now *(double)(pool_a_size(p) + pool_b_size(p)) * sizeof(float) / (1 << 20));                  \
        p->field = bigger;                                                                                             \
    } while (0)
    GROW(slot, 1);
    GROW(A, pool_a_size(p));
    GROW(B, pool_b_size(p));
    GROW(keys, p->K);
    GROW(key_norm, p->groups);
    GROW(task, 1);
    GROW(use, 1);
#undef GROW
    rc = CL_OK;
    for (size_t i = old; i < now; i++) p->task[i] = task;
    p->N = (int)now;
    pool_keys_changed(p, (struct pool_range){(int)old, (int)now});
    pool_touch(p, (struct pool_range){(int)old, (int)now});
done:
    if (p->A && p->B && p->slot) point_slots(p); // also after a failure: what has moved has moved
    return rc;
}

int pool_more_tasks(struct pool *p, int tasks)
{
    float *w;

    if (tasks <= p->T) return CL_OK;
    w = mem_new((size_t)tasks * (size_t)tasks, sizeof *w);
    if (!w) return err_set(CL_ENOMEM, "no memory for the context weights of %d tasks", tasks);
    for (int t = 0; t < p->T; t++) memcpy(w + (int64_t)t * tasks, p->w + (int64_t)t * p->T, (size_t)p->T * sizeof *w);
    default_w(w, p->T, tasks);
    mem_free(p->w);
    p->w = w;
    p->T = tasks;
    return CL_OK;
}

struct pool_range pool_of_task(const struct pool *p, int task)
{
    struct pool_range r = {0, 0};

    while (r.first < p->N && p->task[r.first] < task) r.first++;
    for (r.end = r.first; r.end < p->N && p->task[r.end] == task;) r.end++;
    return r;
}

void pool_keys_changed(struct pool *p, struct pool_range r)
{
    for (int n = r.first; n < r.end; n++)
        select_norms(p->key_norm + (int64_t)n * p->groups, p->keys + (int64_t)n * p->K, p->K, p->groups);
}

void pool_touch(struct pool *p, struct pool_range r)
{
    for (int n = r.first; n < r.end; n++) p->slot[n].version = pool_new_version();
}

int64_t pool_parameters(const struct pool *p)
{
    return p->N * (p->K + pool_a_size(p) + pool_b_size(p));
}

/* row -= its part along each of n earlier rows (of unit length), twice, because rounding of the first pass matters once
 * little is left of the row; then to unit length. False when nothing is left. */
static bool orthogonal(float *row, const float *earlier, int n, int K)
{
    double norm = 0;

    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++) {
            const float *e = earlier + (int64_t)i * K;
            double dot = 0;
            for (int k = 0; k < K; k++) dot += (double)row[k] * e[k];
            for (int k = 0; k < K; k++) row[k] = (float)(row[k] - dot * e[k]);
        }
    for (int k = 0; k < K; k++) norm += (double)row[k] * row[k];
    norm = sqrt(norm);
    if (norm < 1e-4) return false;
    for (int k = 0; k < K; k++) row[k] = (float)(row[k] / norm);
    return true;
}

void pool_draw_keys(struct pool *p, struct pool_range r, uint64_t seed)
{
    uint64_t next = 0; // draws so far

    for (int n = r.first; n < r.end && p->K; n++) {
        int before = (n - r.first) % p->K;
        float *row = p->keys + (int64_t)n * p->K;
        do {
            rng_fill_normal(row, p->K, 1, seed, RNG_KEYS, (uint32_t)p->task[n], next);
            next += (uint64_t)p->K;
        } while (!orthogonal(row, row - (int64_t)before * p->K, before, p->K));
    }
    pool_keys_changed(p, r);
}

/* Each map's columns by its own number of inputs; a number's place in the slot says which draw it is. */
static void draw_uniform(const struct pool *p, float *A, uint64_t seed, uint32_t task, uint64_t first)
{
    for (int i = 0; i < p->on.n; i++) {
        const struct projection_place *t = &p->on.at[i];
        const double most = 1 / sqrt((double)t->in);
        if (p->on.n == 1) rng_fill_uniform(A, pool_a_size(p), most, seed, RNG_A, task, first);
        for (int64_t row = 0; p->on.n > 1 && row < (int64_t)p->L * p->R; row++) {
            const int64_t at = row * p->H + t->in0;
            rng_fill_uniform(A + at, t->in, most, seed, RNG_A, task, first + (uint64_t)at);
        }
    }
}

void pool_draw_a(struct pool *p, struct pool_range r, const char *a_init, uint64_t seed)
{
    const int64_t size = pool_a_size(p);

    for (int n = r.first; n < r.end; n++) {
        uint64_t first = (uint64_t)(n - r.first) * (uint64_t)size;
        if (!strcmp(a_init, "normal"))
            rng_fill_normal(p->A + n * size, size, 1, seed, RNG_A, (uint32_t)p->task[n], first);
        else
            draw_uniform(p, p->A + n * size, seed, (uint32_t)p->task[n], first);
    }
    pool_touch(p, r);
}
