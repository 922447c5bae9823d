/* attention_pairs_back.c - gradients of attention for a sample's key head, as in attention_back.c, by pairs of bf16.
 *
 * What is summed over lanes (dk, dv) has lanes in pairs, what is summed over keys (dq) keys: slopes are kept both ways.
 */
#include "model/cpu/kernels/attention_pairs.h"

#ifdef __AVX512F__

struct state {
    int32_t query[CPU_MAX_HEAD / 2 * LANES], grad[CPU_MAX_HEAD / 2 * LANES]; // columns in pairs; lanes as columns
    int32_t query_lanes[LANES / 2 * CPU_MAX_HEAD], grad_lanes[LANES / 2 * CPU_MAX_HEAD]; // lanes in pairs
    int32_t rows[KEYS * CPU_MAX_HEAD / 2], joined[KEYS / 2 * CPU_MAX_HEAD]; // keys or values; keys in pairs
    float score[KEYS * LANES], slope[KEYS * LANES], dq[LANES * CPU_MAX_HEAD];
    uint16_t p[KEYS * LANES], ds[KEYS * LANES]; // bf16
    int32_t ds_keys[KEYS / 2 * LANES];          // keys in pairs
    float lse[LANES], level[LANES];             // lse / ln 2; do.o
};

size_t KERNEL(pairs_back_bytes)(void)
{
    return (sizeof(struct state) + 63) / 64 * 64;
}

/* dst (pairs of lanes, padded n); lanes beyond the last are 0. */
PAIRS static void join_lanes(int32_t *dst, struct tensor t, const struct lanes *l, int n)
{
    const int pn = padded(n);

    for (int i = 0; i < l->count; i += 2)
        join_rows(dst + i / 2 * pn, lane_numbers(t, l, i, n).p,
                  i + 1 < l->count ? lane_numbers(t, l, i + 1, n).p : NULL, n);
    for (int i = pairs_of(l->count); i < padded(l->count) / 2; i++)
        memset(dst + (int64_t)i * pn, 0, (size_t)pn * sizeof *dst);
}

static void load_lanes(struct state *t, const struct back *a, const struct lanes *l)
{
    const int n = a->s->head_dim;

    load_lane_columns(t->query, a->q, l, n);
    load_lane_columns(t->grad, a->d_o, l, n);
    join_lanes(t->query_lanes, a->q, l, n);
    join_lanes(t->grad_lanes, a->d_o, l, n);
    for (int i = 0; i < LANES; i++) {
        vf sum = {0};
        for (int c = 0; i < l->count && c < n; c += VW)
            sum += vf_get(lane_numbers(a->d_o, l, i, n), c, width(n - c)) *
                   vf_get(lane_numbers(a->o, l, i, n), c, width(n - c));
        t->level[i] = vf_sum(sum);
        t->lse[i] = i < l->count ? a->lse[lane_row(l, i) * a->s->heads + lane_head(l, i)] * LOG2_E : 0;
    }
    memset(t->dq, 0, (size_t)(LANES * padded(n)) * sizeof *t->dq);
}

/* p and ds of key i and register j of lanes, rounded. */
PAIRS_INLINE void slope(vh *p, vh *ds, const struct state *t, const struct sight *s, int64_t first, int i, int j,
                        float factor)
{
    const int at = i * LANES + j * VW;
    vf x = power_of_2(vf_load(t->score + at) * factor - vf_load(t->lse + j * VW));

    if (first + i >= s->all) x = vf_select(sees(s, j, first + i), x, (vf){0});
    *p = to_bf16(x);
    *ds = to_bf16(x * (vf_load(t->slope + at) - vf_load(t->level + j * VW)));
}

PAIRS static void slopes(struct state *t, const struct sight *s, int64_t first, int keys, int lanes, float factor)
{
    for (int j = 0; j < registers(lanes); j++)
        for (int i = 0; i < keys; i += 2) {
            vh p[2], ds[2] = {{0}, {0}};
            for (int k = 0; k < 2 && i + k < keys; k++) {
                slope(&p[k], &ds[k], t, s, first, i + k, j, factor);
                vh_store_part(t->p + (i + k) * LANES + j * VW, VW, p[k]);
                vh_store_part(t->ds + (i + k) * LANES + j * VW, VW, ds[k]);
            }
            _mm512_storeu_si512(t->ds_keys + i / 2 * LANES + j * VW, pair_up(ds[0], ds[1]));
        }
}

