/* pool.h - the growing low-rank pool: what is learned, and nothing of how.
 *
 * Slot n is a key (K numbers, what a question is compared with) and an increment: for every decoder layer an A (R, H) and a
 * B (D, R). A task appends its slots and later ones never change them; slots of a task are therefore neighbours, in task
 * order. w[t,l] weighs what task l brings to task t (method.md); use[n] is slot n's mean weight over its own task.
 *
 *     pool_open -> for each task: pool_grow, initial values, learning (pool_touch after a change) -> pool_close
 *
 * The arrays move when the pool grows. One plain LoRA is a pool of one slot without key (K 0).
 */
#ifndef CLLAVA_POOL_POOL_H
#define CLLAVA_POOL_POOL_H

#include "model/adapters.h"
#include "pool/method.h"

#include <stdbool.h>

struct pool {
    int N, T;                  // slots now, tasks of the stream
    int L, R, K;               // layers, rank, width of a key
    int64_t H, D;              // inputs and outputs of the maps that have increments; D 0: slots have no B
    struct projections on;     // these, with their places in H and D
    int groups;                // the cosine is averaged over this many equal parts of the key
    int top_m;                 // slots selected per sample
    double scale;              // of the whole increment
    float *keys;               // (N, K)
    double *key_norm;          // (N, groups) of each part, at least 1e-12
    float *A;                  // (N, L, R, H)
    float *B;                  // (N, L, D, R)
    int32_t *task;             // (N) owner, never falling
    double *use;               // (N)
    float *w;                  // (T, T) strictly lower triangle, in [0, 1]
    struct adapter_slot *slot; // (N) views of A and B with versions
};

/* Slots [first, end) of the pool. */
struct pool_range {
    int first, end;
};

/* An empty pool; sizes that overflow are CL_ECONFIG. w[t,l] = 1/t. */
int pool_open(struct pool *p, const struct method_shape *shape, int rank, int top_m, int groups, double scale);
void pool_close(struct pool *p);

/* Numbers of one slot's A and B. */
static inline int64_t pool_a_size(const struct pool *p)
{
    return (int64_t)p->L * p->R * p->H;
}
static inline int64_t pool_b_size(const struct pool *p)
{
    return (int64_t)p->L * p->D * p->R;
}

/* Appends n slots of zeros that belong to task. CL_ENOMEM leaves the pool as it was. */
int pool_grow(struct pool *p, int task, int n);
/* More tasks than planned (a checkpoint of a longer stream): w gets rows 1/t. */
int pool_more_tasks(struct pool *p, int tasks);
/* The slots that task owns; empty where it has none. */
struct pool_range pool_of_task(const struct pool *p, int task);
/* A number that no slot of this process had before. */
uint64_t pool_new_version(void);
/* To be called after the keys of r changed; after A or B of r changed. */
void pool_keys_changed(struct pool *p, struct pool_range r);
void pool_touch(struct pool *p, struct pool_range r);
/* Learned numbers: keys, A, B. */
int64_t pool_parameters(const struct pool *p);

/* Initial values of new slots, drawn by (seed, task): keys of unit length and orthogonal to each other (more slots than K:
 * within each K neighbours); A uniform in +-1/sqrt(inputs of each map) ("kaiming", what PEFT does) or N(0, 1) ("normal"). */
void pool_draw_keys(struct pool *p, struct pool_range r, uint64_t seed);
void pool_draw_a(struct pool *p, struct pool_range r, const char *a_init, uint64_t seed);

#endif
