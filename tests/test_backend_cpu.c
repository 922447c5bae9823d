/* test_backend_cpu.c - the row-wise operations of the CPU's table against plain loops in double precision, on all
 * instruction sets of this machine and in both precisions. */
#include "tests/kernel_check.h"

#include <omp.h>

static const int64_t widths[] = {1, 3, 8, 15, 16, 17, 48, 100, 129};
enum { WIDTHS = sizeof widths / sizeof *widths };

/* ---- moving rows */

static void run_rows(enum dtype act)
{
    for (int i = 0; i < WIDTHS * 4; i++) {
        int64_t n = widths[i / 4], rows = i % 5 + 1;
        struct matrix a = make(either(act, i), rows, n, i % 4, 2), b = make(either(act, i >> 1), rows, n, i % 3, 2);
        double *want = doubles(rows * n);

        for (int64_t j = 0; j < rows * n; j++) want[j] = a.x[j] + b.x[j];
        OK(be->add(a.t, b.t));
        CHECK(a, want, 1);
        for (int64_t j = 0; j < rows * n; j++) want[j] = b.x[j] * -0.3;
        OK(be->copy(a.t, b.t));
        OK(be->scale(a.t, -0.3f));
        CHECK(a, want, 3);
        memset(want, 0, (size_t)(rows * n) * sizeof *want);
        OK(be->zero(a.t));
        CHECK(a, want, 1);
        CHECK(b, b.x, 1);
        drop(&a);
        drop(&b);
        free(want);
    }
}

static void run_index(enum dtype act)
{
    static const int64_t row[] = {4, 0, 6}, back[] = {0, 4, 5};
    for (int i = 0; i < WIDTHS * 4; i++) {
        int64_t n = widths[i / 4];
        struct matrix big = make(either(act, i), 7, n, i % 4, 2), small = make(either(act, i >> 1), 3, n, i % 3, 2);
        double *want = doubles(7 * n), *few = doubles(3 * n);

        memcpy(want, big.x, (size_t)(7 * n) * sizeof *want);
        for (int r = 0; r < 3; r++)
            for (int64_t c = 0; c < n; c++) want[row[r] * n + c] += small.x[r * n + c];
        OK(be->scatter_add(big.t, small.t, row));
        CHECK(big, want, 1);
        for (int r = 0; r < 3; r++) memcpy(want + row[r] * n, small.x + r * n, (size_t)n * sizeof *want);
        OK(be->scatter(big.t, small.t, row));
        CHECK(big, want, 1);
        for (int64_t j = 0; j < 3 * n; j++) few[j] = get(big.t, back[j / n], j % n);
        OK(be->gather(small.t, big.t, back));
        CHECK(small, few, 1);
        assert_int_equal(be->gather(small.t, big.t, (int64_t[]){0, 7, 1}), CL_EINTERNAL);
        assert_int_equal(be->scatter(big.t, small.t, (int64_t[]){0, -1, 1}), CL_EINTERNAL);
        drop(&big);
        drop(&small);
        free(want);
        free(few);
    }
}

/* ---- norms */

static void ref_rmsnorm(double *out, double *s, const double *x, const float *gain, int64_t n, double eps)
{
    double sum = 0;
    for (int64_t c = 0; c < n; c++) sum += x[c] * x[c];
    *s = 1 / sqrt(sum / (double)n + eps);
    for (int64_t c = 0; c < n; c++) out[c] = x[c] * *s * gain[c];
}

static void run_rmsnorm(enum dtype act)
{
    for (int i = 0; i < WIDTHS * 4; i++) {
        int64_t n = widths[i / 4], rows = i % 5 + 1;
        struct matrix x = make(either(act, i), rows, n, i % 4, 2), y = make(either(act, i >> 1), rows, n, i % 3, 2);
        float *gain = floats(n, 1, 0.5), *rstd = floats(rows, 0, 1);
        double *want = doubles(rows * n), s;

        OK(be->rmsnorm(y.t, rstd, x.t, gain, 1e-5f));
        for (int64_t r = 0; r < rows; r++) {
            ref_rmsnorm(want + r * n, &s, x.x + r * n, gain, n, 1e-5);
            assert_true(fabs(rstd[r] / s - 1) < 1e-6);
        }
        CHECK(y, want, 1);
        OK(be->rmsnorm(y.t, NULL, x.t, gain, 1e-5f));
        CHECK(y, want, 1);
        drop(&x);
        drop(&y);
        free(gain);
        free(rstd);
        free(want);
    }
}

