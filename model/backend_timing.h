/* backend_timing.h - where the time goes: a backend that passes every operation on to another and watches the clock.
 *
 * Entries are kept per operation and width, e.g. linear 2048 -> 5504, so that the few expensive shapes of a step stand out.
 * A table of functions carries no context, so there is one clock per process; benchmarks use it, nothing else does.
 */
#ifndef CLLAVA_MODEL_BACKEND_TIMING_H
#define CLLAVA_MODEL_BACKEND_TIMING_H

#include <time.h>

#include "model/backend.h"

struct timing {
    const char *op;      // "linear"
    int64_t cols, depth; // width of the result; what a product sums over, else 0
    int64_t calls, rows; // rows of all calls together
    double seconds,
        flop; // flop: of products and attention, 2 per multiply-add, causal attention its lower half; else 0
};

/* *be: inner's table with clocks. A second call moves the clocks to another backend. */
void backend_timing(const struct backend **be, const struct backend *inner, clockid_t clock);
void backend_timing_clear(void);
/* Up to room entries since the last clear, the longest first; returns how many. */
size_t backend_timing_read(struct timing *out, size_t room);

#endif
