/* test_tensor.c - 16-bit conversions over all their values, views, guarded memory, the arena. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/tensor.h"

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* What the bits of a small float mean: sign, exponent of `e` bits, fraction of `m` bits. */
static double meaning(uint32_t h, int e, int m)
{
    int bias = (1 << (e - 1)) - 1, exponent = (int)(h >> m & ((1u << e) - 1));
    double fraction = (double)(h & ((1u << m) - 1)) / (1 << m), sign = h >> (e + m) ? -1 : 1;

    if (exponent == (1 << e) - 1) return fraction > 0 ? NAN : sign * INFINITY;
    if (!exponent) return sign * ldexp(fraction, 1 - bias);
    return sign * ldexp(1 + fraction, exponent - bias);
}

static void check_all(float (*convert)(uint16_t), int e, int m)
{
    for (uint32_t h = 0; h < 65536; h++) {
        double want = meaning(h, e, m);
        float f = convert((uint16_t)h);
        if (isnan(want) ? !isnan(f) : (double)f != want || !!signbit(f) != !!(h >> 15))
            fail_msg("0x%04x: %g (expected %g)", h, f, want);
    }
}

static void test_f16(void **unused)
{
    (void)unused;
    check_all(f16_to_f32, 5, 10);
    assert_true(bits_of(f16_to_f32(0x0001)) == bits_of(0x1p-24f)); // subnormal
    assert_true(isinf(f16_to_f32(0xfc00)));
}

static void test_bf16(void **unused)
{
    (void)unused;
    check_all(bf16_to_f32, 8, 7);
    for (uint32_t h = 0; h < 65536; h++) { // there and back
        float f = bf16_to_f32((uint16_t)h);
        if (isnan(f))
            assert_true(isnan(bf16_to_f32(f32_to_bf16(f))));
        else
            assert_int_equal(f32_to_bf16(f), h);
    }
}

/* Around each pair of neighbours: below, at and above the middle. */
static void test_bf16_rounding(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 65536; h++) {
        uint32_t low = h << 16;
        if ((h & 0x7fff) >= 0x7f80) continue; // infinity and NaN: below
        assert_int_equal(f32_to_bf16(float_of(low | 0x7fff)), h);
        assert_int_equal(f32_to_bf16(float_of(low | 0x8000)), h + (h & 1)); // a tie goes to the even one
        assert_int_equal(f32_to_bf16(float_of(low | 0x8001)), h + 1);       // past the largest: infinity
        assert_int_equal(f32_to_bf16(float_of(low | 0xffff)), h + 1);
        assert_int_equal(f32_to_bf16(float_of(low | 1)), h);
    }
    assert_int_equal(f32_to_bf16(INFINITY), 0x7f80);
    assert_int_equal(f32_to_bf16(-INFINITY), 0xff80);
    for (uint32_t low = 1; low < 0x800000; low = low * 2 + 1) { // NaNs whose upper bits alone would be infinity
        assert_true(isnan(bf16_to_f32(f32_to_bf16(float_of(0x7f800000 | low)))));
        assert_true(isnan(bf16_to_f32(f32_to_bf16(float_of(0xff800000 | (low & 0x8001))))));
    }
}

static void test_convert(void **unused)
{
    static const uint16_t half[] = {0x3c00, 0xc000, 0x0001}, brain[] = {0x3f80, 0xc000, 0x0001};
    static const double wide[] = {1, -2, 1e-3};
    static const float plain[] = {1, -2, 1e-3f};
    float out[3];

    (void)unused;
    convert_to_f32(out, half, DT_F16, 3);
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-24f);
    convert_to_f32(out, brain, DT_BF16, 3);
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == 0x1p-133f);
    convert_to_f32(out, wide, DT_F64, 3);
    assert_memory_equal(out, plain, sizeof out);
    out[0] = 0;
    convert_to_f32(out, plain, DT_F32, 1);
    assert_true(out[0] == 1);
    convert_to_f32(NULL, NULL, DT_BF16, 0);
}

static void test_types(void **unused)
{
    static const struct {
        enum dtype t;
        size_t size;
        const char *name;
    } all[] = {{DT_F32, 4, "f32"}, {DT_BF16, 2, "bf16"}, {DT_F16, 2, "f16"}, {DT_I32, 4, "i32"},
               {DT_I64, 8, "i64"}, {DT_I8, 1, "i8"},     {DT_U8, 1, "u8"},   {DT_F64, 8, "f64"}};
    (void)unused;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(dtype_size(all[i].t), all[i].size);
        assert_string_equal(dtype_name(all[i].t), all[i].name);
    }
}