/* Against central differences of sum(dy * f(x)). */
static void run_rmsnorm_back(enum dtype act)
{
    for (int i = 0; i < WIDTHS * 8; i++) {
        int64_t n = widths[i / 8], rows = 3;
        struct matrix x = make(either(act, i), rows, n, i % 4, 2), dy = make(either(act, i >> 1), rows, n, i % 3, 2),
                      dx = make(either(act, i >> 2), rows, n, 1, 2);
        float *gain = floats(n, 1, 0.5), *rstd = floats(rows, 0, 1);
        double *want = doubles(rows * n), *y = doubles(n), s, step = 1e-5;

        for (int64_t j = 0; j < rows * n; j++) {
            double sum[2] = {0, 0}, *row = x.x + j / n * n, keep = x.x[j];
            for (int side = 0; side < 2; side++) {
                x.x[j] = keep + (side ? step : -step);
                ref_rmsnorm(y, &s, row, gain, n, 1e-5);
                for (int64_t c = 0; c < n; c++) sum[side] += y[c] * dy.x[j / n * n + c];
            }
            x.x[j] = keep;
            ref_rmsnorm(y, &s, row, gain, n, 1e-5);
            rstd[j / n] = (float)s;
            want[j] = dx.x[j] + (sum[1] - sum[0]) / (2 * step);
        }
        OK(be->rmsnorm_back(dx.t, dy.t, x.t, gain, rstd));
        CHECK(dx, want, 1);
        drop(&x);
        drop(&dy);
        drop(&dx);
        free(gain);
        free(rstd);
        free(want);
        free(y);
    }
}

static void run_layernorm(enum dtype act)
{
    for (int i = 4; i < WIDTHS * 4; i++) { // from 3 columns on: the norm of one number is 0 / 0
        int64_t n = widths[i / 4], rows = i % 5 + 1;
        bool in_place = i % 3 == 2;
        struct matrix x = make(either(act, i), rows, n, i % 4, 2), other = make(either(act, i >> 1), rows, n, i % 3, 2),
                      *y = in_place ? &x : &other;
        float *gain = floats(n, 1, 0.5), *bias = floats(n, 0, 1);
        double *want = doubles(rows * n);

        for (int64_t r = 0; r < rows; r++) {
            double mean = 0, var = 0, *from = x.x + r * n;
            for (int64_t c = 0; c < n; c++) mean += from[c] / (double)n;
            for (int64_t c = 0; c < n; c++) var += (from[c] - mean) * (from[c] - mean) / (double)n;
            for (int64_t c = 0; c < n; c++) want[r * n + c] = (from[c] - mean) / sqrt(var + 1e-5) * gain[c] + bias[c];
        }
        OK(be->layernorm(y->t, x.t, gain, bias, 1e-5f));
        CHECK(*y, want, 1);
        drop(&x);
        drop(&other);
        free(gain);
        free(bias);
        free(want);
    }
}

/* ---- activations */

static double ref_act(double x, enum activation kind)
{
    switch (kind) {
    case ACT_GELU: return 0.5 * x * erfc(-x / sqrt(2));
    case ACT_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    case ACT_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case ACT_SILU: return x / (1 + exp(-x));
    default: return x > 0 ? x : 0;
    }
}

static void run_activate(enum dtype act)
{
    for (int i = 0; i < WIDTHS * 5; i++) {
        enum activation kind = (enum activation)(i % 5);
        int64_t n = widths[i / 5], rows = i % 4 + 1;
        struct matrix x = make(either(act, i), rows, n, i % 4, 12);
        double *want = doubles(rows * n);

        for (int64_t j = 0; j < rows * n; j++) want[j] = ref_act(x.x[j], kind);
        OK(be->activate(x.t, kind));
        CHECK(x, want, 1);
        drop(&x);
        free(want);
    }
}

/* Far out: no NaN, no overflow; NaN stays NaN. And the relative error of the exponential through SiLU's tail. */
static void run_extremes(enum dtype act)
{
    static const float far[] = {0,    -0.0f, 1e-30f, -1e-30f, 88,  -88, 104, -104,
                                1e4f, -1e4f, 3e38f,  -3e38f,  -20, -50, -87};
    (void)act;
    for (int kind = 0; kind < 5; kind++) {
        float x[16];
        memcpy(x, far, sizeof far);
        x[15] = NAN;
        OK(be->activate(tensor_of(x, DT_F32, 1, 16), (enum activation)kind));
        assert_true(isnan(x[15]));
        for (int i = 0; i < 15; i++) {
            double want = ref_act(far[i], (enum activation)kind), error = fabs(x[i] - want);
            if (!(error <= 1e-36 + 4e-6 * fabs(want)) && !(fabsf(far[i]) > 1e4f && x[i] == (far[i] > 0 ? far[i] : 0)))
                fail_msg("%s: activation %d of %g: %g (expected %g)", setting, kind, far[i], x[i], want);
        }
    }
}

