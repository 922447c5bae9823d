/* taskres.h - TaskRes (arXiv 2211.10277): each task owns a vector that is added to the logits of its answers.
 *
 * The paper adds alpha times a learned residual, zero at first, to the frozen text classifier's weights, one of each task.
 * Here the classifier is lm_head and the residual is one number for each of the vocabulary's V ids: task t owns r_t (V), and
 * the logits of a sample get
 *
 *     sum over t of taskres.scale weight[t] r_t,    weight: 1 for the task that learns, while it learns; afterwards what
 *                                                   the sample's selected slots of task t weigh together (intrinsic)
 *
 * It stands beside a method and not in it: the residuals are the last slots of the adapter set that the method gives
 * (model/adapters.h). The model gives the gradient: scale times the sum over answer rows of d loss / d logits.
 */
#ifndef CLLAVA_POOL_TASKRES_H
#define CLLAVA_POOL_TASKRES_H

#include "pool/method.h"
#include "pool/optim.h"

struct taskres;

/* CL_ECONFIG: the configuration asks for it, but the method's slots do not say what task a question is routed to. */
int taskres_check(const struct config *cfg, const struct method_ops *ops);
/* *r NULL where taskres.scale is 0. V: ids of the vocabulary. */
int taskres_open(struct taskres **r, const struct config *cfg, int64_t V);
void taskres_close(struct taskres *r); // NULL is fine
/* Task's residual begins at 0, its optimizer anew. */
void taskres_begin_task(struct taskres *r, int task);
/* The residuals behind the method's slots: of the task that learns (ROUTE_TRAIN), or of all tasks. Valid until the next call. A
 * set without slots stays so. */
int taskres_adapters(struct taskres *r, enum route_mode mode, struct adapters *set);
/* Rows of out->coef, (n, out->slots), get the residuals' coefficients behind them: (n, out->slots + residuals). */
void taskres_weigh(const struct taskres *r, enum route_mode mode, const struct method *m, struct routing *out);
/* Gradients of such rows, (n, set->slots), become those of the method's slots alone. */
void taskres_narrow(double *dcoef, int n, const struct adapters *set);
/* The highest learning rate. */
double taskres_rate(const struct config *cfg);
/* Where the gradient of the coming step goes: (V). */
float *taskres_gradient(struct taskres *r);
/* AdamW as in stage 2, clipped by the residual's own norm, which out->grad_norm takes in. CL_ENUM when it is not finite:
 * nothing changed. */
int taskres_step(struct taskres *r, int task, double lr, struct step_report *out);
/* Learned numbers: V for each task that has begun. NULL: 0. */
int64_t taskres_parameters(const struct taskres *r);

/* /taskres/r (tasks begun, V) f32, attribute scale; with resume moments and step count in /resume. */
int taskres_save(const struct taskres *r, struct ckpt *c, bool resume);
/* CL_EMISMATCH: a file without residuals, or of another vocabulary or a longer stream. */
int taskres_load(struct taskres *r, struct ckpt *c, bool resume);

#endif
