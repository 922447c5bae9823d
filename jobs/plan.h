/* plan.h - what a configuration would take on so many ranks, without running it.
 *
 *     plan_data.c    how long samples are: from the task files, or as told
 *     plan_model.c   the model over a backend that only counts (model/backend_measuring.h): memory, operations
 *     plan_memory.c  what a rank holds, by kind
 *     plan_time.c    what a step and an answer cost on a machine (jobs/machine.h)
 *     plan_job.c     the plan of a run that begins: what training keeps
 *     plan_print.c   tables and JSON
 *     plan_scaling.c weak and strong scaling as tables and a picture
 *     plan.c         the command
 *
 * Only config.json of the base is needed. Where task files or an encoder are missing, sizes are assumed, and what is assumed is
 * said.
 */
#ifndef CLLAVA_JOBS_PLAN_H
#define CLLAVA_JOBS_PLAN_H

#include "io/config.h"
#include "jobs/machine.h"
#include "jobs/task_data.h"
#include "model/backend_timing.h"
#include "model/lvlm.h"
#include "model/projections.h"
#include "model/traffic.h"

/* Kinds of memory: name, what, phase. A rank's peak is what it always holds and the largest of the phases. */
enum plan_phase { PLAN_ALWAYS, PLAN_EVALUATING, PLAN_SAVING, PLAN_GROWING };
#define PLAN_KINDS(X)                                                                                                  \
    X(base, "base weights", PLAN_ALWAYS)                                                                               \
    X(tower, "tower, projector", PLAN_ALWAYS)                                                                          \
    X(step, "activations of a step", PLAN_ALWAYS)                                                                      \
    X(increments, "increments, their gradients", PLAN_ALWAYS)                                                          \
    X(scratch, "tables, scratch", PLAN_ALWAYS)                                                                         \
    X(features, "picture features", PLAN_ALWAYS)                                                                       \
    X(encoder, "encoder, questions", PLAN_ALWAYS)                                                                      \
    X(pool, "pool, gradients, moments", PLAN_ALWAYS)                                                                   \
    X(exchange, "sums, messages", PLAN_ALWAYS)                                                                         \
    X(program, "program, libraries", PLAN_ALWAYS)                                                                      \
    X(cache, "KV cache", PLAN_EVALUATING)                                                                              \
    X(copy, "copy for a checkpoint", PLAN_SAVING)                                                                      \
    X(growth, "pool while it grows", PLAN_GROWING)

/* Bytes. */
struct plan_memory {
#define PLAN_FIELD(name, ...) double name;
    PLAN_KINDS(PLAN_FIELD)
#undef PLAN_FIELD
    double mapped; // pages of the base's files that are used in place: the system's cache, shared by ranks of a node
    double sum;    // peak of the rank's own memory
};

/* What goes through the model. */
struct plan_data {
    bool measured; // lengths are of the task files
    int tasks;
    double train, test;            // records of the whole stream
    double tokens, answers;        // of a training sample, mean
    int64_t longest, most_answers; // of any training sample
    double prompt;                 // tokens of a test question, mean
    int64_t longest_prompt;
    double new_tokens;                    // of a generated answer, mean
    double pictures;                      // per sample
    double train_pictures, test_pictures; // different ones of the whole stream
};

/* What the method learns. */
struct plan_method {
    bool routes, trains;
    int slots;          // when every task is learned
    int learned;        // by one task
    int rank;           // of prompts as in struct adapters
    int kept;           // arrays of that size that stay beside it (method_size)
    int64_t parameters; // learned in all
};

struct plan_encoder {
    bool assumed;   // sizes of RoBERTa-base
    int width;      // K
    double bytes;   // memory of its own
    double scratch; // of a batch of questions
};

struct plan {
    struct config cfg;
    struct lvlm_config base;
    struct projections on; // maps that have increments
    enum dtype weights;    // type of the base's files
    bool weights_known;
    enum dtype act;       // of products
    double parameters[3]; // decoder, tower, projector
    struct machine machine;
    struct plan_data data;
    struct plan_method method;
    struct plan_encoder encoder;
    bool all_levels;      // rows say of every level what it would take, else of those up to the chosen one
    enum recompute again; // what plan_model's training passes compute again
};

/* How ranks are used. */
struct plan_layout {
    int ranks, tensor, groups;
    bool dedicated;
    int micro; // samples that go through the model at a time: stage2.micro_batch, less where groups would idle
    bool own;  // the configuration's tensor size
};

enum plan_role { PLAN_COORDINATOR, PLAN_LEADER, PLAN_MEMBER };

/* One rank's part of a pass: operations, and what limits them. */
struct plan_work {
    double flop;            // of products and attention
    double seconds;         // on this rank's cores
    int products;           // different ones
    struct traffic traffic; // of its group
};