static void run_glu(enum dtype act)
{
    for (int i = 0; i < WIDTHS * 5; i++) {
        enum activation kind = (enum activation)(i % 5);
        int64_t n = widths[i / 5], rows = i % 4 + 1;
        struct matrix gate = make(either(act, i), rows, n, i % 4, 4), up = make(either(act, i), rows, n, i % 3, 2),
                      other = make(either(act, i >> 1), rows, n, i % 3, 2), *out = i % 2 ? &gate : &other;
        double *want = doubles(rows * n);

        for (int64_t j = 0; j < rows * n; j++) want[j] = ref_act(gate.x[j], kind) * up.x[j];
        OK(be->glu(out->t, gate.t, up.t, kind));
        CHECK(*out, want, 1);
        check_edges(&up, __LINE__);
        drop(&gate);
        drop(&up);
        drop(&other);
        free(want);
    }
}

static void run_glu_back(enum dtype act)
{
    for (int i = 0; i < WIDTHS * 5; i++) {
        enum activation kind = (enum activation)(i % 5);
        int64_t n = widths[i / 5], rows = i % 4 + 1;
        struct matrix gate = make(either(act, i), rows, n, i % 4, 4), up = make(either(act, i), rows, n, i % 3, 2),
                      dout = make(either(act, i >> 1), rows, n, i % 3, 2);
        double *dgate = doubles(rows * n), *dup = doubles(rows * n), h = 1e-5;

        for (int64_t j = 0; j < rows * n; j++) {
            double slope = (ref_act(gate.x[j] + h, kind) - ref_act(gate.x[j] - h, kind)) / (2 * h);
            dgate[j] = dout.x[j] * up.x[j] * slope;
            dup[j] = dout.x[j] * ref_act(gate.x[j], kind);
        }
        OK(be->glu_back(gate.t, up.t, dout.t, kind));
        CHECK(gate, dgate, 1);
        CHECK(up, dup, 1);
        drop(&gate);
        drop(&up);
        drop(&dout);
        free(dgate);
        free(dup);
    }
}

/* ---- RoPE */

static void run_rope(enum dtype act)
{
    static const int dims[] = {2, 8, 24, 34, 64, 128};
    static const int32_t pos[] = {0, 1, 5, 2, 11};
    for (int i = 0; i < 12; i++) {
        int d = dims[i / 2], half = d / 2, heads = i % 3 + 1;
        struct matrix x = make(either(act, i), 5, heads * d, i % 4, 2);
        float *co = floats(12 * half, 0, 1), *si = floats(12 * half, 0, 1);
        double *want = doubles(5 * heads * d);

        for (int j = 0; j < 12 * half; j++) { // real angles: the inverse must bring x back
            double angle = 3 * co[j];
            co[j] = (float)cos(angle);
            si[j] = (float)sin(angle);
        }
        for (int r = 0; r < 5; r++)
            for (int h = 0; h < heads; h++)
                for (int c = 0; c < half; c++) {
                    int64_t a = r * heads * d + h * d + c, b = a + half, at = pos[r] * half + c;
                    want[a] = x.x[a] * co[at] - x.x[b] * si[at];
                    want[b] = x.x[b] * co[at] + x.x[a] * si[at];
                }
        OK(be->rope(x.t, heads, d, pos, co, si, false));
        CHECK(x, want, 1);
        OK(be->rope(x.t, heads, d, pos, co, si, true));
        CHECK(x, x.x, 2);
        assert_int_equal(be->rope(x.t, heads + 1, d, pos, co, si, true), CL_EINTERNAL);
        drop(&x);
        free(co);
        free(si);
        free(want);
    }
}

/* ---- loss */

static double ref_nll(const double *x, int64_t n, int32_t target)
{
    double top = x[0], sum = 0;
    for (int64_t c = 0; c < n; c++) top = x[c] > top ? x[c] : top;
    for (int64_t c = 0; c < n; c++) sum += exp(x[c] - top);
    return log(sum) + top - x[target];
}

