/* attention_back.c - gradients of attention, by the blocks of attention_block.h.
 *
 * With p = exp(scale q.k - lse), which is computed again, and ds = p (do.v - do.o):
 *     dv = sum p do,    dk = scale sum ds q  (over the lanes that see a key),    dq = scale sum ds k  (over its keys).
 * One thread has a sample's key head with all heads that share it: it goes over the blocks of queries in turn and sums
 * dk and dv of the whole sample in scratch, so that no sum depends on the number of threads.
 */
#include "model/cpu/kernels/attention_pairs.h"

#include <omp.h>

/* The block of queries while it goes over the keys: rows (lanes, padded n) and turned (n, lanes). */
struct state {
    float query[LANES * CPU_MAX_HEAD], grad[LANES * CPU_MAX_HEAD]; // scale q, do
    float query_turned[CPU_MAX_HEAD * LANES], grad_turned[CPU_MAX_HEAD * LANES];
    float dq[LANES * CPU_MAX_HEAD], rows[KEYS * CPU_MAX_HEAD];
    float p[KEYS * LANES], ds[KEYS * LANES]; // keys as rows
    float lse[LANES], level[LANES];          // level: do.o
};

static int64_t most_keys(const struct attention_shape *s)
{
    int64_t most = 0;

    for (int b = 0; b < s->samples; b++)
        if (s->cu_k[b + 1] - s->cu_k[b] > most) most = s->cu_k[b + 1] - s->cu_k[b];
    return most;
}

/* Bytes for each thread: the state (the larger of the two kinds), dk and dv of a sample's key head. */
size_t KERNEL(attention_back_bytes)(const struct attention_shape *s)
{
    size_t sums = 2 * (size_t)most_keys(s) * (size_t)padded(s->head_dim) * sizeof(float);
    size_t pairs = KERNEL(pairs_back_bytes)();
    return ((pairs > sizeof(struct state) ? pairs : sizeof(struct state)) + sums + 63) / 64 * 64;
}

/* The lanes as rows and as columns; lanes beyond the last are 0 and add nothing to any sum. */
static void load_both(float *rows, float *turned, struct tensor t, const struct lanes *l, int n, float factor)
{
    int pn = padded(n);

    memset(rows, 0, (size_t)(LANES * pn) * sizeof *rows);
    for (int i = 0; i < l->count; i++) load_numbers(rows + i * pn, lane_numbers(t, l, i, n), n, factor);
    for (int c = 0; c < n; c++)
        for (int i = 0; i < LANES; i++) turned[c * LANES + i] = rows[i * pn + c];
}

static void load_lanes(struct state *t, struct tensor d_o, struct tensor o, struct tensor q, const float *lse,
                       const struct attention_shape *s, const struct lanes *l)
{
    int n = s->head_dim, pn = padded(n);

    load_both(t->query, t->query_turned, q, l, n, s->scale);
    load_both(t->grad, t->grad_turned, d_o, l, n, 1);
    for (int i = 0; i < LANES; i++) {
        vf sum = {0};
        for (int c = 0; i < l->count && c < n; c += VW)
            sum += vf_load(t->grad + i * pn + c) * vf_get(lane_numbers(o, l, i, n), c, width(n - c));
        t->level[i] = vf_sum(sum);
        t->lse[i] = i < l->count ? lse[lane_row(l, i) * s->heads + lane_head(l, i)] : 0;
    }
    memset(t->dq, 0, (size_t)(LANES * pn) * sizeof *t->dq);
}

/* Scores -> p, do.v -> ds, for the keys [first, first + keys) of the sample. */
static void slopes(struct state *t, const struct sight *s, int64_t first, int keys, int lanes)
{
    for (int j = 0; j < registers(lanes); j++) {
        vf lse = vf_load(t->lse + j * VW), level = vf_load(t->level + j * VW);

        for (int i = 0; i < keys; i++) {
            float *at_p = t->p + i * LANES + j * VW, *at_ds = t->ds + i * LANES + j * VW;
            vf p = vf_exp(vf_load(at_p) - lse);
            if (first + i >= s->all) p = vf_select(sees(s, j, first + i), p, (vf){0});
            vf_store(at_p, p);
            vf_store(at_ds, p * (vf_load(at_ds) - level));
        }
    }
}

