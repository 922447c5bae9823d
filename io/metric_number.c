/* metric_number.c - ChartQA's relaxed accuracy: numbers within 5 % of the reference, texts equal but for case. */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/pystr.h"

/* float(), with trailing percent signs, however many, as one division by 100. 1: a number, 0: none, -1: no memory. */
static int number_of(const char *s, double *v)
{
    size_t n = strlen(s), signs = 0;
    char *plain;
    bool good;

    while (signs < n && s[n - 1 - signs] == '%') signs++;
    if (!(plain = strndup(s, n - signs))) return -1;
    good = pystr_float(plain, v);
    if (good && signs) *v /= 100;
    free(plain);
    return good;
}

/* A reference of 0 has no 5 %: it is compared as text, as are texts. No epsilon: 0.63 for 0.6 is 0.05000000000000004 off. */
static double relaxed(const char *prediction, const char *reference, const struct metric_options *o)
{
    double p, r;
    int p_number = number_of(prediction, &p), r_number = number_of(reference, &r);

    (void)o;
    if (p_number < 0 || r_number < 0) return NAN;
    if (p_number && r_number && r != 0) return fabs(p - r) / fabs(r) <= 0.05;
    return metric_equal(pystr_lower(prediction), pystr_lower(reference));
}

double metric_relaxed_accuracy(const char *prediction, const char *const *references, int n,
                               const struct metric_options *o)
{
    return metric_best(relaxed, prediction, references, n, o);
}