static void run_cross_entropy(enum dtype act)
{
    static const int64_t vocab[] = {1, 2, 7, 16, 33, 1000, 2048, 2049, 6001};
    (void)act;
    for (int i = 0; i < 9; i++) {
        int64_t n = vocab[i];
        struct matrix x = make(DT_F32, 3, n, i % 4, i % 2 ? 80 : 3);
        int32_t target[] = {0, (int32_t)(n - 1), (int32_t)(n / 2)};
        double *want = doubles(3 * n), h = 1e-5;
        float nll[3], again[3];

        OK(be->cross_entropy(nll, x.t, target, 0));
        CHECK(x, x.x, 1e-10); // grad_scale 0: the logits stay
        for (int r = 0; r < 3; r++) {
            double nll_want = ref_nll(x.x + r * n, n, target[r]);
            if (!(fabs(nll[r] - nll_want) < 1e-6 + 1e-6 * fabs(nll_want)))
                fail_msg("%s: %g (expected %g)", setting, nll[r], nll_want);
            for (int64_t c = 0; c < n; c++) { // dloss/dx by differences where that is affordable, else the softmax
                double *at = x.x + r * n + c, keep = *at, up, down;
                if (n > 50) {
                    want[r * n + c] = 0.25 * (exp(keep - x.x[r * n + target[r]] - nll_want) - (c == target[r]));
                    continue;
                }
                *at = keep + h;
                up = ref_nll(x.x + r * n, n, target[r]);
                *at = keep - h;
                down = ref_nll(x.x + r * n, n, target[r]);
                *at = keep;
                want[r * n + c] = 0.25 * (up - down) / (2 * h);
            }
        }
        OK(be->cross_entropy(again, x.t, target, 0.25f));
        assert_memory_equal(nll, again, sizeof nll);
        CHECK(x, want, 10);
        target[1] = (int32_t)n;
        assert_int_equal(be->cross_entropy(again, x.t, target, 0.25f), CL_ENUM);
        drop(&x);
        free(want);
    }
}

/* A vocabulary in two parts: their halves of a softmax make the whole loss and gradient. */
static void run_softmax_parts(enum dtype act)
{
    static const int64_t vocab[] = {2, 7, 33, 2050, 4100};
    (void)act;
    for (int i = 0; i < 5; i++) {
        int64_t n = vocab[i], cut = i % 2 ? n / 3 + 1 : n - 1;
        struct matrix x = make(DT_F32, 3, n, i % 4, i % 2 ? 80 : 3), whole = make(DT_F32, 3, n, 0, 1);
        struct tensor half[] = {tensor_block(x.t, 0, 3, 0, cut), tensor_block(x.t, 0, 3, cut, n - cut)};
        struct softmax_part part[2][3], all[3];
        int32_t target[] = {0, (int32_t)(n - 1), (int32_t)(n / 2)};
        double *want = doubles(3 * n);
        float nll[3];

        OK(be->copy(whole.t, x.t));
        OK(be->cross_entropy(nll, whole.t, target, 0.25f));
        OK(be->softmax_part(part[0], half[0], target, 0));
        OK(be->softmax_part(part[1], half[1], target, cut));
        CHECK(x, x.x, 1e-10); // the logits stay
        for (int r = 0; r < 3; r++) {
            const struct softmax_part *a = &part[0][r], *b = &part[1][r];
            float top = fmaxf(a->top, b->top);
            bool in_first = target[r] < cut;
            assert_true(in_first ? b->target == -INFINITY : a->target == -INFINITY);
            all[r] = (struct softmax_part){top, (float)(a->sum * exp(a->top - top) + b->sum * exp(b->top - top)),
                                           fmaxf(a->target, b->target)};
            double got = log(all[r].sum) + (top - all[r].target);
            if (!(fabs(got - nll[r]) < 1e-6 + 1e-6 * fabs(nll[r])))
                fail_msg("%s: %g in parts (expected %g)", setting, got, nll[r]);
            for (int64_t c = 0; c < n; c++) want[r * n + c] = get(whole.t, r, c);
        }
        OK(be->softmax_grad(half[0], all, target, 0, 0.25f));
        OK(be->softmax_grad(half[1], all, target, cut, 0.25f));
        CHECK(x, want, 10);
        assert_int_equal(be->softmax_part(part[0], tensor_of(x.t.data, DT_BF16, 1, 2), target, 0), CL_EINTERNAL);
        assert_int_equal(be->softmax_grad(tensor_of(x.t.data, DT_BF16, 1, 2), all, target, 0, 1), CL_EINTERNAL);
        drop(&x), drop(&whole);
        free(want);
    }
}

/* T KL(softmax(b / T) || softmax(a / T)) and its gradient at a by differences. */
static double ref_divergence(const double *a, const double *b, int64_t n, double T)
{
    double top[2] = {a[0], b[0]}, sum[2] = {0}, kl = 0;
    for (int64_t c = 0; c < n; c++) top[0] = fmax(top[0], a[c]), top[1] = fmax(top[1], b[c]);
    for (int64_t c = 0; c < n; c++) sum[0] += exp((a[c] - top[0]) / T), sum[1] += exp((b[c] - top[1]) / T);
    for (int64_t c = 0; c < n; c++) {
        double p = (b[c] - top[1]) / T - log(sum[1]), q = (a[c] - top[0]) / T - log(sum[0]);
        kl += exp(p) * (p - q);
    }
    return T * kl;
}

