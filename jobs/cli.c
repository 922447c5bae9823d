/* cli.c - argv against the table of commands. Values are kept grouped by option, in the order they were given. */
#include "jobs/cli.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/text.h"

#ifndef CLLAVA_VERSION
#error "the build names the version"
#endif

struct given {
    const struct cli_option *option;
    const char *value; // "" for a flag
};

struct command_args {
    const struct command *table, *command; // command NULL: an option of the program itself
    const char *own;                       // "--version"; "--help" also with a command
    const char **positional;               // (count)
    int count;
    struct given *given; // (n), as they stood
    const char **value;  // (n), grouped by option in the order of the command's options
    size_t n;
};

/* Options of the program itself. The last two serve installation. */
static const char *const own_options[] = {"--help", "--version", "--man", "--completion"};

/* ---- messages ---- */

static int wrong_command(const struct command *table, const char *name)
{
    int rc;
    struct text t = {0};
    char meant[64] = "";

    for (const struct command *c = table; c->name; c++) text_add(&t, "%s%s", c == table ? "" : ", ", c->name);
    if (!t.s || t.failed) return err_set(CL_ENOMEM, "out of memory");
    text_listed(name, t.s, meant, sizeof meant);
    rc = err_set(CL_EUSAGE, "unknown %s (got %.100s, expected one of %s); hint: %s%s%scllava --help",
                 name[0] == '-' ? "option" : "command", name, t.s, meant[0] ? "did you mean " : "", meant,
                 meant[0] ? "? " : "");
    text_free(&t);
    return rc;
}

static int wrong_option(const struct command *c, const char *name)
{
    int rc;
    struct text t = {0};
    char meant[64] = "";

    for (const struct cli_option *o = c->options; o && o->name; o++) text_add(&t, "--%s, ", o->name);
    text_add(&t, "--help");
    if (!t.s || t.failed) return err_set(CL_ENOMEM, "out of memory");
    text_listed(name, t.s, meant, sizeof meant);
    rc = err_set(CL_EUSAGE, "%s: unknown option (got %.100s, expected one of %s); hint: %s%s%scllava %s --help",
                 c->name, name, t.s, meant[0] ? "did you mean " : "", meant, meant[0] ? "? " : "", c->name);
    text_free(&t);
    return rc;
}

/* ---- parsing ---- */

/* How many positional arguments the usage line allows; most -1: any number. */
static void counts(const char *arguments, int *least, int *most)
{
    *least = *most = 0;
    for (const char *s = arguments; s && *s;) {
        s += strspn(s, " ");
        size_t n = strcspn(s, " ");
        if (n == 2 && !strncmp(s, "..", 2))
            *most = -1;
        else if (n && *most >= 0)
            ++*most;
        if (n && s[0] != '[' && s[0] != '.') ++*least;
        s += n;
    }
}

static int check_count(const struct command_args *a)
{
    int least, most;
    const struct command *c = a->command;

    counts(c->arguments, &least, &most);
    if (a->count >= least && (most < 0 || a->count <= most)) return CL_OK;
    return err_set(CL_EUSAGE, "%s: %s arguments (got %d, expected %s); hint: cllava %s --help", c->name,
                   a->count < least ? "missing" : "too many", a->count,
                   c->arguments && *c->arguments ? c->arguments : "none", c->name);
}

static int check_value(const struct command *c, const struct cli_option *o, const char *value)
{
    char *end, meant[64] = "";

    if (o->kind == CLI_WORD && !text_listed(value, o->choices, meant, sizeof meant))
        return err_set(CL_EUSAGE, "%s --%s: unknown value (got %.200s, expected one of %s)%s%s%s", c->name, o->name,
                       value, o->choices, meant[0] ? "; hint: did you mean " : "", meant, meant[0] ? "?" : "");
    if (o->kind != CLI_INT) return CL_OK;
    errno = 0;
    int64_t v = strtoll(value, &end, 10);
    if (!*value || *end || errno || v < o->least || v > o->most)
        return err_set(CL_EUSAGE,
                       "%s --%s: no such number (got %.200s, expected a whole number from %" PRId64 " to %" PRId64 ")",
                       c->name, o->name, value, o->least, o->most);
    return CL_OK;
}

static const struct cli_option *find_option(const struct command *c, const char *name, size_t n)
{
    for (const struct cli_option *o = c->options; o && o->name; o++)
        if (strlen(o->name) == n && !strncmp(o->name, name, n)) return o;
    return NULL;
}

