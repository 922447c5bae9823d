/* lora.h - plain LoRA on every layer: the body of the baselines without a pool.
 *
 * It is a pool of one slot without key, whose coefficient is lora.alpha / lora.rank (alpha 0: 1) for every sample. A and B
 * carry over from task to task; the optimizer begins anew with each. With per_task each task gets a new slot instead, and
 * those of earlier tasks stay as they are. A method embeds struct lora as its first member and puts these functions into
 * its table, or functions of its own around them.
 */
#ifndef CLLAVA_POOL_LORA_H
#define CLLAVA_POOL_LORA_H

#include "pool/learner.h"

struct lora {
    struct method base;
    struct pool pool; // N 0 before the first task: the base alone
    struct learner learner;
    struct adamw adam;
    double clip;
    uint64_t seed;
    const char *a_init;
    int slots, vector;     // that learn: 1, 0
    bool per_task;         // set after lora_setup
    int current;           // task that learns, -1: none
    struct pool_range own; // the slots that learn: the last ones
};

int lora_setup(struct lora *l, const struct method_ops *ops, const struct config *cfg,
               const struct method_shape *shape);
/* The same over another pool: of so many slots that all learn, of a rank of their own, with keys of shape->K numbers, of which
 * `vector` learn as the learner's vector. */
int lora_setup_pool(struct lora *l, const struct method_ops *ops, const struct config *cfg,
                    const struct method_shape *shape, int slots, int rank, int top_m, int vector);
void lora_teardown(struct lora *l); // everything but the struct itself
void lora_size(const struct config *cfg, int tasks, struct method_size *out);

/* CL_EINTERNAL: task is not the one that learns; a routing without room for n samples and so many slots of a set. */
int lora_check_current(const struct lora *l, int task);
int lora_check_room(const struct lora *l, int n, int slots, const struct routing *out);
/* Row s of a routing whose out->slots and out->N are set: the slots [first, end) of the pool count in full, and slot n stands
 * in place n - at of the set. */
void lora_route_row(const struct lora *l, struct routing *out, int s, struct pool_range active, int at);

int lora_begin_task(struct method *m, int task, int64_t n);
int lora_adapters(struct method *m, enum route_mode mode, int task, struct adapters *set);
int lora_route(struct method *m, enum route_mode mode, int task, const float *const *embedding, const uint64_t *sample,
               int n, struct routing *out);
void lora_gradients(struct method *m, float **dA, float **dB);
int lora_step(struct method *m, int task, double lr, struct step_report *out);
int lora_end_task(struct method *m, int task);
int lora_save(struct method *m, struct ckpt *c, bool resume);
int lora_load(struct method *m, struct ckpt *c, bool resume);
/* The part in /resume: which task learns, moments. Loading comes behind the pool's, whose slots are there. */
int lora_save_learning(const struct lora *l, struct ckpt *c);
int lora_load_learning(struct lora *l, struct ckpt *c);
int64_t lora_parameters(const struct method *m);
int lora_slot_task(const struct method *m, int slot); // -1: the slot is every task's

#endif
