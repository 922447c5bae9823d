/* accuracy.h - the accuracy matrix of a continual run, its summary numbers and its pictures.
 *
 * a[0][i] is the score on task i before any training (zero-shot), a[t + 1][i] the score on task i after task t, in percent;
 * NaN where it was not measured. From it, with S tasks learned so far (the last row that holds anything):
 *
 *     AA      mean over i < S of a[S][i]                          what is known at the end
 *     MAA     mean over the stages t <= S of the mean over the tasks seen then
 *     AF      mean over i < S - 1 of a[i + 1][i] - a[S][i]        average forgetting: just learned, minus now
 *     AF_max  the same against the best score after the task was learned
 *     BWT     -AF
 *     FWT     mean over 1 <= i < S of a[i][i] - a[0][i]           before its own training, minus zero-shot
 *     MFT     mean over i < S of a[i + 1][i]                      plasticity: just learned
 *
 * A number that needs a cell that was not measured is NaN. Before any training (S = 0) AA is the mean of the zero-shot row.
 */
#ifndef CLLAVA_IO_ACCURACY_H
#define CLLAVA_IO_ACCURACY_H

#include <stdint.h>

#include "io/text.h"

struct accuracy {
    int T;        // tasks of the stream
    char **tasks; // (T) names
    double *a;    // (T + 1, T)
};

/* Copies the names; every cell is NaN. */
int accuracy_new(struct accuracy *m, int T, const char *const *tasks);
void accuracy_free(struct accuracy *m); // an all-zero one is fine
/* after: task just learned, -1 zero-shot; on: task measured. */
static inline double *accuracy_cell(const struct accuracy *m, int after, int on)
{
    return &m->a[(int64_t)(after + 1) * m->T + on];
}

struct accuracy_summary {
    int learned; // S
    double AA, MAA, AF, AF_max, BWT, FWT, MFT;
};
struct accuracy_summary accuracy_summarise(const struct accuracy *m);

/* What summary.json says besides; NULL texts are left out. */
struct accuracy_run {
    const char *method, *stream, *routing;
    int64_t seed, parameters; // parameters: numbers learned
    double seconds;
    const struct accuracy *format_free; // the same matrix by first_word, or NULL
    const struct accuracy *low, *high;  // ends of each cell's 95 % interval, or NULL
};

/* ---- text forms, appended to t. */
void accuracy_csv(struct text *t, const struct accuracy *m); // header "after,TASK,..", empty cells where not measured
void accuracy_json(struct text *t, const struct accuracy *m, const struct accuracy_run *run); // summary.json
/* For a terminal: tasks by name, the just-learned cells marked, the summary below. title may be NULL. */
void accuracy_table(struct text *t, const struct accuracy *m, const char *title);
/* Heat maps of n matrices side by side as one SVG picture; titles[i] above each. */
void accuracy_svg(struct text *t, const struct accuracy *const *m, const char *const *titles, int n);

enum { ACCURACY_COLOUR = 24 };
/* Colour of a cell for CSS and SVG: white at 0 to deep blue at 100, grey for NaN. true: text on it must be white. */
bool accuracy_colour(char out[ACCURACY_COLOUR], double percent);

/* Both files of a run directory: accuracy.csv and summary.json, each whole or not at all. */
int accuracy_save(const char *dir, const struct accuracy *m, const struct accuracy_run *run);

#endif
