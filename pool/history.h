/* history.h - what a finished stage 1 tells about a task, kept in every later checkpoint (/history/<task>/).
 *
 * Per own slot: how many of the task's samples selected it (selected), with how much weight in all (weight); and the keys
 * before and after. <task> is the task's number from 0. Losses and times are written by whoever trains.
 */
#ifndef CLLAVA_POOL_HISTORY_H
#define CLLAVA_POOL_HISTORY_H

#include "io/checkpoint.h"

#include <stdbool.h>

struct history {
    int slots, K;      // slots 0: the task has not begun
    bool aligned;      // selected, weight, after are known
    int64_t *selected; // (slots)
    double *weight;    // (slots)
    float *before;     // (slots, K) keys
    float *after;      // (slots, K)
};

int history_open(struct history *h, int slots, int K);
void history_close(struct history *h);
int history_save(const struct history *h, struct ckpt *c, int task);
/* Absent groups leave h not begun. CL_EFORMAT for other shapes. */
int history_load(struct history *h, struct ckpt *c, int task, int slots, int K);

#endif
