/* tp.c - the operators of tensor parallelism, in terms of comm.h. */
#include "mpi/tp.h"

#include "io/err.h"

void tp_shard(int64_t *first, int64_t *n, int64_t count, const struct tp *tp)
{
    int64_t size = tp ? tp->size : 1, rank = tp ? tp->rank : 0, more = count % size;

    *n = count / size + (rank < more);
    *first = count / size * rank + (rank < more ? rank : more);
}

static int sum_begin(struct comm_sum **sum, const struct tp *tp, struct tensor t, const char *what)
{
    *sum = NULL;
    if (!tp || tp->size == 1 || !tp->comm || !t.rows) return CL_OK;
    if (t.type != DT_F32 || t.ld != t.cols)
        return err_set(CL_EINTERNAL, "%s of %s, rows %lld of %lld apart (expected f32 without gaps)", what,
                       dtype_name(t.type), (long long)t.ld, (long long)t.cols);
    return comm_sum_begin(sum, tp->comm, what, t.data, t.rows * t.cols, tp->wire);
}

int tp_reduce_begin(struct comm_sum **sum, const struct tp *tp, struct tensor t)
{
    return sum_begin(sum, tp, t, "tp_reduce");
}

int tp_copy_back_begin(struct comm_sum **sum, const struct tp *tp, struct tensor dt)
{
    return sum_begin(sum, tp, dt, "tp_copy_back");
}

int tp_reduce(const struct tp *tp, struct tensor t)
{
    struct comm_sum *sum;
    int rc = tp_reduce_begin(&sum, tp, t);

    return rc ? rc : comm_sum_end(sum);
}

int tp_copy_back(const struct tp *tp, struct tensor dt)
{
    struct comm_sum *sum;
    int rc = tp_copy_back_begin(&sum, tp, dt);

    return rc ? rc : comm_sum_end(sum);
}