static void test_views(void **unused)
{
    uint16_t x[6 * 10];
    struct tensor t = {x, DT_BF16, 6, 8, 10}, b = tensor_block(t, 2, 3, 5, 2), r = tensor_rows(t, 4, 2);

    (void)unused;
    assert_ptr_equal(b.data, x + 2 * 10 + 5);
    assert_true(b.rows == 3 && b.cols == 2 && b.ld == 10 && b.type == DT_BF16);
    assert_ptr_equal(r.data, x + 40);
    assert_true(r.rows == 2 && r.cols == 8 && r.ld == 10);
    assert_int_equal(tensor_of(x, DT_BF16, 6, 10).ld, 10);
}

static void test_memory(void **unused)
{
    char *p = mem_new(3, 33), *bigger;

    (void)unused;
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (int i = 0; i < 99; i++) assert_int_equal(p[i], 0);
    memset(p, 7, 99);
    assert_non_null(bigger = mem_grow(p, 3, 100, 33));
    assert_int_equal((uintptr_t)bigger % 64, 0);
    for (int i = 0; i < 99; i++) assert_int_equal(bigger[i], 7);
    for (int i = 99; i < 3300; i++) assert_int_equal(bigger[i], 0);
    assert_null(mem_grow(bigger, 100, SIZE_MAX / 2, 33)); // and bigger stays
    assert_int_equal(bigger[98], 7);
    assert_non_null(p = mem_grow(bigger, 100, 1, 33)); // smaller
    assert_int_equal(p[32], 7);
    mem_free(p);
    assert_null(mem_new(SIZE_MAX / 4, 8));
    assert_null(mem_new(SIZE_MAX, 1));
    assert_non_null(p = mem_new(0, 8)); // a place to point at
    mem_free(p);
    mem_free(NULL);
    assert_non_null(p = mem_grow(NULL, 0, 2, 4));
    mem_free(p);
}

/* Inside a step an allocation aborts where the guard is built in. */
static void test_guard(void **unused)
{
    int status;
    pid_t child;

    (void)unused;
    mem_guard_begin();
    mem_guard_begin();
    mem_guard_end();
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr); // the message is meant for people
        _exit(mem_new(1, 1) ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    mem_guard_end();
#ifdef CLLAVA_GUARD
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#else
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#endif
    void *p = mem_new(1, 1); // outside again
    assert_non_null(p);
    mem_free(p);
}

/* The same requests with and without memory: the first pass tells the size that the second needs exactly. */
static bool take_all(struct arena *a, bool look)
{
    static const int64_t rows[] = {1, 7, 3, 0};
    for (int i = 0; i < 4; i++) {
        struct tensor t = arena_tensor(a, i % 2 ? DT_BF16 : DT_F32, rows[i], 5);
        if (!t.data) return false;
        assert_int_equal((uintptr_t)t.data % 64, 0);
        assert_true(t.rows == rows[i] && t.cols == 5 && t.ld == 5);
        if (look) memset(t.data, i, (size_t)(rows[i] * 5) * dtype_size(t.type));
    }
    return true;
}

static void test_arena(void **unused)
{
    struct arena a = {0};
    size_t mark;

    (void)unused;
    assert_true(take_all(&a, false));
    a.size = a.peak;
    a.used = 0;
    assert_non_null(a.base = mem_new(a.size, 1));
    assert_true(take_all(&a, true));
    assert_null(arena_take(&a, 64));
    assert_null(arena_take(&a, SIZE_MAX));
    assert_null(arena_take(&a, SIZE_MAX / 2));
    a.used = 0;
    mark = arena_mark(&a);
    void *first = arena_take(&a, 1);
    arena_back(&a, mark);
    assert_ptr_equal(arena_take(&a, 8), first);
    assert_int_equal(a.peak, a.size); // the peak stays
    a.size--;                         // one byte less does not do
    a.used = 0;
    assert_false(take_all(&a, true));
    assert_null(arena_tensor(&a, DT_F32, INT64_MAX / 8, 16).data); // more bytes than a size_t can say
    mem_free(a.base);
}

/* Bytes of a file from any place on, before and after they were expected; a wish that cannot be granted does no harm. */
static void test_expect(void **unused)
{
    enum { BYTES = 5 << 20 };
    FILE *f = tmpfile();
    unsigned char *p;
    (void)unused;

    assert_non_null(f);
    for (int i = 0; i < BYTES; i++) putc(i / 4096 % 251, f);
    assert_int_equal(fflush(f), 0);
    p = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fileno(f), 0);
    assert_true(p != MAP_FAILED);
    mem_expect(p + 4097, BYTES - 4097);
    mem_expect(p + 4097, 0);
    for (int i = 0; i < BYTES; i += 511) assert_int_equal(p[i], i / 4096 % 251);
    munmap(p, BYTES);
    mem_expect(p, BYTES);
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16),     cmocka_unit_test(test_bf16),  cmocka_unit_test(test_bf16_rounding),
        cmocka_unit_test(test_convert), cmocka_unit_test(test_types), cmocka_unit_test(test_views),
        cmocka_unit_test(test_memory),  cmocka_unit_test(test_guard), cmocka_unit_test(test_arena),
        cmocka_unit_test(test_expect),
    };
    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
