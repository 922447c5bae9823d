/* watch.h - the watchdog: when one rank dies, fails, hangs or goes astray, the whole job ends soon, with one message.
 *
 * A thread of every rank holds a TCP connection to a thread of rank 0 and tells it where its rank stands: stage, collective,
 * for how long. A connection that breaks is a rank that died; one that is silent, or stands still outside a collective in which
 * others have waited for watchdog.seconds, is a rank that hangs (watch_judge.h). Rank 0 then says once which rank, on which
 * host, where, why, tells all to leave, and leaves. Rank 1 does the same for rank 0: all are connected to it too. A wish to
 * stop (SIGTERM, SIGUSR1, SIGINT) at any rank reaches rank 0 this way and becomes its stop_requested (io/signal.h); where its
 * command does not ask for that, the job ends as a program does on a signal.
 *
 * Leaving is _exit by the thread: the rank may be stuck in a call of MPI. mpirun (Open MPI 4.1) ends the other ranks too when
 * one dies: SIGCONT at once, SIGTERM after 1 s, SIGKILL after another (odls_base_sigkill_timeout). The message is out before.
 *
 * watch_at, watch_collective and watch_beat cost a few stores: they stand in front of every collective.
 */
#ifndef CLLAVA_MPI_WATCH_H
#define CLLAVA_MPI_WATCH_H

#include "mpi/comm.h"

/* Starts the threads and connects them. Collective over the world. Errors leave the job unwatched, on every rank: a warning is
 * due. */
int watch_start(struct comm *world);
/* Ends them in an orderly way: nobody is suspected afterwards. Collective over the world. */
void watch_stop(void);

/* What this rank works at, for messages: "stage 2 of task 1, step 17". Copied; at most 95 bytes. */
void watch_at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A collective operation begins (static text: "tp_reduce") or has ended (NULL). */
void watch_collective(const char *name);
/* This rank moves on: for work that lasts long between two collectives (loading, a long loop). */
void watch_beat(void);
/* A rank that stands still for so long while others wait for it hangs; 0: never. 120 at the start. The same on all ranks. */
void watch_set_limit(double seconds);
/* Groups of `tensor` ranks, behind the coordinator if it is dedicated. Of ranks_layout. */
void watch_set_groups(int tensor, bool dedicated);

/* This rank cannot go on: rank 0 prints "cllava: error: rank R (HOST) in STAGE: TEXT" and the job ends with that status. Alone: prints
 * the text and exits. */
_Noreturn void watch_fail(int status, const char *text);
/* Rank 0's own error, or that of a program alone: prints "cllava: error: TEXT" (without "error: " for CL_ESTOP), unless the
 * watchdog has named another rank as the cause: that message stands then, and this does not return. */
void watch_tell(int code, const char *text);
/* Ends the job although nothing is to be said (it has been said). */
_Noreturn void watch_leave(int status);

#endif
