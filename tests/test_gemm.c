/* test_gemm.c - weights, linear layers, tables and plain products of the CPU against double precision: odd sizes, gaps
 * between rows, every mix of types, every way to keep a weight; the store of compiled shapes when it overflows. */
#include "model/cpu/gemm.h"
#include "tests/kernel_check.h"

#include <omp.h>

static const int64_t sizes[][3] = {{1, 1, 1},     {1, 64, 48},   {2, 3, 5},     {3, 100, 16},  {7, 33, 70},
                                   {17, 65, 130}, {40, 128, 96}, {5, 200, 257}, {130, 72, 64}, {12, 9, 300}};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* More cases for one level than for the others: oneDNN does not see the level, only copies do. Steps through lists of
 * 2^n 3^m cases, so that each bit of the case number takes both values everywhere. */
static int stride(void)
{
    return strcmp(cpu_kernels()->level, "v3") ? 29 : 5;
}

/* want (m, n) (+)= a (m, k) b (k, n) + bias, elements reached by steps */
static void ref_product(double *want, const double *a, int64_t a_row, int64_t a_col, const double *b, int64_t b_row,
                        int64_t b_col, int64_t m, int64_t n, int64_t k, const float *bias, const double *before)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = (bias ? bias[j] : 0) + (before ? before[i * n + j] : 0);
            for (int64_t l = 0; l < k; l++) sum += a[i * a_row + l * a_col] * b[l * b_row + j * b_col];
            want[i * n + j] = sum;
        }
}

static void run_gemm(enum dtype act)
{
    for (int i = 0; i < SIZES * 64; i += stride()) {
        int64_t m = sizes[i / 64][0], n = sizes[i / 64][1], k = sizes[i / 64][2];
        bool at = i & 1, bt = i & 2, more = i & 4;
        struct matrix a = make(either(act, i >> 3), at ? k : m, at ? m : k, i % 5 == 0 ? 3 : 0, 1),
                      b = make(either(act, i >> 4), bt ? n : k, bt ? k : n, i % 7 == 0 ? 5 : 0, 1),
                      c = make(either(act, i >> 5), m, n, i % 3 == 0 ? 1 : 0, 1);
        double *want = doubles(m * n);

        ref_product(want, a.x, at ? 1 : k, at ? m : 1, b.x, bt ? 1 : n, bt ? k : 1, m, n, k, NULL, more ? c.x : NULL);
        OK(be->gemm(c.t, a.t, at, b.t, bt, more));
        CHECK(c, want, 2);
        CHECK(a, a.x, 1e-10);
        CHECK(b, b.x, 1e-10);
        if (m != n) assert_int_equal(be->gemm(c.t, a.t, !at, b.t, bt, more), CL_EINTERNAL);
        drop(&a);
        drop(&b);
        drop(&c);
        free(want);
    }
}

/* Nothing to sum: zero, or as before. */
static void run_gemm_empty(enum dtype act)
{
    struct matrix a = make(act, 0, 4, 0, 1), b = make(act, 0, 5, 0, 1), c = make(act, 4, 5, 2, 1);
    double zero[20] = {0};

    OK(be->gemm(c.t, a.t, true, b.t, false, true));
    CHECK(c, c.x, 1e-10);
    OK(be->gemm(c.t, a.t, true, b.t, false, false));
    CHECK(c, zero, 1);
    OK(be->gemm(a.t, b.t, false, c.t, true, false)); // no rows
    drop(&a);
    drop(&b);
    drop(&c);
}

/* Source numbers of a weight in one of the three types of files, at an odd address when `odd`. */
struct source {
    unsigned char *raw;
    void *p;
    double *x; // as arithmetic sees them
};

static uint16_t to_f16(double x) // of numbers whose f16 form is normal
{
    int e;
    double f = frexp(fabs(x), &e);
    return (uint16_t)((x < 0) << 15 | (e + 14) << 10 | ((int)(f * 2048 + 0.5) & 0x3ff));
}

static struct source make_source(enum dtype type, int64_t out, int64_t in, int64_t ld, bool odd, enum dtype act)
{
    struct source s = {malloc((size_t)(out * ld) * 4 + 8), NULL, doubles(out * in)};

