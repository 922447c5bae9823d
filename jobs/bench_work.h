/* bench_work.h - what a step of the bench runs on: a base, a pool of increments, samples; and the steps themselves.
 *
 *     bench_work_open     the base and its pictures' features
 *     bench_work_pool     the method's pool: every task but the last learned, the last one learning
 *     bench_work_layout   samples of a shape, memory for them
 *     bench_work_see, _train, _score, _prefill, _decode    one step each, for bench_best
 *
 * A sample is a picture, a prompt and an answer. The tower and the decoder never run at once, so their times add up: a step
 * without cached features is see + train. A training step is a whole one: routing, forward, backward, gradients, optimizer.
 */
#ifndef CLLAVA_JOBS_BENCH_WORK_H
#define CLLAVA_JOBS_BENCH_WORK_H

#include "io/config.h"
#include "jobs/bench.h"
#include "model/backend_timing.h"
#include "model/lvlm.h"
#include "pool/method.h"

enum {
    BENCH_DECODE_STEPS = 32,
    BENCH_EMBEDDING = 768,
    BENCH_QUESTIONS = 512 // of every task: enough that all of its slots are used
};

struct bench_pool {
    int tasks, slots; // slots: of each task
    int rank, selected;
};
extern const struct bench_pool bench_pool_default; // one task of 8 slots of rank 8, 4 selected

/* One training step: where its time went. */
struct bench_spent {
    double all, routing, optimizer; // seconds; the rest is forward and backward
    struct timing op[256];
    size_t ops;
};

struct bench_work {
    struct bench *b;
    const struct backend *be; // with clocks (backend_timing)
    const char *dir;
    struct bench_shape shape; // of the samples; the base's but for their length
    struct lvlm *m;
    float *pixels; // of BENCH_MOST_BATCH pictures
    struct feature *feature[BENCH_MOST_BATCH];

    struct bench_pool pool;
    struct config cfg;
    struct method *method;
    struct routing routing;
    float *embedding; // (BENCH_QUESTIONS, BENCH_EMBEDDING)
    const float *query[BENCH_QUESTIONS];

    int batch;
    struct lvlm_limits limits;
    struct packed_batch pack, prompts;
    float *nll;
    double *dcoef;
    struct kv_cache *kv;
    int seq[BENCH_MOST_BATCH];
    int32_t token[BENCH_MOST_BATCH];
    struct bench_spent last, best; // training steps since bench_work_forget
};

/* Zeroed *w := ready for bench_work_pool. On error bench_work_close takes away what is there. */
int bench_work_open(struct bench_work *w, struct bench *b, const struct backend *be, const char *dir);
void bench_work_close(struct bench_work *w);
int bench_work_pool(struct bench_work *w, const struct bench_pool *p);
/* shape: of the samples, its base's sizes unchanged. */
int bench_work_layout(struct bench_work *w, const struct bench_shape *shape, int batch);
/* Room for the answers, prompts not yet run. */
int bench_work_begin_generation(struct bench_work *w);
void bench_work_forget(struct bench_work *w);

int bench_work_see(void *work);
int bench_work_train(void *work);
int bench_work_score(void *work);
int bench_work_prefill(void *work);
int bench_work_decode(void *work);

/* A method of its own over such a pool, as tasks with these questions leave it: query (BENCH_QUESTIONS), each BENCH_EMBEDDING
 * numbers. */
int bench_method_open(struct method **m, struct config *cfg, const struct bench_pool *p,
                      const struct method_shape *shape, const float *const *query);
/* The configuration for a base: tasks train on and are asked about the files of bench_data_write in `data`. */
int bench_config(struct config *cfg, const struct bench_pool *p, const char *base, const char *data,
                 const char *precision, const char *const *sets, size_t n_sets);

/* Rows `stage ..` of a step whose tower took so long: their sum is the step. */
int bench_stages(struct bench *b, int batch, const struct bench_spent *s, double tower);
/* A table of operations. */
void bench_print_operations(const char *what, const struct timing *t, size_t n);

#endif
