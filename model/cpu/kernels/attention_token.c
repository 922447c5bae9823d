/* attention_token.c - attention of one token of each sample to its keys: what decoding does.
 *
 * A cache has a token's heads side by side, so its rows are read as they lie, all heads of a thread at a time: one stream
 * through the memory. Lanes are heads: a register holds the scores of one key with VW heads, and the softmax, with a running
 * maximum over blocks of keys, needs no sums across a register. Which heads stand in one register does not change any of them.
 */
#include <omp.h>

#include "model/cpu/kernels/kernel.h"

enum { LANES = 64, KEYS = 64 };    // heads of a task, keys at a time
enum { STRIDE = CPU_MAX_HEAD };    // numbers from head to head in a task's arrays
enum { ROWS = 4, NUMBERS = 4096 }; // values at a time; numbers of a task's heads, so that they stay in the cache

/* Some heads of one sample. */
struct task {
    int64_t row, first, keys; // of q; of k and v
    int kv_head, lanes;       // first head of the keys; heads of the query
    int head_dim, group;
};

struct state {
    float query[LANES * STRIDE], out[LANES * STRIDE], score[KEYS * LANES], top[LANES], sum[LANES];
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

/* Scores to exponentials relative to the new maximum of each lane; scales what was summed before. */
static void soften(struct state *s, const struct task *t, int m, bool before)
{
    float shrink[LANES];

    for (int j = 0; j < t->lanes; j += VW) {
        const vf old = vf_load(s->top + j);
        vf top = old, sum = {0};
        for (int i = 0; i < m; i++) top = vf_max(top, vf_load(s->score + i * LANES + j));
        for (int i = 0; i < m; i++) {
            const vf e = vf_exp(vf_load(s->score + i * LANES + j) - top);
            vf_store(s->score + i * LANES + j, e);
            sum += e;
        }
        vf_store(shrink + j, vf_exp(old - top));
        vf_store(s->top + j, top);
        vf_store(s->sum + j, vf_load(s->sum + j) * vf_load(shrink + j) + sum);
    }
    for (int l = 0; before && l < t->lanes; l++)
        for (int c = 0; c < t->head_dim; c += VW)
            vf_store(s->out + l * STRIDE + c, vf_load(s->out + l * STRIDE + c) * shrink[l]);
}

/* out += exponentials times `rows` rows of values, known to the compiler. */
INLINE void add_some(struct state *s, const struct task *t, struct tensor v, int64_t first, int i, const int rows)
{
    const int n = t->head_dim;

    for (int l = 0; l < t->lanes; l++) {
        float *out = s->out + l * STRIDE;
        struct row r[ROWS];
        vf e[ROWS];
#pragma GCC unroll 4
        for (int k = 0; k < rows; k++)
            r[k] = lane_of(t, row_of(v, first + i + k), l), e[k] = vf_set(s->score[(i + k) * LANES + l]);
        for (int c = 0; c < n; c += VW) {
            vf sum = vf_load(out + c);
#pragma GCC unroll 4
            for (int k = 0; k < rows; k++) sum += vf_get(r[k], c, width(n - c)) * e[k];
            vf_store(out + c, sum);
        }
    }
}

static void add_values(struct state *s, const struct task *t, struct tensor v, int64_t first, int m)
{
    int i = 0;

    for (; i + ROWS <= m; i += ROWS) add_some(s, t, v, first, i, ROWS);
    for (; i < m; i++) add_some(s, t, v, first, i, 1);
}

static void run_task(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                     const struct attention_shape *s, const struct task *t)
{
    struct state st;
    const int n = s->head_dim;
    const int64_t head = (int64_t)t->kv_head * t->group;

    for (int l = 0; l < LANES; l++) st.top[l] = -INFINITY, st.sum[l] = 0;
    for (int l = 0; l < t->lanes; l++) {
        take_head(st.query + l * STRIDE, row_at(row_of(q, t->row), (head + l) * n), n, s->scale);
        memset(st.out + l * STRIDE, 0, STRIDE * sizeof *st.out);
    }
    for (int64_t at = 0; at < t->keys; at += KEYS) {
        const int m = t->keys - at < KEYS ? (int)(t->keys - at) : KEYS;
        score_keys(&st, t, k, t->first + at, m);
        soften(&st, t, m, at > 0);
        add_values(&st, t, v, t->first + at, m);
    }
    for (int l = 0; l < t->lanes; l++) {
        const struct row to = row_at(row_of(o, t->row), (head + l) * n);
        for (int c = 0; c < n; c += VW) vf_put(to, c, width(n - c), vf_load(st.out + l * STRIDE + c) / st.sum[l]);
        if (lse) lse[t->row * s->heads + head + l] = st.top[l] + logf(st.sum[l]);
    }
}

/* Heads of the keys that one task takes: many, so that rows are read in long pieces, but so few that all threads have work. */
static int heads_at_once(const struct attention_shape *s)
{
    const int group = s->heads / s->kv_heads, threads = omp_get_max_threads();
    int64_t most = (int64_t)s->kv_heads * s->samples / threads;

    if (most > NUMBERS / (group * s->head_dim)) most = NUMBERS / (group * s->head_dim);
    if (most > LANES / group) most = LANES / group;
    if (most > s->kv_heads) most = s->kv_heads;
    return most < 1 ? 1 : (int)most;
}

void KERNEL(attention_token)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                             const struct attention_shape *s)
{
    const int at_once = heads_at_once(s), group = s->heads / s->kv_heads;
    const int64_t parts = (s->kv_heads + at_once - 1) / at_once;
    int64_t work = 0;

    for (int b = 0; b < s->samples; b++) work += (s->cu_k[b + 1] - s->cu_k[b]) * s->heads * s->head_dim;
#pragma omp parallel for schedule(dynamic) if (work > PARALLEL_WORK)
    for (int64_t i = 0; i < parts * s->samples; i++) {
        const int64_t b = i / parts, row = s->cu_q[b];
        const int first = (int)(i % parts) * at_once, left = s->kv_heads - first;
        struct task t = {.row = row,
                         .first = s->k_start ? s->k_start[b] : s->cu_k[b],
                         .keys = s->causal ? s->q_pos[row] + 1LL : s->cu_k[b + 1] - s->cu_k[b],
                         .kv_head = first,
                         .lanes = (left < at_once ? left : at_once) * group,
                         .head_dim = s->head_dim,
                         .group = group};
        run_task(o, lse, q, k, v, s, &t);
    }
}
