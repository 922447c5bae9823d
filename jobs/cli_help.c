/* cli_help.c - the table of commands as text: help, manual page, completion for bash. */
#include <stdlib.h>
#include <string.h>

#include "io/config.h"
#include "io/err.h"
#include "pool/method.h"
#include "jobs/cli.h"

enum { LEFT = 26 }; // column of explanations

static const char what[] = "tunes a large vision-language model on one task after another without forgetting";

/* Exit statuses, for help and manual page. */
static const struct {
    const char *status, *meaning;
} exits[] = {{"0", "success"},
             {"2", "wrong usage or configuration"},
             {"75", "stopped at a checkpoint on request; run again to go on"},
             {"other", "failure, with one message on standard error"}};

static void row(FILE *to, const char *left, const char *right)
{
    if (strlen(left) > LEFT - 2)
        fprintf(to, "  %s\n  %*s%s\n", left, LEFT, "", right);
    else
        fprintf(to, "  %-*s%s\n", LEFT, left, right);
}

void cli_help(FILE *to, const struct command *table)
{
    fprintf(to, "cllava %s: %s\n\nusage: cllava COMMAND ARGUMENTS [--options]\n\ncommands:\n", CLLAVA_VERSION, what);
    for (const struct command *c = table; c->name; c++) row(to, c->name, c->summary);
    fprintf(to, "\noptions:\n");
    row(to, "COMMAND --help", "arguments and options of a command");
    row(to, "--version", "version of the program");
    fprintf(to, "\nmethods (`method` of a configuration):\n");
    for (size_t i = 0; method_at(i); i++) row(to, method_at(i)->name, method_at(i)->help);
    fprintf(to, "\nexit status:\n");
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) row(to, exits[i].status, exits[i].meaning);
}

static bool has_option(const struct command *c, const char *name)
{
    for (const struct cli_option *o = c->options; o && o->name; o++)
        if (!strcmp(o->name, name)) return true;
    return false;
}

/* "--routing free|oracle|random" */
static void option_left(const struct cli_option *o, char *s, size_t room)
{
    int n = snprintf(s, room, "--%s%s", o->name, o->kind == CLI_FLAG ? "" : " ");

    if (o->kind == CLI_WORD) {
        for (const char *p = o->choices; *p && n >= 0 && (size_t)n + 1 < room; p++)
            if (*p != ' ') s[n++] = *p == ',' ? '|' : *p;
        s[n] = 0;
    } else if (o->kind != CLI_FLAG) {
        snprintf(s + n, room - (size_t)n, "%s", o->value);
    }
}

void cli_command_help(FILE *to, const struct command *c)
{
    char left[200];

    fprintf(to, "usage: cllava %s%s%s%s\n\n%s\n", c->name, c->arguments && *c->arguments ? " " : "",
            c->arguments ? c->arguments : "", c->options && c->options->name ? " [--options]" : "", c->summary);
    if (c->details) fprintf(to, "\n%s\n", c->details);
    fprintf(to, "\noptions:\n");
    for (const struct cli_option *o = c->options; o && o->name; o++) {
        option_left(o, left, sizeof left);
        row(to, left, o->help);
    }
    row(to, "--help", "this text");
    if (has_option(c, "set")) fprintf(to, "\n`cllava config` describes every key of the configuration.\n");
}

/* ---- manual page ---- */

/* Text into a page: backslashes and minus signs escaped, a line that begins like a request protected. */
static void roff(FILE *to, const char *s)
{
    for (bool begins = true; *s; s++) {
        if (begins && (*s == '.' || *s == '\'')) fputs("\\&", to);
        if (*s == '\\')
            fputs("\\e", to);
        else if (*s == '-')
            fputs("\\-", to);
        else
            fputc(*s, to);
        begins = *s == '\n';
    }
}

static void roff_item(FILE *to, const char *left, const char *right)
{
    fputs(".TP\n.B ", to);
    roff(to, left);
    fputc('\n', to);
    roff(to, right);
    fputc('\n', to);
}

