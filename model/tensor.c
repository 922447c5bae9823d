/* tensor.c - views, 16-bit conversions, guarded memory, the arena. */
#include "model/tensor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGN = 64 };          // a cache line, and the width of an AVX-512 register
enum { HUGE_PAGE = 2 << 20 }; // bytes

size_t dtype_size(enum dtype t)
{
    static const size_t size[] = {
        [DT_F32] = 4, [DT_BF16] = 2, [DT_F16] = 2, [DT_I32] = 4, [DT_I64] = 8, [DT_I8] = 1, [DT_U8] = 1, [DT_F64] = 8};
    return size[t];
}

const char *dtype_name(enum dtype t)
{
    static const char *const name[] = {[DT_F32] = "f32", [DT_BF16] = "bf16", [DT_F16] = "f16", [DT_I32] = "i32",
                                       [DT_I64] = "i64", [DT_I8] = "i8",     [DT_U8] = "u8",   [DT_F64] = "f64"};
    return name[t];
}

struct tensor tensor_block(struct tensor t, int64_t row, int64_t n, int64_t col, int64_t m)
{
    size_t skip = (size_t)(row * t.ld + col) * dtype_size(t.type);
    return (struct tensor){(char *)t.data + skip, t.type, n, m, t.ld};
}

float bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40); // NaN: keep it one
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff, bits;
    float f;

    if (exponent == 31)
        bits = sign | 0x7f800000 | fraction << 13;
    else if (exponent)
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    else { // zero or subnormal: fraction * 2^-24 is exact in f32
        f = (float)fraction * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t f32_to_f16(float f)
{
    uint32_t bits, sign, magnitude;

    memcpy(&bits, &f, sizeof bits);
    sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);  // NaN
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); // rounds to infinity
    if (magnitude < 0x38800000) { // subnormal in f16: adding 0.5 leaves the rounded fraction in the low bits
        float shifted;
        memcpy(&shifted, &magnitude, sizeof shifted);
        shifted += 0.5f;
        memcpy(&bits, &shifted, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    return (uint16_t)(sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

void convert_to_f32(float *dst, const void *src, enum dtype t, int64_t n)
{
    const uint16_t *h = src;

    if (t == DT_F32)
        memcpy(dst, src, (size_t)n * sizeof *dst);
    else if (t == DT_BF16)
        for (int64_t i = 0; i < n; i++) dst[i] = bf16_to_f32(h[i]);
    else if (t == DT_F16)
        for (int64_t i = 0; i < n; i++) dst[i] = f16_to_f32(h[i]);
    else if (t == DT_F64)
        for (int64_t i = 0; i < n; i++) dst[i] = (float)((const double *)src)[i];
    else
        abort(); // integers are never converted: a fault of the caller
}

static atomic_int guarded; // > 0 inside a step

static void check_guard(size_t bytes)
{
#ifdef CLLAVA_GUARD
    if (atomic_load(&guarded) > 0) {
        fprintf(stderr, "cllava: error: allocation of %zu bytes inside a step; hint: take it from the arena\n", bytes);
        abort();
    }
#else
    (void)bytes;
#endif
}

void mem_guard_begin(void)
{
    atomic_fetch_add(&guarded, 1);
}

void mem_guard_end(void)
{
    atomic_fetch_sub(&guarded, 1);
}

/* Blocks of a weight's or a cache's size lie in huge pages where the system grants them: a product that reads a weight once is
 * bound by memory, and with pages of 4 KiB a third of its time goes to finding them. */
static void *new_block(size_t bytes)
{
    void *p;

    if (posix_memalign(&p, bytes < HUGE_PAGE ? ALIGN : HUGE_PAGE, bytes)) return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE) madvise(p, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); // a wish: no matter if not
#endif
    return p;
}

/* The system clears a page when it is first written, which takes longer than writing it: the threads of a product share that,
 * and on a machine with several memories each gets pages of the nearest. A thread beside the main one has no such helpers. */
static void *clear_block(char *p, size_t bytes)
{
    const size_t part = HUGE_PAGE, parts = (bytes + part - 1) / part;

#pragma omp parallel for schedule(static) if (bytes >= HUGE_PAGE && gettid() == getpid())
    for (size_t i = 0; i < parts; i++) memset(p + i * part, 0, i + 1 < parts ? part : bytes - i * part);
    return p;
}

/* Bytes of a block, full lines; 0: there is none so large. */
static size_t block_bytes(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) return 0;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return bytes ? bytes : ALIGN;
}

void *mem_raw(size_t count, size_t size)
{
    const size_t bytes = block_bytes(count, size);

    check_guard(bytes);
    return bytes ? new_block(bytes) : NULL;
}

void *mem_new(size_t count, size_t size)
{
    void *p = mem_raw(count, size);

    return p ? clear_block(p, block_bytes(count, size)) : NULL;
}

void mem_expect(const void *p, size_t bytes)
{
#ifdef MADV_POPULATE_READ
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p / page * page,
                    to = (uintptr_t)p + bytes;

#pragma omp parallel for schedule(static) if (bytes > HUGE_PAGE)
    for (uintptr_t at = from; at < to; at += HUGE_PAGE)
        madvise((void *)at, to - at < HUGE_PAGE ? to - at : HUGE_PAGE, MADV_POPULATE_READ); // a wish, too
#else
    (void)p, (void)bytes;
#endif
}

void *mem_grow(void *p, size_t old_count, size_t new_count, size_t size)
{
    void *bigger = mem_new(new_count, size);

    if (!bigger) return NULL;
    if (p) memcpy(bigger, p, (old_count < new_count ? old_count : new_count) * size);
    mem_free(p);
    return bigger;
}

void mem_free(void *p)
{
    free(p);
}

void *arena_take(struct arena *a, size_t bytes)
{
    size_t at = (a->used + ALIGN - 1) / ALIGN * ALIGN;

    if (bytes > SIZE_MAX / 2 - at) return NULL;
    if (a->base && at + bytes > a->size) return NULL;
    a->used = at + bytes;
    if (a->used > a->peak) a->peak = a->used;
    return a->base ? a->base + at : (char *)ALIGN + at; // measuring: never NULL, never looked through
}

struct tensor arena_tensor(struct arena *a, enum dtype t, int64_t rows, int64_t cols)
{
    size_t bytes;
    void *data = NULL;

    if (!__builtin_mul_overflow((size_t)rows * dtype_size(t), (size_t)cols, &bytes)) data = arena_take(a, bytes);
    return tensor_of(data, t, rows, cols);
}
