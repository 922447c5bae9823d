/* mpi_ranks.c - layouts of the ranks and their refusal, what rank 0 tells the others, threads. */
#include <sched.h>
#include <stdlib.h>

#include "mpi_fixture.h"

static void told(void)
{
    struct message m = {0};
    enum ranks_op op;

    for (int k = 0; k < 20; k++)
        if (ranks_rank() == 0) {
            message_clear(&m);
            message_put_text(&m, "layout");
            message_put_int(&m, k);
            check_ok(ranks_tell(&m));
        } else {
            check_ok(ranks_listen(&m, &op));
            check_int(op, RANKS_WORK);
            check_text(message_text(&m), "layout");
            check_int(message_int(&m), k);
            check_ok(message_check(&m, "of a test"));
        }
    message_free(&m);
}

/* Rank, group and communicators of every rank, for every split that is possible. */
static void layouts(void)
{
    int size = ranks_size(), rank = ranks_rank();

    for (int dedicated = 0; dedicated < 2 && size - dedicated > 0; dedicated++)
        for (int tensor = 1; tensor <= size - dedicated; tensor++) {
            if ((size - dedicated) % tensor) continue;
            check_ok(ranks_layout(tensor, dedicated, tensor % 2 ? DT_F32 : DT_BF16));
            const struct ranks *now = ranks_now();
            int place = rank - dedicated, groups = (size - dedicated) / tensor;
            bool leads = place >= 0 && place % tensor == 0;
            check(now->rank == rank && now->size == size);
            check(now->tensor == tensor && now->groups == groups);
            check(now->dedicated == (dedicated == 1));
            check_int(now->group, place < 0 ? -1 : place / tensor);
            check((now->tp != NULL) == (tensor > 1 && place >= 0));
            if (now->tp) {
                check(now->tp->size == tensor && now->tp->rank == place % tensor);
                check(now->tp->wire == (tensor % 2 ? DT_F32 : DT_BF16));
                check_int(comm_world_rank(now->tp->comm, 0), now->group * tensor + dedicated);
            }
            check((now->crew != NULL) == ((rank == 0 || leads) && groups + dedicated > 1));
            if (now->crew) {
                check_int(comm_size(now->crew), groups + dedicated);
                check_int(comm_rank(now->crew), rank == 0 ? 0 : now->group + dedicated);
            }
        }
}

static void refused(void)
{
    int size = ranks_size();
    char want[64];

    check_code(ranks_layout(size + 1, false, DT_F32), CL_ECONFIG);
    snprintf(want, sizeof want, "(got %d ranks)", size);
    check_text(err_text(), want);
    check_text(err_text(), "parallel.tensor: ");
    check_text(err_text(), size == 4 ? "set parallel.tensor to one of: 1, 2, 4" : "set parallel.tensor to one of: 1");
    if (size > 2) {
        check_code(ranks_layout(size, true, DT_F32), CL_ECONFIG);
        snprintf(want, sizeof want, "%d ranks cannot be split into groups of %d", size - 1, size);
        check_text(err_text(), want);
        check_text(err_text(), "one of them the dedicated coordinator");
    }
    if (size == 1) check_code(ranks_layout(1, true, DT_F32), CL_ECONFIG);
    check_ok(ranks_layout(1, false, DT_F32)); // afterwards all is well
    check_int(ranks_now()->groups, size);
}

static void threads(void)
{
    cpu_set_t mask;

    check_ok(sched_getaffinity(0, sizeof mask, &mask));
    if (getenv("OMP_NUM_THREADS"))
        check_int(ranks_threads(), atoi(getenv("OMP_NUM_THREADS")));
    else
        check(ranks_threads() >= 1 && ranks_threads() <= CPU_COUNT(&mask));
}

static void names(void)
{
    for (int r = 0; r < ranks_size(); r++) check(ranks_host(r)[0] && ranks_memory(r) == ranks_memory(0));
    check(ranks_memory(0) > 1e6);
    check_text(ranks_host(-1), "this host");
    check_text(ranks_host(ranks_size()), "this host");
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
        {"told", told}, {"layouts", layouts}, {"refused", refused}, {"threads", threads}, {"names", names}};

    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
