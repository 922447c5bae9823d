/* kernel_check.h - how the operations of a backend are checked: matrices with edges, references in double precision.
 *
 * Matrices lie in buffers filled with a pattern; what is not part of the matrix (gaps between rows, the edges) must keep
 * it. A result passes when its normalised squared error against the reference is below what its type allows.
 */
#ifndef CLLAVA_TESTS_KERNEL_CHECK_H
#define CLLAVA_TESTS_KERNEL_CHECK_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "model/backend.h"
#include "model/cpu/isa.h"
#include "model/cpu/kernels.h"

enum { EDGE = 192, PATTERN = 0xa5 }; // bytes in front and behind

static const struct backend *be; // of the running case
static const char *setting;      // "v4 bf16", for messages

#define OK(call) ok_call(call, #call, __LINE__)
static inline void ok_call(int rc, const char *text, int line)
{
    if (rc) fail_msg("%s, line %d: %s: %s", setting, line, text, err_text());
}

/* ---- numbers */

static uint64_t state = 1;

static inline double uniform(void) // [-1, 1)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(int64_t)state / 9223372036854775808.0;
}

/* ---- matrices with edges */

struct matrix {
    struct tensor t;
    unsigned char *raw;
    size_t bytes;
    double *x; // what was filled in, dense
};

static inline double get(struct tensor t, int64_t r, int64_t c)
{
    int64_t at = r * t.ld + c;
    return t.type == DT_F32 ? ((float *)t.data)[at] : bf16_to_f32(((uint16_t *)t.data)[at]);
}

static inline void set(struct tensor t, int64_t r, int64_t c, double x)
{
    int64_t at = r * t.ld + c;
    if (t.type == DT_F32)
        ((float *)t.data)[at] = (float)x;
    else
        ((uint16_t *)t.data)[at] = f32_to_bf16((float)x);
}

/* A matrix of numbers in [-size, size), rows cols + gap apart, not aligned to more than its type. */
static inline struct matrix make(enum dtype type, int64_t rows, int64_t cols, int gap, double size)
{
    struct matrix m = {.bytes = 2 * EDGE + (size_t)(rows * (cols + gap)) * dtype_size(type)};

    m.raw = malloc(m.bytes);
    m.x = malloc((size_t)(rows * cols + 1) * sizeof *m.x);
    assert_non_null(m.raw);
    assert_non_null(m.x);
    memset(m.raw, PATTERN, m.bytes);
    m.t = (struct tensor){m.raw + EDGE + (gap % 3 ? dtype_size(type) : 0), type, rows, cols, cols + gap};
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            set(m.t, r, c, size * uniform());
            m.x[r * cols + c] = get(m.t, r, c);
        }
    return m;
}

/* Nothing outside the matrix was written. */
static inline void check_edges(const struct matrix *m, int line)
{
    size_t size = dtype_size(m->t.type), first = (size_t)((unsigned char *)m->t.data - m->raw);

    for (size_t i = 0; i < m->bytes; i++) {
        size_t at = i < first ? SIZE_MAX : (i - first) / size;
        bool inside = at != SIZE_MAX && (int64_t)at < m->t.rows * m->t.ld && (int64_t)at % m->t.ld < m->t.cols;
        if (!inside && m->raw[i] != PATTERN) fail_msg("%s, line %d: byte %zu was written", setting, line, i);
    }
}

static inline void drop(struct matrix *m)
{
    free(m->raw);
    free(m->x);
}

/* Normalised squared error below what the type of t allows; loosen: factor for ops that lose more. */
static inline void check(const struct matrix *m, const double *want, double loosen, int line)
{
    double error = 0, norm = 1e-30, most = (m->t.type == DT_F32 ? 1e-11 : 2e-5) * loosen;

    for (int64_t r = 0; r < m->t.rows; r++)
        for (int64_t c = 0; c < m->t.cols; c++) {
            double w = want[r * m->t.cols + c], d = get(m->t, r, c) - w;
            error += d * d;
            norm += w * w;
        }
    if (!(error <= most * norm))
        fail_msg("%s, line %d: %lld x %lld: normalised squared error %g (at most %g)", setting, line,
                 (long long)m->t.rows, (long long)m->t.cols, error / norm, most);
    check_edges(m, line);
}
#define CHECK(m, want, loosen) check(&(m), want, loosen, __LINE__)

static inline double *doubles(int64_t n)
{
    double *x = calloc((size_t)n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

static inline float *floats(int64_t n, double middle, double size)
{
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(middle + size * uniform());
    return x;
}

/* ---- settings: levels x precisions */

static inline void each_setting(void (*run)(enum dtype act))
{
    static const char *const level[] = {"v2", "v3", "v4", "v4b"};
    static const enum dtype precision[] = {DT_F32, DT_BF16};
    char text[32];
    int runs = 0;

    for (int l = 0; l < 4; l++)
        for (int p = l == 3; p < 2; p++) { // v4b differs from v4 in bf16 alone
            setenv("CLLAVA_CPU", level[l], 1);
            int rc = backend_cpu(&be, precision[p]);
            if (rc == CL_EDEVICE) continue;
            assert_int_equal(rc, CL_OK);
            if (strncmp(cpu_kernels()->level, level[l], 2) || cpu_has_pairs() != (l == 3))
                continue; // not on this processor
            snprintf(text, sizeof text, "%s %s", level[l], dtype_name(precision[p]));
            setting = text;
            state = 88172645463325252u;
            run(precision[p]);
            runs++;
        }
    assert_true(runs > 0);
    unsetenv("CLLAVA_CPU");
}

/* The type of a matrix that a model in precision act may have: activations act, residuals f32. */
static inline enum dtype either(enum dtype act, int i)
{
    return i & 1 ? DT_F32 : act;
}

#endif
