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
    X(index) X(rmsnorm) X(rmsnorm_back) X(layernorm) X(activate) X(extremes) X(glu) X(glu_back) X(rope) X(adapter)     \
        X(threads) X(misfits)
CASES(CASE)

int main(void)
{
#define ENTRY(name) cmocka_unit_test(test_##name),
    const struct CMUnitTest tests[] = {CASES(ENTRY)};
    return cmocka_run_group_tests_name("backend_cpu", tests, NULL, NULL);
}