/* The model on one rank of a group. */
struct plan_model {
    double base, tower, step, increments, scratch, cache, mapped; // bytes
    struct plan_work see;                                         // a picture
    struct plan_work micro;   // forward and backward of a micro-batch of mean length
    struct plan_work prefill; // a pack of `prompts` prompts
    int prompts;
    struct plan_work decode; // one more token for each of `sequences`
    int sequences;
};

struct plan_time {
    double flop, flop_answer;         // of a step, of an evaluation answer, all ranks together
    double wire;                      // bytes that the busiest rank sends in a step to its group
    double increments, gradients;     // bytes to and from each other group in a step
    double step;                      // s; its parts:
    double compute, exchange, update; // operations; collectives of group and crew; the coordinator's optimizer
    double tokens;                    // per second
    double share;                     // of the best product's rate on all cores of all ranks
    double answers;                   // per second
};

/* What training would take if it kept more or less. */
struct plan_level {
    double step, peak, node; // bytes: activations of a step; the largest rank; the fullest node
    double flop;             // of a micro-batch on rank 0, what is computed again included
    double wire;             // bytes that rank 0 sends to its group for it
    bool fits;               // memory_limit, or the machine
};

struct plan_row {
    struct plan_layout layout;
    enum recompute again; // what the rest is about: as configured, else the least that fits
    struct plan_level level[RECOMPUTES];
    struct plan_memory first, other; // rank 0; the largest other rank (zeros when alone)
    double node;                     // bytes on the fullest node, mapped pages included
    bool fits;
    struct plan_time time;
};

struct plan_checkpoints {
    double task, step; // bytes of a file after the last task, and inside it, before compression
};

/* What the command line says of the data (0: nothing); eval: of an evaluation alone. */
struct plan_options {
    int64_t tokens, answers, samples;
    int tasks;
    bool eval;
};

/* plan.c: everything about the base, the data and the method, over p->cfg and p->machine; the caller frees the former. */
int plan_open(struct plan *p, const struct plan_options *o);
/* Everything about one layout. CL_ECONFIG when heads do not allow it. */
int plan_row(struct plan_row *r, const struct plan *p, const struct plan_layout *l);
/* The same for a run whose task files are open, on the machine and ranks that it has; cfg stays the job's, nothing is to be freed. */
int plan_of_job(struct plan *p, const struct job *j, const struct task_data *train, const struct task_data *test);
/* What its training passes shall compute again: *r of the layout that it runs on. */
int plan_job_row(struct plan_row *r, const struct job *j, const struct task_data *train, const struct task_data *test);
/* plan_data.c: lengths from task files that are open. */
void plan_data_of(struct plan_data *d, const struct task_data *train, const struct task_data *test, int tasks,
                  bool pictures);
int64_t plan_slot_numbers(const struct plan *p);  // A and B of a slot of p->method, or a prompt
int plan_method(struct plan *p, bool evaluation); // evaluation: of what was learned, without learning
/* plan_data.c: lengths from the task files, else from the options and the configuration. */
int plan_data(struct plan *p, const struct plan_options *o);
/* plan_model.c: CL_ECONFIG when heads do not allow the layout. rank: of the group. */
int plan_model(struct plan_model *m, const struct plan *p, const struct plan_layout *l, int rank);
int plan_base(struct plan *p); // config.json, type of the weights, numbers by part
/* plan_memory.c */
int plan_encoder(struct plan *p);
void plan_memory(struct plan_memory *out, const struct plan *p, const struct plan_layout *l, const struct plan_model *m,
                 enum plan_role role);
struct plan_checkpoints plan_checkpoints(const struct plan *p);
/* plan_time.c */
struct plan_work plan_work_of(const struct plan *p, const struct plan_layout *l, const struct timing *t, size_t n);
void plan_work_add(struct plan_work *w, struct traffic t);
int plan_time(struct plan_time *t, const struct plan *p, const struct plan_layout *l, const struct plan_model *m);
/* Ranks that share a node; threads of one of them; what sums travel as. */
int plan_ranks_of_node(const struct plan *p, const struct plan_layout *l);
int plan_threads(const struct plan *p, const struct plan_layout *l);
enum dtype plan_wire(const struct plan *p);
/* plan_print.c */
void plan_print(struct text *t, const struct plan *p, const struct plan_row *row, int rows);
void plan_json(struct text *t, const struct plan *p, const struct plan_row *row, int rows);
/* plan_scaling.c: Markdown, and a picture beside it where svg is not NULL. */
int plan_scaling(struct text *t, struct text *svg, const struct plan *p);

#endif
