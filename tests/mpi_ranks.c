/* mpi_ranks.c - layouts, what rank 0 tells the others, and the end. */
#include "mpi_fixture.h"

static void told(void)
{
    struct message m = {0};
    enum ranks_op op;

    if (ranks_rank() == 0) {
        message_put_text(&m, "layout");
        message_put_int(&m, 7);
        check_ok(ranks_tell(&m));
    } else {
        check_ok(ranks_listen(&m, &op));
        check_int(op, RANKS_WORK);
        check_text(message_text(&m), "layout");
        check_int(message_int(&m), 7);
        check_ok(message_check(&m, "of a test"));
    }
    message_free(&m);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {{"told", told}};

    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
