/* attention.c - attention row by row: softmax over blocks of keys with a running maximum, never S x S.
 *
 * Each query row and head reads the keys and values of its sample once. For each block of keys: scores, their largest,
 * exponentials; what was summed before is scaled down when the maximum rises. lse = maximum + log(sum).
 */
#include "model/cpu/kernels/kernel.h"

enum { KEYS = 64 }; // keys of a block

/* Where a query row finds its keys: rows [first, first + count) of k and v. */
struct span {
    int64_t first, count;
};

/* The sample of query row r: the last s with cu_q[s] <= r (samples without rows come before it). */
static int sample_of(const struct attention_shape *s, int64_t r)
{
    int low = 0, high = s->samples;

    while (high - low > 1) {
        int mid = (low + high) / 2;
        if (s->cu_q[mid] <= r)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static struct span keys_of(const struct attention_shape *s, int64_t r)
{
    int b = sample_of(s, r);
    int64_t first = s->k_start ? s->k_start[b] : s->cu_k[b], count = s->cu_k[b + 1] - s->cu_k[b];

    if (s->causal && s->q_pos[r] + 1 < count) count = s->q_pos[r] + 1;
    return (struct span){first, count};
}

INLINE float dot(const float *a, struct row b, int n)
{
    vf sum = {0};

    for (int c = 0; c < n; c += VW) sum += vf_load(a + c) * vf_get(b, c, width(n - c));
    return vf_sum(sum);
}

/* a (padded with zeros to a whole number of registers) = row * factor */
static void load_row(float *a, struct row r, int n, float factor)
{
    for (int c = 0; c < n; c += VW) vf_store(a + c, vf_get(r, c, width(n - c)) * factor);
}

static void store_row(struct row r, const float *a, int n, float factor)
{
    for (int c = 0; c < n; c += VW) vf_put(r, c, width(n - c), vf_load(a + c) * factor);
}

/* a += row * factor */
INLINE void add_row(float *a, struct row r, int n, float factor)
{
    for (int c = 0; c < n; c += VW) vf_store(a + c, vf_load(a + c) + vf_get(r, c, width(n - c)) * factor);
}

static void scale_row(float *a, int n, float factor)
{
    for (int c = 0; c < n; c += VW) vf_store(a + c, vf_load(a + c) * factor);
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

static float attend(struct row o, struct row q, struct tensor k, struct tensor v, int64_t col, struct span keys, int n,
                    float scale)
{
    float query[CPU_MAX_HEAD], out[CPU_MAX_HEAD] = {0}, score[KEYS], top = -INFINITY, sum = 0;

    load_row(query, q, n, scale);
    for (int64_t b = 0; b < keys.count; b += KEYS) {
        int m = keys.count - b < KEYS ? (int)(keys.count - b) : KEYS;
        float most = top;
        for (int i = 0; i < m; i++) {
            score[i] = dot(query, row_at(row_of(k, keys.first + b + i), col), n);
            most = score[i] > most ? score[i] : most;
        }
        for (int i = m; i < KEYS; i++) score[i] = -INFINITY;
        if (most > top && b) {
            float shrink = expf(top - most);
            sum *= shrink;
            scale_row(out, n, shrink);
        }
        top = most;
        sum += exponentials(score, top);
        for (int i = 0; i < m; i++) add_row(out, row_at(row_of(v, keys.first + b + i), col), n, score[i]);
    }
    store_row(o, out, n, 1 / sum);
    return top + logf(sum);
}

void KERNEL(attention)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                       const struct attention_shape *s)
{
    int n = s->head_dim, group = s->heads / s->kv_heads;

#pragma omp parallel for schedule(static) if (q.rows * q.cols > PARALLEL_WORK / 64)
    for (int64_t i = 0; i < q.rows * s->heads; i++) {
        int64_t r = i / s->heads, h = i % s->heads;
        float l = attend(row_at(row_of(o, r), h * n), row_at(row_of(q, r), h * n), k, v, h / group * n, keys_of(s, r),
                         n, s->scale);
        if (lse) lse[i] = l;
    }
}

/* With p = exp(scale q.k - lse) and ds = p (do.v - do.o): dq = scale sum ds k, over the keys of a row .. */
static void back_query(struct row dq, struct row d_o, struct row o, struct row q, struct tensor k, struct tensor v,
                       int64_t col, struct span keys, int n, float scale, float lse)
{
    float query[CPU_MAX_HEAD], out_grad[CPU_MAX_HEAD], sum[CPU_MAX_HEAD] = {0};

    load_row(query, q, n, scale);
    load_row(out_grad, d_o, n, 1);
    float level = dot(out_grad, o, n);
    for (int64_t i = keys.first; i < keys.first + keys.count; i++) {
        struct row key = row_at(row_of(k, i), col);
        float p = expf(dot(query, key, n) - lse);
        add_row(sum, key, n, p * (dot(out_grad, row_at(row_of(v, i), col), n) - level));
    }
    store_row(dq, sum, n, scale);
}

/* .. and dk = scale sum ds q, dv = sum p do, over the rows that see a key, of all heads that share it. */
static void back_key(struct row dk, struct row dv, struct tensor d_o, struct tensor o, struct tensor q, struct row k,
                     struct row v, const float *lse, const struct attention_shape *s, int b, int64_t at, int head)
{
    float key[CPU_MAX_HEAD], value[CPU_MAX_HEAD], sum_k[CPU_MAX_HEAD] = {0}, sum_v[CPU_MAX_HEAD] = {0};
    int n = s->head_dim, group = s->heads / s->kv_heads;

    load_row(key, k, n, s->scale);
    load_row(value, v, n, 1);
    for (int64_t r = s->cu_q[b]; r < s->cu_q[b + 1]; r++) {
        if (s->causal && s->q_pos[r] < at) continue;
        for (int h = head * group; h < (head + 1) * group; h++) {
            struct row query = row_at(row_of(q, r), (int64_t)h * n), grad = row_at(row_of(d_o, r), (int64_t)h * n);
            float out_grad[CPU_MAX_HEAD], p = expf(dot(key, query, n) - lse[r * s->heads + h]);
            load_row(out_grad, grad, n, 1);
            float level = dot(out_grad, row_at(row_of(o, r), (int64_t)h * n), n);
            add_row(sum_k, query, n, p * (dot(value, grad, n) - level));
            add_row(sum_v, grad, n, p);
        }
    }
    store_row(dk, sum_k, n, s->scale);
    store_row(dv, sum_v, n, 1);
}

void KERNEL(attention_back)(struct tensor dq, struct tensor dk, struct tensor dv, struct tensor d_o, struct tensor o,
                            struct tensor q, struct tensor k, struct tensor v, const float *lse,
                            const struct attention_shape *s)
{
    int n = s->head_dim, group = s->heads / s->kv_heads;

#pragma omp parallel for schedule(static) if (q.rows * q.cols > PARALLEL_WORK / 64)
    for (int64_t i = 0; i < q.rows * s->heads; i++) {
        int64_t r = i / s->heads, h = i % s->heads;
        back_query(row_at(row_of(dq, r), h * n), row_at(row_of(d_o, r), h * n), row_at(row_of(o, r), h * n),
                   row_at(row_of(q, r), h * n), k, v, h / group * n, keys_of(s, r), n, s->scale, lse[i]);
    }
    for (int b = 0; b < s->samples; b++)
#pragma omp parallel for schedule(static) if (k.rows * k.cols > PARALLEL_WORK / 64)
        for (int64_t i = s->cu_k[b] * s->kv_heads; i < s->cu_k[b + 1] * s->kv_heads; i++) {
            int64_t r = i / s->kv_heads, h = i % s->kv_heads;
            back_key(row_at(row_of(dk, r), h * n), row_at(row_of(dv, r), h * n), d_o, o, q, row_at(row_of(k, r), h * n),
                     row_at(row_of(v, r), h * n), lse, s, b, r - s->cu_k[b], (int)h);
        }
}
