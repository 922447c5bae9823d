/* self_guide.h - samples of earlier tasks that the model writes itself when a task begins (arXiv 2407.12874).
 *
 * Of an earlier task there are self_guide.seeds of its questions (texts alone: no picture, no answer). Pictures are the new
 * task's. The model as it is answers each question on a picture, greedily; with self_guide.questions: written it first writes
 * questions of its own by the example of the seeds. What passes the filters is a task file in the run folder:
 *
 *     rehearsal/task1-of0.jsonl     what was written of task 0 when task 1 began; empty where nothing passed
 *
 * It joins the steps as replayed records do, and a resumed run reads the same file again.
 */
#ifndef CLLAVA_JOBS_SELF_GUIDE_H
#define CLLAVA_JOBS_SELF_GUIDE_H

#include "jobs/task_data.h"

/* Why a text that the model wrote is not used. */
enum written_fault {
    WRITTEN_GOOD,
    WRITTEN_EMPTY,
    WRITTEN_UNFINISHED, // no end within the tokens it had
    WRITTEN_NOISE,      // phrases of a chat, marks of the template
    WRITTEN_ECHO,       // the question once more
    WRITTEN_LENGTH,     // far from the mean of the others, or of examples
    WRITTEN_TWICE,      // the same question on the same picture
    WRITTEN_LIMIT,      // longer than any record of the run
    WRITTEN_FAULTS
};

struct written {              // one sample
    char *question, *picture; // its first turn, marker and all, NULL: not there yet; path, NULL: none
    char *answer;             // what the model wrote; NULL: not asked yet
    bool ended;               // by itself
    enum written_fault fault;
};

struct spread { // of lengths in bytes
    double mean, deviation;
};

/* Faults of n answers: the first of the list that holds, up to WRITTEN_LENGTH: that is more than two standard deviations and more
 * than half the mean away from the mean, of examples or (NULL) of these answers themselves. Those that have a fault already count
 * nowhere. */
void written_filter(struct written *w, int64_t n, const struct spread *examples);
struct spread written_spread(const char *const *text, int64_t n); // of n texts; {0, 0} of none
/* Sample k of those on `pictures` pictures with `seeds` questions: each pair once for k below their product, pictures first. */
void written_pair(int64_t k, int64_t pictures, int64_t seeds, int64_t *picture, int64_t *seed);

/* Writes the samples of every earlier task, where the method rehearses (method_ops.rehearse). data (tasks): training sides. Logs
 * an event `self_guide` for each. CL_ESTOP: it was asked to. CL_ENUM: the model gives no numbers. CL_EIO. Collective. */
int self_guide_write(struct job *j, struct task_data *data, int task);
/* Opens what was written as data[tasks ..] and tells the method. Does nothing where it does not rehearse. CL_EMISMATCH: a file is
 * gone or another one. */
int self_guide_read(struct job *j, struct task_data *data, int task);

#endif
