/* attention_token.c - attention of one token of each sample to its keys: what decoding does.
 *
 * A cache has a token's heads side by side, so its rows are read as they lie, many heads at a time: one stream through the
 * memory. Lanes are heads: a register holds the scores of one key with VW heads, and the softmax needs no sums across a register.
 * Which heads stand in one register does not change any of them. Each block of keys has a maximum and sums of its own, which are
 * joined from the first block to the last: where samples are few, threads share the blocks (pieces of rows would be streams too
 * short for the processor to see what comes next), and the result is the same.
 */
#include <omp.h>

#include "model/cpu/kernels/kernel.h"

enum { LANES = 64, KEYS = 64 };    // heads of a task, keys at a time
enum { STRIDE = CPU_MAX_HEAD };    // numbers from head to head in a task's arrays
enum { ROWS = 4, NUMBERS = 4096 }; // values at a time; numbers of a task's heads, so that they stay in the cache

/* Some heads of one sample. */
struct task {
    int64_t row, first, keys;  // of q; of k and v
    int kv_head, lanes;        // first head of the keys; heads of the query
    int head_dim, group, step; // step: head_dim filled up with registers
};

/* Of a block of keys, or of some: the largest score of each lane, the sum of exponentials, and that of values times these. */
struct part {
    float *top, *sum, *out; // (LANES), (LANES), (lanes, step)
};

struct state {
    float query[LANES * STRIDE], score[KEYS * LANES];
};

/* The numbers of a head, times factor; the last register is filled up with 0. */
INLINE void take_head(float *dst, struct row r, int n, float factor)
{
    for (int c = 0; c < n; c += VW) vf_store(dst + c, vf_get(r, c, width(n - c)) * factor);
}

/* Sums of neighbours of a, then of b. */
INLINE vf pair_sums(vf a, vf b)
{
    vi even, odd;

    for (int i = 0; i < VW; i++) even[i] = 2 * i, odd[i] = 2 * i + 1;
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
}

/* Lane i = sum of the lanes of x[i], each by the same tree. x is used up. */
INLINE vf lane_sums(vf *x)
{
#pragma GCC unroll 4
    for (int n = VW; n > 1; n /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < n / 2; i++) x[i] = pair_sums(x[2 * i], x[2 * i + 1]);
    return x[0];
}

/* Numbers of the head of lane i in a row of keys or values. */
INLINE struct row lane_of(const struct task *t, struct row r, int i)
{
    return row_at(r, (int64_t)(t->kv_head + i / t->group) * t->head_dim);
}

/* score (m, LANES) = the query's heads times those of m keys. */
static void score_keys(struct state *s, const struct task *t, struct tensor k, int64_t first, int m)
{
    const int n = t->head_dim;

    for (int i = 0; i < m; i++) {
        const struct row key = row_of(k, first + i);
        for (int j = 0; j < t->lanes; j += VW) {
            vf sum[VW];
            for (int l = 0; l < VW; l++) {
                sum[l] = (vf){0};
                if (j + l >= t->lanes) continue;
                const struct row r = lane_of(t, key, j + l);
                const float *q = s->query + (j + l) * STRIDE;
                for (int c = 0; c < n; c += VW) sum[l] += vf_load(q + c) * vf_get(r, c, width(n - c));
            }
            vf_store(s->score + i * LANES + j, lane_sums(sum));
        }
    }
}

/* Scores to exponentials relative to the maximum of each lane. */
static void soften(struct state *s, struct part *p, const struct task *t, int m)
{
    for (int j = 0; j < t->lanes; j += VW) {
        vf top = vf_set(-INFINITY), sum = {0};
        for (int i = 0; i < m; i++) top = vf_max(top, vf_load(s->score + i * LANES + j));
        for (int i = 0; i < m; i++) {
            const vf e = vf_exp(vf_load(s->score + i * LANES + j) - top);
            vf_store(s->score + i * LANES + j, e);
            sum += e;
        }
        vf_store(p->top + j, top);
        vf_store(p->sum + j, sum);
    }
}

