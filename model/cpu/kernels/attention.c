/* attention.c - attention by blocks of queries and keys: softmax with a running maximum, never S x S.
 *
 * For each block of keys: scores, their largest, exponentials; what was summed before is scaled down where the maximum
 * rises. lse = maximum + log(sum). A block of very few lanes goes row by row instead: it would leave most of each
 * register empty. One token of each sample, as in decoding, is a matter of its own (attention_token.c).
 */
#include "model/cpu/kernels/attention_pairs.h"

enum { FEW_LANES = 3 };

/* The block of queries while it goes over the keys. Columns are lanes. */
struct state {
    float query[CPU_MAX_HEAD * LANES], out[CPU_MAX_HEAD * LANES], score[KEYS * LANES], rows[KEYS * CPU_MAX_HEAD];
    float top[LANES], sum[LANES];
};

/* dst (n, LANES) = the lanes as columns, times factor; columns beyond the last lane are 0. */
static void load_turned(float *dst, struct tensor t, const struct lanes *l, int n, float factor)
{
    float numbers[CPU_MAX_HEAD];

    for (int i = 0; i < padded(l->count); i++) {
        if (i < l->count)
            load_numbers(numbers, lane_numbers(t, l, i, n), n, factor);
        else
            memset(numbers, 0, sizeof numbers);
        for (int c = 0; c < n; c++) dst[c * LANES + i] = numbers[c];
    }
}

/* Scores to exponentials relative to the new maximum of each lane; scales what was summed before. */
static void soften(struct state *t, const struct sight *s, int64_t first, int keys, int n, int lanes)
{
    for (int j = 0; j < registers(lanes); j++) {
        vf before = vf_load(t->top + j * VW), top = before, sum = {0}, shrink;
        float *score = t->score + j * VW;

        for (int i = 0; i < keys; i++) {
            if (first + i >= s->all)
                vf_store(score + i * LANES,
                         vf_select(sees(s, j, first + i), vf_load(score + i * LANES), vf_set(-INFINITY)));
            top = vf_max(top, vf_load(score + i * LANES));
        }
        for (int i = 0; i < keys; i++) {
            vf e = vf_exp(vf_load(score + i * LANES) - top);
            vf_store(score + i * LANES, e);
            sum += e;
        }
        shrink = vf_exp(before - top);
        vf_store(t->top + j * VW, top);
        vf_store(t->sum + j * VW, vf_load(t->sum + j * VW) * shrink + sum);
        for (int c = 0; first && c < n; c++) {
            float *out = t->out + c * LANES + j * VW;
            vf_store(out, vf_load(out) * shrink);
        }
    }
}

static void finish(struct state *t, struct tensor o, float *lse, int heads, const struct lanes *l, int n)
{
    float numbers[CPU_MAX_HEAD];

    for (int i = 0; i < l->count; i++) {
        struct row r = lane_numbers(o, l, i, n);
        for (int c = 0; c < n; c++) numbers[c] = t->out[c * LANES + i] / t->sum[i];
        for (int c = 0; c < n; c += VW) vf_put(r, c, width(n - c), vf_load(numbers + c));
        if (lse) lse[lane_row(l, i) * heads + lane_head(l, i)] = t->top[i] + logf(t->sum[i]);
    }
}

static void attend_block(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                         const struct attention_shape *s, const struct lanes *l, int64_t k_first, int64_t keys,
                         int64_t col)
{
    struct state t;
    struct sight sight;
    int n = s->head_dim;

    look(&sight, s, l, keys);
    load_turned(t.query, q, l, n, s->scale);
    for (int i = 0; i < LANES; i++) t.top[i] = -INFINITY, t.sum[i] = 0;
    for (int64_t at = 0; at < sight.some; at += KEYS) {
        int m = sight.some - at < KEYS ? (int)(sight.some - at) : KEYS;
        load_rows(t.rows, k, k_first + at, m, col, n);
        block_multiply(&(struct block_product){.c = t.score,
                                               .ldc = LANES,
                                               .a = t.rows,
                                               .a_row = padded(n),
                                               .a_col = 1,
                                               .b = t.query,
                                               .ldb = LANES,
                                               .rows = m,
                                               .cols = registers(l->count),
                                               .depth = n});
        soften(&t, &sight, at, m, n, l->count);
        load_rows(t.rows, v, k_first + at, m, col, n);
        block_multiply(&(struct block_product){.c = t.out,
                                               .ldc = LANES,
                                               .a = t.rows,
                                               .a_row = 1,
                                               .a_col = padded(n),
                                               .b = t.score,
                                               .ldb = LANES,
                                               .rows = n,
                                               .cols = registers(l->count),
                                               .depth = m,
                                               .add = at > 0});
    }
    finish(&t, o, lse, s->heads, l, n);
}

/* ---- row by row */

