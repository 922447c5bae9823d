/* schedule.c - the learning rate of a step. */
#include "pool/schedule.h"

#include <math.h>
#include <string.h>

double schedule_lr(const char *kind, int64_t step, int64_t total, double peak, double warmup_ratio)
{
    const double warm = ceil(warmup_ratio * (double)total), after = (double)step - warm;
    const double rest = (double)total - warm > 1 ? (double)total - warm : 1;

    if ((double)step < warm) return peak * (double)step / (warm > 1 ? warm : 1);
    if (!strcmp(kind, "constant")) return peak;
    if (after >= rest) return 0;
    if (!strcmp(kind, "linear")) return peak * (1 - after / rest);
    return peak * 0.5 * (1 + cos(M_PI * after / rest));
}
