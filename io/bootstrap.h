/* bootstrap.h - how sure a mean is: over the records of a cell, over the seeds of a run.
 *
 * A cell's interval is the percentile bootstrap: n scores are drawn anew from the n scores, with replacement, many times;
 * 95 % of the means that come out lie between low and high. Draws come from counters (pool/rng.h), so the same scores have
 * the same interval everywhere. It says how far another sample of questions would move the figure, not another training.
 */
#ifndef CLLAVA_IO_BOOTSTRAP_H
#define CLLAVA_IO_BOOTSTRAP_H

#include <stdint.h>

struct bootstrap_interval {
    double mean, low, high; // of 95 %; NaN without scores
};

/* CL_ENOMEM. Beyond BOOTSTRAP_MOST scores the interval is the normal one, mean -+ 1.96 standard errors, which is the same by
 * then and costs nothing. */
enum { BOOTSTRAP_DRAWS = 1000, BOOTSTRAP_MOST = 20000 };
int bootstrap_mean(struct bootstrap_interval *out, const double *score, int64_t n);

struct bootstrap_spread {
    int64_t n;              // values that are not NaN
    double mean, deviation; // deviation: of a sample (divided by n - 1); NaN for fewer than two
};
/* The same figure of several seeds. */
struct bootstrap_spread bootstrap_seeds(const double *value, int64_t n);

#endif
