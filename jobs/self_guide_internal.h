/* self_guide_internal.h - one earlier task's samples while they are written: what they are written from (self_guide_from.c), the
 * model asked for them (self_guide_ask.c), the file (self_guide.c).
 */
#ifndef CLLAVA_JOBS_SELF_GUIDE_INTERNAL_H
#define CLLAVA_JOBS_SELF_GUIDE_INTERNAL_H

#include "jobs/self_guide.h"

struct written_texts {
    char **text;
    int64_t n;
};

struct writing {
    struct job *j;
    struct task_data *data;       // (tasks)
    int task, of;                 // the new one, the earlier one
    int64_t longest, answers;     // tokens of the run's longest record, of its longest answer
    struct written_texts plain;   // seeds without a picture
    struct written_texts about;   // seeds on a picture, with its marker
    struct written_texts picture; // paths of the new task's
    struct written *w;            // (n) those of the plain seeds first
    int64_t n;
};

void written_texts_free(struct written_texts *t);

/* Seeds, pictures, and from them w with questions and pictures. What was begun is the caller's to free on error too. CL_ENOMEM,
 * CL_EDATA. */
int self_guide_from(struct writing *p);
/* A question by the example of seeds, on the picture of number i: first turn of a prompt, malloc'ed; NULL: no memory. */
char *self_guide_example(const struct writing *p, int64_t i);

/* With self_guide.questions: written the model's own questions in place of the seeds', then an answer to each; faults of both. */
int self_guide_ask(struct writing *p);

#endif
