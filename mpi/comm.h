/* comm.h - some ranks that talk: bytes from one to another, to all, and sums of what all hold.
 *
 * Sums are made by the program itself, in rank order, so that equal runs give equal bits whatever algorithm the MPI library
 * would choose (sum.c). They move 2 (P - 1) / P of the numbers per rank, the least there is. Long arrays go panel by panel,
 * so no count outgrows an int and scratch stays small. On the wire numbers are f32, or bf16 (summed in f32).
 *
 * A NULL communicator is one rank alone: nothing is exchanged. Every function that takes one is collective over it unless
 * its comment says otherwise, and gives CL_EMPI with the failing call's text. Buffers are host memory.
 */
#ifndef CLLAVA_MPI_COMM_H
#define CLLAVA_MPI_COMM_H

#include <mpi.h>

#include "model/tensor.h"

struct comm;

/* What went over the wire since comm_counts_clear, of this rank: calls of each kind and bytes that it sent. */
struct comm_counts {
    int64_t sums, gathers, broadcasts, messages;
    int64_t sum_bytes, gather_bytes, broadcast_bytes, message_bytes;
};

/* A communicator over those ranks of `parent` that give the same color (ordered by key); color -1: *c is NULL. Collective over
 * parent. parent MPI_COMM_WORLD. name: for messages ("tp"). */
int comm_split(struct comm **c, MPI_Comm parent, int color, int key, const char *name);
int comm_split_host(struct comm **c); // the ranks of this host. Collective over the world
void comm_free(struct comm *c);
int comm_rank(const struct comm *c); // 0 for NULL
int comm_size(const struct comm *c); // 1 for NULL
/* Rank in MPI_COMM_WORLD of rank r of c. */
int comm_world_rank(const struct comm *c, int r);

/* Room for sums of up to n numbers: afterwards nothing of this header allocates. Not collective. */
int comm_reserve(struct comm *c, int64_t n);
/* Lets sums go through memory where all ranks of c are on one host and that can be had (what is in it is copied once, no message
 * is sent). The bits are the same. Collective. */
int comm_share(struct comm *c);
bool comm_is_shared(const struct comm *c);
/* Numbers per panel of a sum, bytes of one MPI call (tests make them small); 0: the default. The same on all ranks. Not
 * collective. */
void comm_set_panel(struct comm *c, int64_t numbers);
void comm_set_longest(struct comm *c, size_t bytes);

/* x (n) := sum over the ranks, in rank order, on every rank. wire DT_F32 or DT_BF16: what the shares are rounded to, and the
 * sum when it travels too; every rank has the same. name: static text, what the watchdog calls it ("tp_reduce"). */
int comm_sum_named(struct comm *c, const char *name, float *x, int64_t n, enum dtype wire);
int comm_sum(struct comm *c, float *x, int64_t n, enum dtype wire); // "sum"
/* The same to rank 0 alone; the other ranks' x is undefined afterwards. Ranks below `first` (0: none) contribute nothing:
 * their x is not read. */
int comm_sum_to_root(struct comm *c, float *x, int64_t n, int first);
/* x (n), few: gathered and summed in rank order on every rank. */
int comm_sum_double(struct comm *c, double *x, int64_t n);
/* Bytes that rank `rank` of `size` sends for comm_sum of n numbers. */
int64_t comm_sum_bytes(int64_t n, enum dtype wire, int size, int rank);

/* A sum beside other work: begin, now and then comm_progress (or comm_sum_test), end. x is not to be touched meanwhile. At most
 * two at the same time, begun in the same order on all ranks; *sum stays valid until its end, NULL is a sum that is done.
 * Begin and end are collective. The same bits as comm_sum. */
struct comm_sum;
int comm_sum_begin(struct comm_sum **sum, struct comm *c, const char *name, float *x, int64_t n, enum dtype wire);
int comm_sum_test(struct comm_sum *sum, bool *done); // takes it further; not collective
int comm_sum_end(struct comm_sum *sum);              // waits
int comm_progress(struct comm *c);                   // takes further whatever has begun; not collective

/* all (ranks, bytes): every rank's `mine`, by rank. all may hold mine in place (mine NULL). */
int comm_gather(struct comm *c, void *all, const void *mine, size_t bytes);
int comm_broadcast(struct comm *c, void *data, size_t bytes, int root);
int comm_barrier(struct comm *c);

/* Point to point. Collective over the two. Long data is split. */
int comm_send(struct comm *c, const void *data, size_t bytes, int to);
int comm_receive(struct comm *c, void *data, size_t bytes, int from);

/* The rank of c whose contribution to a sum of this process was not finite first (of several in the same sum the lowest) since
 * the last call, or -1; what: the name of that sum. Each rank sees only what it adds up itself. Not collective. */
int comm_first_nonfinite(struct comm *c, char *what, size_t room);
/* Which sum that was, and which one began last: sums of c are counted from 1, alike on all ranks. Not collective. */
int64_t comm_nonfinite_sum(const struct comm *c);
int64_t comm_last_sum(const struct comm *c);
/* The same over all ranks of c: the earliest sum counts, so that the rank is named where it began. Collective. */
int comm_find_nonfinite(struct comm *c, int *rank, char *what, size_t room);

/* Debug builds (CLLAVA_GUARD, or without NDEBUG): CL_EINTERNAL, on every rank, when not all have the same value; names the first
 * rank that differs. Else nothing. Collective. */
int comm_check_equal(struct comm *c, const char *name, uint64_t value);

MPI_Comm comm_mpi(struct comm *c); // for mpi/ alone

struct comm_counts comm_get_counts(const struct comm *c); // zeros for NULL
void comm_counts_clear(struct comm *c);

#endif
