/* save.h - when a run's checkpoints are there, and what may only happen then.
 *
 *     inside a task       copy -> the steps go on while it is written -> settled between two later steps
 *     of a task, a stop   written before anything else happens
 *
 * Settling: the new file is what a failed run goes on from, older ones are removed, the log says so. A run that is killed
 * before goes on from the file before; its log is cut there, whatever stood in it since.
 */
#ifndef CLLAVA_JOBS_SAVE_H
#define CLLAVA_JOBS_SAVE_H

#include "io/path.h"
#include "jobs/stage.h"

struct saver {
    struct job *j;
    struct run_state *s;
    const struct trainer *t; // of the running task
    char last[PATH_ROOM];    // the checkpoint that a failed run goes on from, "" none yet
    /* the one that is being written */
    char path[PATH_ROOM]; // "" none
    bool inside;          // of a task
    int task;             // where the run stood, for the log
    int64_t steps;
};

/* Before the first step, so that a run killed at any time has a checkpoint to go on from. */
int save_begin(struct saver *v);
/* After a task, without what only going on inside a task needs. */
int save_task(struct saver *v, int task);
/* Inside a task, optimizer and all. now: the file is there when this returns; else it is when save_settle has seen it.
 * Waits for the one before. */
int save_step(struct saver *v, bool now);
/* Settles the checkpoint that is being written, if there is one: when it is finished, or (wait) as soon as it is. The
 * error is the writer's. */
int save_settle(struct saver *v, bool wait);
/* The same at the end of a run, which ended with rc: nothing is written after it. Gives rc with its text, or the writer's
 * error where that is the only one. */
int save_end(struct saver *v, int rc);

#endif
