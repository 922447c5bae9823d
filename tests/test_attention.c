/* test_attention.c - attention and its backward pass on the CPU against double precision: packed samples, shared key
 * heads, causal and not, some rows only, keys in a cache, head sizes that fill no register. */
#include "tests/kernel_check.h"

#include <omp.h>

/* One constellation of samples. Lengths of keys; queries are the last q[s] rows (or fewer, spread), by q_pos. */
struct scene {
    int samples, heads, kv_heads, head_dim;
    int64_t q[4], k[4];
    bool causal, cache; // cache: keys of each sample begin at rows of their own, with gaps
};

static const struct scene scenes[] = {
    {1, 1, 1, 8, {5}, {5}, true, false},
    {2, 2, 1, 24, {7, 3}, {7, 9}, true, false},
    {3, 4, 2, 16, {1, 0, 20}, {1, 4, 20}, true, false},
    {2, 2, 2, 64, {70, 130}, {70, 130}, true, false},
    {1, 6, 2, 20, {200}, {200}, true, false},
    {2, 3, 3, 64, {50, 65}, {50, 65}, false, false},
    {4, 2, 1, 7, {1, 2, 3, 129}, {3, 2, 1, 129}, false, false},
    {1, 2, 2, 256, {66}, {66}, true, false},
    {3, 4, 4, 128, {1, 1, 1}, {1, 64, 131}, true, true}, // one token each from a cache
    {2, 4, 1, 32, {9, 33}, {140, 33}, true, true},
    {1, 2, 1, 1, {3}, {3}, true, false},
    {2, 8, 2, 96, {37, 100}, {137, 100}, true, false}, // the last rows of longer samples
    {3, 8, 2, 96, {1, 1, 1}, {137, 100, 1}, true, true},
    {1, 44, 11, 128, {1}, {149}, true, true},
    {2, 70, 1, 12, {1, 1}, {70, 3}, true, true}, // more heads on one key than go together
};
enum { SCENES = sizeof scenes / sizeof *scenes };

struct setup {
    struct attention_shape s;
    int64_t cu_q[5], cu_k[5], k_start[4], q_rows, k_rows;
    int32_t *q_pos;
};