    assert_non_null(s.raw);
    s.p = s.raw + odd;
    for (int64_t i = 0; i < out * ld; i++) {
        float f = (float)((1.0 / 1024 + fabs(uniform()) * 0.4) * (uniform() < 0 ? -1 : 1));
        uint16_t h = type == DT_F16 ? to_f16(f) : f32_to_bf16(f);
        if (type == DT_F32)
            memcpy((char *)s.p + 4 * i, &f, 4);
        else
            memcpy((char *)s.p + 2 * i, &h, 2);
        if (type != DT_F32) f = type == DT_F16 ? f16_to_f32(h) : bf16_to_f32(h);
        if (act == DT_BF16) f = bf16_to_f32(f32_to_bf16(f));
        if (i % ld < in) s.x[i / ld * in + i % ld] = f;
    }
    return s;
}

static void check_linear(const struct weight *w, const double *wx, int64_t n, int64_t out, int64_t in, enum dtype act,
                         int i)
{
    struct matrix x = make(either(act, i), n, in, i % 5 == 0 ? 3 : 0, 1),
                  y = make(either(act, i >> 1), n, out, i % 7 == 0 ? 2 : 0, 1);
    bool more = i & 4;
    float *bias = i & 8 ? floats(out, 0, 1) : NULL;
    double *want = doubles(n * out);

    if (x.t.type == DT_F32 && act == DT_BF16) // products see rounded inputs
        for (int64_t j = 0; j < n * in; j++) x.x[j] = bf16_to_f32(f32_to_bf16((float)x.x[j]));
    ref_product(want, x.x, in, 1, wx, 1, in, n, out, in, bias, more ? y.x : NULL);
    OK(be->linear(y.t, x.t, w, bias, more));
    CHECK(y, want, 2);
    assert_int_equal(be->linear(x.t, x.t, w, bias, more), in == out ? CL_OK : CL_EINTERNAL);
    drop(&x);
    drop(&y);
    free(bias);
    free(want);
}

static void check_linear_back(const struct weight *w, const double *wx, int64_t n, int64_t out, int64_t in,
                              enum dtype act, int i)
{
    struct matrix dy = make(either(act, i), n, out, i % 5 == 0 ? 3 : 0, 1),
                  dx = make(either(act, i >> 1), n, in, i % 7 == 0 ? 2 : 0, 1);
    bool more = i & 4;
    double *want = doubles(n * in);

    if (dy.t.type == DT_F32 && act == DT_BF16)
        for (int64_t j = 0; j < n * out; j++) dy.x[j] = bf16_to_f32(f32_to_bf16((float)dy.x[j]));
    ref_product(want, dy.x, out, 1, wx, in, 1, n, in, out, NULL, more ? dx.x : NULL);
    OK(be->linear_back(dx.t, dy.t, w, more));
    CHECK(dx, want, 2);
    drop(&dy);
    drop(&dx);
    free(want);
}

static void check_embed(const struct weight *w, const double *wx, int64_t out, int64_t in, enum dtype act, int i)
{
    struct matrix e = make(either(act, i), 3, in, i % 3, 1);
    int32_t id[] = {(int32_t)(out - 1), 0, (int32_t)(out / 2)};
    double *want = doubles(3 * in);

    for (int r = 0; r < 3; r++) memcpy(want + r * in, wx + id[r] * in, (size_t)in * sizeof *want);
    OK(be->embed(e.t, w, id));
    CHECK(e, want, 1e-8); // no rounding at all
    id[1] = (int32_t)out;
    assert_int_equal(be->embed(e.t, w, id), CL_ENUM);
    id[1] = -1;
    assert_int_equal(be->embed(e.t, w, id), CL_ENUM);
    drop(&e);
    free(want);
}

