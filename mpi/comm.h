/* comm.h - some ranks that talk: bytes from one to another, to all, and sums of what all hold.
 *
 * Sums are made by the program itself, in rank order, so that equal runs give equal bits whatever algorithm the MPI library
 * would choose: each rank owns a part of the numbers, gets every other rank's share of that part, adds them up from rank 0 on,
 * and gives the result to all. That moves 2 (P - 1) / P of the numbers per rank, the least there is. Long arrays go panel by
 * panel, so no count outgrows an int and scratch stays small. On the wire numbers are f32, or bf16 (summed in f32).
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
void comm_free(struct comm *c);
int comm_rank(const struct comm *c); // 0 for NULL
int comm_size(const struct comm *c); // 1 for NULL
/* Rank in MPI_COMM_WORLD of rank r of c. */
int comm_world_rank(const struct comm *c, int r);

/* Room for sums of up to n numbers, gathers of up to n numbers per rank: afterwards they allocate nothing. Not collective. */
int comm_reserve(struct comm *c, int64_t n);
/* Numbers per panel (tests make it small); 0: the default. The same on all ranks. Not collective. */
void comm_set_panel(struct comm *c, int64_t numbers);

/* x (n) := sum over the ranks, in rank order, on every rank. wire DT_F32 or DT_BF16. */
int comm_sum(struct comm *c, float *x, int64_t n, enum dtype wire);
/* The same to rank 0 alone; ranks below `first` contribute nothing (their x is not read, but rank 0's is written). */
int comm_sum_to_root(struct comm *c, float *x, int64_t n, int first);
/* x (n), few: gathered and summed in rank order on every rank. */
int comm_sum_double(struct comm *c, double *x, int64_t n);
/* all (ranks, bytes): every rank's `mine`, by rank. all may hold mine in place (mine NULL). */
int comm_gather(struct comm *c, void *all, const void *mine, size_t bytes);
/* Blocks of different sizes: rank r's block of bytes[r] stands at all + offset[r]; own block is there already. */
int comm_gather_blocks(struct comm *c, void *all, const size_t *offset, const size_t *bytes);
int comm_broadcast(struct comm *c, void *data, size_t bytes, int root);
int comm_barrier(struct comm *c);

/* Point to point. Collective over the two. Long data is split. */
int comm_send(struct comm *c, const void *data, size_t bytes, int to);
int comm_receive(struct comm *c, void *data, size_t bytes, int from);

/* The lowest rank whose contribution to a sum of this process was not finite since the last call, or -1; what: the watch's
 * name of that sum. Not collective. */
int comm_first_nonfinite(struct comm *c, char *what, size_t room);

MPI_Comm comm_mpi(struct comm *c); // for mpi/ alone

struct comm_counts comm_get_counts(const struct comm *c); // zeros for NULL
void comm_counts_clear(struct comm *c);

#endif
