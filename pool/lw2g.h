/* lw2g.h - LW2G (arXiv 2409.18860): whether a new task gets slots of its own or goes on with those of an earlier one.
 *
 * Gradients of A are made of the inputs that its linear map sees (o_proj, or the one that was chosen), row by row: those of a task lie in a subspace of each layer's H inputs,
 * of which a basis is kept when the task ends. A new task that goes on with the task's slots may only change A across that
 * subspace, so as not to disturb what the old task's inputs give. The hindrance is how much that turns its gradients: the angle,
 * in degrees, whose cosine is the mean over rows g of |g's part across the subspace| / |g|. Where the least one over earlier tasks
 * is below lw2g.threshold, that task's slots are taken and the pool does not grow.
 *
 * home[t] is the task that owns the slots of task t: t itself, or an earlier one whose home is itself. The subspace that such
 * slots keep is the span of the bases of all tasks at home there, which are orthogonal to each other.
 */
#ifndef CLLAVA_POOL_LW2G_H
#define CLLAVA_POOL_LW2G_H

#include "pool/method.h"

struct lw2g {
    double threshold; // degrees; 0: every task grows
    int64_t samples;  // records of a task whose gradients are looked at
    int rank;         // vectors of a basis, at most
    int T, L;
    int64_t H;
    int32_t *home; // (T) -1: not decided
    float **basis; // (T) each (L, rank, H), or NULL: none
    double *angle; // (T, T) of task t and an earlier one, NaN: not measured
    double *sigma; // (L, rank) singular values of the basis that is being made
    double cosine; // sum over rows so far, of a task that is tried,
    int64_t rows;  // their number
};

/* CL_ECONFIG: the configuration asks for it, but the method cannot, or other options stand against it. */
int lw2g_check(const struct config *cfg, const struct method_ops *ops);
int lw2g_open(struct lw2g *g, const struct config *cfg, int T, int L, int64_t H);
void lw2g_close(struct lw2g *g);

/* The task whose slots `task` uses; itself while nothing is decided. */
int lw2g_home(const struct lw2g *g, int task);

/* A task is tried on the slots of task `of`: begin, gradients of A (slots, L, R, H) of single records (CL_ENUM: not finite), the
 * angle. */
void lw2g_try(struct lw2g *g);
int lw2g_compare(struct lw2g *g, int of, const float *dA, int slots, int R);
double lw2g_tried(struct lw2g *g, int task, int of);
/* By the angles of the tasks that were tried, the earlier one where two are equal: sets and returns home[task]. */
int lw2g_decide(struct lw2g *g, int task);

/* The subspace of a learned task: begin, gradients of single records, which are overwritten. CL_ENUM, CL_ENOMEM. */
int lw2g_learn_begin(struct lw2g *g, int task);
int lw2g_learn(struct lw2g *g, int task, float *dA, int slots, int R);
/* x (slots, L, R, H): every row loses its part in the subspace kept by slots of the home `of`, but for task `but`'s (-1: none). */
void lw2g_project(const struct lw2g *g, int of, int but, float *x, int slots, int R);

/* /lw2g/home (T) i32, /lw2g/angle (T, T) f64, /lw2g/basis<t> (L, rank, H) f32. Nothing where it is off. */
int lw2g_save(const struct lw2g *g, struct ckpt *c);
/* For a stream of so many tasks, as the file's. A file without leaves every task at home; one with is read whatever the threshold, since its slots are shared. */
int lw2g_load(struct lw2g *g, int tasks, struct ckpt *c);

#endif