static void run_weights(enum dtype act)
{
    static const enum dtype file_type[] = {DT_F32, DT_BF16, DT_F16};
    for (int i = 0; i < SIZES * 24; i += stride()) {
        int64_t out = sizes[i / 24][1], in = sizes[i / 24][2], ld = in + (i % 5 == 4);
        unsigned uses = (unsigned)i % 4 | (i & 3 && i % 5 < 3 ? WEIGHT_FEW : 0u);
        bool keep = i & 4, odd = i % 7 == 6;
        enum dtype type = file_type[i % 3];
        struct source s = make_source(type, out, in, ld, odd, act);
        struct weight *w;

        OK(be->weight_new(&w, s.p, type, out, in, ld, uses, keep));
        bool fits = keep && (!uses || (type == act && !odd)); // in place, unless oneDNN packs
        if (fits && (act == DT_F32 || !uses || out * in < 64 * 64))
            assert_int_equal(be->weight_bytes(w), 0);
        else if (!fits)
            assert_in_range(be->weight_bytes(w), (size_t)(out * in) * dtype_size(act), // small ones turned too
                            (size_t)((out + 63) * (in + 63)) * dtype_size(act) * (uses & WEIGHT_BACKWARD ? 2 : 1));
        if (strstr(backend_cpu_isa(), "BF16"))
            assert_int_equal(be->weight_bytes(w), gemm_weight_size(type, out, in, uses, keep && !(uses && odd), act));
        if (!keep) memset(s.raw, 0x7f, (size_t)(out * ld) * dtype_size(type)); // the source is gone
        for (int64_t n = 0; n < 20; n = n * 4 + 1) {
            if (uses & WEIGHT_FORWARD) check_linear(w, s.x, n, out, in, act, i + (int)n);
            if (uses & WEIGHT_BACKWARD) check_linear_back(w, s.x, n, out, in, act, i + (int)n);
        }
        if (!(uses & WEIGHT_FORWARD))
            assert_int_equal(be->linear((struct tensor){0}, (struct tensor){0}, w, NULL, false), CL_EINTERNAL);
        check_embed(w, s.x, out, in, act, i);
        be->weight_free(w);
        free(s.raw);
        free(s.x);
    }
}

/* More shapes than the store keeps, then the first ones again. */
static void run_many_shapes(enum dtype act)
{
    enum { N = 24, K = 16, MOST = 540 };
    struct source s = make_source(DT_F32, N, K, K, false, act);
    struct weight *w;

    if (stride() > 5) goto done; // once is enough
    OK(be->weight_new(&w, s.p, DT_F32, N, K, K, WEIGHT_FORWARD, false));
    for (int64_t n = 1; n <= MOST; n++) check_linear(w, s.x, n, N, K, act, 0);
    for (int64_t n = 1; n <= 100; n += 9) check_linear(w, s.x, n, N, K, act, 0);
    be->weight_free(w);
done:
    free(s.raw);
    free(s.x);
}

/* Larger ones, packed in several blocks, and rows as many as in training. */
static void run_large(enum dtype act)
{
    enum { OUT = 320, IN = 530 };
    struct source s = make_source(DT_BF16, OUT, IN, IN, false, act);
    struct weight *w;

    OK(be->weight_new(&w, s.p, DT_BF16, OUT, IN, IN, WEIGHT_FORWARD | WEIGHT_BACKWARD, true));
    for (int64_t n = 1; n < 200; n = n * 3 + 1) {
        for (int i = 0; i < 4; i++) check_linear(w, s.x, n, OUT, IN, act, i * 3);
        for (int i = 0; i < 4; i++) check_linear_back(w, s.x, n, OUT, IN, act, i * 3);
    }
    check_embed(w, s.x, OUT, IN, act, 1);
    be->weight_free(w);
    free(s.raw);
    free(s.x);
}

/* dx = dy W for dy that picks rows of W: exactly these, whichever way W is kept. Sizes beside those of blocks; more columns
 * than are turned at a time. */
static void run_picked_rows(enum dtype act)
{
    static const int64_t size[][2] = {{64, 64}, {65, 130}, {200, 257}, {95, 96}, {8200, 300}};

    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        int64_t out = size[i][0], in = size[i][1], n = out < 200 ? out : 200;
        struct source s = make_source(DT_BF16, out, in, in + 3, false, act);
        struct weight *w;
        struct matrix dy = make(act, n, out, 0, 0), dx = make(DT_F32, n, in, i % 2, 1);
        double *want = doubles(n * in);

        OK(be->weight_new(&w, s.p, DT_BF16, out, in, in + 3, WEIGHT_FORWARD | WEIGHT_BACKWARD, true));
        for (int64_t r = 0; r < n; r++) {
            int64_t row = (r * 131 + out - 1) % out;
            set(dy.t, r, row, 1);
            memcpy(want + r * in, s.x + row * in, (size_t)in * sizeof *want);
        }
        OK(be->linear_back(dx.t, dy.t, w, false));
        CHECK(dx, want, 0);
        be->weight_free(w);
        free(s.raw), free(s.x), free(want);
        drop(&dy), drop(&dx);
    }
}

