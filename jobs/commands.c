/* commands.c - the table of commands. Help, manual page, completion and parser follow it.
 *
 * A row: name, arguments, one line, details, options, function (cli.h says what each means). Rows stand in the order of a
 * user's way through the program.
 */
#include "jobs/commands.h"

static const struct cli_option config_options[] = {OPTION_SET, OPTION_JSON, OPTIONS_END};

const struct command commands[] = {
    {"config", "[CONFIG]", "checks a configuration and writes it out resolved; alone: describes every key",
     "Everything that `train` would refuse is refused here: unknown keys, wrong types, missing files.", config_options,
     command_config},
    {.name = NULL},
};
