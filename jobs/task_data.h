/* task_data.h - one side (train or test) of a task: its records, how long they are, their questions' embeddings.
 *
 * Opening reads every record once, so that broken ones are known before any work; afterwards records are read when they
 * are needed. Equal questions are embedded once.
 */
#ifndef CLLAVA_JOBS_TASK_DATA_H
#define CLLAVA_JOBS_TASK_DATA_H

#include "jobs/job.h"

struct task_data {
    int task; // of the stream
    const struct task_config *conf;
    struct dataset *ds;
    int64_t n;                       // records
    int32_t *length;                 // (n) tokens of the whole sample (training) or of the prompt (test)
    int32_t *answers;                // (n) answer tokens (training)
    int64_t *first;                  // (n) the first record with the same picture; itself where it has none
    int64_t longest;                 // max of length
    int64_t most_answers;            // max of answers
    struct masked_questions *masked; // (jobs/masked.h) of a training side, where they were asked for
    /* routing queries; absent (NULL) where nothing routes */
    int K;
    int64_t unique;
    float *embedding;  // (unique, K)
    int32_t *question; // (n) row of embedding
};

/* test: the test file, prompts only. CL_EDATA with file and record when one is broken and data.on_error is stop:
 * no answer token, too long, a file that is no picture or too large a one. */
int task_data_open(struct task_data *d, struct job *j, int task, bool test);
/* The same of another file of training records, whose pictures' paths are absolute; the task's name is what messages use. */
int task_data_open_file(struct task_data *d, struct job *j, int task, const char *path);
/* Embeds the questions, if the method routes and they are not yet. */
int task_data_embed(struct task_data *d, struct job *j);
void task_data_close(struct task_data *d);

/* Record i as ids; picture: its path (malloc'ed) or NULL. prompt_only: the question alone. */
int task_data_sample(struct task_data *d, struct job *j, int64_t i, bool prompt_only, struct sample *s, char **picture);
/* Record i's first turn as the file has it, malloc'ed. */
int task_data_question(struct task_data *d, int64_t i, char **text);
/* Embedding of record i's question, NULL where nothing routes. */
const float *task_data_query(const struct task_data *d, int64_t i);
/* ", id" of record i behind the names that are there, for messages; what has no room is left out. */
void task_data_add_name(struct task_data *d, int64_t i, char *names, size_t room);

#endif