static void set_up(struct setup *u, const struct scene *c)
{
    *u = (struct setup){.q_rows = 0};
    for (int s = 0; s < c->samples; s++) {
        u->cu_q[s + 1] = u->cu_q[s] + c->q[s];
        u->cu_k[s + 1] = u->cu_k[s] + c->k[s];
        u->k_start[s] = c->cache ? s * 150 + 2 : u->cu_k[s];
        u->k_rows = u->k_start[s] + c->k[s];
    }
    u->q_rows = u->cu_q[c->samples];
    u->q_pos = malloc((size_t)(u->q_rows + 1) * sizeof *u->q_pos);
    assert_non_null(u->q_pos);
    for (int s = 0; s < c->samples; s++)
        for (int64_t i = 0; i < c->q[s]; i++) u->q_pos[u->cu_q[s] + i] = (int32_t)(c->k[s] - c->q[s] + i) * c->causal;
    u->s = (struct attention_shape){
        c->samples, u->cu_q,     u->cu_k,     c->cache ? u->k_start : NULL,    u->q_pos, c->causal,
        c->heads,   c->kv_heads, c->head_dim, 0.7f / sqrtf((float)c->head_dim)};
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Probabilities of query row r, head h of sample b; the number of keys. */
static int64_t ref_row(double *p, double *lse, const double *q, const double *k, const struct setup *u, int b,
                       int64_t r, int h)
{
    const struct attention_shape *s = &u->s;
    int n = s->head_dim, kh = h / (s->heads / s->kv_heads);
    int64_t count = s->causal ? u->q_pos[r] + 1 : s->cu_k[b + 1] - s->cu_k[b];
    double top = -INFINITY, sum = 0;

    for (int64_t i = 0; i < count; i++) {
        p[i] = (double)s->scale * dot(q + (r * s->heads + h) * n, k + ((u->k_start[b] + i) * s->kv_heads + kh) * n, n);
        top = p[i] > top ? p[i] : top;
    }
    for (int64_t i = 0; i < count; i++) sum += exp(p[i] - top);
    *lse = top + log(sum);
    for (int64_t i = 0; i < count; i++) p[i] = exp(p[i] - *lse);
    return count;
}

static void ref_attention(double *o, double *lse, const double *q, const double *k, const double *v,
                          const struct setup *u)
{
    const struct attention_shape *s = &u->s;
    int n = s->head_dim, group = s->heads / s->kv_heads;
    double *p = doubles(u->k_rows);

    memset(o, 0, (size_t)(u->q_rows * s->heads * n) * sizeof *o);
    for (int b = 0; b < s->samples; b++)
        for (int64_t r = s->cu_q[b]; r < s->cu_q[b + 1]; r++)
            for (int h = 0; h < s->heads; h++) {
                int64_t count = ref_row(p, &lse[r * s->heads + h], q, k, u, b, r, h);
                for (int64_t i = 0; i < count; i++)
                    for (int c = 0; c < n; c++)
                        o[(r * s->heads + h) * n + c] +=
                            p[i] * v[((u->k_start[b] + i) * s->kv_heads + h / group) * n + c];
            }
    free(p);
}

static void ref_attention_back(double *dq, double *dk, double *dv, const double *d_o, const double *o, const double *q,
                               const double *k, const double *v, const struct setup *u)
{
    const struct attention_shape *s = &u->s;
    int n = s->head_dim, group = s->heads / s->kv_heads;
    double *p = doubles(u->k_rows), lse;

    for (int b = 0; b < s->samples; b++)
        for (int64_t r = s->cu_q[b]; r < s->cu_q[b + 1]; r++)
            for (int h = 0; h < s->heads; h++) {
                int64_t at = (r * s->heads + h) * n, count = ref_row(p, &lse, q, k, u, b, r, h);
                double level = dot(d_o + at, o + at, n);
                for (int64_t i = 0; i < count; i++) {
                    int64_t key = ((u->k_start[b] + i) * s->kv_heads + h / group) * n;
                    double ds = p[i] * (dot(d_o + at, v + key, n) - level) * (double)s->scale;
                    for (int c = 0; c < n; c++) {
                        dq[at + c] += ds * k[key + c];
                        dk[key + c] += ds * q[at + c];
                        dv[key + c] += p[i] * d_o[at + c];
                    }
                }
            }
    free(p);
}

static void run_forward(enum dtype act)
{
    for (int i = 0; i < SCENES * 2; i++) {
        struct setup u;
        set_up(&u, &scenes[i / 2]);
        int64_t q_cols = u.s.heads * u.s.head_dim, k_cols = u.s.kv_heads * u.s.head_dim;
        struct matrix q = make(either(act, i), u.q_rows, q_cols, i % 4, 3),
                      k = make(either(act, i), u.k_rows, k_cols, i % 3, 3),
                      v = make(either(act, i), u.k_rows, k_cols, i % 5, 1), o = make(act, u.q_rows, q_cols, i % 2, 1),
                      lse = make(DT_F32, u.q_rows, u.s.heads, 0, 1);
        double *want = doubles(u.q_rows * q_cols), *want_lse = doubles(u.q_rows * u.s.heads);

        ref_attention(want, want_lse, q.x, k.x, v.x, &u);
        OK(be->attention(o.t, lse.t.data, q.t, k.t, v.t, &u.s));
        CHECK(o, want, 1);
        CHECK(lse, want_lse, 1);
        OK(be->attention(o.t, NULL, q.t, k.t, v.t, &u.s));
        CHECK(o, want, 1);
        drop(&q);
        drop(&k);
        drop(&v);
        drop(&o);
        drop(&lse);
        free(want);
        free(want_lse);
        free(u.q_pos);
    }
}

static void run_backward(enum dtype act)
{
    for (int i = 0; i < SCENES * 2; i++) {
        struct setup u;
        if (scenes[i / 2].cache) continue;
        set_up(&u, &scenes[i / 2]);
        int64_t q_cols = u.s.heads * u.s.head_dim, k_cols = u.s.kv_heads * u.s.head_dim;
        struct matrix q = make(act, u.q_rows, q_cols, i % 4, 3), k = make(act, u.k_rows, k_cols, i % 3, 3),
                      v = make(act, u.k_rows, k_cols, i % 5, 1), o = make(act, u.q_rows, q_cols, i % 2, 1),
                      d_o = make(either(act, i), u.q_rows, q_cols, i % 3, 1),
                      dq = make(either(act, i), u.q_rows, q_cols, i % 5, 1),
                      dk = make(either(act, i), u.k_rows, k_cols, i % 2, 1), dv = make(act, u.k_rows, k_cols, i % 4, 1);
        double *out = doubles(u.q_rows * q_cols), *lse = doubles(u.q_rows * u.s.heads),
               *want_q = doubles(u.q_rows * q_cols), *want_k = doubles(u.k_rows * k_cols),
               *want_v = doubles(u.k_rows * k_cols);
        float *l = floats(u.q_rows * u.s.heads, 0, 1);

        ref_attention(out, lse, q.x, k.x, v.x, &u);
        for (int64_t j = 0; j < u.q_rows * q_cols; j++) set(o.t, j / q_cols, j % q_cols, out[j]);
        for (int64_t j = 0; j < u.q_rows * q_cols; j++) out[j] = get(o.t, j / q_cols, j % q_cols);
        for (int64_t j = 0; j < u.q_rows * u.s.heads; j++) l[j] = (float)lse[j];
        ref_attention_back(want_q, want_k, want_v, d_o.x, out, q.x, k.x, v.x, &u);
        OK(be->attention_back(dq.t, dk.t, dv.t, d_o.t, o.t, q.t, k.t, v.t, l, &u.s));
        CHECK(dq, want_q, 5);
        CHECK(dk, want_k, 5);
        CHECK(dv, want_v, 5);
        struct matrix *const all[] = {&q, &k, &v, &o, &d_o, &dq, &dk, &dv};
        for (int j = 0; j < 8; j++) {
            check_edges(all[j], __LINE__);
            drop(all[j]);
        }
        free(out);
        free(lse);
        free(want_q);
        free(want_k);
        free(want_v);
        free(l);
        free(u.q_pos);
    }
}

/* The reference's gradients are those of sum(d_o * attention(q, k, v)). */
static void test_reference(void **unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        struct setup u;
        set_up(&u, &scenes[i]);
        int64_t n[3] = {u.q_rows * u.s.heads * u.s.head_dim, u.k_rows * u.s.kv_heads * u.s.head_dim, 0};
        n[2] = n[1];
        double *x[3], *grad[3], *d_o = doubles(n[0]), *o = doubles(n[0]), *lse = doubles(u.q_rows * u.s.heads),
                                h = 1e-5;

        for (int j = 0; j < 3; j++) {
            x[j] = doubles(n[j]);
            grad[j] = doubles(n[j]);
            for (int64_t l = 0; l < n[j]; l++) x[j][l] = uniform();
        }
        for (int64_t l = 0; l < n[0]; l++) d_o[l] = uniform();
        ref_attention(o, lse, x[0], x[1], x[2], &u);
        ref_attention_back(grad[0], grad[1], grad[2], d_o, o, x[0], x[1], x[2], &u);
        for (int j = 0; j < 3; j++)
            for (int64_t l = 0; l < n[j]; l += 1 + l % 7) {
                double keep = x[j][l], sum[2];
                for (int side = 0; side < 2; side++) {
                    x[j][l] = keep + (side ? h : -h);
                    ref_attention(o, lse, x[0], x[1], x[2], &u);
                    sum[side] = 0;
                    for (int64_t m = 0; m < n[0]; m++) sum[side] += d_o[m] * o[m];
                }
                x[j][l] = keep;
                assert_true(fabs((sum[1] - sum[0]) / (2 * h) - grad[j][l]) < 1e-8);
            }
        for (int j = 0; j < 3; j++) free(x[j]), free(grad[j]);
        free(d_o);
        free(o);
        free(lse);
        free(u.q_pos);
    }
}

