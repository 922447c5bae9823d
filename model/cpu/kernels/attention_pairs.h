/* attention_pairs.h - blocks of attention in bf16, multiplied by AVX-512 BF16: two numbers of a sum by one instruction.
 *
 * The blocks are those of attention_block.h, but a number of a product's left or right side is a pair that follows each other in
 * the sum: columns of a head for scores, keys for what is summed over keys, lanes for what is summed over lanes. As queries,
 * keys and values are bf16 already, scores are exact products in f32 sums as before; what is rounded to bf16 anew are
 * probabilities and their slopes. Only in version v4, and only on processors that have the instruction (cpu_has_pairs).
 */
#ifndef CLLAVA_MODEL_CPU_ATTENTION_PAIRS_H
#define CLLAVA_MODEL_CPU_ATTENTION_PAIRS_H

#include "model/cpu/isa.h"
#include "model/cpu/kernels/attention_block.h"

/* All of them are bf16, and pairs can be used. */
INLINE bool pairs_fit(const struct tensor *t, int n)
{
    bool fit = VW == 16 && cpu_has_pairs();

    for (int i = 0; i < n; i++) fit = fit && t[i].type == DT_BF16;
    return fit;
}

/* attention_pairs.c: as attend_block of attention.c. */
void KERNEL(attend_pairs)(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                          const struct attention_shape *s, const struct lanes *l, int64_t k_first, int64_t keys,
                          int64_t col);
/* attention_pairs_back.c: as back_sample of attention_back.c, in so many bytes and the sums of dk and dv behind them. */
size_t KERNEL(pairs_back_bytes)(void);
void KERNEL(pairs_back_sample)(const struct back *a, int b, int kv_head, void *scratch);

#ifdef __AVX512F__

#define PAIRS __attribute__((target("avx512bf16")))
#define PAIRS_INLINE __attribute__((target("avx512bf16"), always_inline)) static inline

typedef int32_t pair __attribute__((may_alias, aligned(2))); // two bf16, the first in the lower half

/* As struct block_product, of pairs: element (i, k) of a lies at a + i * a_row + k * a_col bytes; rows of b ldb pairs apart. */
struct pair_product {
    float *c;
    const void *a;
    const int32_t *b;
    int64_t ldc, a_row, a_col, ldb;
    int rows, cols, depth; // cols in registers, depth in pairs
    bool add;
};

PAIRS_INLINE void pair_tile(const struct pair_product *p, int i0, int j0, const int rows, const int cols)
{
    __m512 sum[TILE_ROWS * TILE_COLS];
    float *c = p->c + i0 * p->ldc + j0 * VW;
    const char *a = (const char *)p->a + i0 * p->a_row;
    const int32_t *b = p->b + j0 * VW;
    const int64_t a_row = p->a_row, a_col = p->a_col, ldb = p->ldb, ldc = p->ldc;

    EACH for (int i = 0; i < rows; i++) EACH for (int j = 0; j < cols; j++) sum[i * cols + j] =
        p->add ? _mm512_loadu_ps(c + i * ldc + j * VW) : _mm512_setzero_ps();
    for (int k = 0; k < p->depth; k++, a += a_col, b += ldb) {
        __m512bh right[TILE_COLS];
        EACH for (int j = 0; j < cols; j++) right[j] = (__m512bh)_mm512_loadu_si512(b + j * VW);
        EACH for (int i = 0; i < rows; i++)
        {
            const __m512bh left = (__m512bh)_mm512_set1_epi32(*(const pair *)(a + i * a_row));
            EACH for (int j = 0; j < cols; j++) sum[i * cols + j] = _mm512_dpbf16_ps(sum[i * cols + j], left, right[j]);
        }
    }
    EACH for (int i = 0; i < rows; i++) EACH for (int j = 0; j < cols; j++)
        _mm512_storeu_ps(c + i * ldc + j * VW, sum[i * cols + j]);
}

PAIRS_INLINE void pair_strip(const struct pair_product *p, int j, const int cols)
{
    int i = 0;

    for (; i + TILE_ROWS <= p->rows; i += TILE_ROWS) pair_tile(p, i, j, TILE_ROWS, cols);
    for (; i + 2 <= p->rows; i += 2) pair_tile(p, i, j, 2, cols);
    if (i < p->rows) pair_tile(p, i, j, 1, cols);
}

PAIRS static inline void pair_multiply(const struct pair_product *p)
{
    int j = 0;

    for (; j + 4 <= p->cols; j += 4) pair_strip(p, j, 4);
    if (j + 2 <= p->cols) pair_strip(p, j, 2), j += 2;
    if (j < p->cols) pair_strip(p, j, 1);
}

/* Pairs that hold n numbers. */
INLINE int pairs_of(int n)
{
    return (n + 1) / 2;
}

