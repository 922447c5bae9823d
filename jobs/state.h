/* state.h - where a run stands, as a checkpoint keeps it beside what the method learned.
 *
 * /stream, /metrics, the figures of /history/<task> and /resume's counters are written and read here; /pool and /context
 * are the method's. Everything random in a run comes from counters, so counters are all that a resume needs.
 */
#ifndef CLLAVA_JOBS_STATE_H
#define CLLAVA_JOBS_STATE_H

#include "jobs/job.h"

struct task_history {
    int64_t samples, steps, tokens; // trained on; tokens: all of the packs
    double seconds;
    char started[32], finished[32]; // ISO 8601, UTC; "" not yet
    double *loss;                   // (n_loss) of each stage 2 step
    int64_t n_loss, room;
};

enum { TASK_WAITING, TASK_STAGE1, TASK_STAGE2, TASK_FINISHED }; // /stream/done

struct run_state {
    int tasks;
    char **name;      // (tasks), borrowed from the configuration
    int32_t *done;    // (tasks)
    double *accuracy; // (tasks + 1, tasks), NaN: not measured; row 0 zero-shot
    double *loss;     // (tasks, tasks) after a task on records of another, per answer token; NaN: not measured
    struct task_history *history; // (tasks)
    /* the next thing to do */
    int task, stage; // stage 1 or 2
    int64_t step;    // optimizer steps of this stage that are done
    int64_t steps;   // optimizer steps of the whole run
    int64_t log_offset;
};

int state_new(struct run_state *s, const struct config *cfg);
void state_free(struct run_state *s);
int state_add_loss(struct task_history *h, double loss); // CL_ENOMEM

/* Writes a whole checkpoint. resume: inside a task (optimizer moments too). order: (n) record order of the running epoch,
 * or NULL. later: returns when everything is copied, a thread writes it: ckpt_wait gives the result, and until then the
 * memory holds what is saved once more. That is for N slots of L layers, rank R, H inputs and D outputs of a layer, keys
 * of K, of which n learn and have moments in the file (resume):
 *     4 bytes x (N (L R (H + D) + K) + 2 n (L R (H + D) + K)), and little else. */
int state_save(const struct run_state *s, struct job *j, const char *path, bool resume, bool later,
               const int64_t *order, int64_t n);
/* Reads state and method back. CL_EMISMATCH: another base, encoder, stream. The method gets its state too. */
int state_load(struct run_state *s, struct job *j, struct ckpt *c);

/* Accuracy matrix cell: row t (after task t; -1 zero-shot). */
double *state_cell(struct run_state *s, int after, int on);

#endif