/* One block of keys: dk and dv (keys, padded n) are its part of the sample's sums, dk without the scale. */
PAIRS static void back_block(struct state *t, float *dk, float *dv, const struct back *a, int64_t row, int keys,
                             int64_t col, const struct sight *sight, int64_t first, int lanes)
{
    const int n = a->s->head_dim, pn = padded(n);
    struct pair_product scores = {.ldc = LANES,
                                  .a = t->rows,
                                  .a_row = pairs_of(n) * (int64_t)sizeof(pair),
                                  .a_col = sizeof(pair),
                                  .ldb = LANES,
                                  .rows = keys,
                                  .cols = registers(lanes),
                                  .depth = pairs_of(n)};
    struct pair_product sums = {.ldc = pn,
                                .a_row = LANES * sizeof *t->p,
                                .a_col = sizeof(pair),
                                .ldb = pn,
                                .rows = keys,
                                .cols = registers(n),
                                .depth = pairs_of(lanes),
                                .add = true};

    load_pairs(t->rows, NULL, a->v, row, keys, col, n);
    scores.c = t->slope, scores.b = t->grad;
    pair_multiply(&scores);
    load_pairs(t->rows, t->joined, a->k, row, keys, col, n);
    scores.c = t->score, scores.b = t->query;
    pair_multiply(&scores);
    slopes(t, sight, first, keys, lanes, a->s->scale * LOG2_E);
    sums.c = dv, sums.a = t->p, sums.b = t->grad_lanes;
    pair_multiply(&sums);
    sums.c = dk, sums.a = t->ds, sums.b = t->query_lanes;
    pair_multiply(&sums);
    pair_multiply(&(struct pair_product){.c = t->dq,
                                         .ldc = pn,
                                         .a = t->ds_keys,
                                         .a_row = sizeof(pair),
                                         .a_col = LANES * sizeof(pair),
                                         .b = t->joined,
                                         .ldb = pn,
                                         .rows = lanes,
                                         .cols = registers(n),
                                         .depth = pairs_of(keys),
                                         .add = true});
}

static void store_rows(struct tensor t, int64_t row, int64_t count, int64_t col, const float *sum, int n, float factor)
{
    for (int64_t i = 0; i < count; i++) {
        struct row r = row_at(row_of(t, row + i), col);
        for (int c = 0; c < n; c += VW) vf_put(r, c, width(n - c), vf_load(sum + i * padded(n) + c) * factor);
    }
}

PAIRS void KERNEL(pairs_back_sample)(const struct back *a, int b, int kv_head, void *scratch)
{
    const struct attention_shape *s = a->s;
    struct state *t = scratch;
    const int n = s->head_dim, pn = padded(n);
    const int64_t keys = s->cu_k[b + 1] - s->cu_k[b], row = s->cu_k[b], col = (int64_t)kv_head * n;
    float *dk = (float *)((char *)scratch + KERNEL(pairs_back_bytes)()), *dv = dk + keys * pn;

    memset(dk, 0, (size_t)(2 * keys * pn) * sizeof *dk);
    for (int64_t block = 0; block < blocks_of(s, b); block++) {
        struct lanes l = lanes_of(s, b, kv_head, block);
        struct sight sight;

        look(&sight, s, &l, keys);
        load_lanes(t, a, &l);
        for (int64_t at = 0; at < sight.some; at += KEYS)
            back_block(t, dk + at * pn, dv + at * pn, a, row + at,
                       sight.some - at < KEYS ? (int)(sight.some - at) : KEYS, col, &sight, at, l.count);
        for (int i = 0; i < l.count; i++) {
            struct row r = lane_numbers(a->dq, &l, i, n);
            for (int c = 0; c < n; c += VW) vf_put(r, c, width(n - c), vf_load(t->dq + i * pn + c) * s->scale);
        }
    }
    store_rows(a->dk, row, keys, col, dk, n, s->scale);
    store_rows(a->dv, row, keys, col, dv, n, 1);
}

#else
size_t KERNEL(pairs_back_bytes)(void)
{
    return 0;
}

void KERNEL(pairs_back_sample)(const struct back *a, int b, int kv_head, void *scratch)
{
    (void)a, (void)b, (void)kv_head, (void)scratch; // never called: see pairs_fit
}
#endif
