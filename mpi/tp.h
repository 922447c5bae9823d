/* tp.h - the two operators of tensor parallelism.
 *
 * A weight is split by columns (each rank computes some outputs from the whole input) or by rows (each rank computes a
 * partial sum of every output). Everything else in the decoder is local. So two operators, mirrored in the backward pass,
 * are all that ranks ever exchange inside a layer:
 *
 *     tp_copy     forward: nothing            backward: sum over ranks     (in front of a column-split weight)
 *     tp_reduce   forward: sum over ranks     backward: nothing            (behind a row-split weight)
 *
 * Around the layers there are two more: the embedding table is split by vocabulary rows (tp_reduce of rows of which one rank
 * has each), and small things per row (the parts of a softmax over a split vocabulary) are gathered (comm_gather). One process
 * is a group of one: all do nothing then.
 */
#ifndef CLLAVA_MPI_TP_H
#define CLLAVA_MPI_TP_H

#include "model/tensor.h"
#include "mpi/comm.h"

struct tp {
    int rank, size;    // within the tensor-parallel group, e.g. 1 of 4
    struct comm *comm; // NULL: nobody to talk to (one rank, or a plan for ranks that are not there)
    enum dtype wire;   // DT_F32, DT_BF16: what sums travel as
    bool overlap;      // sums travel beside the work on another half of a batch
};

/* What one rank holds of `count` equal units (heads, FFN columns, vocabulary rows): [first, first + n). The first
 * count % size ranks hold one more. Not collective. */
void tp_shard(int64_t *first, int64_t *n, int64_t count, const struct tp *tp);

/* t := sum over the group, in rank order, so that equal runs give equal bits. f32, rows without gaps. Collective over the group;
 * NULL or a group of one does nothing. Errors: CL_EMPI with the failing call's text; t is then undefined. */
int tp_reduce(const struct tp *tp, struct tensor t);
/* Backward of the copy in front of a column-split weight: the same sum, named apart so that a trace tells them apart. */
int tp_copy_back(const struct tp *tp, struct tensor dt);
/* The same beside other work, to the same bits: ended by comm_sum_end (comm.h). *sum NULL: there is nothing to wait for. */
int tp_reduce_begin(struct comm_sum **sum, const struct tp *tp, struct tensor t);
int tp_copy_back_begin(struct comm_sum **sum, const struct tp *tp, struct tensor dt);

#endif