/* The same bits for 1, 2, 3 threads. */
static void run_threads(enum dtype act)
{
    int before = omp_get_max_threads();
    static const int some[] = {3, 4, 5, 8, 12, 13};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        struct setup u;
        set_up(&u, &scenes[some[i]]);
        int64_t q_cols = u.s.heads * u.s.head_dim, k_cols = u.s.kv_heads * u.s.head_dim;
        struct matrix q = make(act, u.q_rows, q_cols, 0, 3), k = make(act, u.k_rows, k_cols, 0, 3),
                      v = make(act, u.k_rows, k_cols, 0, 1);
        struct matrix out[3][5]; // o, dq, dk, dv, lse

        for (int t = 0; t < 3; t++) {
            for (int j = 0; j < 4; j++)
                out[t][j] = make(act, j < 2 ? u.q_rows : u.k_rows, j < 2 ? q_cols : k_cols, 0, 1);
            out[t][4] = make(DT_F32, u.q_rows, u.s.heads, 0, 1);
            omp_set_num_threads(t + 1);
            OK(be->attention(out[t][0].t, out[t][4].t.data, q.t, k.t, v.t, &u.s));
            if (!u.s.k_start)
                OK(be->attention_back(out[t][1].t, out[t][2].t, out[t][3].t, q.t, out[t][0].t, q.t, k.t, v.t,
                                      out[t][4].t.data, &u.s));
            for (int j = 0; j < 5; j++)
                if (!u.s.k_start || !j || j == 4) assert_memory_equal(out[0][j].raw, out[t][j].raw, out[t][j].bytes);
        }
        for (int t = 0; t < 3; t++)
            for (int j = 0; j < 5; j++) drop(&out[t][j]);
        drop(&q);
        drop(&k);
        drop(&v);
        free(u.q_pos);
    }
    omp_set_num_threads(before);
}