/* argv[*i] is an option: takes its value from behind = or from the next word. */
static int take_option(struct command_args *a, int argc, char **argv, int *i)
{
    const struct command *c = a->command;
    const char *word = argv[*i], *equals = strchr(word, '='), *value = "";
    const struct cli_option *o = strncmp(word, "--", 2) ? NULL : find_option(c, word + 2, strcspn(word + 2, "="));

    if (!o) return wrong_option(c, word);
    if (o->kind == CLI_FLAG && equals)
        return err_set(CL_EUSAGE, "%s --%s: takes no value (got %.200s, expected nothing)", c->name, o->name,
                       equals + 1);
    if (o->kind != CLI_FLAG) {
        if (!equals && *i + 1 >= argc)
            return err_set(CL_EUSAGE, "%s --%s: no value (got nothing, expected %s)", c->name, o->name, o->value);
        value = equals ? equals + 1 : argv[++*i];
    }
    for (size_t k = 0; k < a->n; k++)
        if (a->given[k].option == o && !o->repeats)
            return err_set(CL_EUSAGE, "%s --%s: given twice (got %.100s and %.100s, expected one)", c->name, o->name,
                           a->given[k].value, value);
    a->given[a->n++] = (struct given){o, value};
    return check_value(c, o, value);
}

static void group_values(struct command_args *a)
{
    size_t n = 0;

    for (const struct cli_option *o = a->command->options; o && o->name; o++)
        for (size_t k = 0; k < a->n; k++)
            if (a->given[k].option == o) a->value[n++] = a->given[k].value;
}

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static int parse_command(struct command_args *a, int argc, char **argv)
{
    bool options = true;

    for (int i = 0; i < argc; i++)
        if (!strcmp(argv[i], "--"))
            break;
        else if (is_help(argv[i]))
            return a->own = "--help", CL_OK; // whatever else is wrong
    for (int i = 0; i < argc; i++) {
        if (options && !strcmp(argv[i], "--")) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1]) {
            int rc = take_option(a, argc, argv, &i);
            if (rc) return rc;
        } else {
            a->positional[a->count++] = argv[i];
        }
    }
    group_values(a);
    return check_count(a);
}

int cli_parse(struct command_args **out, const struct command *table, int argc, char **argv)
{
    int rc;
    size_t room = argc > 0 ? (size_t)argc : 1;
    struct command_args *a = calloc(1, sizeof *a);

    *out = NULL;
    if (!a) return err_set(CL_ENOMEM, "out of memory");
    a->table = table;
    a->positional = calloc(room, sizeof *a->positional);
    a->given = calloc(room, sizeof *a->given);
    a->value = calloc(room, sizeof *a->value);
    if (!a->positional || !a->given || !a->value) FAIL(CL_ENOMEM, "out of memory");
    if (argc < 2) FAIL(CL_EUSAGE, "no command; hint: cllava --help");
    char *name = argv[1];
    bool help = is_help(name) || !strcmp(name, "help");
    if (help && argc > 2) name = argv[2]; // `help eval`
    for (const struct command *c = table; c->name; c++)
        if (!strcmp(c->name, name)) a->command = c;
    for (size_t i = 0; i < sizeof own_options / sizeof *own_options; i++)
        if (!strcmp(name, own_options[i])) a->own = own_options[i];
    if (help && (a->command || argc == 2)) a->own = "--help";
    if (!a->own && !a->command) TRY(wrong_command(table, name));
    if (!a->own) TRY(parse_command(a, argc - 2, argv + 2));
    *out = a;
    rc = CL_OK;
done:
    if (rc) cli_free(a);
    return rc;
}

void cli_free(struct command_args *a)
{
    if (!a) return;
    free(a->positional);
    free(a->given);
    free(a->value);
    free(a);
}

int cli_run(const struct command_args *a)
{
    if (!a->own) return a->command->run(a);
    if (!strcmp(a->own, "--version")) return printf("cllava %s\n", CLLAVA_VERSION), CL_OK;
    if (!strcmp(a->own, "--man")) return cli_man(stdout, a->table);
    if (!strcmp(a->own, "--completion")) return cli_completion(stdout, a->table), CL_OK;
    if (a->command) return cli_command_help(stdout, a->command), CL_OK;
    return cli_help(stdout, a->table), CL_OK;
}

/* ---- what was given ---- */

const char *const *args_values(const struct command_args *a, const char *name, size_t *n)
{
    const struct cli_option *wanted = find_option(a->command, name, strlen(name));
    size_t first = 0;

    assert(wanted);
    *n = 0;
    for (const struct cli_option *o = a->command->options; o && o->name && o != wanted; o++)
        for (size_t k = 0; k < a->n; k++) first += a->given[k].option == o;
    for (size_t k = 0; k < a->n; k++) *n += a->given[k].option == wanted;
    return a->value + first;
}

const char *const *args_sets(const struct command_args *a, size_t *n)
{
    return args_values(a, "set", n);
}

bool args_flag(const struct command_args *a, const char *name)
{
    size_t n;

    args_values(a, name, &n);
    return n > 0;
}

const char *args_value(const struct command_args *a, const char *name, const char *otherwise)
{
    size_t n;
    const char *const *values = args_values(a, name, &n);

    return n ? values[n - 1] : otherwise;
}

int64_t args_int(const struct command_args *a, const char *name, int64_t otherwise)
{
    const char *value = args_value(a, name, NULL);

    return value ? strtoll(value, NULL, 10) : otherwise;
}

int args_count(const struct command_args *a)
{
    return a->count;
}

const char *args_positional(const struct command_args *a, int i)
{
    return i >= 0 && i < a->count ? a->positional[i] : NULL;
}
