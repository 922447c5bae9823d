/* stage.h - the inner loops of training: one optimizer step of stage 1 and of stage 2. */
#ifndef CLLAVA_JOBS_STAGE_H
#define CLLAVA_JOBS_STAGE_H

#include "jobs/state.h"
#include "jobs/task_data.h"

/* The samples of one optimizer step, as micro-batches. */
struct step_samples {
    int64_t step;                // that they are for, -1: none
    int n;                       // own samples, then replayed ones
    int64_t answers, tokens;     // of them all
    struct sample_ref *ref;      // (room)
    const float **query;         // (room) embeddings of their questions
    char **picture;              // (room) paths, those of a micro-batch from its first sample's place on
    int micros;                  // (n / micro_batch, rounded up)
    struct crew_micro *micro;    // (micro_room)
    struct packed_batch *pack;   // (micro_room)
    struct packed_batch *masked; // (micro_room) the same, questions without their key parts; NULL: not asked for
};

/* What the steps of one task need; buffers are made once per task. */
struct trainer {
    struct job *j;
    struct task_data *data; // (tasks, or twice that: method_ops.rehearse) training sides, kept open for replay
    int task;               // that is trained
    int64_t n;              // records of the training set (all tasks' with a joint method)
    int64_t *order;         // (n) of the running epoch
    int64_t order_epoch;    // which epoch order holds, -1: none
    int order_stage;
    /* one step */
    int room, micro_room;           // samples, micro-batches
    struct step_samples now, ahead; // ahead: of the step to come, where the coordinator has time for it
    struct routing routing;         // of the whole step
    double *dcoef;                  // (room, slots)
    int64_t tokens;                 // of the last step
};

/* Opens for a task: reserves memory in the model too. first: index in the stream; a joint method trains on all of data. */
int trainer_open(struct trainer *t, struct job *j, struct task_data *data, int task);
void trainer_close(struct trainer *t);

/* Steps of a stage in all and per epoch. */
int64_t trainer_epoch_steps(const struct trainer *t, int stage);
int64_t trainer_steps(const struct trainer *t, int stage);
/* Order of the records in the epoch that `step` belongs to, into t->order. */
int trainer_order(struct trainer *t, int stage, int64_t step);

/* One optimizer step, counted from 0 within its stage. */
int stage1_step(struct trainer *t, int64_t step, double *lr, struct step_report *out);
int stage1_end(struct trainer *t);
int stage2_step(struct trainer *t, int64_t step, double *lr, struct step_report *out);
/* What follows stage 2: shows the method single records of the task, where it asks for them (method_ops.sense). */
int trainer_sense(struct trainer *t);
/* Shows the method gradients of single records of the task, where it asks for them (method_ops.look). */
int trainer_look(struct trainer *t);

#endif