INLINE float dot(const float *a, struct row b, int n)
{
    vf sum = {0};

    for (int c = 0; c < n; c += VW) sum += vf_load(a + c) * vf_get(b, c, width(n - c));
    return vf_sum(sum);
}

/* a += row * factor */
INLINE void add_row(float *a, struct row r, int n, float factor)
{
    for (int c = 0; c < n; c += VW) vf_store(a + c, vf_load(a + c) + vf_get(r, c, width(n - c)) * factor);
}

/* Scores to exponentials relative to top; their sum. The block is filled up with -inf. */
static float exponentials(float *score, float top)
{
    vf sum = {0};

    for (int i = 0; i < KEYS; i += VW) {
        vf e = vf_exp(vf_load(score + i) - top);
        vf_store(score + i, e);
        sum += e;
    }
    return vf_sum(sum);
}

/* One lane: o = attention of q to `keys` rows of k and v from `first` on, columns from col on. Returns lse. */
static float attend_row(struct row o, struct row q, struct tensor k, struct tensor v, int64_t first, int64_t keys,
                        int64_t col, int n, float scale)
{
    float query[CPU_MAX_HEAD], out[CPU_MAX_HEAD] = {0}, score[KEYS], top = -INFINITY, sum = 0;

    load_numbers(query, q, n, scale);
    for (int64_t at = 0; at < keys; at += KEYS) {
        int m = keys - at < KEYS ? (int)(keys - at) : KEYS;
        float most = top;
        for (int i = 0; i < m; i++) {
            score[i] = dot(query, row_at(row_of(k, first + at + i), col), n);
            most = score[i] > most ? score[i] : most;
        }
        for (int i = m; i < KEYS; i++) score[i] = -INFINITY;
        if (most > top && at) {
            float shrink = expf(top - most);
            sum *= shrink;
            load_numbers(out, (struct row){out, false}, n, shrink);
        }
        top = most;
        sum += exponentials(score, top);
        for (int i = 0; i < m; i++) add_row(out, row_at(row_of(v, first + at + i), col), n, score[i]);
    }
    for (int c = 0; c < n; c += VW) vf_put(o, c, width(n - c), vf_load(out + c) / sum);
    return top + logf(sum);
}

/* ---- all blocks */

/* Block number -> its sample and number within. */
static int sample_of(const struct attention_shape *s, int64_t *block)
{
    int b = 0;

    while (*block >= blocks_of(s, b)) *block -= blocks_of(s, b++);
    return b;
}

static void run_task(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                     const struct attention_shape *s, int64_t task)
{
    int64_t block = task / s->kv_heads;
    int kv_head = (int)(task % s->kv_heads), b = sample_of(s, &block), n = s->head_dim;
    struct lanes l = lanes_of(s, b, kv_head, block);
    int64_t first = s->k_start ? s->k_start[b] : s->cu_k[b], keys = s->cu_k[b + 1] - s->cu_k[b];

    if (l.count > FEW_LANES && pairs_fit((const struct tensor[]){q, k, v}, 3)) {
        KERNEL(attend_pairs)(o, lse, q, k, v, s, &l, first, keys, (int64_t)kv_head * n);
        return;
    }
    if (l.count > FEW_LANES) {
        attend_block(o, lse, q, k, v, s, &l, first, keys, (int64_t)kv_head * n);
        return;
    }
    for (int i = 0; i < l.count; i++) {
        int64_t r = lane_row(&l, i), seen = s->causal ? s->q_pos[r] + 1LL : keys;
        float one = attend_row(lane_numbers(o, &l, i, n), lane_numbers(q, &l, i, n), k, v, first, seen,
                               (int64_t)kv_head * n, n, s->scale);
        if (lse) lse[r * s->heads + lane_head(&l, i)] = one;
    }
}

static bool is_one_token_each(const struct attention_shape *s)
{
    bool one = s->heads / s->kv_heads <= LANES;

    for (int b = 0; one && b < s->samples; b++) one = s->cu_q[b + 1] - s->cu_q[b] == 1;
    return one;
}

size_t KERNEL(attention_bytes)(const struct attention_shape *s)
{
    return is_one_token_each(s) ? KERNEL(attention_token_bytes)(s) : 0;
}

void KERNEL(attention)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                       const struct attention_shape *s, void *room)
{
    int64_t blocks = 0, work = 0;

    if (is_one_token_each(s)) {
        KERNEL(attention_token)(o, lse, q, k, v, s, room);
        return;
    }
    for (int b = 0; b < s->samples; b++) {
        blocks += blocks_of(s, b);
        work += (s->cu_q[b + 1] - s->cu_q[b]) * (s->cu_k[b + 1] - s->cu_k[b]) * s->heads * s->head_dim;
    }
    // whichever thread is free takes the next block (causal ones differ in length); the result is the same
#pragma omp parallel for schedule(dynamic) if (work > PARALLEL_WORK)
    for (int64_t t = 0; t < blocks * s->kv_heads; t++) run_task(o, lse, q, k, v, s, t);
}
