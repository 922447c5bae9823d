/* schedule.h - the learning rate of a step.
 *
 * Every kind begins with a linear warm-up from 0 over ceil(warmup_ratio * total) steps (so step 0 has rate 0 when there is
 * any); then "cosine": half a cosine to 0; "linear": a line to 0; "constant": the peak.
 */
#ifndef CLLAVA_POOL_SCHEDULE_H
#define CLLAVA_POOL_SCHEDULE_H

#include <stdint.h>

/* Step `step` (from 0) of `total`. */
double schedule_lr(const char *kind, int64_t step, int64_t total, double peak, double warmup_ratio);

#endif
