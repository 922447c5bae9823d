/* gain.h - how much the key parts of a question tell the model about its answer ("Don't Half-listen", arXiv 2403.10056).
 *
 *     gain = (nll of the answer after the question without its key parts - nll after the whole question) / answer tokens
 *
 * in nats, rounded to 1e-4, so that another number of ranks seldom orders records otherwise. A question without key parts has
 * gain 0. Each record goes through the model alone, as for losses (jobs/losses.h).
 */
#ifndef CLLAVA_JOBS_GAIN_H
#define CLLAVA_JOBS_GAIN_H

#include "jobs/task_data.h"

/* From sums of nll over so many answer tokens. */
double gain_of(double whole, double masked, int64_t answers);

/* Before step `step` of a task's stage 2: gains of the records of earlier tasks that the method would choose among
 * (method_ops.kept), with the model as it is, given to the method (weigh). Logs an event `kpig` for each of these tasks. data
 * (tasks): training sides. Does nothing where the method does not ask. What is reserved in the model is other than before. CL_ENUM:
 * an nll is not finite; CL_ESTOP: it was asked to, at step 0. Collective. */
int gain_weigh(struct job *j, struct task_data *data, int task, int64_t step);

#endif
