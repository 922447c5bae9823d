/* hand.h - one group's own work on its copy of the model: the coordinator's group and every leader's do it alike. */
#ifndef CLLAVA_JOBS_HAND_H
#define CLLAVA_JOBS_HAND_H

#include "jobs/crew.h"

struct hand {
    struct job *j;
    float *nll, *kl, *jsd; // (rows) of one micro-batch
    int64_t rows;
    double *dcoef; // (dcoefs) of all micro-batches of a step
    int64_t dcoefs;
    float *dA, *dB; // (dA_n), (dB_n) gradients of one micro-batch
    int64_t dA_n, dB_n;
};

int hand_reserve(struct hand *h, const struct lvlm_limits *l); // the model's memory too
void hand_free(struct hand *h);

/* Runs micro-batches m[first], m[first + stride], .. below n; with grad_scale != 0 their backward passes too, from cleared
 * gradient sums on. set NULL: the base alone. CL_ENUM with *odd set: the loss of that one is not finite. */
int hand_run(struct hand *h, struct crew_micro *m, int n, int first, int stride, const struct adapters *set,
             float grad_scale, int *odd);

/* The same micro-batches, and A (learned, L, R, H), B (learned, L, D, R) := the sums over them of each one's gradients, squared. */
int hand_squares(struct hand *h, struct crew_micro *m, int n, int first, int stride, const struct adapters *set,
                 float grad_scale, float *A, float *B, int *odd);

/* Adds to the text of a CL_ENUM where among the ranks of the group numbers first were none, if they can tell. */
void hand_name_place(struct lvlm *m);

/* out (n, d_vision) := mean features of n pictures. */
int hand_see(struct hand *h, float *out, const char *const *picture, size_t n);

/* out (n, K) := embeddings of n texts, which the ranks of the group share out. */
int hand_embed(struct hand *h, float *out, const char *const *text, size_t n);

#endif
