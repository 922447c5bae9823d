/* test_backend_loss.c - what the CPU's table makes of logits: cross entropy, parts of a softmax, divergences, the greedy choice, against
 * plain loops in double precision, on all instruction sets of this machine and in both precisions. */
#include "tests/kernel_check.h"

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

#define CASE(name)                                                                                                     \
    static void test_##name(void **unused)                                                                             \
    {                                                                                                                  \
        (void)unused;                                                                                                  \
        each_setting(run_##name);                                                                                      \
    }
#define CASES(X) X(cross_entropy) X(softmax_parts) X(soft) X(jsd) X(jsd_ends) X(argmax)
CASES(CASE)

int main(void)
{
#define ENTRY(name) cmocka_unit_test(test_##name),
    const struct CMUnitTest tests[] = {CASES(ENTRY)};
    return cmocka_run_group_tests_name("backend_loss", tests, NULL, NULL);
}