/* One block of keys: dk and dv (keys, padded n) are its part of the sample's sums. */
static void back_block(struct state *t, float *dk, float *dv, struct tensor k, struct tensor v, int64_t row, int keys,
                       int64_t col, const struct sight *sight, int64_t first, int lanes, int n)
{
    int pn = padded(n);
    struct block_product scores = {.ldc = LANES,
                                   .a = t->rows,
                                   .a_row = pn,
                                   .a_col = 1,
                                   .ldb = LANES,
                                   .rows = keys,
                                   .cols = registers(lanes),
                                   .depth = n};
    struct block_product sums = {.ldc = pn,
                                 .a_row = LANES,
                                 .a_col = 1,
                                 .ldb = pn,
                                 .rows = keys,
                                 .cols = registers(n),
                                 .depth = lanes,
                                 .add = true};

    load_rows(t->rows, v, row, keys, col, n);
    scores.c = t->ds;
    scores.b = t->grad_turned;
    block_multiply(&scores);
    load_rows(t->rows, k, row, keys, col, n);
    scores.c = t->p;
    scores.b = t->query_turned;
    block_multiply(&scores);
    slopes(t, sight, first, keys, lanes);
    sums.c = dv;
    sums.a = t->p;
    sums.b = t->grad;
    block_multiply(&sums);
    sums.c = dk;
    sums.a = t->ds;
    sums.b = t->query;
    block_multiply(&sums);
    block_multiply(&(struct block_product){.c = t->dq,
                                           .ldc = pn,
                                           .a = t->ds,
                                           .a_row = 1,
                                           .a_col = LANES,
                                           .b = t->rows,
                                           .ldb = pn,
                                           .rows = lanes,
                                           .cols = registers(n),
                                           .depth = keys,
                                           .add = true});
}

static void store_rows(struct tensor t, int64_t row, int64_t count, int64_t col, const float *sum, int n)
{
    for (int64_t i = 0; i < count; i++) {
        struct row r = row_at(row_of(t, row + i), col);
        for (int c = 0; c < n; c += VW) vf_put(r, c, width(n - c), vf_load(sum + i * padded(n) + c));
    }
}

static void back_sample(const struct back *a, int b, int kv_head, struct state *t)
{
    const struct attention_shape *s = a->s;
    int n = s->head_dim, pn = padded(n);
    int64_t keys = s->cu_k[b + 1] - s->cu_k[b], row = s->cu_k[b], col = (int64_t)kv_head * n;
    float *dk = (float *)(t + 1), *dv = dk + keys * pn;

    memset(dk, 0, (size_t)(2 * keys * pn) * sizeof *dk);
    for (int64_t block = 0; block < blocks_of(s, b); block++) {
        struct lanes l = lanes_of(s, b, kv_head, block);
        struct sight sight;

        look(&sight, s, &l, keys);
        load_lanes(t, a->d_o, a->o, a->q, a->lse, s, &l);
        for (int64_t at = 0; at < sight.some; at += KEYS)
            back_block(t, dk + at * pn, dv + at * pn, a->k, a->v, row + at,
                       sight.some - at < KEYS ? (int)(sight.some - at) : KEYS, col, &sight, at, l.count, n);
        for (int i = 0; i < l.count; i++) {
            struct row r = lane_numbers(a->dq, &l, i, n);
            for (int c = 0; c < n; c += VW) vf_put(r, c, width(n - c), vf_load(t->dq + i * pn + c) * s->scale);
        }
    }
    store_rows(a->dk, row, keys, col, dk, n);
    store_rows(a->dv, row, keys, col, dv, n);
}

void KERNEL(attention_back)(struct tensor dq, struct tensor dk, struct tensor dv, struct tensor d_o, struct tensor o,
                            struct tensor q, struct tensor k, struct tensor v, const float *lse,
                            const struct attention_shape *s, void *scratch)
{
    struct back all = {dq, dk, dv, d_o, o, q, k, v, lse, s};
    size_t bytes = KERNEL(attention_back_bytes)(s);
    int64_t tasks = (int64_t)s->samples * s->kv_heads;
    bool pairs = pairs_fit((const struct tensor[]){d_o, o, q, k, v}, 5);

#pragma omp parallel for schedule(dynamic) if (q.rows * q.cols > PARALLEL_WORK / 64)
    for (int64_t i = 0; i < tasks; i++) {
        void *own = (char *)scratch + (size_t)omp_get_thread_num() * bytes;
        if (pairs)
            KERNEL(pairs_back_sample)(&all, (int)(i / s->kv_heads), (int)(i % s->kv_heads), own);
        else
            back_sample(&all, (int)(i / s->kv_heads), (int)(i % s->kv_heads), own);
    }
}
