/* report_command.c - `cllava report`. */
#include <stdio.h>
#include <stdlib.h>

#include "io/err.h"
#include "io/path.h"
#include "jobs/commands.h"
#include "jobs/report_html.h"

int command_report(const struct command_args *a)
{
    int rc, n = args_count(a);
    char path[PATH_ROOM];
    const char **dirs = calloc((size_t)n, sizeof *dirs), *output = args_value(a, "output", NULL);

    if (!dirs) FAIL(CL_ENOMEM, "no memory for %d runs", n);
    for (int i = 0; i < n; i++) dirs[i] = args_positional(a, i);
    TRY(path_print(path, "%s%sreport.html", n == 1 ? dirs[0] : "", n == 1 ? "/" : ""));
    struct report_files files = {output ? output : path, args_value(a, "csv", NULL), args_value(a, "latex", NULL)};
    TRY(report_runs(dirs, n, &files));
    printf("%s\n", files.html);
done:
    free(dirs);
    return rc;
}
