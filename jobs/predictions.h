/* predictions.h - reading back the predictions that a run left: cells of the accuracy matrix, record by record. */
#ifndef CLLAVA_JOBS_PREDICTIONS_H
#define CLLAVA_JOBS_PREDICTIONS_H

#include "io/judge.h"

/* One record of a predictions file; texts are valid during the call. */
typedef int prediction_fn(void *context, const struct judge_item *x, const char *id);

/* Calls each for every line of a file of {id, question, prediction, answers}; the reference is the first answer. Stops at
 * its first failure and returns it. CL_EDATA: a line without one of them. */
int predictions_each(const char *path, prediction_fn *each, void *context);

/* Predictions files of a run folder (or of one that `eval` wrote), sorted by name. CL_EIO: there are none. */
int predictions_list(const char *run, char ***path, int *n);
void predictions_list_free(char **path, int n);

/* "…/after2-on0.jsonl" -> 2, 0; afterzero -> -1; false: no cell of a matrix. */
bool predictions_cell(const char *path, int *after, int *on);

#endif
