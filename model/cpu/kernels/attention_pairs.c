/* attention_pairs.c - a block of queries over its keys, as in attention.c, by pairs of bf16. */
#include "model/cpu/kernels/attention_pairs.h"

#ifdef __AVX512F__

/* Columns are lanes. */
struct state {
    int32_t query[CPU_MAX_HEAD / 2 * LANES], p[KEYS / 2 * LANES]; // pairs of a head's columns; of keys
    int32_t keys[KEYS * CPU_MAX_HEAD / 2];                        // a key's pairs, one key after the other
    int32_t values[KEYS / 2 * CPU_MAX_HEAD];                      // pairs of keys
    float out[CPU_MAX_HEAD * LANES], score[KEYS * LANES], top[LANES], sum[LANES];
};

/* Largest score of register j's lanes, the earlier blocks' included; keys that a lane does not see become -inf. */
PAIRS_INLINE vf highest(struct state *t, const struct sight *s, int64_t first, int keys, int j)
{
    float *score = t->score + j * VW;
    vf top = vf_load(t->top + j * VW);

    for (int i = 0; i < keys; i++) {
        if (first + i >= s->all)
            vf_store(score + i * LANES,
                     vf_select(sees(s, j, first + i), vf_load(score + i * LANES), vf_set(-INFINITY)));
        top = vf_max(top, vf_load(score + i * LANES));
    }
    return top;
}

/* Scores to pairs of probabilities relative to the new maximum of each lane; scales what was summed before. Scores and top
 * are without the scale; factor: scale / ln 2. */
PAIRS static void soften(struct state *t, const struct sight *s, int64_t first, int keys, int n, int lanes,
                         float factor)
{
    for (int j = 0; j < registers(lanes); j++) {
        const vf before = vf_load(t->top + j * VW), top = highest(t, s, first, keys, j);
        const float *score = t->score + j * VW;
        const vf lift = top * factor;
        vf sum = {0}, shrink;

        for (int i = 0; i < keys; i += 2) {
            const vf a = power_of_2(vf_load(score + i * LANES) * factor - lift);
            const vf b = i + 1 < keys ? power_of_2(vf_load(score + (i + 1) * LANES) * factor - lift) : (vf){0};
            _mm512_storeu_si512(t->p + i / 2 * LANES + j * VW, pair_up(to_bf16(a), to_bf16(b)));
            sum += a + b;
        }
        shrink = power_of_2(before * factor - lift);
        vf_store(t->top + j * VW, top);
        vf_store(t->sum + j * VW, vf_load(t->sum + j * VW) * shrink + sum);
        for (int c = 0; first && c < n; c++) {
            float *out = t->out + c * LANES + j * VW;
            vf_store(out, vf_load(out) * shrink);
        }
    }
}

/* 16 columns of 16 lanes, divided by the lanes' sums, to where they belong. */
PAIRS_INLINE void finish_block(const struct state *t, vf share, struct tensor o, const struct lanes *l, int i, int c,
                               int n)
{
    __m512i r[16];

    for (int k = 0; k < 16; k++)
        r[k] = c + k < n ? (__m512i)(vf_load(t->out + (c + k) * LANES + i) * share) : _mm512_setzero_si512();
    turn_block(r);
    for (int k = 0; k < 16 && i + k < l->count; k++) vf_put(lane_numbers(o, l, i + k, n), c, width(n - c), (vf)r[k]);
}

PAIRS static void finish(const struct state *t, struct tensor o, float *lse, int heads, const struct lanes *l, int n,
                         float scale)
{
    for (int i = 0; i < l->count; i += 16) {
        const vf share = 1 / vf_load(t->sum + i);
        for (int c = 0; c < n; c += 16) finish_block(t, share, o, l, i, c, n);
    }
    for (int i = 0; lse && i < l->count; i++)
        lse[lane_row(l, i) * heads + lane_head(l, i)] = t->top[i] * scale + logf(t->sum[i]);
}

PAIRS void KERNEL(attend_pairs)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                                const struct attention_shape *s, const struct lanes *l, int64_t k_first, int64_t keys,
                                int64_t col)
{
    struct state t;
    struct sight sight;
    const int n = s->head_dim;
    struct pair_product scores = {.c = t.score,
                                  .ldc = LANES,
                                  .a = t.keys,
                                  .a_row = pairs_of(n) * (int64_t)sizeof(pair),
                                  .a_col = sizeof(pair),
                                  .b = t.query,
                                  .ldb = LANES,
                                  .cols = registers(l->count),
                                  .depth = pairs_of(n)};
    struct pair_product sums = {.c = t.out,
                                .ldc = LANES,
                                .a = t.values,
                                .a_row = sizeof(pair),
                                .a_col = padded(n) * (int64_t)sizeof(pair),
                                .b = t.p,
                                .ldb = LANES,
                                .rows = n,
                                .cols = registers(l->count)};

    look(&sight, s, l, keys);
    load_lane_columns(t.query, q, l, n);
    for (int i = 0; i < LANES; i++) t.top[i] = -INFINITY, t.sum[i] = 0;
    for (int64_t at = 0; at < sight.some; at += KEYS) {
        const int m = sight.some - at < KEYS ? (int)(sight.some - at) : KEYS;
        load_pairs(t.keys, NULL, k, k_first + at, m, col, n);
        scores.rows = m;
        pair_multiply(&scores);
        soften(&t, &sight, at, m, n, l->count, s->scale * LOG2_E);
        load_pairs(NULL, t.values, v, k_first + at, m, col, n);
        sums.depth = pairs_of(m), sums.add = at > 0;
        pair_multiply(&sums);
    }
    finish(&t, o, lse, s->heads, l, n, s->scale);
}

#else
void KERNEL(attend_pairs)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                          const struct attention_shape *s, const struct lanes *l, int64_t k_first, int64_t keys,
                          int64_t col)
{
    (void)o, (void)lse, (void)q, (void)k, (void)v, (void)s, (void)l, (void)k_first, (void)keys, (void)col;
    // never called: see pairs_fit
}
#endif
