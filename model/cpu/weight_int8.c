/* weight_int8.c - a frozen weight rounded to bytes, for decoding: half of what bf16 reads.
 *
 * Each output has a scale, largest number / 127, so that what rounds does not depend on other outputs. Numbers are taken from
 * whatever form the weight has, a block of 64 outputs at a time; the order of bytes is that of struct gemv_part.
 */
#include <math.h>
#include <string.h>

#include "io/err.h"
#include "model/cpu/gemm.h"
#include "model/cpu/kernels.h"
#include "model/cpu/weight.h"

enum { QUAD = 4, PART = 128 }; // inputs side by side, at a time

static int64_t blocks_of(int64_t out)
{
    return (out + PACKED_COLS - 1) / PACKED_COLS;
}

int64_t gemm_rounded_inputs(int64_t in)
{
    return (in + QUAD - 1) / QUAD * QUAD;
}

size_t gemm_rounded_size(int64_t out, int64_t in)
{
    return (size_t)blocks_of(out) * PACKED_COLS * ((size_t)gemm_rounded_inputs(in) + sizeof(float) + sizeof(int32_t));
}

static void from_packed(float *to, const struct weight *w, int64_t block, int64_t k, int64_t n)
{
    const uint16_t *src = (const uint16_t *)w->packed.data + packed_offset(&w->packed, k, block * PACKED_COLS);

    for (int64_t i = 0; i < n;
         i += 2, src += 2 * PACKED_COLS) // n and k are even but for the last input, filled up with 0
        for (int64_t c = 0; c < PACKED_COLS; c++) {
            uint32_t pair, even;
            memcpy(&pair, src + 2 * c, sizeof pair);
            even = pair << 16, pair &= 0xffff0000u;
            memcpy(&to[i * PACKED_COLS + c], &even, sizeof even);
            memcpy(&to[(i + 1) * PACKED_COLS + c], &pair, sizeof pair);
        }
}

static void from_plain(float *to, const struct weight *w, int64_t block, int64_t k, int64_t n)
{
    const size_t size = dtype_size(w->plain_type);
    float row[PART];

    for (int64_t c = 0; c < PACKED_COLS; c++) {
        const int64_t r = block * PACKED_COLS + c;
        if (r < w->out)
            cpu_kernels()->convert(row, DT_F32, (const char *)w->plain + (size_t)(r * w->ld + k) * size, w->plain_type,
                                   n);
        for (int64_t i = 0; i < n; i++) to[i * PACKED_COLS + c] = r < w->out ? row[i] : 0;
    }
}

/* to (n, PACKED_COLS) := numbers of a block's outputs for inputs [k, k + PART); 0 beyond the last output and input. Returns n, a
 * multiple of QUAD. */
static int64_t numbers_of(float *to, const struct weight *w, int64_t block, int64_t k)
{
    const int64_t n = w->in - k < PART ? w->in - k : PART;

    memset(to + n / QUAD * QUAD * PACKED_COLS, 0, n % QUAD ? QUAD * PACKED_COLS * sizeof *to : 0);
    w->packed.data ? from_packed(to, w, block, k, n) : from_plain(to, w, block, k, n);
    return gemm_rounded_inputs(n);
}

int gemm_weight_tops(float *top, const struct weight *w)
{
    if (w->rounded) return err_set(CL_EINTERNAL, "a rounded weight was to be rounded again");
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks_of(w->out); b++) {
        float part[PART * PACKED_COLS], most[PACKED_COLS] = {0};
        for (int64_t k = 0; k < w->in; k += PART) {
            const int64_t n = numbers_of(part, w, b, k);
            cpu_kernels()->bytes_tops(most, part, n);
        }
        for (int64_t c = 0; c < PACKED_COLS && b * PACKED_COLS + c < w->out; c++) top[b * PACKED_COLS + c] = most[c];
    }
    return CL_OK;
}

/* Rounds one block. An output that is not finite everywhere gets the scale NaN, so that whoever chooses a token sees it. */
static void round_block(const struct weight *q, const struct weight *w, const float *top, int64_t b)
{
    float part[PART * PACKED_COLS], factor[PACKED_COLS] = {0};
    int8_t *to = q->rounded + b * PACKED_COLS * gemm_rounded_inputs(w->in);

    for (int64_t c = 0; c < PACKED_COLS && b * PACKED_COLS + c < w->out; c++) {
        const float t = top[b * PACKED_COLS + c];
        factor[c] = t > 0 && isfinite(t) ? 127 / t : 0;
        q->scale[b * PACKED_COLS + c] = isfinite(t) ? t / 127 : NAN;
    }
    for (int64_t k = 0; k < w->in; k += PART) {
        const int64_t n = numbers_of(part, w, b, k);
        cpu_kernels()->bytes_round(to + k * PACKED_COLS, q->total + b * PACKED_COLS, part, factor, n);
    }
}

int gemm_weight_rounded(struct weight **out, const struct weight *w, const float *top)
{
    int rc;
    const size_t outs = (size_t)blocks_of(w->out) * PACKED_COLS;
    struct weight *q = mem_new(1, sizeof *q);

    *out = NULL;
    if (w->rounded) FAIL(CL_EINTERNAL, "a rounded weight was to be rounded again");
    if (!q) FAIL(CL_ENOMEM, "cannot have memory for a weight");
    *q = (struct weight){.out = w->out, .in = w->in, .arithmetic = w->arithmetic, .uses = WEIGHT_FORWARD};
    q->rounded = mem_new(outs, (size_t)gemm_rounded_inputs(w->in));
    q->scale = mem_new(outs, sizeof *q->scale), q->total = mem_new(outs, sizeof *q->total);
    if (!q->rounded || !q->scale || !q->total)
        FAIL(CL_ENOMEM, "cannot have %zu bytes for a rounded weight of %lld x %lld", gemm_rounded_size(w->out, w->in),
             (long long)w->out, (long long)w->in);
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks_of(w->out); b++) round_block(q, w, top, b);
    *out = q, q = NULL;
    rc = CL_OK;
done:
    gemm_weight_free(q);
    return rc;
}
