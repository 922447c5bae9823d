/* learned.h - what a checkpoint holds, read without its base model: for `inspect` and `export`.
 *
 * Everything small is read at once and checked against each other; A and B stay in the file and come slot by slot. Parts that
 * a file does not have (a golden init.h5 has no history) are NULL or 0.
 */
#ifndef CLLAVA_JOBS_LEARNED_H
#define CLLAVA_JOBS_LEARNED_H

#include <stdbool.h>
#include <stdint.h>

#include "io/accuracy.h"
#include "io/checkpoint.h"
#include "model/projections.h"

struct learned_task {
    char *name;
    int done;                       // 0 not begun, 1 in stage 1, 2 in stage 2, 3 finished; -1: the file does not say
    int slots;                      // that it owns
    int home;                       // task that owns the slots it uses: itself, unless it shares them (pool/lw2g.h)
    char *started, *finished;       // UTC, NULL where not known
    int64_t samples, steps, tokens; // -1 where not known
    double seconds;                 // NaN where not known
    int64_t losses;                 // steps of the loss curve
    double first_loss, last_loss;   // NaN where there is none
    double drift;                   // largest distance that a key of the task moved in stage 1; NaN
};

struct learned_slot {
    int task;
    double key;       // length of the key, NaN without keys
    double use;       // mean selection weight over the owner's samples
    int64_t selected; // samples of the owner that selected it, -1 where not known
    double *norm;     // (L) Frobenius norm of B A per layer
};

struct learned {
    struct ckpt *c;
    char *cllava, *created, *base_hash, *encoder_hash, *config, *method; // NULL where the file does not say
    int T, N, K, L, R, top_m, groups;
    int rows; // of a prompt; 0: slots are increments. Prompts have keys and D alone, and no A and B
    int64_t H, D;
    struct projections on; // maps that have increments, and their places in H and D
    double scale;
    struct learned_task *task; // (T)
    struct learned_slot *slot; // (N)
    double *w;                 // (T, T), NULL without context
    struct accuracy accuracy;  // a NULL where not measured
    double *loss;              // (T, T) after a task on records of another, NaN where not measured; NULL: none
    bool resumes;              // a file from inside a task
    int64_t at_task, at_stage, at_step;
};

/* CL_EIO, CL_EFORMAT: not a checkpoint, damaged, or parts that contradict each other. */
int learned_open(struct learned *l, const char *path);
void learned_close(struct learned *l);
/* A (L,R,H) and B (L,D,R) of one slot. */
int learned_read_slot(const struct learned *l, int slot, float *A, float *B);
/* Fills norm of every slot (reads A and B once, so that their checksums are verified too). */
int learned_norms(struct learned *l);
/* Frobenius norm of the increments of all maps of one layer, A (R,H), B (D,R): sqrt of the sum of trace((A A^T)(B^T B)) of each,
 * so that no product B A is built. */
double learned_norm(const float *A, const float *B, int R, const struct projections *on);
/* Task by name or number (from 0): index, or -1 with CL_EUSAGE text. */
int learned_find_task(const struct learned *l, const char *name);

/* Coefficient (N) of each slot in the mean increment over a task's own training samples: use of its slots, and what the
 * context brings in of earlier tasks. A pool without keys (plain LoRA) has one increment for every task. */
void learned_mixture(const struct learned *l, int task, double *coefficient);

#endif
