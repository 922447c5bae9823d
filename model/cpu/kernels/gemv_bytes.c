/* gemv_bytes.c - a few rows times weights of bytes (model/cpu/weight_int8.c).
 *
 * Blocks of 64 outputs, a block's inputs from first to last in quads: 64 x 4 bytes. Where the processor multiplies quads of bytes
 * in one instruction (AVX-512 VNNI), a row of x is taken as 16-bit integers, in units of its largest number / 32767, whose halves
 * are unsigned bytes: with x = s (256 h + l - 32768)
 *
 *     sum x w = s (256 (sum h w - 128 sum w) + sum l w)
 *
 * in exact integers. That is finer than bf16 is, but for what is below 2^-8 of a row's largest number. Elsewhere bytes are
 * widened to floats, and x stays what it is.
 */
#include "model/cpu/kernels/gemv.h"

enum {
    QUAD = 4,
    LINE = QUAD * PACKED_COLS,
    QUADS_GROUP = 3
}; // rows whose two sums of 4 registers fit into the registers

/* A part of a block's inputs, in quads. */
struct part {
    const int8_t *w;
    int64_t quads;
    int64_t ld; // numbers, or bytes, from one row of x to the next
    /* floats */
    const float *x;
    float *sum; // (rows, 64)
    /* quads */
    const uint8_t *high, *low;
    int32_t *highs, *lows; // (rows, 64)
};

#ifdef __AVX512F__
__attribute__((target("avx512vnni"), always_inline)) static inline void quads_tile(const struct part *p,
                                                                                   const int first, const int rows)
{
    __m512i high[QUADS_GROUP * 4], low[QUADS_GROUP * 4];
    const int8_t *w = p->w;
    const int32_t *h = (const int32_t *)(const void *)(p->high + first * p->ld),
                  *l = (const int32_t *)(const void *)(p->low + first * p->ld);
    int32_t *highs = p->highs + first * PACKED_COLS, *lows = p->lows + first * PACKED_COLS;
    const int64_t ld = p->ld / QUAD;

    EACH for (int i = 0; i < 4 * rows; i++)
    {
        high[i] = _mm512_loadu_si512(highs + i * 16);
        low[i] = _mm512_loadu_si512(lows + i * 16);
    }
    for (int64_t k = 0; k < p->quads; k++, w += LINE) {
        __m512i right[4];
        EACH for (int j = 0; j < 4; j++) right[j] = _mm512_loadu_si512(w + j * 64);
        EACH for (int r = 0; r < rows; r++)
        {
            const __m512i x = _mm512_set1_epi32(h[r * ld + k]), y = _mm512_set1_epi32(l[r * ld + k]);
            EACH for (int j = 0; j < 4; j++) high[r * 4 + j] = _mm512_dpbusd_epi32(high[r * 4 + j], x, right[j]);
            EACH for (int j = 0; j < 4; j++) low[r * 4 + j] = _mm512_dpbusd_epi32(low[r * 4 + j], y, right[j]);
        }
    }
    EACH for (int i = 0; i < 4 * rows; i++)
    {
        _mm512_storeu_si512(highs + i * 16, high[i]);
        _mm512_storeu_si512(lows + i * 16, low[i]);
    }
}

__attribute__((target("avx512vnni"))) static void quads_part(const struct part *p, int n)
{
    for (int r = 0, now; r < n; r += now) {
        now = gemv_rows(n - r, QUADS_GROUP);
        if (now == 1)
            quads_tile(p, r, 1);
        else if (now == 2)
            quads_tile(p, r, 2);
        else
            quads_tile(p, r, QUADS_GROUP);
    }
}
#else
static void quads_part(const struct part *p, int n)
{
    (void)p, (void)n; // never called: see KERNEL(gemv_bytes)
}
#endif

/* 4 registers of outputs, from `col` on, for rows [first, first + rows). */
INLINE void floats_tile(const struct part *p, int col, const int first, const int rows)
{
    vf sum[GEMV_GROUP * 4];
    float *to = p->sum + first * PACKED_COLS + col;
    const int8_t *w = p->w + col * QUAD;
    const float *x = p->x + first * p->ld;

    EACH for (int r = 0; r < rows; r++) EACH for (int j = 0; j < 4; j++) sum[r * 4 + j] =
        vf_load(to + r * PACKED_COLS + j * VW);
    for (int64_t k = 0; k < p->quads; k++, w += LINE, x += QUAD) {
        vi quad[4];
        EACH for (int j = 0; j < 4; j++) quad[j] = (vi)vf_load((const float *)(const void *)(w + j * VW * QUAD));
        EACH for (int i = 0; i < QUAD; i++)
        {
            vf right[4];
            EACH for (int j = 0; j < 4; j++) right[j] = __builtin_convertvector(quad[j] << (24 - 8 * i) >> 24, vf);
            EACH for (int r = 0; r < rows; r++)
            {
                const vf left = vf_set(x[r * p->ld + i]);
                EACH for (int j = 0; j < 4; j++) sum[r * 4 + j] += right[j] * left;
            }
        }
    }
    EACH for (int r = 0; r < rows; r++) EACH for (int j = 0; j < 4; j++)
        vf_store(to + r * PACKED_COLS + j * VW, sum[r * 4 + j]);
}

