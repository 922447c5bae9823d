/* losses.h - the loss on training records of a learned task, as the model answers now: what later tasks did to it shows long
 * before scores do.
 */
#ifndef CLLAVA_JOBS_LOSSES_H
#define CLLAVA_JOBS_LOSSES_H

#include "jobs/task_data.h"

/* *loss := mean negative log-likelihood per answer token over the first eval.loss_samples of the task's training records in a
 * random order by the seed, routed as in evaluation. CL_ENUM: not finite. Collective. */
int losses_measure(double *loss, struct job *j, struct task_data *d, enum route_mode mode);

#endif
