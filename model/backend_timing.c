/* backend_timing.c - a backend that passes every operation on to another and watches the clock. */
#include "model/backend_timing.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 256 };

static struct {
    struct backend table;
    const struct backend *inner;
    clockid_t id;
    struct timing entry[ENTRIES]; // what does not fit goes into the last
    size_t n;
} clocks;

static double now(void)
{
    struct timespec t;

    clock_gettime(clocks.id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void note(const char *op, int64_t rows, int64_t cols, int64_t depth, double flop, double seconds)
{
    struct timing *e = clocks.entry;
    size_t i = 0;

    while (i < clocks.n && (e[i].op != op || e[i].cols != cols || e[i].depth != depth)) i++;
    if (i == ENTRIES) i--;
    if (i == clocks.n) {
        e[i] = (struct timing){.op = op, .cols = cols, .depth = depth};
        clocks.n++;
    }
    e[i].calls++;
    e[i].rows += rows;
    e[i].flop += flop;
    e[i].seconds += seconds;
}

static double product(struct tensor c, int64_t depth)
{
    return 2.0 * (double)c.rows * (double)c.cols * (double)depth;
}

/* All that several products make, as one. */
static struct tensor outputs(const struct linear *p, int n)
{
    struct tensor t = p->y;

    for (int i = 1; i < n; i++) t.cols += p[i].y.cols;
    return t;
}

/* Multiply-adds of one product of attention, e.g. q k^T. */
static double seen(const struct attention_shape *s)
{
    double pairs = 0;

    for (int b = 0; b < s->samples; b++)
        for (int64_t r = s->cu_q[b]; r < s->cu_q[b + 1]; r++)
            pairs += (double)(s->causal ? s->q_pos[r] + 1 : s->cu_k[b + 1] - s->cu_k[b]);
    return pairs * s->heads * s->head_dim;
}

/* name, parameters, the same as arguments, the result, depth, flop */
#define OPERATIONS(X)                                                                                                  \
    X(zero, (struct tensor t), (t), t, 0, 0)                                                                           \
    X(copy, (struct tensor t, struct tensor a), (t, a), t, 0, 0)                                                       \
    X(add, (struct tensor t, struct tensor a), (t, a), t, 0, 0)                                                        \
    X(scale, (struct tensor t, float f), (t, f), t, 0, 0)                                                              \
    X(linear, (struct tensor t, struct tensor x, const struct weight *w, const float *b, bool add), (t, x, w, b, add), \
      t, x.cols, product(t, x.cols))                                                                                   \
    X(linear_each, (const struct linear *p, int n, struct tensor x), (p, n, x), outputs(p, n), x.cols,                 \
      product(outputs(p, n), x.cols))                                                                                  \
    X(linear_back, (struct tensor t, struct tensor d, const struct weight *w, bool add), (t, d, w, add), t, d.cols,    \
      product(t, d.cols))                                                                                              \
    X(embed, (struct tensor t, const struct weight *w, const int32_t *id), (t, w, id), t, 0, 0)                        \
    X(gemm, (struct tensor t, struct tensor a, bool at, struct tensor b, bool bt, bool add), (t, a, at, b, bt, add),   \
      t, at ? a.rows : a.cols, product(t, at ? a.rows : a.cols))                                                       \
    X(rmsnorm, (struct tensor t, float *r, struct tensor x, const float *g, float e), (t, r, x, g, e), t, 0, 0)        \
    X(rmsnorm_back, (struct tensor t, struct tensor d, struct tensor x, const float *g, const float *r),               \
      (t, d, x, g, r), t, 0, 0)                                                                                        \
    X(layernorm, (struct tensor t, struct tensor x, const float *g, const float *b, float e), (t, x, g, b, e), t, 0,   \
      0)                                                                                                               \
    X(activate, (struct tensor t, enum activation k), (t, k), t, 0, 0)                                                 \
    X(glu, (struct tensor t, struct tensor g, struct tensor u, enum activation k), (t, g, u, k), t, 0, 0)              \
    X(glu_back, (struct tensor t, struct tensor u, struct tensor d, enum activation k), (t, u, d, k), t, 0, 0)         \
    X(rope, (struct tensor t, int h, int n, const int32_t *p, const float *c, const float *s, bool i),                 \
      (t, h, n, p, c, s, i), t, 0, 0)                                                                                  \
    X(attention,                                                                                                       \
      (struct tensor t, float *l, struct tensor q, struct tensor k, struct tensor v, const struct attention_shape *s), \
      (t, l, q, k, v, s), t, 0, 4 * seen(s))                                                                           \
    X(attention_back,                                                                                                  \
      (struct tensor t, struct tensor dk, struct tensor dv, struct tensor d, struct tensor o, struct tensor q,         \
       struct tensor k, struct tensor v, const float *l, const struct attention_shape *s),                             \
      (t, dk, dv, d, o, q, k, v, l, s), t, 0, 8 * seen(s))                                                             \
    X(gather, (struct tensor t, struct tensor a, const int64_t *r), (t, a, r), t, 0, 0)                                \
    X(scatter, (struct tensor t, struct tensor a, const int64_t *r), (t, a, r), a, 0, 0)                               \
    X(scatter_add, (struct tensor t, struct tensor a, const int64_t *r), (t, a, r), a, 0, 0)                           \
    X(cross_entropy, (float *n, struct tensor t, const int32_t *g, float s), (n, t, g, s), t, 0, 0)                    \
    X(softmax_part, (struct softmax_part * p, struct tensor t, const int32_t *g, int64_t f), (p, t, g, f), t, 0, 0)    \
    X(softmax_grad, (struct tensor t, const struct softmax_part *p, const int32_t *g, int64_t f, float s),             \
      (t, p, g, f, s), t, 0, 0)                                                                                        \
    X(soft_part, (struct soft_part * p, struct tensor t, struct tensor o, float s), (p, t, o, s), t, 0, 0)             \
    X(soft_grad, (struct tensor t, struct tensor a, const struct soft_part *p, float s, float f), (t, a, p, s, f), t,  \
      0, 0)                                                                                                            \
    X(jsd_part, (struct jsd_part * p, struct tensor t, struct tensor o, const struct soft_part *s), (p, t, o, s), t,   \
      0, 0)                                                                                                            \
    X(jsd_grad,                                                                                                        \
      (struct tensor t, struct tensor a, const struct soft_part *s, const struct jsd_part *p, const float *f),         \
      (t, a, s, p, f), t, 0, 0)                                                                                        \
    X(argmax, (int32_t * i, float *m, struct tensor t, const uint8_t *a), (i, m, t, a), t, 0, 0)                       \
    X(adapter_scale, (struct tensor t, const float *c, const int64_t *u, int s, int m, int r), (t, c, u, s, m, r), t,  \
      0, 0)                                                                                                            \
    X(adapter_coef_back, (double *d, struct tensor t, struct tensor v, const int64_t *u, int s, int m, int r),         \
      (d, t, v, u, s, m, r), t, 0, 0)

#define TIMED(name, parameters, arguments, result, depth, flop)                                                        \
    static int timed_##name parameters                                                                                 \
    {                                                                                                                  \
        const double begun = now();                                                                                    \
        const int rc = clocks.inner->name arguments;                                                                   \
        note(#name, result.rows, result.cols, depth, flop, now() - begun);                                             \
        return rc;                                                                                                     \
    }
OPERATIONS(TIMED)

void backend_timing(const struct backend **be, const struct backend *inner, clockid_t clock)
{
    clocks.id = clock;
    clocks.inner = inner;
    clocks.table = *inner; // memory and weights go straight through
#define PUT(name, ...) clocks.table.name = timed_##name;
    OPERATIONS(PUT)
    backend_timing_clear();
    *be = &clocks.table;
}

void backend_timing_clear(void)
{
    clocks.n = 0;
}

static int longer(const void *a, const void *b)
{
    double x = ((const struct timing *)a)->seconds, y = ((const struct timing *)b)->seconds;

    return (x < y) - (x > y);
}

size_t backend_timing_read(struct timing *out, size_t room)
{
    qsort(clocks.entry, clocks.n, sizeof *clocks.entry, longer);
    if (room > clocks.n) room = clocks.n;
    memcpy(out, clocks.entry, room * sizeof *out);
    return room;
}
