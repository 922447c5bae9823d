/* watch_judge.h - what the watchdog makes of what it knows about the ranks. No clocks, no sockets: a function of a table.
 *
 * A rank that died is named, with the collective in which the others of its group now wait for it. A rank that waits in a
 * collective for `limit` seconds is not what hangs: the one is that has not come to it, if it has done nothing else either for
 * so long. Who waits for a message waits for orders and may do so for ever, except for rank 0, which waits for answers.
 */
#ifndef CLLAVA_MPI_WATCH_JUDGE_H
#define CLLAVA_MPI_WATCH_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "mpi/watch_net.h"

/* Name of what a rank does that waits for a message. */
#define WATCH_MESSAGE "message"

/* What is known of one rank; times in seconds before now. */
struct watch_report {
    const char *host;
    int group;             // -1: none
    double silent, still;  // since it last spoke; since it last began something
    char stage[NET_STAGE]; // "stage 2 of task 1, step 17", ""
    char collective[NET_NAME];
    double dead; // since its connection broke; 0: it lives
};

struct watch_verdict {
    int rank;
    char text[NET_TEXT]; // "rank 2 (node7) died in stage 2 of task 1, step 17, in tp_reduce; hint: .."
};

#define WATCH_DIED_HINT "; hint: its own output may say why; the kernel's log (dmesg) tells when memory ran out"
#define WATCH_SILENT_HINT "; hint: the process is stopped, or its host or network is down"
/* text := "rank 2 (node7) WHAT in stage 2 of task 1, step 17, in tp_reduceMORE"; what is "" is left out. */
void watch_describe(char *text, size_t room, const struct watch_report *r, int rank, const char *what,
                    const char *collective, const char *more);

/* True when the job must end. limit: of hanging, 0: never. */
bool watch_judge(struct watch_verdict *v, const struct watch_report *r, int n, double limit);

#endif