static void floats_part(const struct part *p, int n)
{
    for (int t = 0; t < GEMV_TILES; t++) GEMV_BY_GROUPS(n, floats_tile, p, t * 4 * VW)
}

/* ---- x as 16-bit integers */

/* Halves of one row's numbers; the unit, NaN where one is not finite. */
static float split_row(uint8_t *high, uint8_t *low, const float *x, int64_t in)
{
    float top = 0;
    bool odd = false;

    for (int64_t k = 0; k < in; k++) {
        const float a = fabsf(x[k]);
        top = a > top ? a : top;
        odd |= !(a <= 3.4e38f);
    }
    const float factor = top > 0 && !odd ? 32767 / top : 0;
    for (int64_t k = 0; k < in; k++) {
        const float v = x[k] * factor;
        const int32_t i = odd ? 0 : (int32_t)(v + (v < 0 ? -0.5f : 0.5f)) + 32768;
        high[k] = (uint8_t)(i >> 8), low[k] = (uint8_t)i;
    }
    return odd ? NAN : top / 32767;
}

/* ---- blocks */

/* The part of a block's inputs that begins at k, at most `step`. */
INLINE struct part part_of(const struct gemv *g, const struct gemv_block *b, int64_t k, int64_t step)
{
    return (struct part){.w = (const int8_t *)b->of->w + (b->at * g->in + k) * PACKED_COLS,
                         .quads = (g->in - k < step ? g->in - k : step) / QUAD,
                         .ld = g->in};
}

static void float_block(const struct gemv *g, const struct gemv_block *b, int64_t step)
{
    float sum[GEMV_ROWS * PACKED_COLS] = {0};

    for (int64_t k = 0; k < g->in; k += step) {
        struct part p = part_of(g, b, k, step);
        p.x = (const float *)g->x + k, p.sum = sum;
        floats_part(&p, (int)g->rows);
    }
    gemv_put_block(g, b, sum);
}

static void quads_block(const struct gemv *g, const struct gemv_block *b, int64_t step, const float *unit)
{
    float sum[GEMV_ROWS * PACKED_COLS];
    int32_t highs[GEMV_ROWS * PACKED_COLS] = {0}, lows[GEMV_ROWS * PACKED_COLS] = {0};
    const int32_t *total = b->of->total + b->at * PACKED_COLS;

    for (int64_t k = 0; k < g->in; k += step) {
        struct part p = part_of(g, b, k, step);
        p.high = g->room + k, p.low = p.high + g->rows * g->in;
        p.highs = highs, p.lows = lows;
        quads_part(&p, (int)g->rows);
    }
    for (int64_t r = 0; r < g->rows; r++)
        for (int c = 0; c < PACKED_COLS; c++) {
            const int64_t i = r * PACKED_COLS + c;
            sum[i] = unit[r] * (256.0f * (float)(highs[i] - 128 * total[c]) + (float)lows[i]);
        }
    gemv_put_block(g, b, sum);
}

void KERNEL(gemv_bytes)(const struct gemv *g)
{
    const bool quads = VW == 16 && g->fast;
    const int64_t step = g->rows > (quads ? QUADS_GROUP : GEMV_GROUP) || VW < 16 ? GEMV_PART : g->in;
    int64_t outputs;
    const int64_t blocks = gemv_blocks(g, &outputs);
    float unit[GEMV_ROWS];

#pragma omp parallel if (g->in * outputs > PARALLEL_WORK)
    {
        if (quads) {
#pragma omp for schedule(static)
            for (int64_t r = 0; r < g->rows; r++)
                unit[r] = split_row(g->room + r * g->in, g->room + (g->rows + r) * g->in,
                                    (const float *)g->x + r * g->in, g->in);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < blocks; i++) {
            const struct gemv_block b = gemv_block(g, i);
            if (quads)
                quads_block(g, &b, step, unit);
            else
                float_block(g, &b, step);
        }
    }
}

/* ---- from numbers to bytes */

void KERNEL(bytes_tops)(float *most, const float *x, int64_t inputs)
{
    for (int64_t i = 0; i < inputs; i++, x += PACKED_COLS)
        for (int c = 0; c < PACKED_COLS; c += VW) {
            const vf old = vf_load(most + c), v = vf_load(x + c), a = vf_select(v < 0, -v, v);
            vf_store(most + c, vf_select((a > old) | (a != a), a, old));
        }
}

/* To the nearest byte; NaN to -127. */
INLINE vi nearest(vf x)
{
    const vf half = vf_set(0.5f), y = vf_min(vf_max(x, vf_set(-127)), vf_set(127));

    return __builtin_convertvector(y + vf_select(y < 0, -half, half), vi);
}

void KERNEL(bytes_round)(int8_t *to, int32_t *total, const float *x, const float *factor, int64_t inputs)
{
    for (int64_t i = 0; i < inputs; i += QUAD, x += LINE, to += LINE)
        for (int c = 0; c < PACKED_COLS; c += VW) {
            vi word = {0}, sum;
            memcpy(&sum, total + c, sizeof sum);
            for (int q = 0; q < QUAD; q++) {
                const vi byte = nearest(vf_load(x + q * PACKED_COLS + c) * vf_load(factor + c));
                sum += byte;
                word |= (byte & 255) << 8 * q;
            }
            memcpy(total + c, &sum, sizeof sum);
            memcpy(to + c * QUAD, &word, sizeof word);
        }
}