/* Both directions of a weight: the same bits for 1, 2, 3 threads. */
static void run_threads(enum dtype act)
{
    enum { OUT = 2100, IN = 1100, N = 40 };
    int before = omp_get_max_threads();
    struct source s = make_source(DT_BF16, OUT, IN, IN, false, act);
    struct weight *w;
    struct matrix x = make(act, N, IN, 0, 1), dy = make(act, N, OUT, 0, 1), y[3], dx[3];

    if (stride() > 5 || !(strstr(backend_cpu_isa(), "BF16") || strstr(backend_cpu_isa(), "AMX"))) goto done;
    OK(be->weight_new(&w, s.p, DT_BF16, OUT, IN, IN, WEIGHT_FORWARD | WEIGHT_BACKWARD, true));
    for (int t = 0; t < 3; t++) {
        y[t] = make(act, N, OUT, 0, 0), dx[t] = make(DT_F32, N, IN, 0, 0);
        omp_set_num_threads(t + 1);
        OK(be->linear(y[t].t, x.t, w, NULL, false));
        OK(be->linear_back(dx[t].t, dy.t, w, false));
        assert_memory_equal(y[0].raw, y[t].raw, y[t].bytes);
        assert_memory_equal(dx[0].raw, dx[t].raw, dx[t].bytes);
    }
    omp_set_num_threads(before);
    be->weight_free(w);
    for (int t = 0; t < 3; t++) drop(&y[t]), drop(&dx[t]);
done:
    drop(&x), drop(&dy);
    free(s.raw), free(s.x);
}

/* A few rows: each row's bits are the same alone and among others, for any number of threads. */
static void run_few(enum dtype act)
{
    static const int64_t size[][2] = {{64, 64}, {320, 530}, {129, 100}, {67, 1500}};
    enum { MOST = 12 };
    const int before = omp_get_max_threads();

    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        const int64_t out = size[i][0], in = size[i][1];
        struct source s = make_source(act, out, in, in, false, act);
        struct matrix x = make(act, MOST, in, 0, 1), alone = make(act, MOST, out, 0, 0);
        struct weight *w;

        OK(be->weight_new(&w, s.p, act, out, in, in, WEIGHT_FORWARD | WEIGHT_FEW, true));
        for (int64_t r = 0; r < MOST; r++)
            OK(be->linear(tensor_rows(alone.t, r, 1), tensor_rows(x.t, r, 1), w, NULL, false));
        for (int n = 1; n <= MOST; n++) {
            struct matrix y = make(act, n, out, 0, 0);
            omp_set_num_threads(n % 3 + 1);
            OK(be->linear(y.t, tensor_rows(x.t, 0, n), w, NULL, false));
            assert_memory_equal(y.t.data, alone.t.data, (size_t)(n * out) * dtype_size(act));
            drop(&y);
            check_linear(w, s.x, n, out, in, act, n);
        }
        omp_set_num_threads(before);
        be->weight_free(w);
        drop(&x), drop(&alone);
        free(s.raw), free(s.x);
    }
}

/* What a weight's numbers become as bytes: each output in units of its largest / 127, in float as there, for ties are many. */
static void ref_rounded(double *q, const double *x, int64_t out, int64_t in)
{
    for (int64_t r = 0; r < out; r++) {
        float top = 0;
        for (int64_t c = 0; c < in; c++) top = fmaxf(top, (float)fabs(x[r * in + c]));
        for (int64_t c = 0; c < in; c++) {
            const float v = top > 0 ? (float)x[r * in + c] * (127 / top) : 0;
            q[r * in + c] = (int)(v + (v < 0 ? -0.5f : 0.5f)) * (double)top / 127;
        }
    }
}