static double divergence(const struct soft_part *p)
{
    return p->cross / p->other_sum - (p->other_top + log(p->other_sum)) + (p->top + log(p->sum));
}

static void run_soft(enum dtype act)
{
    static const int64_t vocab[] = {1, 2, 7, 16, 33, 1000, 2049, 6001};
    (void)act;
    for (int i = 0; i < 8; i++) {
        int64_t n = vocab[i], cut = n / 3;
        double T = i % 2 ? 2 : 0.5, *want = doubles(3 * n), h = 1e-5;
        struct matrix x = make(DT_F32, 3, n, i % 4, i % 2 ? 20 : 3), o = make(DT_F32, 3, n, (i + 1) % 3, 4);
        struct soft_part part[3], half[2][3];

        OK(be->soft_part(part, x.t, o.t, (float)T));
        for (int r = 0; r < 3; r++) {
            double *a = x.x + r * n, *b = o.x + r * n, kl = ref_divergence(a, b, n, T) / T;
            if (!(fabs(divergence(&part[r]) - kl) < 1e-5 + 1e-5 * kl))
                fail_msg("%s: divergence %g (expected %g)", setting, divergence(&part[r]), kl);
            for (int64_t c = 0; c < n; c++) {
                double keep = a[c], up, down;
                if (n > 50) { // differences would take long: softmax less softmax
                    want[r * n + c] = 0.25 * (exp(keep / T - part[r].top) / part[r].sum -
                                              exp(b[c] / T - part[r].other_top) / part[r].other_sum);
                    continue;
                }
                a[c] = keep + h, up = ref_divergence(a, b, n, T);
                a[c] = keep - h, down = ref_divergence(a, b, n, T);
                a[c] = keep;
                want[r * n + c] = 0.25 * (up - down) / (2 * h);
            }
        }
        if (cut) { // columns in two parts make the same whole
            OK(be->soft_part(half[0], tensor_block(x.t, 0, 3, 0, cut), tensor_block(o.t, 0, 3, 0, cut), (float)T));
            OK(be->soft_part(half[1], tensor_block(x.t, 0, 3, cut, n - cut), tensor_block(o.t, 0, 3, cut, n - cut),
                             (float)T));
            for (int r = 0; r < 3; r++) {
                const struct soft_part *a = &half[0][r], *b = &half[1][r], *w = &part[r];
                double sum = a->sum * exp(a->top - w->top) + b->sum * exp(b->top - w->top);
                double cross =
                    a->cross * exp(a->other_top - w->other_top) + b->cross * exp(b->other_top - w->other_top);
                assert_true(w->top == fmax(a->top, b->top) && w->other_top == fmax(a->other_top, b->other_top));
                assert_true(fabs(sum - w->sum) < 1e-5 * w->sum);
                assert_true(fabs(cross - w->cross) < 1e-4 * (1 + fabs(w->cross)));
            }
        }
        OK(be->soft_grad(o.t, x.t, part, (float)T, 0.25f));
        CHECK(x, x.x, 1e-10);
        CHECK(o, want, 20);
        assert_int_equal(be->soft_part(part, x.t, tensor_of(o.t.data, DT_F32, 2, n), 1), CL_EINTERNAL);
        drop(&x), drop(&o);
        free(want);
    }
}

/* Jensen-Shannon divergence of softmax(a) and softmax(b), in nats. */
static double ref_jsd(const double *a, const double *b, int64_t n)
{
    double top[2] = {a[0], b[0]}, sum[2] = {0}, jsd = 0;
    for (int64_t c = 0; c < n; c++) top[0] = fmax(top[0], a[c]), top[1] = fmax(top[1], b[c]);
    for (int64_t c = 0; c < n; c++) sum[0] += exp(a[c] - top[0]), sum[1] += exp(b[c] - top[1]);
    for (int64_t c = 0; c < n; c++) {
        double p = exp(a[c] - top[0]) / sum[0], q = exp(b[c] - top[1]) / sum[1], m = (p + q) / 2;
        if (p > 0) jsd += p * log(p / m) / 2;
        if (q > 0) jsd += q * log(q / m) / 2;
    }
    return jsd;
}

