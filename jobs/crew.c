/* crew.c - see crew.h. */
#include "jobs/crew.h"

#include "io/err.h"
#include "mpi/ranks.h"

int crew_serve(void)
{
    int rc;
    enum ranks_op op = RANKS_WORK;
    struct message m = {0};

    while (op != RANKS_END) TRY(ranks_listen(&m, &op));
    rc = CL_OK;
done:
    message_free(&m);
    return rc;
}
