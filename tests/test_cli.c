/* test_cli.c - the command line: counts, types, words, repeats, own options, messages; signals; how the program was started. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/err.h"
#include "io/signal.h"
#include "jobs/cli.h"
#include "mpi/launch.h"

static int ran;

static int run_eval(const struct command_args *a)
{
    ran = args_count(a);
    return CL_EDATA;
}

static const struct cli_option eval_options[] = {
    OPTION_SET,
    OPTION_JSON,
    OPTION_WORD("routing", "free, oracle, random", "which slots compete"),
    OPTION_INT("limit", -5, 100, "records"),
    OPTION_TEXT("tasks", "A,B", "only these"),
    OPTIONS_END,
};
static const struct command table[] = {
    {"eval", "CHECKPOINT [CONFIG]", "evaluates", "More about it.\n.and more", eval_options, run_eval},
    {"encode", "CONFIG TEXT ..", "embeds", NULL, NULL, run_eval},
    {"bench", "", "measures", NULL, NULL, run_eval},
    {.name = NULL},
};

/* Parses the words of a line split at blanks. */
static int parse(struct command_args **a, const char *line)
{
    static char words[400];
    char *argv[40] = {"cllava"};
    int argc = 1;

    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " ")) argv[argc++] = w;
    return cli_parse(a, table, argc, argv);
}

static void values(void **state)
{
    struct command_args *a;
    size_t n;

    (void)state;
    assert_int_equal(
        parse(&a, "eval --set a=1 ck.h5 --routing=oracle --set b.c=2=3 --limit -5 --json conf.yaml --tasks x,y"),
        CL_OK);
    assert_int_equal(args_count(a), 2);
    assert_string_equal(args_positional(a, 0), "ck.h5");
    assert_string_equal(args_positional(a, 1), "conf.yaml");
    assert_null(args_positional(a, 2));
    const char *const *sets = args_sets(a, &n);
    assert_int_equal(n, 2);
    assert_string_equal(sets[0], "a=1");
    assert_string_equal(sets[1], "b.c=2=3");
    assert_true(args_flag(a, "json"));
    assert_string_equal(args_value(a, "routing", "free"), "oracle");
    assert_string_equal(args_value(a, "tasks", NULL), "x,y");
    assert_int_equal(args_int(a, "limit", 7), -5);
    assert_int_equal(cli_run(a), CL_EDATA);
    assert_int_equal(ran, 2);
    cli_free(a);
    assert_int_equal(parse(&a, "eval ck.h5"), CL_OK);
    assert_false(args_flag(a, "json"));
    assert_string_equal(args_value(a, "routing", "free"), "free");
    assert_int_equal(args_int(a, "limit", 7), 7);
    assert_null(args_positional(a, 1));
    args_sets(a, &n);
    assert_int_equal(n, 0);
    cli_free(a);
    assert_int_equal(parse(&a, "encode c.yaml -- --text -"), CL_OK);
    assert_string_equal(args_positional(a, 1), "--text");
    assert_string_equal(args_positional(a, 2), "-");
    cli_free(a);
    assert_int_equal(parse(&a, "encode c.yaml a b c d e f g"), CL_OK);
    assert_int_equal(args_count(a), 8);
    cli_free(a);
    cli_free(NULL);
}

static void refused(void **state)
{
    static const char *const cases[][2] = {
        {"", "no command; hint: cllava --help"},
        {"evla x",
         "unknown command (got evla, expected one of eval, encode, bench); hint: did you mean eval? cllava --help"},
        {"--frob", "unknown option (got --frob"},
        {"help nope", "unknown command (got nope"},
        {"eval", "eval: missing arguments (got 0, expected CHECKPOINT [CONFIG]); hint: cllava eval --help"},
        {"eval a b c", "eval: too many arguments (got 3"},
        {"bench x", "bench: too many arguments (got 1, expected none)"},
        {"encode c", "encode: missing arguments (got 1, expected CONFIG TEXT ..)"},
        {"eval --rooting free x", "eval: unknown option (got --rooting, expected one of --set, --json, --routing"},
        {"eval --rooting free x", "did you mean --routing?"},
        {"eval -j x", "unknown option (got -j"},
        {"bench --json", "bench: unknown option (got --json, expected one of --help)"},
        {"eval x --set", "eval --set: no value (got nothing, expected key=value)"},
        {"eval x --json=yes", "eval --json: takes no value (got yes"},
        {"eval x --routing fre",
         "eval --routing: unknown value (got fre, expected one of free, oracle, random); hint: did you mean free?"},
        {"eval x --limit 101", "eval --limit: no such number (got 101, expected a whole number from -5 to 100)"},
        {"eval x --limit 3x", "no such number"},
        {"eval x --limit=", "no such number"},
        {"eval x --limit 99999999999999999999", "no such number"},
        {"eval x --limit 1 --limit 2", "eval --limit: given twice (got 1 and 2"},
        {"eval x --json --json", "given twice"},
    };
    struct command_args *a;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(&a, cases[i][0]), CL_EUSAGE);
        assert_null(a);
        if (!strstr(err_text(), cases[i][1])) print_message("%s: %s\n", cases[i][0], err_text());
        assert_non_null(strstr(err_text(), cases[i][1]));
    }
    assert_int_equal(err_status(CL_EUSAGE), 2);
}