/* want (n) := factor times the derivative of the divergence by each number of a, by differences. */
static void ref_jsd_grad(double *want, double *a, const double *b, int64_t n, double factor)
{
    const double h = 1e-5;
    for (int64_t c = 0; c < n; c++) {
        double keep = a[c], up, down;
        a[c] = keep + h, up = ref_jsd(a, b, n);
        a[c] = keep - h, down = ref_jsd(a, b, n);
        a[c] = keep;
        want[c] = factor * (up - down) / (2 * h);
    }
}

static double jsd_of(const struct jsd_part *p)
{
    return (p->mine + p->other) / 2;
}

static void run_jsd(enum dtype act)
{
    static const int64_t vocab[] = {1, 2, 7, 16, 33, 1000, 2049};
    static const float factor[] = {0.25f, 0, -3};
    (void)act;
    for (int i = 0; i < 7; i++) {
        int64_t n = vocab[i], cut = n / 3;
        double *want = doubles(3 * n);
        struct matrix x = make(DT_F32, 3, n, i % 4, i % 2 ? 20 : 3), o = make(DT_F32, 3, n, (i + 1) % 3, 4);
        struct soft_part soft[3];
        struct jsd_part jsd[3], half[2][3];

        OK(be->soft_part(soft, x.t, o.t, 1));
        OK(be->jsd_part(jsd, x.t, o.t, soft));
        for (int r = 0; r < 3; r++) {
            double *a = x.x + r * n, *b = o.x + r * n, d = ref_jsd(a, b, n);
            if (!(fabs(jsd_of(&jsd[r]) - d) < 3e-6))
                fail_msg("%s: divergence %g (expected %g)", setting, jsd_of(&jsd[r]), d);
            assert_true(n > 1 ? d > 1e-3 && d < 0.6932 : fabs(d) < 1e-12);
            if (r != 1 && n < 1500) ref_jsd_grad(want + r * n, a, b, n, (double)factor[r]);
        }
        if (cut) { // columns in two parts make the same whole
            OK(be->jsd_part(half[0], tensor_block(x.t, 0, 3, 0, cut), tensor_block(o.t, 0, 3, 0, cut), soft));
            OK(be->jsd_part(half[1], tensor_block(x.t, 0, 3, cut, n - cut), tensor_block(o.t, 0, 3, cut, n - cut),
                            soft));
            for (int r = 0; r < 3; r++) {
                assert_true(fabs(half[0][r].mine + half[1][r].mine - jsd[r].mine) < 1e-6);
                assert_true(fabs(half[0][r].other + half[1][r].other - jsd[r].other) < 1e-6);
            }
        }
        OK(be->jsd_grad(o.t, x.t, soft, jsd, factor));
        CHECK(x, x.x, 1e-10);
        if (i % 2 == 0 && n > 1 && n < 1500) CHECK(o, want, 50);
        for (int64_t k = 0; n < 1500 && k < 3 * n; k++) // near-certain rows: what is left of float's digits
            assert_true(fabs(get(o.t, k / n, k % n) - want[k]) < 1e-6 * fabs((double)factor[k / n]) + 1e-12);
        for (int64_t c = 0; c < n; c++) assert_true(get(o.t, 1, c) == 0); // no factor, no gradient
        assert_int_equal(be->jsd_part(jsd, x.t, tensor_of(o.t.data, DT_F32, 2, n), soft), CL_EINTERNAL);
        drop(&x), drop(&o);
        free(want);
    }
}

/* Equal rows are not apart and pull nowhere, whatever was added to all of one's logits; rows that share nothing are one bit apart. */
static void run_jsd_ends(enum dtype act)
{
    enum { N = 50 };
    float a[2 * N], b[2 * N];
    const struct tensor x = tensor_of(a, DT_F32, 2, N), o = tensor_of(b, DT_F32, 2, N);
    struct soft_part soft[2];
    struct jsd_part jsd[2];
    (void)act;
    for (int c = 0; c < N; c++) {
        a[c] = (float)(4 * uniform()), b[c] = a[c] + 8;
        a[N + c] = c < N / 2 ? 90 : 0, b[N + c] = c < N / 2 ? 0 : 90;
    }
    OK(be->soft_part(soft, x, o, 1));
    OK(be->jsd_part(jsd, x, o, soft));
    assert_true(fabs(jsd_of(&jsd[0])) < 1e-6 && fabs(jsd_of(&jsd[1]) - log(2)) < 1e-6);
    OK(be->jsd_grad(o, x, soft, jsd, (const float[]){1, 1}));
    for (int c = 0; c < 2 * N; c++) assert_true(fabs((double)b[c]) < 1e-6);
}

