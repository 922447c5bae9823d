/* run_dir.h - what a run leaves in its output folder, and finding where an unfinished run goes on.
 *
 *     config.yaml  log.jsonl  checkpoint-task<t>-<name>.h5  checkpoint-step<n>.h5  predictions/{after<t>,afterzero}-on<i>.jsonl
 *     rehearsal/task<t>-of<i>.jsonl (method self_guide)
 *     accuracy.csv  accuracy.svg  summary.json  diagnostics.json  report.html  .lock
 *
 * checkpoint-step0.h5 is written before anything is measured or learned: its pool is empty. Later ones take its place.
 */
#ifndef CLLAVA_JOBS_RUN_DIR_H
#define CLLAVA_JOBS_RUN_DIR_H

#include "jobs/state.h"

/* Makes a folder and those above it, as mkdir -p; one that is there is fine. CL_EIO. */
int run_dir_make_folders(const char *path);
/* Makes the folder and predictions/ in it. CL_EIO when it cannot be written to. */
int run_dir_make(const char *dir);
/* Takes the folder for this process until *lock is closed; the kernel gives it back when the process dies. CL_EIO when
 * another process has it. *lock -1: the file system knows no locks, nothing keeps others out. */
int run_dir_lock(const char *dir, int *lock);
/* Removes what processes that died left under temporary names. locked: the folder is ours alone. */
int run_dir_clean(const char *dir, bool locked);
/* A run that the folder holds goes to DIR.old-TIME, nothing of it is lost. A folder without a run stays. CL_EIO when the
 * run is still going on. */
int run_dir_move_aside(const char *dir);
/* Paths; malloc'ed, NULL without memory. */
char *run_dir_task_checkpoint(const struct config *cfg, int task);
char *run_dir_step_checkpoint(const struct config *cfg, int64_t step);
char *run_dir_predictions(const struct config *cfg, int after, int on); // after -1: zero-shot ("afterzero")

/* The checkpoint that is furthest on (most optimizer steps, then most finished tasks), or NULL path. Every byte of it was
 * read. Broken files are named in a warning and passed over; when every file is broken that is an error. path is the
 * caller's to free. */
int run_dir_latest(const char *dir, struct log *log, char **path);
/* Leaves only the last `keep` step checkpoints; after a task (all true) none. */
int run_dir_prune(const char *dir, int keep);

#endif
