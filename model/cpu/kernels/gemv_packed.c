/* gemv_packed.c - a few rows times packed bf16 weights.
 *
 * One lies in blocks of 64 outputs, a block's inputs from first to last in pairs (product.h). A pair of x meets the 64 outputs of
 * its line in registers of their own, so there are no sums across a register. A pair is one instruction where the processor has
 * AVX-512 BF16, else two products of numbers widened by shifts.
 */
#include "model/cpu/kernels/gemv.h"

enum { LINE = 2 * PACKED_COLS }; // numbers of a pair of inputs

/* A part of a block's inputs: sum (n, 64) += x W^T. */
struct part {
    float *sum;
    const void *x; // first row, at the part's first input; rows ld numbers apart
    int64_t ld;
    const void *w; // the block at the part's first input
    int64_t inputs;
};

/* ---- bf16 */

#ifdef __AVX512F__
/* As packed_tile below, with an instruction for pairs. */
__attribute__((target("avx512bf16"), always_inline)) static inline void pairs_tile(const struct part *p,
                                                                                   const int first, const int rows)
{
    __m512 sum[GEMV_GROUP * 4];
    const uint16_t *w = p->w;
    const int32_t *x = (const int32_t *)((const uint16_t *)p->x + first * p->ld); // pairs
    const int64_t ld = p->ld / 2;

    EACH for (int i = 0; i < 4 * rows; i++) sum[i] = _mm512_loadu_ps(p->sum + first * PACKED_COLS + i * 16);
    for (int64_t k = 0; k < p->inputs / 2; k++, w += LINE) {
        __m512bh right[4];
        EACH for (int j = 0; j < 4; j++)
        {
            right[j] = (__m512bh)_mm512_loadu_si512(w + j * 32);
        }
        EACH for (int r = 0; r < rows; r++)
        {
            const __m512bh left = (__m512bh)_mm512_set1_epi32(x[r * ld + k]);
            EACH for (int j = 0; j < 4; j++) sum[r * 4 + j] = _mm512_dpbf16_ps(sum[r * 4 + j], right[j], left);
        }
    }
    EACH for (int i = 0; i < 4 * rows; i++) _mm512_storeu_ps(p->sum + first * PACKED_COLS + i * 16, sum[i]);
}

__attribute__((target("avx512bf16"))) static void pairs_part(const struct part *p, int n)
{
    GEMV_BY_GROUPS(n, pairs_tile, p)
}
#else
static void pairs_part(const struct part *p, int n)
{
    (void)p, (void)n; // never called: see packed_part
}
#endif

/* 4 registers of outputs, from `col` on, for rows [first, first + rows). */
INLINE void packed_tile(const struct part *p, int col, const int first, const int rows)
{
    vf sum[GEMV_GROUP * 4];
    float *to = p->sum + first * PACKED_COLS + col;
    const uint16_t *w = (const uint16_t *)p->w + 2 * col;
    const uint32_t *x = (const uint32_t *)((const uint16_t *)p->x + first * p->ld); // pairs
    const int64_t ld = p->ld / 2;

    EACH for (int r = 0; r < rows; r++) EACH for (int j = 0; j < 4; j++) sum[r * 4 + j] =
        vf_load(to + r * PACKED_COLS + j * VW);
    for (int64_t k = 0; k < p->inputs / 2; k++, w += LINE) {
        vf even[4], odd[4];
        EACH for (int j = 0; j < 4; j++)
        {
            const vu pair = (vu)vf_load((const float *)(const void *)(w + 2 * j * VW));
            even[j] = (vf)(pair << 16), odd[j] = (vf)(pair & 0xffff0000u);
        }
        EACH for (int r = 0; r < rows; r++)
        {
            const vu pair = x[r * ld + k] - (vu){0};
            const vf x0 = (vf)(pair << 16), x1 = (vf)(pair & 0xffff0000u);
            EACH for (int j = 0; j < 4; j++) sum[r * 4 + j] = sum[r * 4 + j] + odd[j] * x1 + even[j] * x0;
        }
    }
    EACH for (int r = 0; r < rows; r++) EACH for (int j = 0; j < 4; j++)
        vf_store(to + r * PACKED_COLS + j * VW, sum[r * 4 + j]);
}

static void packed_part(const struct part *p, int n, bool pairs)
{
    if (VW == 16 && pairs) {
        pairs_part(p, n);
        return;
    }
    for (int t = 0; t < GEMV_TILES; t++) GEMV_BY_GROUPS(n, packed_tile, p, t * 4 * VW)
}

/* ---- blocks */

/* Inputs at a time: all of them where the rows are one group. */
static int64_t inputs_at_once(int64_t n, int64_t in)
{
    return n > GEMV_GROUP || VW < 16 ? GEMV_PART : in;
}

void KERNEL(gemv_packed)(const struct gemv *g)
{
    const int64_t in = g->in, step = inputs_at_once(g->rows, in);
    int64_t outputs;
    const int64_t blocks = gemv_blocks(g, &outputs);

#pragma omp parallel for schedule(static) if (in * outputs > PARALLEL_WORK)
    for (int64_t i = 0; i < blocks; i++) {
        const struct gemv_block b = gemv_block(g, i);
        const uint16_t *x = g->x, *w = (const uint16_t *)b.of->w + b.at * PACKED_COLS * in;
        float sum[GEMV_ROWS * PACKED_COLS] = {0};

        for (int64_t k = 0; k < in; k += step)
            packed_part(&(struct part){sum, x + k, in, w + k * PACKED_COLS, in - k < step ? in - k : step},
                        (int)g->rows, g->fast);
        gemv_put_block(g, &b, sum);
    }
}