static void run_argmax(enum dtype act)
{
    static const int64_t vocab[] = {1, 5, 16, 50, 2048, 5000};
    (void)act;
    for (int i = 0; i < 6; i++) {
        int64_t n = vocab[i];
        struct matrix x = make(DT_F32, 2, n, i, 3);
        uint8_t *allowed = calloc((size_t)n, 1);
        float *row = x.t.data;
        int32_t id[2], want[2] = {0, 0};
        float top[2];

        assert_non_null(allowed);
        for (int r = 0; r < 2; r++)
            for (int64_t c = 0; c < n; c++)
                if (get(x.t, r, c) > get(x.t, r, want[r])) want[r] = (int32_t)c;
        OK(be->argmax(id, NULL, x.t, NULL));
        assert_memory_equal(id, want, sizeof id);
        assert_int_equal(be->argmax(id, NULL, x.t, allowed), CL_EINTERNAL);
        OK(be->argmax(id, top, x.t, allowed)); // some columns of a vocabulary: others may have one
        assert_int_equal(id[0], -1);
        OK(be->argmax(id, top, x.t, NULL));
        assert_memory_equal(id, want, sizeof id);
        for (int r = 0; r < 2; r++) assert_true((double)top[r] == get(x.t, r, want[r]));
        allowed[n / 3] = allowed[n - 1] = 1;
        row[n / 3] = row[n - 1] = -INFINITY; // equal: the lower one
        OK(be->argmax(id, NULL, x.t, allowed));
        assert_int_equal(id[0], n / 3);
        row[want[0]] = INFINITY;
        OK(be->argmax(id, NULL, x.t, NULL));
        assert_int_equal(id[0], want[0]);
        for (int64_t c = n / 2; c < n; c += n - n / 2) { // NaN anywhere in the row
            row[c] = NAN;
            assert_int_equal(be->argmax(id, NULL, x.t, NULL), CL_ENUM);
            OK(be->argmax(id, top, x.t, NULL));
            assert_int_equal(id[0], -2);
            row[c] = 0;
        }
        drop(&x);
        free(allowed);
    }
}

/* ---- low-rank increments */

static void run_adapter(enum dtype act)
{
    static const int ranks[] = {1, 2, 4, 16, 20};
    static const int64_t cu[] = {0, 3, 3, 8};
    for (int i = 0; i < 10; i++) {
        int rank = ranks[i / 2], slots = i % 3 + 1, n = rank * slots;
        struct matrix u = make(either(act, i), 8, n, i % 4, 2), v = make(either(act, i >> 1), 8, n, i % 3, 2);
        float *coef = floats(3 * slots, 0, 1);
        double *want = doubles(8 * n), *dcoef = doubles(3 * slots), *expect = doubles(3 * slots);

        for (int j = 0; j < 3 * slots; j++) dcoef[j] = expect[j] = j;
        for (int s = 0; s < 3; s++)
            for (int64_t r = cu[s]; r < cu[s + 1]; r++)
                for (int c = 0; c < n; c++) {
                    expect[s * slots + c / rank] += u.x[r * n + c] * v.x[r * n + c];
                    want[r * n + c] = u.x[r * n + c] * coef[s * slots + c / rank];
                }
        OK(be->adapter_coef_back(dcoef, u.t, v.t, cu, 3, slots, rank));
        for (int j = 0; j < 3 * slots; j++) assert_true(fabs(dcoef[j] - expect[j]) < 1e-12 * (1 + fabs(expect[j])));
        OK(be->adapter_scale(u.t, coef, cu, 3, slots, rank));
        CHECK(u, want, 1);
        check_edges(&v, __LINE__);
        assert_int_equal(be->adapter_scale(u.t, coef, cu, 2, slots, rank), CL_EINTERNAL); // rows without a sample
        drop(&u);
        drop(&v);
        free(coef);
        free(want);
        free(dcoef);
        free(expect);
    }
}

/* ---- the same bits for 1, 2, 3 threads, with rows enough for all of them */

static void every_op(struct tensor a, struct tensor b, struct tensor c, struct tensor logits, double *dcoef, float *nll)
{
    static float gain[960], angle[64 * 48];
    static int32_t pos[64], id[64];
    static const int64_t cu[] = {0, 20, 64};
    static const float coef[] = {0.5f, 2, -1, 0.3f};

    for (int i = 0; i < 960; i++) gain[i] = 1 + 0.001f * (float)i;
    for (int i = 0; i < 64 * 48; i++) angle[i] = 0.001f * (float)i;
    for (int i = 0; i < 64; i++) pos[i] = i;
    OK(be->add(a, b));
    OK(be->rmsnorm(b, nll, a, gain, 1e-5f));
    OK(be->rmsnorm_back(a, c, b, gain, nll));
    OK(be->layernorm(a, a, gain, gain, 1e-5f));
    OK(be->activate(b, ACT_GELU));
    OK(be->glu(c, a, b, ACT_SILU));
    OK(be->glu_back(a, b, c, ACT_GELU_TANH));
    OK(be->rope(a, 10, 96, pos, angle, angle, false));
    OK(be->adapter_coef_back(dcoef, a, b, cu, 2, 2, 480));
    OK(be->adapter_scale(a, coef, cu, 2, 2, 480));
    OK(be->argmax(id, NULL, logits, NULL));
    OK(be->cross_entropy(nll, logits, id, 1));
}

