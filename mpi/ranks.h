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
/* Ends MPI, or at once the whole job when others may be in the middle of something (ranks_busy). Does not return on a failure
 * of several processes: exits with status. Collective when nobody is busy. */
void ranks_end(int status);

int ranks_rank(void);
int ranks_size(void);
const char *ranks_host(int rank); // "node7"

/* Between these two other ranks are in the middle of an operation that rank 0 began: a failure must end the job hard. */
void ranks_busy_begin(void);
void ranks_busy_end(void);

/* Splits the ranks into groups of `tensor` for a job; the earlier layout is given up. CL_ECONFIG, on every rank alike, when the
 * ranks cannot be split so: names parallel.tensor with the sizes that work. wire: of tp's sums. Collective over the world. */
int ranks_layout(int tensor, bool dedicated, enum dtype wire);
/* The layout of this process; one process: everything 1, 0 or NULL. */
const struct ranks *ranks_now(void);

/* Threads that this rank should use when the user says nothing: the processors it may run on, divided among the ranks that
 * share them. OMP_NUM_THREADS goes first. Collective in ranks_begin; asks nothing afterwards. */
int ranks_threads(void);

#endif
