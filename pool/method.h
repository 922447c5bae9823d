/* method.h - what a way of continual tuning has to say, and nothing of how the model computes.
 *
 * The training loop (jobs/train.c) owns data, batches and the model; a method owns what is learned. It says which slots
 * the model sees and with which coefficients (route), receives gradients (learn, gradients), steps its optimizer, and
 * keeps its state in the checkpoint. Continual LLaVA (continual_*.c) and every baseline (a file each) stand behind this table.
 *
 *     open -> for each task: begin_task
 *                            [kept, weigh]                    records of earlier tasks, for methods that choose by them
 *                            [align .. align, end_align]      stage 1, for methods that route
 *                            { mix, route, learn .., step }   stage 2, once per optimizer step
 *                            [sense ..]                       what single samples tell about the learned task
 *                            end_task
 *          -> route for evaluation -> close
 *
 * All buffers of a method are allocated in open and begin_task; route, learn and step allocate nothing.
 * Everything random comes from counters: rng_at(seed, purpose, task, index) gives the same numbers after a resume.
 */
#ifndef CLLAVA_POOL_METHOD_H
#define CLLAVA_POOL_METHOD_H

#include "io/checkpoint.h"
#include "io/config.h"
#include "model/adapters.h"
#include "model/projections.h"

struct method_shape {
    int tasks;             // T of the whole stream
    int layers;            // L, e.g. 32
    int64_t H, D;          // inputs and outputs of the maps that have increments, e.g. 4096, 4096 of o_proj
    int K;                 // width of a question embedding, 0 when the method does not route
    struct projections on; // which maps these are, H and D again; n 0: o_proj alone
};

/* How large a method becomes: what buffers and plans are made for. */
struct method_size {
    int slots;    // of the pool when every task is learned
    int learned;  // of them by one task
    int rank;     // of a slot; slots that are prompts: prompt_set (model/adapters.h)
    int selected; // at most, for a sample (struct routing's M)
    int kept;     // arrays as long as what one task learns that stay beside it, in memory and in checkpoints
};

enum route_mode {
    ROUTE_TRAIN,   // only the current task's slots are candidates
    ROUTE_FREE,    // every slot of the tasks begun so far competes: inference
    ROUTE_ORACLE,  // only the slots of the task that is named
    ROUTE_RANDOM,  // M slots at random among all, by (seed, sample)
    ROUTE_MEAN_KEY // only the slots of the task whose mean key is nearest
};

/* Which increments each of n samples gets. Buffers belong to the method's caller (routing_new). */
struct routing {
    int n, room;                    // samples, capacity
    int max_slots;                  // capacity for slots and N
    int slots;                      // slots of the adapter set that is active (method_adapters)
    int N, M;                       // slots of the whole pool, selected per sample
    float *coef;                    // (n, slots): what the model multiplies with
    int32_t *selected;              // (n, M) pool slots by falling similarity; -1 where fewer
    double *intrinsic;              // (n, N) coefficients of selected slots
    double *context;                // (n, N) coefficients of earlier tasks' slots through w
    const float *const *query;      // (n) the embeddings as route got them, borrowed
    struct adapter_teacher teacher; // coef: teacher_coef, or NULL; for ROUTE_TRAIN of methods that teach
    float *teacher_coef;            // (n, slots)
};
int routing_new(struct routing *r, int room, int max_slots, int M);
void routing_free(struct routing *r);

struct step_report {
    double loss;      // of the answers alone
    double penalty;   // what the method adds to it, and kpig.weight, weighted
    double jsd;       // with kpig.weight: mean over the answer tokens that have the term, in bits; NAN: none has
    double grad_norm; // over everything that learns, penalty included, before clipping
};

struct sample_ref {
    int task;      // of the stream; T + t: of what was written for task t (method_ops.rehearse)
    int64_t index; // record of its training file
};

struct method; // a method's own state begins with its ops pointer (methods.h keeps the list)

struct method_ops {
    const char *name, *help;
    bool routes;    // needs embeddings of the questions
    bool trains;    // false: zero_shot
    bool joint;     // all tasks are one training set
    bool owns;      // a slot belongs to one task (slot_task)
    bool penalises; // adds a term of its own to the loss (step_report.penalty)
    void (*size)(const struct config *cfg, int tasks, struct method_size *out);
    int (*open)(struct method **m, const struct config *cfg, const struct method_shape *shape);
    void (*close)(struct method *m);

    /* Task t (0-based) with n training records begins: new slots, optimizer state cleared. */
    int (*begin_task)(struct method *m, int task, int64_t n);

    /* For methods that choose among what they kept of earlier tasks: which records these are (the method's until the task ends;
     * *n 0: nothing to choose), and then, as the task begins and perhaps again between two steps, of each of them how much the
     * key parts of its question tell the model (jobs/gain.h). chosen (n): whether it joins from now on. NULL, both: none. */
    const struct sample_ref *(*kept)(struct method *m, int64_t *n);
    int (*weigh)(struct method *m, const double *gain, bool *chosen);
    /* For methods that rehearse what the model writes itself (jobs/self_guide.h), when a task begins or goes on: how many samples
     * were written of each earlier task. CL_EMISMATCH: others than when the task began. NULL: the method wants none. */
    int (*rehearse)(struct method *m, int task, const int64_t *written);