static void run_threads(enum dtype act)
{
    enum { ROWS = 64, COLS = 960, VOCAB = 3000 }; // enough numbers for threads
    struct tensor one[4] = {{0}};
    double dcoef[3][4] = {{0}};
    float nll[3][ROWS];
    int before = omp_get_max_threads();

    for (int threads = 1; threads <= 3; threads++) {
        struct matrix m[4];
        state = 99;
        omp_set_num_threads(threads);
        for (int i = 0; i < 4; i++) m[i] = make(i == 3 ? DT_F32 : act, ROWS, i == 3 ? VOCAB : COLS, 0, 2);
        every_op(m[0].t, m[1].t, m[2].t, m[3].t, dcoef[threads - 1], nll[threads - 1]);
        for (int i = 0; i < 4; i++) {
            size_t bytes = (size_t)(m[i].t.rows * m[i].t.ld) * dtype_size(m[i].t.type);
            if (threads == 1) {
                one[i].data = malloc(bytes);
                assert_non_null(one[i].data);
                memcpy(one[i].data, m[i].t.data, bytes);
            }
            assert_memory_equal(one[i].data, m[i].t.data, bytes);
            drop(&m[i]);
        }
        assert_memory_equal(dcoef[0], dcoef[threads - 1], sizeof dcoef[0]);
        assert_memory_equal(nll[0], nll[threads - 1], sizeof nll[0]);
    }
    for (int i = 0; i < 4; i++) free(one[i].data);
    omp_set_num_threads(before);
}

/* ---- shapes that do not fit, empty ones */

static void run_misfits(enum dtype act)
{
    struct matrix a = make(act, 2, 8, 1, 1), b = make(act, 2, 7, 1, 1), none = make(act, 0, 8, 0, 1);
    struct tensor half = {a.t.data, DT_F16, 2, 8, 8}, narrow = {a.t.data, act, 2, 8, 7};
    float gain[8] = {0};

    assert_int_equal(be->add(a.t, b.t), CL_EINTERNAL);
    assert_non_null(strstr(err_text(), "2 x 7"));
    assert_int_equal(be->copy(half, a.t), CL_EINTERNAL);
    assert_int_equal(be->scale(narrow, 2), CL_EINTERNAL);
    assert_int_equal(be->rmsnorm(a.t, NULL, b.t, gain, 1), CL_EINTERNAL);
    assert_int_equal(be->glu(a.t, a.t, b.t, ACT_SILU), CL_EINTERNAL);
    OK(be->add(none.t, none.t));
    OK(be->rmsnorm(none.t, NULL, none.t, gain, 1));
    OK(be->activate(none.t, ACT_GELU));
    OK(be->cross_entropy(NULL, tensor_of(NULL, DT_F32, 0, 8), NULL, 1));
    OK(be->softmax_part(NULL, tensor_of(NULL, DT_F32, 0, 8), NULL, 0));
    OK(be->softmax_grad(tensor_of(NULL, DT_F32, 0, 8), NULL, NULL, 0, 1));
    CHECK(a, a.x, 1e-10);
    drop(&a);
    drop(&b);
    drop(&none);
}

#define CASE(name)                                                                                                     \
    static void test_##name(void **unused)                                                                             \
    {                                                                                                                  \
        (void)unused;                                                                                                  \
        each_setting(run_##name);                                                                                      \
    }
#define CASES(X)                                                                                                       \
    X(rows)                                                                                                            \
    X(index)                                                                                                           \
    X(rmsnorm)                                                                                                         \
    X(rmsnorm_back)                                                                                                    \
    X(layernorm)                                                                                                       \
    X(activate) X(extremes) X(glu) X(glu_back) X(rope) X(cross_entropy) X(softmax_parts) X(soft) X(jsd) X(jsd_ends)    \
        X(argmax) X(adapter) X(threads) X(misfits)
CASES(CASE)

int main(void)
{
#define ENTRY(name) cmocka_unit_test(test_##name),
    const struct CMUnitTest tests[] = {CASES(ENTRY)};
    return cmocka_run_group_tests_name("backend_cpu", tests, NULL, NULL);
}
