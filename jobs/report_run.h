/* report_run.h - what a run's folder says of the run, read for a report: summary.json (needed), and where they are there the
 * log's losses, the predictions' slots and the last checkpoint's context weights.
 */
#ifndef CLLAVA_JOBS_REPORT_RUN_H
#define CLLAVA_JOBS_REPORT_RUN_H

#include <stdint.h>

#include "io/accuracy.h"

/* The losses of a stage, one step after the other over all tasks. */
struct report_curve {
    int n;
    double *loss; // (n)
    int *task;    // (n)
};

struct report_run {
    char *label;                  // the folder's own name
    char *method, *stream;        // "" where not said
    int64_t seed, parameters;     // parameters -1: not said
    double seconds;               // NaN: not said
    struct accuracy exact, loose; // loose: format-free; a NULL where not said
    struct accuracy low, high;    // 95 % intervals of exact; a NULL where not said
    struct report_curve stage[2]; // n 0: none
    double *routed;  // (T, T) percent: of the slots that questions of task i chose at the end, those of task j
    double *context; // (T, T) context weights w
};

/* CL_EIO, CL_EFORMAT: no summary.json of a finished run there, or a broken one. */
int report_run_open(struct report_run *r, const char *dir);
void report_run_close(struct report_run *r);

#endif
