/* kpig.c - the lowest of many numbers, in a fixed order; what the options ask for. */
#include "pool/kpig.h"

#include "io/err.h"
#include "model/tensor.h"

#include <math.h>
#include <stdlib.h>

struct weighed {
    double gain;
    int64_t at;
};

static int compare_places(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int lower_first(const void *a, const void *b)
{
    const struct weighed *x = a, *y = b;

    if (x->gain != y->gain) return x->gain < y->gain ? -1 : 1;
    return compare_places(x->at, y->at);
}

static int rising(const void *a, const void *b)
{
    return compare_places(*(const int64_t *)a, *(const int64_t *)b);
}

int kpig_choose(int64_t *chosen, int64_t *k, const double *gain, int64_t n, double share)
{
    int rc = CL_OK;
    struct weighed *w = mem_new((size_t)n, sizeof *w);

    *k = 0;
    if (!w) FAIL(CL_ENOMEM, "no memory to choose among %lld records", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(gain[i])) FAIL(CL_ENUM, "gain %lld is not finite", (long long)i);
        w[i] = (struct weighed){gain[i], i};
    }
    if (n) qsort(w, (size_t)n, sizeof *w, lower_first);
    *k = llround(share * (double)n);
    if (*k > n) *k = n;
    if (!*k && n && share > 0) *k = 1;
    for (int64_t i = 0; i < *k; i++) chosen[i] = w[i].at;
    if (*k) qsort(chosen, (size_t)*k, sizeof *chosen, rising);
done:
    mem_free(w);
    return rc;
}

bool kpig_listens(const struct config *cfg)
{
    return cfg->kpig.weight > 0 && cfg->kpig.margin > 0;
}

int kpig_check(const struct config *cfg, const struct method_ops *ops)
{
    if (!kpig_listens(cfg) || ops->trains) return CL_OK;
    return config_error(cfg, "kpig.weight", "method %s learns nothing, so no term can change what it does", ops->name);
}