/* A weight as bytes: the products of what its numbers were rounded to, bits that do not depend on other rows or threads. */
static void run_rounded(enum dtype act)
{
    static const int64_t size[][2] = {{1, 1}, {64, 64}, {320, 530}, {129, 101}, {67, 1503}};
    enum { MOST = 40 };
    const int before = omp_get_max_threads();

    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        const int64_t out = size[i][0], in = size[i][1];
        const enum dtype type = i % 2 ? DT_F32 : DT_F16;
        struct source s = make_source(type, out, in, in + 2, false, act);
        struct matrix x = make(act, MOST, in, 0, 1), alone = make(DT_F32, MOST, out, 0, 0);
        double *rounded = doubles(out * in), *want = doubles(MOST * out);
        float *top = floats(out, 0, 1), *bias = floats(out, 0, 1);
        struct weight *w, *q;

        if (out > 66) { // an output of zeros
            memset(s.x + 66 * in, 0, (size_t)in * sizeof *s.x);
            memset((char *)s.p + (size_t)(66 * (in + 2)) * dtype_size(type), 0, (size_t)in * dtype_size(type));
        }
        ref_rounded(rounded, s.x, out, in);
        OK(be->weight_new(&w, s.p, type, out, in, in + 2, WEIGHT_FORWARD, true));
        OK(be->weight_tops(top, w));
        OK(be->weight_rounded(&q, w, top));
        assert_int_equal(be->weight_bytes(q), gemm_rounded_size(out, in));
        assert_int_equal(be->weight_tops(top, q), CL_EINTERNAL);
        assert_int_equal(be->linear_back(x.t, alone.t, q, false), CL_EINTERNAL);
        for (int64_t r = 0; r < MOST; r++)
            OK(be->linear(tensor_rows(alone.t, r, 1), tensor_rows(x.t, r, 1), q, bias, false));
        ref_product(want, x.x, in, 1, rounded, 1, in, MOST, out, in, bias, NULL);
        CHECK(alone, want, 100); // x has 16 bits
        for (int n = 1; n <= MOST; n += n < 9 ? 1 : 10) {
            struct matrix y = make(DT_F32, n, out, 0, 0);
            omp_set_num_threads(n % 3 + 1);
            OK(be->linear(y.t, tensor_rows(x.t, 0, n), q, bias, false));
            assert_memory_equal(y.t.data, alone.t.data, (size_t)(n * out) * sizeof(float));
            OK(be->linear(y.t, tensor_rows(x.t, 0, n), q, NULL, true));
            for (int64_t j = 0; j < n * out; j++) want[j] = 2 * want[j] - bias[j % out];
            CHECK(y, want, 100);
            for (int64_t j = 0; j < n * out; j++) want[j] = (want[j] + bias[j % out]) / 2;
            drop(&y);
        }
        set(x.t, 0, in - 1, NAN);
        OK(be->linear(alone.t, x.t, q, NULL, false));
        assert_true(isnan(get(alone.t, 0, 0)) && !isnan(get(alone.t, 1, 0)));
        omp_set_num_threads(before);
        be->weight_free(w), be->weight_free(q);
        drop(&x), drop(&alone);
        free(s.raw), free(s.x), free(rounded), free(want), free(top), free(bias);
    }
}

