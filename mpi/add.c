/* add.c - see add.h. Blocks that stay in the first cache are summed there, so that every share is read once and the result
 * written once, whatever their number. */
#include "mpi/add.h"

#include <stdbool.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { BLOCK = 1024 };

/* Chosen when the program starts: sums of what lies in the caches are limited by the width of a load. ASan's start-up comes
 * after that choice, so its builds have one version. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define FOR_EACH_CPU __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define FOR_EACH_CPU
#endif

FOR_EACH_CPU static void add_two(float *restrict sum, const float *a, const float *b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] = a[i] + b[i];
}

FOR_EACH_CPU static void add_to(float *restrict sum, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] += x[i];
}

static inline float widened(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

FOR_EACH_CPU static void add_two_halves(float *restrict sum, const uint16_t *a, const uint16_t *b, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] = widened(a[i]) + widened(b[i]);
}

FOR_EACH_CPU static void add_half_to(float *restrict sum, const uint16_t *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] += widened(x[i]);
}

FOR_EACH_CPU static bool finite_f32(const float *x, int64_t n)
{
    uint32_t odd = 0;

#pragma omp simd reduction(| : odd)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        odd |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !odd;
}

static bool finite_bf16(const uint16_t *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if ((x[i] & 0x7f80) == 0x7f80) return false;
    return true;
}

static int lower(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Sums are finite as long as everything in them is: only when one is not, the sources are looked through. */
int add_f32(float *out, const float *const *source, int count, int64_t n)
{
    float sum[BLOCK];
    int odd = -1;

    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t now = n - at < BLOCK ? n - at : BLOCK;
        if (count == 1)
            memcpy(sum, source[0] + at, (size_t)now * sizeof *sum);
        else
            add_two(sum, source[0] + at, source[1] + at, now);
        for (int r = 2; r < count; r++) add_to(sum, source[r] + at, now);
        for (int r = 0; !finite_f32(sum, now) && r < count; r++)
            if (!finite_f32(source[r] + at, now)) {
                odd = lower(odd, r);
                break;
            }
        memcpy(out + at, sum, (size_t)now * sizeof *sum);
    }
    return odd;
}

int add_bf16(float *out, const uint16_t *const *source, int count, int64_t n)
{
    float sum[BLOCK];
    int odd = -1;

    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t now = n - at < BLOCK ? n - at : BLOCK;
        if (count == 1)
            add_widen(sum, source[0] + at, now);
        else
            add_two_halves(sum, source[0] + at, source[1] + at, now);
        for (int r = 2; r < count; r++) add_half_to(sum, source[r] + at, now);
        for (int r = 0; !finite_f32(sum, now) && r < count; r++)
            if (!finite_bf16(source[r] + at, now)) {
                odd = lower(odd, r);
                break;
            }
        memcpy(out + at, sum, (size_t)now * sizeof *sum);
    }
    return odd;
}

FOR_EACH_CPU void add_narrow(uint16_t *out, const float *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits, even, nan;
        memcpy(&bits, &x[i], sizeof bits);
        even = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        nan = bits >> 16 | 0x40;
        out[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : even);
    }
}

FOR_EACH_CPU void add_widen(float *out, const uint16_t *x, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = widened(x[i]);
}

#ifdef __SSE2__
void add_copy_past(void *to, const void *from, size_t bytes)
{
    char *out = to;
    const char *in = from;
    size_t before = -(uintptr_t)out & 15;

    if (before > bytes) before = bytes;
    memcpy(out, in, before);
    for (out += before, in += before, bytes -= before; bytes >= 16; out += 16, in += 16, bytes -= 16)
        _mm_stream_si128((__m128i *)out, _mm_loadu_si128((const __m128i *)in));
    memcpy(out, in, bytes);
    _mm_sfence();
}
#else
void add_copy_past(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}
#endif

void add_narrow_past(uint16_t *out, const float *x, int64_t n)
{
    uint16_t block[BLOCK];

    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t now = n - at < BLOCK ? n - at : BLOCK;
        add_narrow(block, x + at, now);
        add_copy_past(out + at, block, (size_t)now * sizeof *block);
    }
}
