/* crew.h - the groups of ranks, as the coordinator sees them.
 *
 * World rank 0 is the coordinator: everything of a job that decides (data, routing, what is learned, checkpoints) happens
 * there alone. The model stands in groups of parallel.tensor ranks, one copy of the base in each. What the coordinator wants
 * of them goes through a crew: it deals the work out to the groups' leaders in a fixed way, so that equal runs give equal
 * bits, does the share of its own group meanwhile, and gathers what came out. One process is a crew of one group, and all of
 * this is a plain call of the model.
 *
 *     coordinator (rank 0)                      leaders (crew_serve)
 *     crew_open      the layout, the settings   their model is opened
 *     crew_load      A and B that changed       lvlm_load
 *     crew_step      micro-batches              forward, backward -> losses, gradients
 *     crew_squares   micro-batches              the same          -> losses, squared gradients
 *     crew_score     single samples             forward           -> losses
 *     crew_generate  prompts, a few ahead       tokens            -> answers
 *     crew_embed     texts                      sentence encoder  -> embeddings
 *     crew_see       pictures                   vision tower      -> mean features
 *     crew_close                                back to waiting for rank 0
 *
 * Members of a group, its ranks behind the leader, know nothing of this: they do what their leader's model does
 * (lvlm_follow). Functions below are rank 0's alone and collective over the crew in that leaders take part by themselves. One
 * that fails leaves the others in the middle of something: ranks_busy, so that main ends the job hard.
 */
#ifndef CLLAVA_JOBS_CREW_H
#define CLLAVA_JOBS_CREW_H

#include "io/batch.h"
#include "jobs/generator.h"
#include "model/adapters.h"
#include "model/lvlm.h"

struct job;
struct crew;

/* Sums over the answer rows whose questions have key parts (struct listening). */
struct heard {
    double jsd;     // in bits
    double missing; // max(0, margin - jsd), unweighted
    int64_t rows;
};

/* A micro-batch: samples that go through the model together. */
struct crew_micro {
    struct packed_batch *pack;
    const char **picture;           // (pack->pictures) paths
    const float *coef;              // (samples, slots)
    struct adapter_teacher teacher; // of crew_step; coef NULL: none
    struct packed_batch *masked;    // room for listening.masked, at leaders
    struct listening listening;     // of crew_step; masked NULL: none
    double nll;                     // out: sum over its answer rows
    double kl;                      // out: the same of how far they are from the teacher's, unweighted; 0 without one
    struct heard heard;             // out: of its listening
    double *dcoef;                  // (samples, slots) out, of crew_step: d loss / d coef
};

/* Lays the ranks out as j->cfg says and tells them to open their share of j->cfg's model. parts: enum job_part. One process:
 * only checks the layout. CL_ECONFIG: the ranks cannot be laid out so; nobody is busy then. */
int crew_open(struct crew **c, struct job *j, unsigned parts);
/* After the coordinator has opened its own: waits until all others have. An error is the first leader's, with its rank. */
int crew_opened(struct crew *c);
/* Lets the others go: they wait for the next job. NULL is fine. After a failure in the middle of something it only frees. */
void crew_close(struct crew *c);
/* Whether an operation was begun and not ended: others may wait for this rank, nothing collective can be done any more. */
bool crew_is_broken(const struct crew *c);
int crew_groups(const struct crew *c); // that share the work, 1 or more

/* What is being worked at ("stage 2 of task 1 shape, step 17"), for the watchdog's messages, here and at the leaders. */
void crew_at(struct crew *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Text about layout, hosts, threads and weights of the ranks for the table of settings. "": one process. */
void crew_describe(const struct crew *c, char *text, size_t room);
size_t crew_weight_bytes(const struct crew *c); // of the leader that has most

/* Memory for micro-batches within the limits, at every group. */
int crew_reserve(struct crew *c, const struct lvlm_limits *limits);

/* One optimizer step: forward and backward of n micro-batches, number k by group k % groups, so that each group's share is
 * known beforehand. The gradient sums of the learned slots over all groups go to dA (learned, L, R, H), dB (learned, L, D, R).
 * meanwhile, where not NULL, is called while other groups compute and the coordinator has no group of its own to run.
 * CL_ENUM: a loss is not finite; *odd is the number of that micro-batch and err_text where it came up. */
int crew_step(struct crew *c, struct crew_micro *m, int n, const struct adapters *set, float grad_scale, float *dA,
              float *dB, int (*meanwhile)(void *context), void *context, int *odd);
/* The same without anything meanwhile, but A and B := the sums over the micro-batches of each one's gradients, squared. */
int crew_squares(struct crew *c, struct crew_micro *m, int n, const struct adapters *set, float grad_scale, float *A,
                 float *B, int *odd);
/* Behind crew_step, of a set with residuals of the logits: sum (vocab) := the first one's gradient over all groups. */
int crew_residual(struct crew *c, float *sum);
/* Forward only: m[k].nll, dealt out alike. set NULL or without slots: the base alone. */
int crew_score(struct crew *c, struct crew_micro *m, int n, const struct adapters *set, int *odd);
/* " in tp_reduce of rank 3 (node7)": where numbers first were none since the last call; "" when nowhere, or alone. */
int crew_find_nonfinite(struct crew *c, char *text, size_t room);

/* Answers prompts 0 .. n-1. With several groups they are dealt out by falling length (length[i] tokens; NULL: all alike), the
 * same way in every run; ends->source is called for each prompt in the order in which it is handed out, ends->sink as answers
 * end, which differs from run to run. One group takes them in their order. set: as generator_run. CL_ESTOP of
 * ends->source stops all groups in an orderly way. */
int crew_generate(struct crew *c, int64_t n, const int32_t *length, const struct adapters *set,
                  const struct generator_limits *limits, const struct generator_ends *ends);

/* out (n, K) := embeddings of n texts; each rank of the crew takes equal parts. */
int crew_embed(struct crew *c, float *out, const char *const *text, size_t n);
/* out (n, d_vision) := each picture's features, averaged over its positions; each group takes equal parts. CL_EDATA, CL_EIO name
 * the picture. */
int crew_see(struct crew *c, float *out, const char *const *picture, size_t n);

/* The life of every rank but 0: does what rank 0 tells until it ends. */
int crew_serve(void);

#endif