/* out (+)= exponentials times `rows` rows of values, known to the compiler. more: there is something in out. */
INLINE void add_some(struct state *s, struct part *p, const struct task *t, struct tensor v, int64_t first, int i,
                     const int rows, bool more)
{
    const int n = t->head_dim;

    for (int l = 0; l < t->lanes; l++) {
        float *out = p->out + l * t->step;
        struct row r[ROWS];
        vf e[ROWS];
#pragma GCC unroll 4
        for (int k = 0; k < rows; k++)
            r[k] = lane_of(t, row_of(v, first + i + k), l), e[k] = vf_set(s->score[(i + k) * LANES + l]);
        for (int c = 0; c < n; c += VW) {
            vf sum = more ? vf_load(out + c) : (vf){0};
#pragma GCC unroll 4
            for (int k = 0; k < rows; k++) sum += vf_get(r[k], c, width(n - c)) * e[k];
            vf_store(out + c, sum);
        }
    }
}

static void add_values(struct state *s, struct part *p, const struct task *t, struct tensor v, int64_t first, int m)
{
    int i = 0;

    for (; i + ROWS <= m; i += ROWS) add_some(s, p, t, v, first, i, ROWS, i > 0);
    for (; i < m; i++) add_some(s, p, t, v, first, i, 1, i > 0);
}

static void take_query(struct state *s, const struct task *t, struct tensor q, float scale)
{
    const int64_t head = (int64_t)t->kv_head * t->group;

    for (int l = 0; l < t->lanes; l++)
        take_head(s->query + l * STRIDE, row_at(row_of(q, t->row), (head + l) * t->head_dim), t->head_dim, scale);
}

static void run_block(struct part *p, struct state *s, const struct task *t, struct tensor k, struct tensor v,
                      int64_t block)
{
    const int64_t at = block * KEYS;
    const int m = t->keys - at < KEYS ? (int)(t->keys - at) : KEYS;

    score_keys(s, t, k, t->first + at, m);
    soften(s, p, t, m);
    add_values(s, p, t, v, t->first + at, m);
}

/* a := a and b together. */
static void join(struct part *a, const struct part *b, const struct task *t)
{
    float left[LANES], right[LANES];

    for (int j = 0; j < t->lanes; j += VW) {
        const vf x = vf_load(a->top + j), y = vf_load(b->top + j), top = vf_max(x, y);
        const vf p = vf_exp(x - top), q = vf_exp(y - top);
        vf_store(a->top + j, top);
        vf_store(a->sum + j, vf_load(a->sum + j) * p + vf_load(b->sum + j) * q);
        vf_store(left + j, p), vf_store(right + j, q);
    }
    for (int l = 0; l < t->lanes; l++)
        for (int c = l * t->step; c < (l + 1) * t->step; c += VW)
            vf_store(a->out + c, vf_load(a->out + c) * left[l] + vf_load(b->out + c) * right[l]);
}

static void put(struct tensor o, float *lse, const struct part *p, const struct task *t, int heads)
{
    const int64_t head = (int64_t)t->kv_head * t->group;
    const int n = t->head_dim;

    for (int l = 0; l < t->lanes; l++) {
        const struct row to = row_at(row_of(o, t->row), (head + l) * n);
        for (int c = 0; c < n; c += VW) vf_put(to, c, width(n - c), vf_load(p->out + l * t->step + c) / p->sum[l]);
        if (lse) lse[t->row * heads + head + l] = p->top[l] + logf(p->sum[l]);
    }
}

/* ---- who does what */

struct plan {
    int at_once;           // heads of the keys that one task takes
    int64_t groups, tasks; // of heads of a sample; samples times groups
    int64_t blocks;        // of keys of the longest sample
    bool shared;           // threads share the blocks of a task
    size_t part;           // floats of a part
};

/* Many heads in a task, so that rows are read in long pieces, but so few that all threads have work. */
static struct plan plan_of(const struct attention_shape *s)
{
    enum { LANES_LINE = 16 };
    const int group = s->heads / s->kv_heads, threads = omp_get_max_threads();
    int64_t most = NUMBERS / (group * s->head_dim), each;
    struct plan p = {.blocks = 1};