static void own_options(void **state)
{
    static const char *const lines[] = {"--help",    "-h",          "help",      "eval --help", "eval --frob --help",
                                        "help eval", "--help eval", "--version", "--man",       "--completion"};
    struct command_args *a;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(parse(&a, lines[i]), CL_OK);
        cli_free(a);
    }
}

/* Every command and option is in each of the texts. */
static void texts(void **state)
{
    char *text[4] = {0};
    size_t n[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        FILE *f = open_memstream(&text[i], &n[i]);
        if (i == 0) cli_help(f, table);
        if (i == 1) cli_command_help(f, &table[0]);
        if (i == 2) assert_int_equal(cli_man(f, table), CL_OK);
        if (i == 3) cli_completion(f, table);
        fclose(f);
    }
    for (const struct command *c = table; c->name; c++)
        for (int i = 0; i < 4; i++)
            if (i != 1) assert_non_null(strstr(text[i], c->name));
    for (const struct cli_option *o = eval_options; o->name; o++)
        for (int i = 1; i < 4; i++) assert_non_null(strstr(text[i], o->name));
    assert_non_null(strstr(text[1], "usage: cllava eval CHECKPOINT [CONFIG] [--options]"));
    assert_non_null(strstr(text[1], "--routing free|oracle|random\n"));
    assert_non_null(strstr(text[2], "\n\\&.and more\n"));
    assert_non_null(strstr(text[2], "stage2.warmup_ratio"));
    assert_non_null(strstr(text[3], "compgen -W 'free oracle random'"));
    for (int i = 0; i < 4; i++) free(text[i]);
}

static void signals(void **state)
{
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
    static const char *const names[] = {"SIGTERM", "SIGUSR1", "SIGINT"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(signal_install(), CL_OK);
        assert_false(stop_requested());
        assert_string_equal(stop_reason(), "");
        raise(numbers[i]);
        assert_true(stop_requested());
        assert_string_equal(stop_reason(), names[i]);
    }
    pid_t child = fork();
    if (!child) {
        signal_install();
        raise(SIGINT);
        raise(SIGINT); // ends it
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

static void launchers(void **state)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE",    "PMI_RANK",
                                        "SLURM_STEP_NUM_TASKS", "SLURM_PROCID",         "SLURM_NTASKS"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    assert_int_equal(launch_size(), 1);
    assert_true(launch_speaks());
    setenv("SLURM_NTASKS", "4", 1); // a batch script: one process
    setenv("SLURM_PROCID", "0", 1);
    assert_int_equal(launch_size(), 1);
    setenv("SLURM_STEP_NUM_TASKS", "4", 1); // a step of srun
    setenv("SLURM_PROCID", "3", 1);
    assert_int_equal(launch_size(), 4);
    assert_int_equal(launch_rank(), 3);
    assert_false(launch_speaks());
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1); // mpirun -n 1 in it
    setenv("OMPI_COMM_WORLD_RANK", "0", 1);
    assert_int_equal(launch_size(), 1);
    assert_true(launch_speaks());
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
}

int main(void)
{
    const struct CMUnitTest cli[] = {
        cmocka_unit_test(values), cmocka_unit_test(refused), cmocka_unit_test(own_options),
        cmocka_unit_test(texts),  cmocka_unit_test(signals), cmocka_unit_test(launchers),
    };

    return cmocka_run_group_tests(cli, NULL, NULL);
}
