/* cli.h - the command line: one table says what commands there are, and parser, help, manual page and completion follow it.
 *
 * A command is a row (jobs/commands.c) with its arguments as the usage line shows them, its options, and the function that
 * runs it. The parser checks counts, types, ranges and words before the function runs, which then asks for what was given:
 *
 *     int command_eval(const struct command_args *a)
 *     {
 *         const char *checkpoint = args_positional(a, 0), *config = args_positional(a, 1); // NULL when not given
 *         const char *routing = args_value(a, "routing", "free");
 *
 * Options are written --name value or --name=value, anywhere behind the command; -- ends them.
 */
#ifndef CLLAVA_JOBS_CLI_H
#define CLLAVA_JOBS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum cli_kind {
    CLI_FLAG, // no value
    CLI_TEXT,
    CLI_INT,  // from least to most
    CLI_WORD, // one of choices
    CLI_FILE  // as CLI_TEXT; completion offers files
};

struct cli_option {
    const char *name; // "max-steps"
    enum cli_kind kind;
    const char *value; // what the help calls the value: "N"; NULL for flags
    const char *help;
    int64_t least, most; // of CLI_INT
    const char *choices; // of CLI_WORD: "free, oracle, random"
    bool repeats;        // every value counts (args_values), not only one may be given
};

/* Rows of a list of options, OPTIONS_END last. */
#define OPTION_FLAG(NAME, HELP)                                                                                        \
    {                                                                                                                  \
        .name = NAME, .kind = CLI_FLAG, .help = HELP                                                                   \
    }
#define OPTION_TEXT(NAME, VALUE, HELP)                                                                                 \
    {                                                                                                                  \
        .name = NAME, .kind = CLI_TEXT, .value = VALUE, .help = HELP                                                   \
    }
#define OPTION_FILE(NAME, VALUE, HELP)                                                                                 \
    {                                                                                                                  \
        .name = NAME, .kind = CLI_FILE, .value = VALUE, .help = HELP                                                   \
    }
#define OPTION_LIST(NAME, VALUE, HELP)                                                                                 \
    {                                                                                                                  \
        .name = NAME, .kind = CLI_TEXT, .value = VALUE, .help = HELP, .repeats = true                                  \
    }
#define OPTION_WORD(NAME, CHOICES, HELP)                                                                               \
    {                                                                                                                  \
        .name = NAME, .kind = CLI_WORD, .value = "WORD", .help = HELP, .choices = CHOICES                              \
    }
#define OPTION_INT(NAME, LEAST, MOST, HELP)                                                                            \
    {                                                                                                                  \
        .name = NAME, .kind = CLI_INT, .value = "N", .help = HELP, .least = LEAST, .most = MOST                        \
    }
#define OPTIONS_END                                                                                                    \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* Options that several commands have. */
#define OPTION_SET OPTION_LIST("set", "key=value", "sets a configuration key (repeatable), e.g. --set stage2.lr=1e-4")
#define OPTION_JSON OPTION_FLAG("json", "writes JSON")
#define OPTION_QUIET OPTION_FLAG("quiet", "no progress, no messages but warnings")

struct command_args;

struct command {
    const char *name;
    const char *arguments; // "CHECKPOINT [CONFIG]", "CONFIG TEXT ..": [] may be left out, .. repeats the one before
    const char *summary;   // one line, for the list of commands
    const char *details;   // paragraphs for its own help, lines at most 100 wide; may be NULL
    const struct cli_option *options; // ends with name NULL; may be NULL
    int (*run)(const struct command_args *a);
};

/* Parses argv against a table (ends with name NULL). *out is what cli_run takes: a command, or one of the program's own
 * options (--help, --version, ..). CL_EUSAGE with got, expected and hint. */
int cli_parse(struct command_args **out, const struct command *table, int argc, char **argv);
/* Runs it; what --help and the like say goes to stdout. */
int cli_run(const struct command_args *a);
void cli_free(struct command_args *a); // NULL is fine

/* What was given. Names must be options of the command (asserted). */
bool args_flag(const struct command_args *a, const char *name);
const char *args_value(const struct command_args *a, const char *name, const char *otherwise); // the last one
int64_t args_int(const struct command_args *a, const char *name, int64_t otherwise);
const char *const *args_values(const struct command_args *a, const char *name, size_t *n);
const char *const *args_sets(const struct command_args *a, size_t *n); // values of --set
int args_count(const struct command_args *a);                          // positional arguments
const char *args_positional(const struct command_args *a, int i);      // NULL beyond the last

/* Text made from the table (cli_help.c). */
void cli_help(FILE *to, const struct command *table);
void cli_command_help(FILE *to, const struct command *c);
int cli_man(FILE *to, const struct command *table);
void cli_completion(FILE *to, const struct command *table); // for bash

#endif
