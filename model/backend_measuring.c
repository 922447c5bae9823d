/* backend_measuring.c - a backend whose operations do nothing, so that a step can be run to see what memory it takes. */
#include "model/lvlm_internal.h"

#define T struct tensor t
#define TT struct tensor o, struct tensor t
#define TTT struct tensor o, struct tensor a, struct tensor t
#define OPERATIONS(X)                                                                                                  \
    X(zero, T)                                                                                                         \
    X(copy, TT)                                                                                                        \
    X(add, TT)                                                                                                         \
    X(scale, T, float f)                                                                                               \
    X(linear, TT, const struct weight *w, const float *b, bool add)                                                    \
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
    X(attention_back, TTT, struct tensor d, struct tensor e, struct tensor q, struct tensor k, struct tensor v,        \
      const float *l, const struct attention_shape *s)                                                                 \
    X(gather, TT, const int64_t *r)                                                                                    \
    X(scatter, TT, const int64_t *r)                                                                                   \
    X(scatter_add, TT, const int64_t *r)                                                                               \
    X(cross_entropy, float *n, T, const int32_t *g, float s)                                                           \
    X(softmax_part, struct softmax_part *p, T, const int32_t *g, int64_t f)                                            \
    X(softmax_grad, T, const struct softmax_part *p, const int32_t *g, int64_t f, float s)                             \
    X(argmax, int32_t *i, float *m, T, const uint8_t *a)                                                               \
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

#define ROW(name, ...) .name = no_##name,
static const struct backend f32 = {.name = "measuring", .act = DT_F32, OPERATIONS(ROW)};
static const struct backend bf16 = {.name = "measuring", .act = DT_BF16, OPERATIONS(ROW)};

const struct backend *backend_measuring(enum dtype act)
{
    return act == DT_BF16 ? &bf16 : &f32;
}
