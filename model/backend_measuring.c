/* backend_measuring.c - a backend whose operations do nothing, so that a step can be run to see what memory it takes. */
#include "model/backend_measuring.h"

#include <stdlib.h>

#include "io/err.h"
#include "model/cpu/gemm.h"

static struct measured sum;

/* ---- memory: a note of its size */

struct note {
    size_t bytes;
};

static void *note_alloc(size_t bytes)
{
    struct note *n = malloc(sizeof *n);

    if (!n) return NULL;
    n->bytes = (bytes + 63) / 64 * 64;
    sum.own += n->bytes;
    return n;
}

static void note_free(void *p)
{
    struct note *n = p;

    if (n) sum.own -= n->bytes;
    free(n);
}

static int no_transfer(void *dst, const void *src, size_t bytes)
{
    (void)dst, (void)src, (void)bytes;
    return CL_OK;
}

struct weight {
    size_t own, mapped;
    int64_t out, in;
};

static int weight_note(struct weight **w, enum dtype src_type, int64_t out, int64_t in, unsigned uses, bool keep,
                       enum dtype act)
{
    size_t own = gemm_weight_size(src_type, out, in, uses, keep, act);

    if (!(*w = malloc(sizeof **w))) return err_set(CL_ENOMEM, "out of memory");
    **w = (struct weight){own, own ? 0 : (size_t)out * (size_t)in * dtype_size(src_type), out, in};
    sum.own += own;
    sum.mapped += (*w)->mapped;
    return CL_OK;
}

static int weight_new_f32(struct weight **w, const void *src, enum dtype src_type, int64_t out, int64_t in, int64_t ld,
                          unsigned uses, bool keep)
{
    (void)src, (void)ld;
    return weight_note(w, src_type, out, in, uses, keep, DT_F32);
}

static int weight_new_bf16(struct weight **w, const void *src, enum dtype src_type, int64_t out, int64_t in, int64_t ld,
                           unsigned uses, bool keep)
{
    (void)src, (void)ld;
    return weight_note(w, src_type, out, in, uses, keep, DT_BF16);
}

static int weight_tops(float *top, const struct weight *w)
{
    for (int64_t i = 0; i < w->out; i++) top[i] = 0;
    return CL_OK;
}

static int weight_rounded(struct weight **q, const struct weight *w, const float *top)
{
    (void)top;
    if (!(*q = malloc(sizeof **q))) return err_set(CL_ENOMEM, "out of memory");
    **q = (struct weight){.own = gemm_rounded_size(w->out, w->in), .out = w->out, .in = w->in};
    sum.own += (*q)->own;
    return CL_OK;
}

static void weight_free(struct weight *w)
{
    if (!w) return;
    sum.own -= w->own;
    sum.mapped -= w->mapped;
    free(w);
}

static size_t weight_bytes(const struct weight *w)
{
    return w->own;
}

struct measured backend_measured(void)
{
    return sum;
}

void backend_measured_clear(void)
{
    sum = (struct measured){0};
}

/* ---- operations: nothing */

#define T struct tensor t
#define TT struct tensor o, struct tensor t
#define TTT struct tensor o, struct tensor a, struct tensor t
#define OPERATIONS(X)                                                                                                  \
    X(zero, T)                                                                                                         \
    X(copy, TT)                                                                                                        \
    X(add, TT)                                                                                                         \
    X(scale, T, float f)                                                                                               \
    X(linear, TT, const struct weight *w, const float *b, bool add)                                                    \
    X(linear_each, const struct linear *p, int n, T)                                                                   \
    X(linear_back, TT, const struct weight *w, bool add)                                                               \
    X(embed, T, const struct weight *w, const int32_t *id)                                                             \
    X(gemm, TT, bool at, struct tensor b, bool bt, bool add)                                                           \
    X(rmsnorm, struct tensor o, float *r, T, const float *g, float e)                                                  \
    X(rmsnorm_back, TTT, const float *g, const float *r)                                                               \
    X(layernorm, TT, const float *g, const float *b, float e)                                                          \
    X(activate, T, enum activation k)                                                                                  \
    X(glu, TTT, enum activation k)                                                                                     \
    X(glu_back, TTT, enum activation k)                                                                                \
    X(rope, T, int h, int d, const int32_t *p, const float *c, const float *s, bool i)                                 \
    X(attention, struct tensor o, float *l, TTT1, const struct attention_shape *s)                                     \
    X(gather, TT, const int64_t *r)                                                                                    \
    X(scatter, TT, const int64_t *r)                                                                                   \
    X(scatter_add, TT, const int64_t *r)                                                                               \
    X(cross_entropy, float *n, T, const int32_t *g, float s)                                                           \
    X(softmax_part, struct softmax_part *p, T, const int32_t *g, int64_t f)                                            \
    X(softmax_grad, T, const struct softmax_part *p, const int32_t *g, int64_t f, float s)                             \
    X(soft_part, struct soft_part *p, TT, float s)                                                                     \
    X(soft_grad, TT, const struct soft_part *p, float s, float f)                                                      \
    X(jsd_part, struct jsd_part *p, TT, const struct soft_part *w)                                                     \
    X(jsd_grad, TT, const struct soft_part *w, const struct jsd_part *p, const float *f)                               \
    X(adapter_scale, T, const float *c, const int64_t *u, int s, int m, int r)                                         \
    X(adapter_coef_back, double *d, TT, const int64_t *u, int s, int m, int r)
#define TTT1 struct tensor q, struct tensor k, struct tensor v

#pragma GCC diagnostic ignored "-Wunused-parameter" // nothing is looked at: that is the point
#define NOTHING(name, ...)                                                                                             \
    static int no_##name(__VA_ARGS__)                                                                                  \
    {                                                                                                                  \
        return 0;                                                                                                      \
    }
OPERATIONS(NOTHING)

/* Every thread keeps the gradients of one sample's keys and values. */
static int no_attention_back(TTT, struct tensor d, struct tensor e, struct tensor q, struct tensor k, struct tensor v,
                             const float *l, const struct attention_shape *s)
{
    for (int i = 0; i < s->samples; i++) {
        size_t keys = (size_t)(s->cu_k[i + 1] - s->cu_k[i]), bytes = 2 * keys * (size_t)s->head_dim * sizeof(float);
        if (bytes > sum.scratch) sum.scratch = bytes;
    }
    return CL_OK;
}

/* Somebody looks at what was chosen. */
static int no_argmax(int32_t *id, float *top, struct tensor logits, const uint8_t *allowed)
{
    for (int64_t i = 0; i < logits.rows; i++) id[i] = 0;
    for (int64_t i = 0; top && i < logits.rows; i++) top[i] = 0;
    return CL_OK;
}

#define ROW(name, ...) .name = no_##name,
#define TABLE(type, new_weight)                                                                                        \
    {                                                                                                                  \
        .name = "measuring", .act = type, .alloc = note_alloc, .free = note_free, .upload = no_transfer,               \
        .download = no_transfer, .weight_new = new_weight, .weight_free = weight_free, .weight_bytes = weight_bytes,   \
        .weight_tops = weight_tops, .weight_rounded = weight_rounded, .attention_back = no_attention_back,             \
        .argmax = no_argmax, OPERATIONS(ROW)                                                                           \
    }
static const struct backend f32 = TABLE(DT_F32, weight_new_f32), bf16 = TABLE(DT_BF16, weight_new_bf16);

const struct backend *backend_measuring(enum dtype act)
{
    return act == DT_BF16 ? &bf16 : &f32;
}
