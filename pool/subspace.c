/* subspace.c - see subspace.h. */
#include "pool/subspace.h"

#include "io/err.h"
#include "model/tensor.h"

#include <math.h>
#include <string.h>

enum { AT_ONCE = 64, SWEEPS = 30 }; // rows that come in together; Jacobi's method converges long before

static double dot(const float *x, const float *y, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

void subspace_remove(float *x, const float *q, int rank, int64_t H)
{
    for (int k = 0; k < rank; k++) {
        const double part = dot(x, q + k * H, H);
        for (int64_t i = 0; i < H && part != 0; i++) x[i] = (float)((double)x[i] - part * (double)q[k * H + i]);
    }
}

/* Turns coordinates p and r so that a[p, r] becomes 0; rows of v turn with them. */
static void rotate(double *a, double *v, int n, int p, int r)
{
    const double off = a[p * n + r], theta = (a[r * n + r] - a[p * n + p]) / (2 * off);
    const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;

    for (int i = 0; i < n; i++) { // columns
        const double x = a[i * n + p], y = a[i * n + r];
        a[i * n + p] = c * x - s * y, a[i * n + r] = s * x + c * y;
    }
    for (int i = 0; i < n; i++) { // rows
        const double x = a[p * n + i], y = a[r * n + i], z = v[p * n + i], u = v[r * n + i];
        a[p * n + i] = c * x - s * y, a[r * n + i] = s * x + c * y;
        v[p * n + i] = c * z - s * u, v[r * n + i] = s * z + c * u;
    }
}

void subspace_eigen(double *a, double *value, double *v, int n)
{
    double whole = 0;

    memset(v, 0, (size_t)n * (size_t)n * sizeof *v);
    for (int i = 0; i < n; i++) v[i * n + i] = 1;
    for (int i = 0; i < n * n; i++) whole += a[i] * a[i];
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double off = 0;
        for (int p = 0; p < n; p++)
            for (int r = p + 1; r < n; r++) off += a[p * n + r] * a[p * n + r];
        if (off <= 1e-30 * whole) break;
        for (int p = 0; p < n; p++)
            for (int r = p + 1; r < n; r++)
                if (a[p * n + r] != 0) rotate(a, v, n, p, r);
    }
    for (int i = 0; i < n; i++) value[i] = a[i * n + i];
    for (int i = 0; i < n; i++) { // the largest of those left comes next
        int most = i;
        for (int k = i + 1; k < n; k++)
            if (value[k] > value[most]) most = k;
        const double kept = value[i];
        value[i] = value[most], value[most] = kept;
        for (int k = 0; k < n && most != i; k++) {
            const double x = v[i * n + k];
            v[i * n + k] = v[most * n + k], v[most * n + k] = x;
        }
    }
}

struct work {
    float *rows;                   // (rank + AT_ONCE, H) the old basis to its length, then what comes in
    double *gram, *value, *vector; // ((rank + AT_ONCE) squared), (rank + AT_ONCE)
    double *sum;                   // (H)
};

/* The next basis from n rows of w. */
static void renew(float *q, double *sigma, int rank, int64_t H, const struct work *w, int n)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k <= i; k++) w->gram[i * n + k] = w->gram[k * n + i] = dot(w->rows + i * H, w->rows + k * H, H);
    subspace_eigen(w->gram, w->value, w->vector, n);
    for (int k = 0; k < rank; k++) {
        const bool weak = k >= n || w->value[k] <= 0 || w->value[k] < 1e-6 * w->value[0];
        memset(w->sum, 0, (size_t)H * sizeof *w->sum);
        sigma[k] = weak ? 0 : sqrt(w->value[k]);
        for (int j = 0; j < n && !weak; j++) {
            const double part = w->vector[k * n + j] / sigma[k];
            for (int64_t i = 0; i < H; i++) w->sum[i] += part * (double)w->rows[j * H + i];
        }
        for (int64_t i = 0; i < H; i++) q[k * H + i] = (float)w->sum[i];
    }
}

int subspace_add(float *q, double *sigma, int rank, int64_t H, const float *x, int n)
{
    int rc = CL_OK;
    const size_t most = (size_t)rank + AT_ONCE;
    struct work w = {mem_new(most * (size_t)H, sizeof(float)), mem_new(most * most, sizeof(double)),
                     mem_new(most, sizeof(double)), mem_new(most * most, sizeof(double)),
                     mem_new((size_t)H, sizeof(double))};

    if (!w.rows || !w.gram || !w.value || !w.vector || !w.sum)
        FAIL(CL_ENOMEM, "no memory for a basis of %d vectors of %lld numbers", rank, (long long)H);
    for (int now, done = 0; done < n; done += now) {
        int old = 0;
        now = n - done < AT_ONCE ? n - done : AT_ONCE;
        for (; old < rank && sigma[old] > 0; old++)
            for (int64_t i = 0; i < H; i++) w.rows[old * H + i] = (float)(sigma[old] * (double)q[old * H + i]);
        memcpy(w.rows + old * H, x + done * H, (size_t)now * (size_t)H * sizeof *x);
        renew(q, sigma, rank, H, &w, old + now);
    }
done:
    mem_free(w.rows), mem_free(w.gram), mem_free(w.value), mem_free(w.vector), mem_free(w.sum);
    return rc;
}
