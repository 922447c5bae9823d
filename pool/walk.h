/* walk.h - samples of earlier tasks that join the steps of a task: a walk through a list of them.
 *
 * round(ratio x batch) join each step. They come in a random order in which each of the list comes up once; a pass through all has
 * an order of its own. The place in the walk follows from the step number, so a resumed run goes on exactly.
 */
#ifndef CLLAVA_POOL_WALK_H
#define CLLAVA_POOL_WALK_H

#include "pool/method.h"

struct walk {
    double ratio;           // that join, per own sample of a step
    int batch;              // own samples of a full step
    uint64_t seed;          // of the order
    struct sample_ref *all; // (total)
    int64_t *order;         // (total) of the pass
    int64_t total, pass;    // pass -1: order is not drawn yet
};

struct walk walk_of(const struct config *cfg);
void walk_free(struct walk *w);
/* An empty list with room for n. CL_ENOMEM. */
int walk_begin(struct walk *w, int64_t n);
void walk_add(struct walk *w, struct sample_ref ref);
/* What joins step `step` of a task, of `batch` own samples; as method_ops.mix. No more than there are. */
int walk_mix(struct walk *w, int task, int64_t step, int batch, struct sample_ref *refs, int room, int *n);

#endif
