/* kernel.h - what each file of this folder begins with: the names of this instruction set, and vectors of floats.
 *
 * vf is one register of VW floats (4, 8 or 16). Rows of either type are read by vf_get and written by vf_put, w numbers
 * at a time, so that one loop serves both types and any length:
 *
 *     for (int64_t c = 0; c < cols; c += VW) {
 *         int w = width(cols - c);
 *         vf_put(out, c, w, vf_get(x, c, w) * factor);
 *     }
 *
 * Numbers beyond w come in as 0 and are not written.
 */
#ifndef CLLAVA_MODEL_CPU_KERNEL_H
#define CLLAVA_MODEL_CPU_KERNEL_H

#include <math.h>
#include <string.h>
#include <immintrin.h>

#include "model/cpu/kernels.h"

#define KERNEL_PASTE(name, level) name##_##level
#define KERNEL_NAME(name, level) KERNEL_PASTE(name, level)
#define KERNEL(name) KERNEL_NAME(cpu_##name, CPU_LEVEL)

#define X(result, name, args) result KERNEL(name) args;
CPU_KERNELS(X)
#undef X

#define EACH _Pragma("GCC unroll 32") // in front of a short loop over registers
#define INLINE static inline __attribute__((always_inline))

/* Numbers touched below which waking the other threads costs more than it saves (some microseconds). */
enum { PARALLEL_WORK = 32768 };

#ifdef __AVX512F__
enum { VW = 16 };
#elif defined(__AVX2__)
enum { VW = 8 };
#else
enum { VW = 4 };
#endif

typedef float vf __attribute__((vector_size(VW * 4)));
typedef int32_t vi __attribute__((vector_size(VW * 4)));
typedef uint32_t vu __attribute__((vector_size(VW * 4)));
typedef uint16_t vh __attribute__((vector_size(VW * 2)));
typedef float vf_any __attribute__((vector_size(VW * 4), aligned(1), may_alias)); // the same in memory, wherever
typedef uint16_t vh_any __attribute__((vector_size(VW * 2), aligned(1), may_alias));

INLINE vf vf_set(float x)
{
    return x - (vf){0};
}

INLINE vf vf_load(const float *p)
{
    return *(const vf_any *)p;
}

INLINE void vf_store(float *p, vf x)
{
    *(vf_any *)p = x;
}

/* yes where the mask is all ones, no where it is 0. */
INLINE vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

/* Larger and smaller of two; b where one is not a number. */
INLINE vf vf_max(vf a, vf b)
{
#ifdef __AVX512F__
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#endif
}

INLINE vf vf_min(vf a, vf b)
{
#ifdef __AVX512F__
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#endif
}

INLINE vf vf_of_bf16(vh h)
{
#ifdef __AVX512F__
    return (vf)((vu)_mm512_cvtepu16_epi32((__m256i)h) << 16); // the compiler's own conversions go by halves
#else
    return (vf)(__builtin_convertvector(h, vu) << 16);
#endif
}

/* Rounds to nearest even; NaN stays NaN. */
INLINE vh vf_to_bf16(vf x)
{
    vu bits = (vu)x, cut = bits >> 16, round = (bits + 0x7fff + (cut & 1)) >> 16;
#ifdef __AVX512F__
    const __mmask16 nan = _mm512_cmp_ps_mask((__m512)x, (__m512)x, _CMP_UNORD_Q);
    round = (vu)_mm512_mask_or_epi32((__m512i)round, nan, (__m512i)cut, _mm512_set1_epi32(0x40));
    return (vh)_mm512_cvtepi32_epi16((__m512i)round);
#else
    const vu nan = (vu)(x != x);
    return __builtin_convertvector((round & ~nan) | ((cut | 0x40) & nan), vh);
#endif
}

static inline vf vf_load_part(const float *p, int w)
{
#ifdef __AVX512F__
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << w) - 1), p);
#else
    float part[VW] = {0};
    for (int i = 0; i < w; i++) memcpy(part + i, p + i, sizeof *p);
    return vf_load(part);
#endif
}

static inline void vf_store_part(float *p, int w, vf x)
{
#ifdef __AVX512F__
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << w) - 1), (__m512)x);
#else
    for (int i = 0; i < w; i++) memcpy(p + i, (float *)&x + i, sizeof *p);
