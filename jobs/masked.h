/* masked.h - the questions of a task's training records without their key parts, as ids.
 *
 * What kpig.weight holds answers against (struct listening of model/lvlm.h): the same sample, another question. The key parts are
 * those of jobs/key_parts.h; where a record names none, the words of most of the task's training questions. They are left out and
 * tokenised once, the rest of a sample comes from the batch that the sample stands in.
 */
#ifndef CLLAVA_JOBS_MASKED_H
#define CLLAVA_JOBS_MASKED_H

#include "jobs/task_data.h"

struct masked_questions;

/* Reads every record of d (a training side). *m is left as it is where it is not NULL. CL_ENOMEM; CL_EDATA names the record. */
int masked_open(struct masked_questions **m, struct task_data *d, struct job *j);
void masked_close(struct masked_questions *m); // NULL is fine
/* Tokens of the longest record with its masked question. */
int64_t masked_longest(const struct masked_questions *m);
/* Appends sample s of `from`, which is record i, with its masked question; *other: whether that is another one (a question without
 * key parts stays as it is). Allocates nothing. CL_EINTERNAL: no room. */
int masked_add(struct masked_questions *m, int64_t i, struct packed_batch *out, const struct packed_batch *from, int s,
               bool *other);

#endif