static void run_misfits(enum dtype act)
{
    struct setup u;
    set_up(&u, &scenes[1]);
    struct matrix q = make(act, u.q_rows, 48, 0, 1), k = make(act, u.k_rows, 24, 0, 1);
    float lse[20] = {0};

    OK(be->attention(q.t, lse, q.t, k.t, k.t, &u.s));
    u.q_pos[2] = 7; // a key of the next sample
    assert_int_equal(be->attention(q.t, lse, q.t, k.t, k.t, &u.s), CL_EINTERNAL);
    u.q_pos[2] = -1;
    assert_int_equal(be->attention(q.t, lse, q.t, k.t, k.t, &u.s), CL_EINTERNAL);
    u.q_pos[2] = 2;
    u.s.k_start = u.k_start;
    u.k_start[1] = 8; // beyond the end
    assert_int_equal(be->attention(q.t, lse, q.t, k.t, k.t, &u.s), CL_EINTERNAL);
    u.k_start[1] = 7;
    assert_int_equal(be->attention_back(q.t, k.t, k.t, q.t, q.t, q.t, k.t, k.t, lse, &u.s), CL_EINTERNAL);
    u.s.heads = 3;
    assert_int_equal(be->attention(q.t, lse, q.t, k.t, k.t, &u.s), CL_EINTERNAL);
    drop(&q);
    drop(&k);
    free(u.q_pos);
}

#define CASE(name)                                                                                                     \
    static void test_##name(void **unused)                                                                             \
    {                                                                                                                  \
        (void)unused;                                                                                                  \
        each_setting(run_##name);                                                                                      \
    }
#define CASES(X) X(forward) X(backward) X(threads) X(misfits)
CASES(CASE)

int main(void)
{
#define ENTRY(name) cmocka_unit_test(test_##name),
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference), CASES(ENTRY)};
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