#endif
}

static inline vh vh_load_part(const uint16_t *p, int w)
{
#ifdef __AVX512F__
    return (vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << w) - 1), p);
#else
    uint16_t part[VW] = {0};
    for (int i = 0; i < w; i++) memcpy(part + i, p + i, sizeof *p);
    return *(const vh_any *)part;
#endif
}

static inline void vh_store_part(uint16_t *p, int w, vh x)
{
#ifdef __AVX512F__
    _mm256_mask_storeu_epi16(p, (__mmask16)((1u << w) - 1), (__m256i)x);
#else
    for (int i = 0; i < w; i++) memcpy(p + i, (uint16_t *)&x + i, sizeof *p);
#endif
}

/* A row of numbers of either type. */
struct row {
    void *p;
    bool bf16;
};

INLINE struct row row_of(struct tensor t, int64_t row)
{
    bool bf16 = t.type == DT_BF16;
    return (struct row){(char *)t.data + (size_t)(row * t.ld) * (bf16 ? 2 : 4), bf16};
}

/* The same row from column c on. */
INLINE struct row row_at(struct row r, int64_t c)
{
    return (struct row){(char *)r.p + c * (r.bf16 ? 2 : 4), r.bf16};
}

INLINE int width(int64_t left)
{
    return left < VW ? (int)left : VW;
}

INLINE vf vf_get(struct row r, int64_t c, int w)
{
    if (r.bf16) {
        const uint16_t *h = (const uint16_t *)r.p + c;
        if (__builtin_expect(w == VW, 1)) return vf_of_bf16(*(const vh_any *)h);
        return vf_of_bf16(vh_load_part(h, w));
    }
    const float *f = (const float *)r.p + c;
    return __builtin_expect(w == VW, 1) ? vf_load(f) : vf_load_part(f, w);
}

INLINE void vf_put(struct row r, int64_t c, int w, vf x)
{
    if (r.bf16) {
        uint16_t *h = (uint16_t *)r.p + c;
        if (__builtin_expect(w == VW, 1))
            *(vh_any *)h = vf_to_bf16(x);
        else
            vh_store_part(h, w, vf_to_bf16(x));
        return;
    }
    float *f = (float *)r.p + c;
    if (__builtin_expect(w == VW, 1))
        vf_store(f, x);
    else
        vf_store_part(f, w, x);
}

/* Lanes from w on become 0. */
INLINE vf first_lanes(vf x, int w)
{
    float lane[VW] = {0};

    if (w == VW) return x;
    vf_store_part(lane, w, x);
    return vf_load(lane);
}

/* Sum and largest of the lanes, folded in halves: the same order whatever the compiler likes. */
INLINE float vf_sum(vf x)
{
    float lane[VW];

    vf_store(lane, x);
    for (int half = VW / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

INLINE float vf_top(vf x)
{
    float lane[VW];

    vf_store(lane, x);
    for (int half = VW / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
    return lane[0];
}

/* e^x, relative error below 2e-7; 0 below the smallest normal number, so that no result is subnormal (slow). */
INLINE vf vf_exp(vf x)
{
    const float shift = 0x1.8p23f, least = -87.33654f; // adding shift rounds to an integer; ln of the smallest normal
    vf y = vf_max(vf_set(-126), vf_min(vf_set(126), x)), n = y * 1.44269504f + shift, r;
    vi k = (vi)n - (vi)vf_set(shift);

    n -= shift;
    r = y - n * 0.693359375f; // ln 2 in two parts, so that the product is exact
    r = r + n * 2.12194440e-4f;
    vf p = r * 1.381315873e-3f + 8.36941134e-3f; // (e^r - 1 - r) / r^2: least relative error of e^r on |r| < ln 2 / 2
    p = p * r + 4.166845605e-2f;
    p = p * r + 1.666651517e-1f;
    p = p * r + 4.999999404e-1f;
    p = p * r * r + r + 1;
#ifdef __AVX512F__
    p = (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
    (void)k;
#else
    vi half = k >> 1; // 2^k in two steps: k may lie beyond the exponents of a float
    p = p * (vf)((half + 127) << 23) * (vf)((k - half + 127) << 23);
#endif
    return vf_select(x < least, (vf){0}, p);
}

#endif
