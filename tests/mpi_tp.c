/* mpi_tp.c - shards of every count, sums and gathers of rows over the group. */
#include <stdlib.h>

#include "mpi_fixture.h"

static void shards(void)
{
    for (int size = 1; size <= 9; size++)
        for (int64_t count = 0; count < 40; count++) {
            int64_t at = 0, first, n;
            for (int r = 0; r < size; r++) {
                tp_shard(&first, &n, count, &(struct tp){.rank = r, .size = size});
                check_int(first, at);
                check(n == count / size || n == count / size + 1);
                at += n;
            }
            check_int(at, count);
        }
    int64_t first, n;
    tp_shard(&first, &n, 17, NULL);
    check(first == 0 && n == 17);
}

/* Rank r has r + 1 + row in each number. */
static struct tensor numbers(int64_t rows, int64_t cols)
{
    struct tensor t = tensor_of(calloc((size_t)(rows * cols) + 1, sizeof(float)), DT_F32, rows, cols);

    for (int64_t i = 0; i < rows * cols; i++) ((float *)t.data)[i] = (float)(ranks_rank() + 1 + i / cols);
    return t;
}

static void reduces(void)
{
    const struct ranks *now = ranks_now();
    int p = ranks_size();

    for (int wire = 0; wire < 2; wire++) {
        check_ok(ranks_layout(p, false, wire ? DT_BF16 : DT_F32));
        for (int64_t rows = 0; rows < 20; rows += 3) {
            struct tensor t = numbers(rows, 17);
            check_ok((rows % 2 ? tp_reduce : tp_copy_back)(now->tp, t));
            for (int64_t i = 0; i < rows * 17; i++)
                check_near(((float *)t.data)[i], p * (p + 1) / 2 + p * (double)(i / 17), 0);
            free(t.data);
        }
    }
}

static void refused(void)
{
    struct tensor t = numbers(4, 6);

    if (ranks_now()->tp) {
        check_code(tp_reduce(ranks_now()->tp, tensor_block(t, 0, 2, 0, 3)), CL_EINTERNAL);
        check_text(err_text(), "tp_reduce of f32, rows 6 of 3 apart");
        t.type = DT_BF16;
        check_code(tp_copy_back(ranks_now()->tp, t), CL_EINTERNAL);
    }
    check_ok(tp_reduce(NULL, t));
    check_ok(tp_reduce(&(struct tp){.size = 1}, t));
    free(t.data);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {{"shards", shards}, {"reduces", reduces}, {"refused", refused}};

    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
