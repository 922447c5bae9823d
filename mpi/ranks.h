/* ranks.h - the processes of a job, and who does what among them.
 *
 *     world rank     0          1 .. T-1      T              ..
 *     shared         leader 0   members       leader 1       members     rank 0 is the coordinator too
 *     dedicated      0 alone    1: leader 0   members        ..          rank 0 holds no shard
 *
 * T = parallel.tensor ranks are a group: together they hold one copy of the base (tp). Groups take different samples. The
 * leader of a group (its first rank) is told by the coordinator what to do (crew); its members do what the leader does
 * (model/follow.h). One process is a group of one that leads itself.
 */
#ifndef CLLAVA_MPI_RANKS_H
#define CLLAVA_MPI_RANKS_H

#include "mpi/comm.h"
#include "mpi/message.h"
#include "mpi/tp.h"

struct ranks {
    int rank, size;     // of the whole job
    int tensor, groups; // ranks of a group; groups
    bool dedicated;
    int group;         // this rank's group; -1: the dedicated coordinator
    struct tp *tp;     // this rank's group; NULL: the dedicated coordinator, or a group of one
    struct comm *crew; // coordinator (rank 0) and leaders; NULL: a member, or no other leader
    struct comm *world;
};

/* Starts MPI when the program was started as several processes (else nothing), checks that all are the same program with the
 * same arguments (CL_EUSAGE names the rank that differs), starts the watchdog. Collective. */
int ranks_begin(int argc, char **argv);
/* Ends MPI and gives the status that every rank shall exit with: rank 0's. The others are in ranks_listen then, or have left it
 * with RANKS_END; rank 0 tells them. When they are in the middle of something (ranks_busy) a status other than 0 ends the whole
 * job at once: does not return then. Also to be called when ranks_begin failed. */
int ranks_end(int status);

int ranks_rank(void);
int ranks_size(void);
const char *ranks_host(int rank); // "node7"
double ranks_memory(int rank); // bytes that its host has for all of its processes (io/memory.h), as it was at the start

/* Between these two other ranks are in the middle of an operation that rank 0 began: a failure must end the job hard. */
void ranks_busy_begin(void);
void ranks_busy_end(void);

/* Rank 0 runs the program; the others wait in ranks_listen until it tells them something:
 *
 *     RANKS_WORK   a message of ranks_tell follows: take part in what it says (collectives over the world or a layout), then
 *                  listen again
 *     RANKS_END    rank 0 is in ranks_end: leave, call ranks_end
 */
enum ranks_op { RANKS_END = 1, RANKS_WORK = 2 };
/* Rank 0's message to all that listen. One process: does nothing. */
int ranks_tell(struct message *m);
/* Waits for it, as long as it takes, and leaves the processor to others meanwhile. m is ready to be read on RANKS_WORK. Collective
 * over the world, as ranks_tell. */
int ranks_listen(struct message *m, enum ranks_op *op);

/* Splits the ranks into groups of `tensor` for a job; the earlier layout is given up. CL_ECONFIG, on every rank alike, when the
 * ranks cannot be split so: names parallel.tensor with the sizes that work. wire: of tp's sums. Collective over the world. */
int ranks_layout(int tensor, bool dedicated, enum dtype wire);
/* Whether tp's sums may travel beside the work on another half of a batch (model/span.c); a new layout: no. The same on all ranks
 * of a group. Not collective. */
void ranks_set_overlap(bool on);
/* The layout of this process; one process: everything 1, 0 or NULL. */
const struct ranks *ranks_now(void);

/* Threads that this rank should use when the user says nothing: the processors it may run on, divided among the ranks that
 * share them. OMP_NUM_THREADS goes first. Collective in ranks_begin; asks nothing afterwards. */
int ranks_threads(void);

#endif
