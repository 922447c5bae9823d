/* sweep.h - many runs over one configuration: the file that describes them, running them here, their states, their table.
 *
 *     base: stream.yaml                  # what every run begins with
 *     output: sweeps/ablation            # runs/<name>/ and logs/<name>.log below it
 *     set: {eval.zero_shot: false}       # for every run
 *     grid: {method: [ewc, replay], stage2.lr: [1e-3, 1e-2]}       # every combination ..
 *     list: [{pool.rank: 4}, {pool.rank: 8, pool.top_m: 2}]        # .. with every entry of the list ..
 *     seeds: [0, 1, 2]                                             # .. with every seed ..
 *     orders: [[chart, icon], [icon, chart]]                       # .. and every order of the stream's tasks
 *     jobs: 2                            # runs at a time
 *     ranks: 1                           # processes of a run (mpirun -n)
 *     threads: 1                         # of a process
 *
 * A run is known by its resolved configuration: its name ends in a hash over all that decides its numbers. What a folder
 * holds of it is skipped when it is done, and goes on when it is not. Everything is checked before anything runs.
 */
#ifndef CLLAVA_JOBS_SWEEP_H
#define CLLAVA_JOBS_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "io/config.h"

/* One value that a run sets. */
struct sweep_set {
    char *key;    // "stage2.lr"
    char *value;  // as after --set key=
    char *shown;  // as it stands in the file
    size_t line;  // of the file
    bool differs; // another run has another value
};

/* One alternative of an axis: values that are set together, or an order of the tasks. */
struct sweep_point {
    struct sweep_set *set; // (sets)
    int sets;
    char **order; // (tasks of the stream) names, NULL: as in the base
    int orders, index;
    size_t line;
};

/* One direction in which runs differ: a key of the grid, the list, the seeds, the orders. */
struct sweep_axis {
    struct sweep_point *point; // (points)
    int points;
};

struct sweep_run {
    char *name;                   // "method=ewc,seed=0-1f0c9a52b7e04d61": a file name, whatever the values are
    char *dir;                    // OUTPUT/runs/NAME
    char *changes;                // "method ewc, seed 0", for people
    struct config config;         // resolved; its output is dir
    uint64_t id;                  // what the name ends in
    int order;                    // which of the orders, from 1; 0: the base's own
    const struct sweep_set **set; // (sets)
    int sets;
};

struct sweep {
    char *file, *folder, *base, *output; // all but file absolute
    struct sweep_point common;           // `set`
    struct sweep_axis *axis;             // (axes)
    int axes;
    int jobs, ranks, threads; // threads 0: not given
    struct sweep_run *run;    // (runs)
    int runs;
};

/* Reads and expands a file. CL_ECONFIG: names file, line, key, what was got and expected; the same for every value that the
 * configuration refuses. Nothing is written. */
int sweep_load(struct sweep *s, const char *path);
void sweep_free(struct sweep *s);

enum sweep_state { SWEEP_MISSING, SWEEP_UNFINISHED, SWEEP_RUNNING, SWEEP_FAILED, SWEEP_DONE, SWEEP_STATES };
extern const char *const sweep_state_names[SWEEP_STATES]; // "missing", ..

/* What the folder holds of a run. RUNNING: a process of this machine has it. */
enum sweep_state sweep_state(const struct sweep *s, const struct sweep_run *r);
/* logs/NAME.log and logs/NAME.failed below the output folder. CL_EIO: too long. */
int sweep_log_path(char out[], const struct sweep *s, const struct sweep_run *r, const char *ending);

/* Starts every run that is not done, `jobs` at a time; others go on when one fails. CL_ESTOP: stopped on request, every run
 * at a checkpoint. CL_ELIB: some runs failed, the text names them. */
int sweep_local(const struct sweep *s, int jobs);

struct sweep_files {
    const char *csv, *latex, *markdown; // NULL: not wanted
};
/* The table of what is done, onto stdout and into files: runs that differ only in seed or order are one row with mean and
 * deviation. by: "key,key" to group by in place of all that differs, or NULL; of no configuration: "order", "changes" (all
 * that differs, in one column). */
int sweep_table(const struct sweep *s, const char *by, const struct sweep_files *files);

#endif