static void roff_command(FILE *to, const struct command *c)
{
    char left[200];

    fprintf(to, ".SS %s ", c->name);
    roff(to, c->arguments ? c->arguments : "");
    fputc('\n', to);
    roff(to, c->summary);
    fputs(".\n", to);
    if (c->details) {
        fputs(".PP\n.nf\n", to);
        roff(to, c->details);
        fputs("\n.fi\n", to);
    }
    for (const struct cli_option *o = c->options; o && o->name; o++) {
        option_left(o, left, sizeof left);
        roff_item(to, left, o->help);
    }
}

int cli_man(FILE *to, const struct command *table)
{
    char *keys = NULL;
    size_t n;
    FILE *memory = open_memstream(&keys, &n);

    if (!memory) return err_set(CL_ENOMEM, "out of memory");
    config_help(memory);
    if (fclose(memory)) return free(keys), err_set(CL_ENOMEM, "out of memory");
    fprintf(to, ".TH CLLAVA 1 \"\" \"cllava %s\" \"User Commands\"\n.SH NAME\ncllava \\- %s\n", CLLAVA_VERSION, what);
    fputs(".SH SYNOPSIS\n.B cllava\n.I COMMAND ARGUMENTS\n[\\-\\-options]\n.SH COMMANDS\n", to);
    for (const struct command *c = table; c->name; c++) roff_command(to, c);
    fputs(".SH CONFIGURATION\nA YAML file; paths are relative to it. Keys, values, defaults:\n.PP\n.nf\n", to);
    roff(to, keys);
    fputs(".fi\n.SH METHODS\n", to);
    for (size_t i = 0; method_at(i); i++) roff_item(to, method_at(i)->name, method_at(i)->help);
    fputs(".SH EXIT STATUS\n", to);
    for (size_t i = 0; i < sizeof exits / sizeof *exits; i++) roff_item(to, exits[i].status, exits[i].meaning);
    free(keys);
    return CL_OK;
}

/* ---- completion ---- */

static void completion_values(FILE *to, const struct cli_option *o)
{
    if (o->kind == CLI_FLAG) return;
    fprintf(to, "        --%s) ", o->name);
    if (!strcmp(o->name, "set"))
        fputs("compopt -o nospace; COMPREPLY=($(compgen -W \"$keys\" -S = -- \"$word\")) ;;\n", to);
    else if (o->kind == CLI_WORD) {
        fputs("COMPREPLY=($(compgen -W '", to);
        for (const char *p = o->choices; *p; p++)
            if (*p != ',') fputc(*p, to);
        fputs("' -- \"$word\")) ;;\n", to);
    } else {
        fprintf(to, "%s ;;\n", o->kind == CLI_FILE ? "COMPREPLY=($(compgen -f -- \"$word\"))" : ":");
    }
}

static void completion_command(FILE *to, const struct command *c)
{
    fprintf(to, "    %s)\n        case $before in\n", c->name);
    for (const struct cli_option *o = c->options; o && o->name; o++) completion_values(to, o);
    fputs("        *) [[ $word == -* ]] && COMPREPLY=($(compgen -W '", to);
    for (const struct cli_option *o = c->options; o && o->name; o++) fprintf(to, "--%s ", o->name);
    fputs("--help' -- \"$word\")) ;;\n        esac ;;\n", to);
}

/* Where nothing is offered, bash offers files (-o default). */
void cli_completion(FILE *to, const struct command *table)
{
    fputs("# Completion of cllava for bash, made by cllava --completion.\n_cllava()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}\n"
          "    local keys='",
          to);
    for (size_t i = 0; config_key(i); i++) fprintf(to, "%s%s", i ? " " : "", config_key(i));
    fputs("'\n    COMPREPLY=()\n    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W '", to);
    for (const struct command *c = table; c->name; c++) fprintf(to, "%s ", c->name);
    fputs("--help --version' -- \"$word\"))\n        return\n    fi\n    case $command in\n", to);
    for (const struct command *c = table; c->name; c++) completion_command(to, c);
    fputs("    esac\n}\ncomplete -o default -F _cllava cllava\n", to);
}
