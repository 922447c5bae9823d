/* config.c - `cllava config`: what a run would take its settings from, checked and written out. */
#include <stdio.h>
#include <stdlib.h>

#include "io/config.h"
#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/settings.h"

int command_config(const struct command_args *a)
{
    int rc;
    struct config c = {0};
    char *text = NULL;
    const unsigned needs = NEED_BASE | NEED_ENCODER | NEED_STREAM | NEED_TRAIN | NEED_OUTPUT;

    if (!args_count(a)) {
        config_help(stdout);
        return CL_OK;
    }
    TRY(settings_load(&c, a, args_positional(a, 0), needs));
    TRY(args_flag(a, "json") ? config_json(&c, &text) : config_yaml(&c, &text));
    printf("%s%s", text, args_flag(a, "json") ? "\n" : "");
done:
    free(text);
    config_free(&c);
    return rc;
}
