/* activation.c - pointwise functions of the MLPs, their gated form and its gradient.
 *
 * All but ReLU are x P(x) with P rising from 0 to 1: the logistic function of some z(x), or the normal distribution. In
 * this form nothing cancels, and the derivative is P + x P'.
 */
#include "model/cpu/kernels/kernel.h"

INLINE vf logistic(vf z)
{
    return 1 / (1 + vf_exp(-z));
}

/* Normal distribution and its density. For x <= 0 Phi(x) = e^(-x^2/2) t p(t), t = 1 / (1 + 0.35 |x|), p fitted for least
 * relative error (3e-8); the other side is 1 - Phi(-x). */
INLINE vf normal(vf x, vf *density)
{
    static const float p[] = {0.139621302f, 0.139863536f,  0.119821183f, 0.105552927f, -0.0232136939f,
                              0.159321249f, -0.255840391f, 0.144031614f, -0.02915803f};
    vf a = vf_max(-x, x), t = 1 / (1 + a * 0.35f), e = vf_exp(a * a * -0.5f), sum = vf_set(p[8]);

    for (int i = 7; i >= 0; i--) sum = sum * t + p[i];
    sum = sum * t * e;
    *density = e * 0.398942280f; // 1 / sqrt(2 pi)
    return vf_select(x <= 0, sum, 1 - sum);
}

/* The activation and its derivative. */
INLINE vf act(vf x, enum activation kind, vf *slope)
{
    vf p, z_slope;

    switch (kind) {
    case ACT_RELU: *slope = vf_select(x > 0, vf_set(1), (vf){0}); return vf_select(x <= 0, (vf){0}, x); // NaN stays
    case ACT_GELU:
        p = normal(x, &z_slope);
        *slope = p + x * z_slope;
        return x * p;
    case ACT_QUICK_GELU:
        p = logistic(x * 1.702f);
        z_slope = vf_set(1.702f);
        break;
    case ACT_GELU_TANH: // (1 + tanh u) / 2 = logistic(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
        p = logistic(x * (1.595769122f + x * x * 0.0713548163f));
        z_slope = 1.595769122f + x * x * 0.214064449f;
        break;
    default: // ACT_SILU
        p = logistic(x);
        z_slope = vf_set(1);
        break;
    }
    *slope = p + x * z_slope * p * (1 - p);
    return x * p;
}

/* One row at a time with the kind known to the compiler. */
#define EACH_KIND(call)                                                                                                \
    switch (kind) {                                                                                                    \
    case ACT_GELU: call(ACT_GELU); break;                                                                              \
    case ACT_QUICK_GELU: call(ACT_QUICK_GELU); break;                                                                  \
    case ACT_GELU_TANH: call(ACT_GELU_TANH); break;                                                                    \
    case ACT_SILU: call(ACT_SILU); break;                                                                              \
    case ACT_RELU: call(ACT_RELU); break;                                                                              \
    }

INLINE void act_row(struct row x, int64_t n, enum activation kind)
{
    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf slope;
        vf_put(x, c, w, act(vf_get(x, c, w), kind, &slope));
    }
}

INLINE void glu_row(struct row out, struct row gate, struct row up, int64_t n, enum activation kind)
{
    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf slope;
        vf_put(out, c, w, act(vf_get(gate, c, w), kind, &slope) * vf_get(up, c, w));
    }
}

INLINE void glu_back_row(struct row gate, struct row up, struct row dout, int64_t n, enum activation kind)
{
    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf slope, d = vf_get(dout, c, w), u = vf_get(up, c, w), y = act(vf_get(gate, c, w), kind, &slope);
        vf_put(gate, c, w, d * u * slope);
        vf_put(up, c, w, d * y);
    }
}

void KERNEL(activate)(struct tensor x, enum activation kind)
{
#pragma omp parallel for schedule(static) if (x.rows * x.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < x.rows; r++) {
#define CALL(k) act_row(row_of(x, r), x.cols, k)
        EACH_KIND(CALL)
#undef CALL
    }
}

void KERNEL(glu)(struct tensor out, struct tensor gate, struct tensor up, enum activation kind)
{
#pragma omp parallel for schedule(static) if (out.rows * out.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < out.rows; r++) {
#define CALL(k) glu_row(row_of(out, r), row_of(gate, r), row_of(up, r), out.cols, k)
        EACH_KIND(CALL)
#undef CALL
    }
}

void KERNEL(glu_back)(struct tensor gate, struct tensor up, struct tensor dout, enum activation kind)
{
#pragma omp parallel for schedule(static) if (dout.rows * dout.cols > PARALLEL_WORK / 4)
    for (int64_t r = 0; r < dout.rows; r++) {
#define CALL(k) glu_back_row(row_of(gate, r), row_of(up, r), row_of(dout, r), dout.cols, k)
        EACH_KIND(CALL)
#undef CALL
    }
}
