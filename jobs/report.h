/* report.h - what a run tells its user: the table of settings, the matrix, the files that hold it. */
#ifndef CLLAVA_JOBS_REPORT_H
#define CLLAVA_JOBS_REPORT_H

#include "jobs/plan.h"
#include "jobs/state.h"
#include "jobs/task_data.h"

#include <stdio.h>

/* A boxed table of settings on stderr: model, method, data, machine; plan: of its training steps, NULL where there are none. */
void report_settings(struct job *j, const struct plan_row *plan, const struct task_data *train,
                     const struct task_data *test);

/* accuracy.csv, summary.json and accuracy.svg into the run directory, the matrix and its summary to stdout.
 * format_free: the matrix by first content word. */
int report_write(struct job *j, const struct run_state *s, const double *format_free);

/* Several methods' matrices beside each other, rows after task t, columns tasks. matrix: (tasks + 1, tasks) each. */
void report_side_by_side(FILE *to, const char *title, int methods, const char *const *label, int tasks,
                         const char *const *task, const double *const *matrix);

/* Reads the log of a resumed run. recall_cells: eval events behind byte `from` that belong to the row `after` go into the
 * matrix, *until: the byte behind the last of them, where the log is cut. recall_format_free: format-free scores of the
 * cells measured before byte `until`. */
int report_recall_cells(const char *log, int64_t from, int after, struct run_state *s, double *format_free,
                        int64_t *until);
int report_recall_format_free(const char *log, int64_t until, const struct run_state *s, double *format_free);

#endif