    /* Stage 1; NULL where a method has none. One optimizer step on n embeddings (each (K)); then, once all epochs are
     * done, what follows from the whole task's embeddings (use of each slot; selections for the history). */
    int (*align)(struct method *m, int task, const float *const *embedding, int n, double lr, struct step_report *out);
    int (*end_align)(struct method *m, int task, const float *const *embedding, int64_t n);

    /* Samples of earlier tasks that join step `step` of a batch of `batch` own samples: refs (room), returns how many in
     * n. NULL: none. */
    int (*mix)(struct method *m, int task, int64_t step, int batch, struct sample_ref *refs, int room, int *n);

    /* The slots the model must hold for a mode (versions tell what changed). coef is left NULL. Valid until the next
     * begin_task / end_task. slots 0: the base alone. */
    int (*adapters)(struct method *m, enum route_mode mode, int task, struct adapters *set);
    /* Coefficients of n samples for that set. embedding[i] (K), NULL pointers where the method does not route; sample[i]: a
     * number that identifies the sample (for ROUTE_RANDOM). */
    int (*route)(struct method *m, enum route_mode mode, int task, const float *const *embedding,
                 const uint64_t *sample, int n, struct routing *out);

    /* Gradients of one micro-batch's coefficients (n, slots) for what they are made of (w). May be NULL. */
    int (*learn)(struct method *m, int task, const struct routing *r, const double *dcoef);
    /* Where the summed gradients of the learned slots go: dA (learned, L, R, H), dB (learned, L, D, R), owned by the method. Of
     * prompts dA (learned, P, D), and nothing goes to dB. */
    void (*gradients)(struct method *m, float **dA, float **dB);
    /* Clips, steps with learning rate lr, clears gradients, bumps versions. out->grad_norm is set. CL_ENUM when the norm
     * is not finite (nothing is changed then). */
    int (*step)(struct method *m, int task, double lr, struct step_report *out);
    /* After stage 2 of a task, for methods that ask what its records still pull at: of how many of them (the first of a random
     * order; at most all there are), 0: of none. Then, until all were seen, the buffers of `gradients` hold sums over n of the
     * `total` records: of the squared gradient of each record's own nll, summed over its answer tokens. NULL, both: none. */
    int64_t (*sense_samples)(struct method *m, int task);
    int (*sense)(struct method *m, int task, int64_t n, int64_t total);
    int (*end_task)(struct method *m, int task);

    /* Whether to grow (lw2g.h), before begin_task: the next task behind `after` (from -1) whose slots `task` may try, -1: none.
     * try_slots lets it route and give gradients as though it learned them; tried ends that and gives the hindrance in
     * degrees. NULL, all of these: a task's slots are always its own. */
    int (*candidate)(struct method *m, int task, int after);
    int (*try_slots)(struct method *m, int task, int of);
    double (*tried)(struct method *m, int task, int of);
    /* Of so many of the task's records (as sense_samples) `gradients` then holds each one's own, the mean over its answer
     * tokens, and look is called: while slots are tried, and after stage 2. */
    int64_t (*look_samples)(struct method *m, int task);
    int (*look)(struct method *m, int task, bool first);
    /* The task that owns the slots of task; NULL: itself. */
    int (*home)(const struct method *m, int task);

    /* /pool, /context (and what the method needs beyond); with `resume` the optimizer moments in /resume too. load finds
     * the same; CL_EMISMATCH when the file's shapes contradict cfg or the base. After a load with `resume` the task
     * that was being learned goes on (no begin_task); without, the next begin_task may follow. */
    int (*save)(struct method *m, struct ckpt *c, bool resume);
    int (*load)(struct method *m, struct ckpt *c, bool resume);
    /* keys, A, B, w of pool.init as initial values (begin_task then keeps them). NULL: CL_ECONFIG for pool.init. */
    int (*init_from)(struct method *m, struct ckpt *c);
    int64_t (*parameters)(const struct method *m); // numbers learned so far
    /* Task that owns a pool slot (routing reports), -1: none. */
    int (*slot_task)(const struct method *m, int slot);
};

struct method {
    const struct method_ops *ops;
};

/* Places that every sample of the configured method has for prompts; 0: it learns none, or is unknown. */
int method_prompt_rows(const struct config *cfg);

/* What a method that routes asks of its questions: CL_ECONFIG without a sentence encoder. */
int method_needs_queries(const struct method_ops *ops, const struct method_shape *shape);

/* Linear maps that the configuration puts increments on (PROJECTION_BIT of each). */
unsigned method_projections(const struct config *cfg);

/* By name of `method:` in the configuration; NULL when unknown. method_at: the i-th, NULL beyond the last. method_names:
 * comma-separated list for messages. */
const struct method_ops *method_find(const char *name);
const struct method_ops *method_at(size_t i);
const char *method_names(void);

#endif
