/* run_dir.h - what a run leaves in its output folder, and finding where an unfinished run goes on.
 *
 *     config.yaml  log.jsonl  checkpoint-task<t>-<name>.h5  checkpoint-step<n>.h5  predictions/{after<t>,afterzero}-on<i>.jsonl
 *     accuracy.csv  accuracy.svg  summary.json
 */
#ifndef CLLAVA_JOBS_RUN_DIR_H
#define CLLAVA_JOBS_RUN_DIR_H

#include "jobs/state.h"

/* Makes the folder (and predictions/) and proves that it can be written to. CL_EIO. */
int run_dir_make(const char *dir);
/* Puts text under a name inside the folder: temporary name, fsync, rename. */
int run_dir_write(const char *dir, const char *name, const char *text);
/* Paths; malloc'ed, NULL without memory. */
char *run_dir_task_checkpoint(const struct config *cfg, int task);
char *run_dir_step_checkpoint(const struct config *cfg, int64_t step);
char *run_dir_predictions(const struct config *cfg, int after, int on); // after -1: zero-shot ("afterzero")

/* The checkpoint that is furthest on (most optimizer steps; a task's file before a step's of the same step), or NULL path.
 * Files that do not open are named in a warning and passed over; when every file is broken that is an error. */
int run_dir_latest(const char *dir, struct log *log, char **path);
/* Leaves only the last `keep` step checkpoints; after a task (all true) none. */
int run_dir_prune(const char *dir, int keep);

#endif
