/* sweep.c - `cllava sweep`: the list of a sweep's runs, running them, what became of them. */
#include "jobs/sweep.h"

#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/commands.h"
#include "mpi/ranks.h"

static int list_runs(const struct sweep *s)
{
    int count[SWEEP_STATES] = {0};

    for (int i = 0; i < s->runs; i++) {
        enum sweep_state state = sweep_state(s, &s->run[i]);
        count[state]++;
        printf("%-10s  %s  %s\n", sweep_state_names[state], s->run[i].name, s->run[i].changes);
    }
    printf("%d runs in %s:", s->runs, s->output);
    for (int i = SWEEP_STATES - 1, said = 0; i >= 0; i--)
        if (count[i]) printf("%s %d %s", said++ ? "," : "", count[i], sweep_state_names[i]);
    printf("\n");
    return CL_OK;
}

/* Options that another action has. */
static int check_options(const struct command_args *a, const char *action)
{
    static const char *const of_table[] = {"by", "csv", "latex", "markdown"};
    bool table = !strcmp(action, "table"), run = !strcmp(action, "run");

    for (size_t i = 0; i < sizeof of_table / sizeof *of_table; i++)
        if (!table && args_value(a, of_table[i], NULL))
            return err_set(CL_EUSAGE, "sweep --%s: belongs to a table; hint: cllava sweep table SPEC --%s ..",
                           of_table[i], of_table[i]);
    if (!run && (args_flag(a, "local") || args_flag(a, "dry-run") || args_value(a, "jobs", NULL)))
        return err_set(CL_EUSAGE, "sweep %s: runs nothing (got --local, --dry-run or --jobs)", action);
    if (run && !args_flag(a, "local") && !args_flag(a, "dry-run"))
        return err_set(CL_EUSAGE,
                       "sweep: where to run is not said (expected --local, or --dry-run for the list alone)");
    if (ranks_size() > 1)
        return err_set(CL_EUSAGE,
                       "sweep: starts the ranks of its runs itself (got %d ranks, expected one process); "
                       "hint: `ranks: %d` in the file, and no mpirun",
                       ranks_size(), ranks_size());
    return CL_OK;
}

int command_sweep(const struct command_args *a)
{
    int rc;
    bool named = args_count(a) > 1;
    const char *action = named ? args_positional(a, 0) : "run";
    struct sweep s = {0};
    struct sweep_files files = {args_value(a, "csv", NULL), args_value(a, "latex", NULL),
                                args_value(a, "markdown", NULL)};
    char meant[64];

    if (named && !text_listed(action, "status, table", meant, sizeof meant))
        FAIL(CL_EUSAGE, "sweep: unknown action (got %.100s, expected status, table, or the file alone)", action);
    TRY(check_options(a, action));
    TRY(sweep_load(&s, args_positional(a, named)));
    if (!strcmp(action, "table"))
        TRY(sweep_table(&s, args_value(a, "by", NULL), &files));
    else if (!strcmp(action, "status") || args_flag(a, "dry-run"))
        TRY(list_runs(&s));
    else
        TRY(sweep_local(&s, (int)args_int(a, "jobs", s.jobs)));
done:
    sweep_free(&s);
    return rc;
}
