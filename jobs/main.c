/* main.c - cllava: parse, dispatch, say once what went wrong, exit with the status that err.h gives it.
 *
 * Of several ranks the first does so; the others serve it until it ends, and exit with its status.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/crew.h"
#include "mpi/launch.h"
#include "mpi/ranks.h"
#include "mpi/watch.h"

/* What a pipe or a full disk did not take is a failure, even when everything else went well. */
static int flush_results(void)
{
    if (!fflush(stdout) && !ferror(stdout)) return CL_OK;
    return err_set(CL_EIO, "standard output cannot be written: %s", strerror(errno));
}

static int serve(void)
{
    int rc = crew_serve();

    if (rc) watch_fail(err_status(rc), err_text());
    return ranks_end(0);
}

int main(int argc, char **argv)
{
    int rc;
    struct command_args *args = NULL;

    mallopt(M_MMAP_THRESHOLD, 1 << 20); // large blocks go back to the system when they are freed, always
    TRY(ranks_begin(argc, argv));
    if (ranks_rank() > 0) return serve();
    if (argc < 2) cli_help(stderr, commands);
    TRY(cli_parse(&args, commands, argc, argv));
    TRY(cli_run(args));
    TRY(flush_results());
done:
    if (rc && launch_speaks()) watch_tell(rc, err_text());
    cli_free(args);
    return ranks_end(err_status(rc));
}
