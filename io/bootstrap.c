/* bootstrap.c - see bootstrap.h. */
#include "io/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "io/err.h"
#include "pool/rng.h"

struct bootstrap_spread bootstrap_seeds(const double *value, int64_t n)
{
    struct bootstrap_spread s = {0, 0, 0};

    for (int64_t i = 0; i < n; i++)
        if (!isnan(value[i])) s.mean += value[i], s.n++;
    s.mean /= (double)s.n; // none: NaN
    for (int64_t i = 0; i < n; i++)
        if (!isnan(value[i])) s.deviation += (value[i] - s.mean) * (value[i] - s.mean);
    s.deviation = s.n > 1 ? sqrt(s.deviation / (double)(s.n - 1)) : NAN;
    return s;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Between two sorted values where the share of them below is q. */
static double quantile(const double *sorted, int64_t n, double q)
{
    double at = q * (double)(n - 1);
    int64_t i = (int64_t)at;

    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

static double mean_of_draw(const double *score, int64_t n, int draw)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) sum += score[rng_below(0, RNG_BOOTSTRAP, (uint32_t)draw, (uint64_t)i, (uint64_t)n)];
    return sum / (double)n;
}

int bootstrap_mean(struct bootstrap_interval *out, const double *score, int64_t n)
{
    struct bootstrap_spread s = bootstrap_seeds(score, n);
    double *mean, half = 1.96 * s.deviation / sqrt((double)n);

    *out = (struct bootstrap_interval){s.mean, n > 0 ? s.mean - half : NAN, n > 0 ? s.mean + half : NAN};
    if (n < 1 || n > BOOTSTRAP_MOST) return CL_OK;
    if (!(mean = malloc(BOOTSTRAP_DRAWS * sizeof *mean))) return err_set(CL_ENOMEM, "no memory for an interval");
    for (int draw = 0; draw < BOOTSTRAP_DRAWS; draw++) mean[draw] = mean_of_draw(score, n, draw);
    qsort(mean, BOOTSTRAP_DRAWS, sizeof *mean, ascending);
    out->low = quantile(mean, BOOTSTRAP_DRAWS, 0.025);
    out->high = quantile(mean, BOOTSTRAP_DRAWS, 0.975);
    free(mean);
    return CL_OK;
}
