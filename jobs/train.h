/* train.h - the continual run: for each task stage 1, stage 2, checkpoint, evaluation of every task seen.
 *
 * A run is what its folder holds: started again with the same configuration it goes on where its furthest checkpoint
 * stands, and ends with the same bits as a run that was never disturbed.
 */
#ifndef CLLAVA_JOBS_TRAIN_H
#define CLLAVA_JOBS_TRAIN_H

#include "jobs/state.h"

struct train_options {
    bool fresh;          // begin anew; an older run in the folder is moved aside
    int stop_after_task; // 0-based, -1: none
    int64_t max_steps;   // stops at a checkpoint when the run has taken so many optimizer steps, -1: never
    bool quiet;          // no table, no progress
};

struct train_result {
    int tasks;
    double *accuracy;    // (tasks + 1, tasks) percent, row 0 zero-shot; the caller mem_frees it
    double *format_free; // the same by first content word
    double seconds;      // spent training, all starts together
    int64_t parameters;  // learned
};

/* Takes the configuration over (frees it). out may be NULL. CL_ESTOP: stopped at a checkpoint on request (a signal,
 * max_steps, stop_after_task) with work left. Collective. */
int train_run(struct config *cfg, const struct train_options *options, struct train_result *out);

#endif
