/* diagnostics.h - what stands behind the scores of a run: which slots questions used, where they were routed, what was lost.
 *
 * Everything is computed from what the run folder holds, a checkpoint and the predictions beside it, so that it can be had again
 * at any time and is the same after a resume:
 *
 *     selection   per cell of the accuracy matrix: mean weight of every slot (usage), entropy of a question's weights and of
 *                 the usage, in nats, share of questions by the task that owns most of their weight (routed)
 *     confusion   (tasks learned, tasks learned) that share in the last row: row asked, column routed to
 *     overlap     of the usage of two tasks in the last row: sum of the smaller over sum of the larger weights, 1 when equal
 *     drift       per task: score and, where it was measured, loss just after it was learned and now
 *
 * routed and confusion are null where slots have no owner.
 */
#ifndef CLLAVA_JOBS_DIAGNOSTICS_H
#define CLLAVA_JOBS_DIAGNOSTICS_H

#include <jansson.h>

#include "io/config.h"
#include "jobs/learned.h"

/* The object of a checkpoint whose predictions lie in folder/predictions; *out is null (JSON) where there are none. CL_EDATA: a
 * predictions file that names slots which the checkpoint lacks. */
int diagnostics_json(json_t **out, const struct learned *l, const char *folder);

/* diagnostics.json in the run folder: what `inspect --json` says of the checkpoint of that task, this object in it. Whole or not
 * at all. */
int diagnostics_write(const struct config *cfg, int task);

#endif