/* (low, high) of 16 numbers each. */
PAIRS_INLINE __m512i pair_up(vh low, vh high)
{
    return _mm512_or_si512(_mm512_cvtepu16_epi32((__m256i)low),
                           _mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)high), 16));
}

PAIRS_INLINE vh to_bf16(vf x)
{
    return (vh)_mm512_cvtneps_pbh((__m512)x);
}

/* dst (pairs of n): the numbers as they lie, an odd last one beside a 0. */
INLINE void copy_pairs(int32_t *dst, const uint16_t *src, int n)
{
    if (n % 2) dst[n / 2] = 0;
    memcpy(dst, src, (size_t)n * sizeof *src);
}

/* dst (pairs of rows, padded n): numbers of two rows side by side; row i at at(i), or NULL beyond the last. */
PAIRS_INLINE void join_rows(int32_t *dst, const uint16_t *low, const uint16_t *high, int n)
{
    for (int c = 0; c < n; c += VW) {
        const int w = width(n - c);
        const vh a = vh_load_part(low + c, w);
        _mm512_storeu_si512(dst + c, pair_up(a, high ? vh_load_part(high + c, w) : (vh){0}));
    }
}

/* `count` rows of keys or values of one head from `row` on: as they lie (count, pairs of n) and joined (pairs of count, padded
 * n); either may be NULL. */
PAIRS static inline void load_pairs(int32_t *rows, int32_t *joined, struct tensor t, int64_t row, int count,
                                    int64_t col, int n)
{
    for (int i = 0; i < count; i++) {
        const uint16_t *at = row_at(row_of(t, row + i), col).p;
        if (rows) copy_pairs(rows + i * pairs_of(n), at, n);
        if (joined && i % 2 == 0) join_rows(joined + i / 2 * padded(n), at, i + 1 < count ? at + t.ld : NULL, n);
    }
}

/* 16 x 16 numbers of 32 bits in registers, turned: in steps of 2, 4, 8 and 16 numbers. */
PAIRS_INLINE void turn_block(__m512i r[16])
{
    __m512i t[16];

    EACH for (int i = 0; i < 16; i += 2)
    {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    EACH for (int i = 0; i < 16; i += 4) EACH for (int k = 0; k < 2; k++)
    {
        r[i + 2 * k] = _mm512_unpacklo_epi64(t[i + k], t[i + k + 2]);
        r[i + 2 * k + 1] = _mm512_unpackhi_epi64(t[i + k], t[i + k + 2]);
    }
    EACH for (int i = 0; i < 16; i += 8) EACH for (int k = 0; k < 4; k++)
    {
        t[i + k] = _mm512_shuffle_i32x4(r[i + k], r[i + k + 4], 0x88);
        t[i + k + 4] = _mm512_shuffle_i32x4(r[i + k], r[i + k + 4], 0xdd);
    }
    EACH for (int k = 0; k < 8; k++)
    {
        r[k] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0x88);
        r[k + 8] = _mm512_shuffle_i32x4(t[k], t[k + 8], 0xdd);
    }
}

/* 16 pairs of a row of n numbers, from pair c on; 0 beyond its end. */
PAIRS_INLINE __m512i pairs_at(const uint16_t *row, int c, int n)
{
    const int left = n - 2 * c;
    const __mmask32 mask = left >= 32 ? ~0u : (1u << left) - 1;

    return _mm512_maskz_loadu_epi16(mask, row + 2 * c);
}

/* dst (pairs of n, LANES): the lanes as columns, beyond the last one 0. */
PAIRS static inline void load_lane_columns(int32_t *dst, struct tensor t, const struct lanes *l, int n)
{
    for (int i = 0; i < padded(l->count); i += 16)
        for (int c = 0; c < pairs_of(n); c += 16) {
            __m512i r[16];
            for (int k = 0; k < 16; k++)
                r[k] = i + k < l->count ? pairs_at(lane_numbers(t, l, i + k, n).p, c, n) : _mm512_setzero_si512();
            turn_block(r);
            for (int k = 0; k < 16 && c + k < pairs_of(n); k++) _mm512_storeu_si512(dst + (c + k) * LANES + i, r[k]);
        }
}

#define LOG2_E 1.44269504f

/* 2^x for x <= 0, relative error below 4e-6 and exactly 0 below 2^-149: enough for what becomes bf16. */
PAIRS_INLINE vf power_of_2(vf x)
{
    const __m512 y = _mm512_max_ps(_mm512_set1_ps(-200), (__m512)x),
                 n = _mm512_roundscale_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vf f = (vf)y - (vf)n;
    vf p = f * 0.00966636852f + 0.0559219758f;

    p = p * f + 0.24022349f;
    p = p * f + 0.693121045f;
    p = p * f + 1;
    return (vf)_mm512_scalef_ps((__m512)p, n);
}

#endif
#endif