    for (int b = 0; b < s->samples; b++) {
        const int64_t blocks = (s->cu_k[b + 1] - s->cu_k[b] + KEYS - 1) / KEYS;
        if (blocks > p.blocks) p.blocks = blocks;
    }
    if (most > LANES / group) most = LANES / group;
    if (most > s->kv_heads) most = s->kv_heads;
    if (most < 1) most = 1;
    p.shared = threads > 1 && p.blocks > 1 && (s->kv_heads + most - 1) / most * s->samples < 2 * threads;
    each = s->kv_heads * s->samples * (p.shared ? p.blocks : 1) / threads; // a thread's share
    if (most > each) most = each < 1 ? 1 : each;
    p.at_once = (int)most;
    p.groups = (s->kv_heads + most - 1) / most;
    p.tasks = p.groups * s->samples;
    p.part = (size_t)(2 * LANES + most * group * ((s->head_dim + LANES_LINE - 1) / LANES_LINE * LANES_LINE));
    return p;
}

static struct task task_of(const struct plan *p, const struct attention_shape *s, int64_t i)
{
    const int group = s->heads / s->kv_heads, first = (int)(i % p->groups) * p->at_once, left = s->kv_heads - first;
    const int64_t b = i / p->groups, row = s->cu_q[b];

    return (struct task){.row = row,
                         .first = s->k_start ? s->k_start[b] : s->cu_k[b],
                         .keys = s->causal ? s->q_pos[row] + 1LL : s->cu_k[b + 1] - s->cu_k[b],
                         .kv_head = first,
                         .lanes = (left < p->at_once ? left : p->at_once) * group,
                         .head_dim = s->head_dim,
                         .group = group,
                         .step = (s->head_dim + VW - 1) / VW * VW};
}

static struct part part_at(float *room)
{
    return (struct part){room, room + LANES, room + 2 * LANES};
}

static int64_t blocks_of(const struct task *t)
{
    return (t->keys + KEYS - 1) / KEYS;
}

/* One task after another: the blocks of each from first to last. */
static void run_tasks(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                      const struct attention_shape *s, const struct plan *p, bool parallel)
{
#pragma omp parallel for schedule(dynamic) if (parallel)
    for (int64_t i = 0; i < p->tasks; i++) {
        const struct task t = task_of(p, s, i);
        float room[2][2 * LANES + LANES * STRIDE];
        struct part all = part_at(room[0]), one = part_at(room[1]);
        struct state st;

        take_query(&st, &t, q, s->scale);
        for (int64_t b = 0; b < blocks_of(&t); b++) {
            run_block(b ? &one : &all, &st, &t, k, v, b);
            if (b) join(&all, &one, &t);
        }
        put(o, lse, &all, &t, s->heads);
    }
}

/* All blocks of all tasks, then what they are together. */
static void run_blocks(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                       const struct attention_shape *s, const struct plan *p, float *room)
{
#pragma omp parallel
    {
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < p->tasks * p->blocks; i++) {
            const struct task t = task_of(p, s, i / p->blocks);
            struct part one = part_at(room + (size_t)i * p->part);
            struct state st;

            if (i % p->blocks >= blocks_of(&t)) continue;
            take_query(&st, &t, q, s->scale);
            run_block(&one, &st, &t, k, v, i % p->blocks);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < p->tasks; i++) {
            const struct task t = task_of(p, s, i);
            float *first = room + (size_t)(i * p->blocks) * p->part;
            struct part all = part_at(first);

            for (int64_t b = 1; b < blocks_of(&t); b++) {
                const struct part one = part_at(first + (size_t)b * p->part);
                join(&all, &one, &t);
            }
            put(o, lse, &all, &t, s->heads);
        }
    }
}

size_t KERNEL(attention_token_bytes)(const struct attention_shape *s)
{
    const struct plan p = plan_of(s);

    return p.shared ? (size_t)(p.tasks * p.blocks) * p.part * sizeof(float) : 0;
}

void KERNEL(attention_token)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                             const struct attention_shape *s, void *room)
{
    const struct plan p = plan_of(s);
    int64_t work = 0;

    for (int b = 0; b < s->samples; b++) work += (s->cu_k[b + 1] - s->cu_k[b]) * s->heads * s->head_dim;
    if (p.shared && work > PARALLEL_WORK)
        run_blocks(o, lse, q, k, v, s, &p, room);
    else
        run_tasks(o, lse, q, k, v, s, &p, work > PARALLEL_WORK);
}