/* Several weights that see the same rows: bit by bit what one after another gives, whatever kinds of weight they are. */
static void run_each(enum dtype act)
{
    enum { MOST = 3, IN = 530, ROWS = 20 };
    static const int64_t out[][MOST] = {{320, 64, 129}, {1, 67, 320}, {128, 128, 5}};
    const int before = omp_get_max_threads();

    for (int i = 0; i < 3 * 3 * 4; i++) {
        const int64_t n = i / 12 + 1, rows = (int64_t[]){1, 4, ROWS}[i / 4 % 3];
        struct source s = make_source(act, 320, IN, IN, false, act);
        struct matrix x = make(act, rows, IN, 0, 1), y[MOST], want[MOST];
        struct weight *w[MOST], *q[MOST];
        struct linear part[MOST];
        float *top = floats(320, 0, 1), *bias = floats(320, 0, 1);

        for (int64_t p = 0; p < n; p++) { // bit 0: bytes; bit 1: the last is of another kind
            const int64_t outs = out[i % 3][p];
            const bool other = i & 2 && p == n - 1;
            y[p] = make(DT_F32, rows, outs, 1, 0), want[p] = make(DT_F32, rows, outs, 1, 0);
            OK(be->weight_new(&w[p], s.p, act, outs, IN, IN, WEIGHT_FORWARD | WEIGHT_FEW, true));
            OK(be->weight_tops(top, w[p]));
            OK(be->weight_rounded(&q[p], w[p], top));
            part[p] = (struct linear){y[p].t, !(i & 1) == other ? q[p] : w[p], p ? bias : NULL};
            OK(be->linear(want[p].t, x.t, part[p].w, part[p].bias, false));
        }
        omp_set_num_threads(i % 3 + 1);
        OK(be->linear_each(part, (int)n, x.t));
        omp_set_num_threads(before);
        for (int64_t p = 0; p < n; p++) assert_memory_equal(y[p].raw, want[p].raw, y[p].bytes);
        part[n - 1].y.cols++;
        assert_int_equal(be->linear_each(part, (int)n, x.t), CL_EINTERNAL);
        for (int64_t p = 0; p < n; p++) be->weight_free(w[p]), be->weight_free(q[p]), drop(&y[p]), drop(&want[p]);
        drop(&x);
        free(s.raw), free(s.x), free(top), free(bias);
    }
}

/* A long sum over the rows of both, as in gradients of many tokens: the same bits for 1, 2, 3 threads. */
static void run_long_sum(enum dtype act)
{
    enum { K = 2500, M = 12, N = 33 };
    int before = omp_get_max_threads();
    double *want = doubles(M * N);

    for (int i = 0; i < 4; i++) {
        struct matrix a = make(act, K, M, 0, 1), b = i & 1 ? make(act, N, K, 0, 1) : make(act, K, N, 0, 1), c[3];
        uint64_t fixed = state;

        for (int t = 0; t < 3; t++) {
            state = fixed;
            c[t] = make(i & 2 ? act : DT_F32, M, N, 3, 1);
            ref_product(want, a.x, 1, M, b.x, i & 1 ? 1 : N, i & 1 ? K : 1, M, N, K, NULL, c[t].x);
            omp_set_num_threads(t + 1);
            OK(be->gemm(c[t].t, a.t, true, b.t, i & 1, true));
            CHECK(c[t], want, 2);
            if (strstr(backend_cpu_isa(), "BF16") || strstr(backend_cpu_isa(), "AMX"))
                assert_memory_equal(c[0].raw, c[t].raw, c[t].bytes);
        }
        drop(&a);
        drop(&b);
        for (int t = 0; t < 3; t++) drop(&c[t]);
    }
    omp_set_num_threads(before);
    free(want);
}

static void run_bad_weights(enum dtype act)
{
    float x[16] = {0};
    struct weight *w = (struct weight *)x;

    assert_int_equal(be->weight_new(&w, x, DT_F32, 4, 4, 3, 1, true), CL_EINTERNAL);
    assert_null(w);
    assert_int_equal(be->weight_new(&w, x, DT_I32, 4, 4, 4, 1, true), CL_EINTERNAL);
    assert_int_equal(be->weight_new(&w, x, act, 0, 4, 4, 1, true), CL_EINTERNAL);
    be->weight_free(NULL);
}

#define CASE(name)                                                                                                     \
    static void test_##name(void **unused)                                                                             \
    {                                                                                                                  \
        (void)unused;                                                                                                  \
        each_setting(run_##name);                                                                                      \
    }
#define CASES(X)                                                                                                       \
    X(gemm)                                                                                                            \
    X(gemm_empty)                                                                                                      \
    X(weights) X(many_shapes) X(large) X(picked_rows) X(few) X(rounded) X(each) X(threads) X(long_sum) X(bad_weights)
CASES(CASE)

int main(void)
{
#define ENTRY(name) cmocka_unit_test(test_##name),
    const struct CMUnitTest tests[] = {CASES(ENTRY)};
    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
