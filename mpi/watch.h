/* watch.h - the watchdog: when one rank dies, fails, hangs or goes astray, the whole job ends soon, with one message.
 *
 * A thread of every rank holds a TCP connection to a thread of rank 0 and tells it where its rank stands: stage, collective,
 * for how long. A connection that breaks is a rank that died; one that is silent, or stands in the same collective for
 * watchdog.seconds, is a rank that hangs. Rank 0 then says once which rank, on which host, where, why, tells all to leave, and
 * leaves. When rank 0 itself is gone, rank 1 says so. A wish to stop (SIGTERM, SIGUSR1) at any rank reaches rank 0 this way.
 *
 * watch_at and watch_collective cost a few stores: they stand in front of every collective.
 */
#ifndef CLLAVA_MPI_WATCH_H
#define CLLAVA_MPI_WATCH_H

#include "mpi/comm.h"

/* Starts the threads and connects them. Collective over the world. Errors leave the job unwatched: a warning is due. */
int watch_start(struct comm *world);
/* Ends them in an orderly way: nobody is suspected afterwards. Collective over the world. */
void watch_stop(void);

/* What this rank works at, for messages: "stage 2 of task 1, step 17". Copied; at most 95 bytes. */
void watch_at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A collective operation begins (static text: "tp_reduce") or has ended (NULL). */
void watch_collective(const char *name);
/* A rank that stands in one collective for so long hangs; 0: never. */
void watch_set_limit(double seconds);

/* This rank cannot go on: rank 0 prints "cllava: error: rank R (HOST): TEXT" and the job ends with that status. Alone: prints
 * the text and exits. */
_Noreturn void watch_fail(int status, const char *text);
/* Ends the job although nothing is to be said (rank 0 has said it). */
_Noreturn void watch_leave(int status);

#endif
