/* test_config.c - configuration: defaults, types, places in messages, --set, paths, cross-checks, round trips, the hash. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/config.h"
#include "io/err.h"
#include "io/text.h"

static char folder[PATH_MAX], file[PATH_MAX + 16];

static void put(const char *name, const char *text)
{
    char path[PATH_MAX + 64];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* Folders base, encoder, pictures; files a.json, b.json. */
static int setup(void **state)
{
    char made[] = "/tmp/cllava_config_XXXXXX", path[PATH_MAX + 32];
    const char *const folders[] = {"base", "encoder", "pictures"};

    (void)state;
    if (!mkdtemp(made) || !realpath(made, folder)) return -1;
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        if (mkdir(path, 0755)) return -1;
    }
    snprintf(file, sizeof file, "%s/run.yaml", folder);
    put("a.json", "[]");
    put("b.json", "[]");
    return 0;
}

static int teardown(void **state)
{
    char command[PATH_MAX + 16];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static int load(struct config *c, const char *yaml, unsigned needs)
{
    put("run.yaml", yaml);
    return config_load(c, file, NULL, 0, needs);
}

static void good(struct config *c, const char *yaml)
{
    int rc = load(c, yaml, 0);

    if (rc) print_message("%s\n", err_text());
    assert_int_equal(rc, CL_OK);
}

/* The text fails as CL_ECONFIG and every one of the words (NULL at the end) is in the message. */
static void bad(const char *yaml, unsigned needs, ...)
{
    struct config c;
    va_list ap;

    assert_int_equal(load(&c, yaml, needs), CL_ECONFIG);
    assert_null(c.internal);
    va_start(ap, needs);
    for (const char *word; (word = va_arg(ap, const char *));) {
        if (!strstr(err_text(), word)) print_message("no '%s' in: %s\n", word, err_text());
        assert_non_null(strstr(err_text(), word));
    }
    va_end(ap);
}

static void defaults(void **state)
{
    struct config c;

    (void)state;
    good(&c, "");
    assert_null(c.base);
    assert_string_equal(c.encoder, "base");
    assert_string_equal(c.method, "continual_llava");
    assert_int_equal(c.stream.tasks, 0);
    assert_true(c.stage1.lr == 1e-3 && c.stage2.lr == 2e-5 && c.stage2.eps == 1e-8);
    assert_true(c.stage1.shuffle && c.context.enabled && c.prompt.legacy);
    assert_int_equal(c.stage2.max_length, 2048);
    assert_null(c.prompt.system);
    assert_string_equal(c.file, file);
    config_free(&c);
    config_free(&c); // twice is fine
    good(&c, "# only a comment\nstage1:\n");
    config_free(&c);
}

static void values(void **state)
{
    struct config c;

    (void)state;
    good(&c, "base: base\n"
             "encoder: /opt/enc/\n"
             "prompt: {template: \"Q {question} A\", system: \"S: \\n\"}\n"
             "stage1: &s {epochs: 2, batch: 3, lr: 1e-2, shuffle: off, clip: .5, weight_decay: 0}\n"
             "stage2: {lr: 1.5E-4, shuffle: No, max_length: 0x100}\n"
             "image: {aspect: null, cache_mib: 1_000}\n"
             "seed: 9000000000000000000\n"
             "stream:\n  name: 2024\n  tasks:\n"
             "  - {name: one, train: a.json, test: ./b.json, images: pictures, metric: relaxed, prompt_suffix: "
             "\"\\nShort.\"}\n"
             "  - name: two\n    test: b.json\n");
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/base", folder);
    assert_string_equal(c.base, path);
    assert_string_equal(c.encoder, "/opt/enc");
    assert_string_equal(c.prompt.template_, "Q {question} A");
    assert_string_equal(c.prompt.system, "S: \n");
    assert_true(c.stage1.epochs == 2 && c.stage1.batch == 3 && c.stage1.lr == 1e-2 && !c.stage1.shuffle &&
                c.stage1.clip == .5);
    assert_true(c.stage2.lr == 1.5e-4 && !c.stage2.shuffle && c.stage2.max_length == 256);
    assert_true(c.image.cache_mib == 1000 && c.seed == 9000000000000000000);
    assert_string_equal(c.stream.name, "2024");
    assert_int_equal(c.stream.tasks, 2);
    snprintf(path, sizeof path, "%s/b.json", folder);
    assert_string_equal(c.stream.task[0].test, path);
    assert_string_equal(c.stream.task[0].prompt_suffix, "\nShort.");
    assert_string_equal(c.stream.task[0].metric, "relaxed");
    assert_string_equal(c.stream.task[1].metric, "exact");
    assert_null(c.stream.task[1].train);
    assert_null(c.stream.task[1].images);
    snprintf(path, sizeof path, "%s/runs/2024", folder);
    assert_string_equal(c.output, path);
    config_free(&c);
}

static void anchors(void **state)
{
    struct config c;

    (void)state;
    good(&c, "stage1: {lr: &rate 0.5, batch: 1}\nstage2: {lr: *rate}\n"
             "stream: {tasks: [&t {name: a}, {name: b}]}\n");
    assert_true(c.stage2.lr == 0.5);
    config_free(&c);
    bad("stream: {tasks: [&t {name: a}, *t]}", 0, "run.yaml:1", "stream.tasks.1.name", "used twice", NULL);
    bad("a: &a {b: *a}", 0, "unknown key", NULL);
    bad("stage1: &a {lr: *a}", 0, "run.yaml:1", "stage1.lr", "got a mapping", NULL);
}

static void unknown_keys(void **state)
{
    (void)state;
    bad("base: base\nstage1:\n  epochs: 1\n  lr_dcay: 2\n", 0, "run.yaml:4: stage1.lr_dcay: unknown key",
        "epochs, batch, lr, weight_decay, lr_decay, clip, shuffle", "did you mean stage1.lr_decay?", NULL);
    bad("Method: x", 0, "run.yaml:1: Method: unknown key", "base, encoder, stream, method", "did you mean method?",
        NULL);
    bad("stgae1: {lr: 1}", 0, "did you mean stage1?", NULL);
    bad("max_length: 5", 0, "hint: there is a key stage2.max_length", NULL);
    bad("stage1.lr: 5", 0, "run.yaml:1", "without dots", NULL);
    bad("stream: {task: []}", 0, "valid keys of stream: name, tasks", "did you mean stream.tasks?", NULL);
    bad("stream:\n  tasks:\n  - {name: a, tset: x}\n", 0, "run.yaml:3: stream.tasks.0.tset: unknown key",
        "name, train, test, images, metric, prompt_suffix", "did you mean test?", NULL);
    bad("base: {x: 1}", 0, "run.yaml:1: base", "got a mapping, expected a single value", NULL);
    bad("? [a, b]\n: 1", 0, "run.yaml:1", "got a list", NULL);
}

static void wrong_types(void **state)
{
    (void)state;
    bad("stage1:\n  epochs: many\n", 0,
        "run.yaml:2: stage1.epochs: wrong type (got many, expected a whole number from 0 to 1000000)", NULL);
    bad("stage1: {epochs: 1.5}", 0, "stage1.epochs", "got 1.5, expected a whole number", NULL);
    bad("stage1: {epochs: \"3\"}", 0, "got the text '3'", NULL);
    bad("stage1: {epochs: 010}", 0, "got 010", NULL);
    bad("stage1: {epochs: 99999999999999999999}", 0, "wrong type", NULL);
    bad("stage1: {epochs: }", 0, "empty value (got null", NULL);
    bad("stage1: {lr: 1e}", 0, "stage1.lr: wrong type (got 1e, expected a number from 0 to 1000)", NULL);
    bad("stage1: {lr: .inf}", 0, "wrong type", NULL);
    bad("stage1: {lr: nan}", 0, "wrong type", NULL);
    bad("stage1: {lr: 1e999}", 0, "wrong type", NULL);
    bad("stage1: {lr: -1}", 0, "stage1.lr: out of range (got -1", NULL);
    bad("pool: {rank: 0}", 0, "pool.rank: out of range (got 0, expected a whole number from 1 to 4096)", NULL);
    bad("stage1: {shuffle: maybe}", 0, "expected true or false", NULL);
    bad("stage1: {shuffle: \"true\"}", 0, "expected true or false", NULL);
    bad("device: gpu", 0, "run.yaml:1: device: unknown value (got gpu, expected one of auto, cpu, cuda)", NULL);
    bad("stage2: {schedule: cosin}", 0, "did you mean cosine?", NULL);
    bad("stage1: 3", 0, "run.yaml:1: stage1: wrong type (got a single value, expected keys and values)", NULL);
    bad("[1, 2]", 0, "run.yaml:1: wrong type (got a list", NULL);
    bad("stream: {tasks: {name: a}}", 0, "stream.tasks: wrong type (got a mapping, expected a list", NULL);
    bad("stream: {tasks: [a]}", 0, "stream.tasks.0: wrong type (got a single value", NULL);
    bad("method: [a]", 0, "method: wrong type (got a list, expected a single value)", NULL);
    bad("method: null", 0, "method: empty value", NULL);
    bad("base: ''", 0, "base: empty path", NULL);
    bad("base: ~/x", 0, "base: ~ is not expanded", NULL);
    bad("method: !odd x", 0, "tags are not known here (got !odd", NULL);
    bad("method: \"a\\0b\"", 0, "NUL character", NULL);
}

static void broken_yaml(void **state)
{
    struct config c;
    const char *const none[] = {"x"};

    (void)state;
    bad("stage1:\n\tlr: 1\n", 0, "run.yaml:2:1:", "hint: YAML is indented with blanks", NULL);
    bad("a: [1, 2\nb: 3\n", 0, "run.yaml:2:", NULL);
    bad("a: b: c\n", 0, "run.yaml:1:5: mapping values are not allowed", NULL);
    bad("base: \xff\xfe\n", 0, "run.yaml:1:1:", "UTF-8", NULL);
    bad("base: *gone\n", 0, "run.yaml:1:", "undefined alias", NULL);
    bad("seed: 1\nseed: 2\n", 0, "run.yaml:2: seed: key stands twice (first in line 1)", NULL);
    bad("seed: 1\n---\nseed: 2\n", 0, "run.yaml:3: a second document", NULL);
    assert_int_equal(config_load(&c, "/nowhere/x.yaml", NULL, 0, 0), CL_ECONFIG);
    assert_non_null(strstr(err_text(), "/nowhere/x.yaml: No such file"));
    assert_int_equal(config_load(&c, folder, none, 0, 0), CL_ECONFIG);
    assert_non_null(strstr(err_text(), "directory"));
}

static void names(void **state)
{
    static const char *const wrong[] = {"''", "a/b", ".hidden", "'a b'", "..", "\"\\xe9\"", NULL};

    (void)state;
    for (int i = 0; wrong[i]; i++) {
        char yaml[100];
        snprintf(yaml, sizeof yaml, "stream: {tasks: [{name: %s}]}", wrong[i]);
        bad(yaml, 0, "run.yaml:1: stream.tasks.0.name: no usable name", "letters, digits", NULL);
    }
    bad("stream: {tasks: [{test: a.json}]}", 0, "stream.tasks.0.name: missing", NULL);
    bad("stream:\n  tasks:\n  - name: a\n  - name: a\n", 0, "run.yaml:4: stream.tasks.1.name: name is used twice",
        NULL);
}

/* A default that another value outgrows is no fault: the smaller one counts. */
static void uneven_values(void **state)
{
    struct config c;

    (void)state;
    assert_int_equal(load(&c, "pool: {slots_per_task: 2}\nstage2: {batch: 2}\n", 0), CL_OK); // top_m 4, micro_batch 4
    assert_int_equal(c.pool.top_m, 4);
    assert_int_equal(c.stage2.micro_batch, 4);
    config_free(&c);
}

#define STREAM "stream: {tasks: [{name: a, train: a.json, test: b.json, images: pictures}]}\n"

static void paths(void **state)
{
    const unsigned all = NEED_BASE | NEED_ENCODER | NEED_STREAM | NEED_TRAIN | NEED_OUTPUT;
    struct config c;

    (void)state;
    assert_int_equal(load(&c, "base: base\nencoder: encoder\noutput: out/deep\n" STREAM, all), CL_OK);
    config_free(&c);
    assert_int_equal(load(&c, "base: base\nencoder: base\n" STREAM, all), CL_OK);
    config_free(&c);
    bad("encoder: encoder\n" STREAM, all, "run.yaml: base: missing", NULL);
    bad(STREAM, NEED_ENCODER, "run.yaml: base: missing", NULL);
    bad("base: bose\n" STREAM, all, "run.yaml:1: base: No such file", "/bose", NULL);
    bad("base: a.json\n", NEED_BASE, "run.yaml:1: base: not a folder", NULL);
    bad("base: base\nencoder: nil\n" STREAM, all, "run.yaml:2: encoder: No such file", NULL);
    bad("base: base\n", NEED_STREAM, "stream.tasks: no tasks", NULL);
    bad("stream: {tasks: [{name: a, train: a.json}]}", NEED_STREAM, "stream.tasks.0.test: missing", NULL);
    bad("stream: {tasks: [{name: a, test: a.json}]}", NEED_TRAIN, "stream.tasks.0.train: missing", NULL);
    bad("stream:\n  tasks:\n  - name: a\n    test: c.json\n", NEED_STREAM,
        "run.yaml:4: stream.tasks.0.test: No such file", NULL);
    bad("stream: {tasks: [{name: a, test: pictures}]}", NEED_STREAM, "stream.tasks.0.test: is a folder", NULL);
    bad("stream: {tasks: [{name: a, test: a.json, images: nil}]}", NEED_STREAM, "stream.tasks.0.images: No such file",
        NULL);
    bad("pool: {init: nil.h5}\n" STREAM, NEED_TRAIN, "run.yaml:1: pool.init: No such file", NULL);
    bad("output: a.json/x\n", NEED_OUTPUT, "run.yaml:1: output: cannot be a run directory", NULL);
}

static int with(struct config *c, const char *yaml, const char *a, const char *b)
{
    const char *const sets[] = {a, b};

    put("run.yaml", yaml);
    return config_load(c, file, sets, b ? 2 : 1, 0);
}

static void sets(void **state)
{
    struct config c;
    char here[PATH_MAX], path[PATH_MAX + 16];

    (void)state;
    assert_non_null(realpath(".", here));
    assert_int_equal(with(&c, "seed: 1\n", "seed=5", "seed=6"), CL_OK);
    assert_int_equal(c.seed, 6);
    config_free(&c);
    assert_int_equal(with(&c, "", "prompt.template=USER: {question} ASSISTANT:", "prompt.system=\"a\\nb\""), CL_OK);
    assert_string_equal(c.prompt.template_, "USER: {question} ASSISTANT:");
    assert_string_equal(c.prompt.system, "a\nb");
    config_free(&c);
    assert_int_equal(with(&c, "", "stage1={epochs: 7, lr: 0.5}", "base=models/x"), CL_OK);
    assert_true(c.stage1.epochs == 7 && c.stage1.lr == 0.5 && c.stage1.batch == 128);
    snprintf(path, sizeof path, "%s/models/x", here);
    assert_string_equal(c.base, path); // of the working folder, not of the file
    config_free(&c);
    assert_int_equal(with(&c, STREAM, "stream.tasks.0.train=z.json", "stream.tasks.0={metric: vqa}"), CL_OK);
    assert_string_equal(c.stream.task[0].metric, "vqa");
    assert_non_null(strstr(c.stream.task[0].train, "/z.json"));
    config_free(&c);
    assert_int_equal(with(&c, STREAM, "stream.tasks=[{name: p}, {name: q}]", NULL), CL_OK);
    assert_int_equal(c.stream.tasks, 2);
    assert_string_equal(c.stream.task[1].name, "q");
    config_free(&c);
    assert_int_equal(with(&c, "prompt: {system: x}\n", "prompt.system=null", NULL), CL_OK);
    assert_null(c.prompt.system);
    config_free(&c);
}

static void bad_sets(void **state)
{
    static const char *const cases[][2] = {
        {"seed", "--set: no key and value (got seed, expected key=value)"},
        {"=3", "--set: no key and value"},
        {"sede=3", "--set: sede: unknown key"},
        {"sede=3", "did you mean seed?"},
        {"stage1.foo=3", "--set: stage1.foo: unknown key (valid keys of stage1:"},
        {"stage1=3", "--set: stage1: wrong type"},
        {"seed=x", "--set: seed: wrong type (got x"},
        {"stage1={epochs: [}", "--set: "},
        {"stream.tasks.1.train=x", "--set: stream.tasks.1.train: no such task"},
        {"stream.tasks.x=3", "no such task"},
        {"stream.tasks.0.foo=3", "--set: stream.tasks.0.foo: unknown key (valid keys of a task"},
        {"stream.tasks.0=3", "--set: stream.tasks.0: wrong type"},
        {"=", "--set: "},
    };
    struct config c;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(with(&c, STREAM, cases[i][0], NULL), CL_ECONFIG);
        if (!strstr(err_text(), cases[i][1])) print_message("%s: %s\n", cases[i][0], err_text());
        assert_non_null(strstr(err_text(), cases[i][1]));
    }
}

static const char full[] =
    "base: base\nprompt: {template: \"a\\tb\\u2028\\\"\\\\ \\u00e9 \\u0085 {question}\", system: \"\"}\n"
    "stage1: {lr: 0.1, clip: 0.30000000000000004, weight_decay: 1e-300}\nseed: 7\n"
    "stage2: {lr: 3.456789e-7, eps: 5e-8}\nimage: {aspect: crop}\nmethod: 'no'\n"
    "stream: {name: s, tasks: [{name: a, train: a.json, test: b.json, prompt_suffix: \"\\n: #x\"},"
    " {name: b, test: 'odd, name.json'}]}\n";

static void round_trips(void **state)
{
    int (*const write[])(const struct config *, char **) = {config_yaml, config_json};
    struct config a, b;

    (void)state;
    for (int empty = 0; empty < 2; empty++)
        for (int i = 0; i < 2; i++) {
            char *first, *second;
            good(&a, empty ? "" : full);
            assert_int_equal(write[i](&a, &first), CL_OK);
            int rc = config_load_text(&b, first, "resolved", NULL, 0, 0);
            if (rc) print_message("%s\n%s\n", err_text(), first);
            assert_int_equal(rc, CL_OK);
            assert_int_equal(write[i](&b, &second), CL_OK);
            assert_string_equal(first, second);
            assert_true(config_hash(&a) == config_hash(&b));
            if (!empty) {
                assert_string_equal(a.prompt.template_, b.prompt.template_);
                assert_true(a.stage1.clip == b.stage1.clip && a.stage1.weight_decay == b.stage1.weight_decay);
                assert_string_equal(b.method, "no");
                assert_string_equal(b.stream.task[0].prompt_suffix, "\n: #x");
                assert_string_equal(b.stream.task[1].test, a.stream.task[1].test);
                assert_string_equal(b.prompt.system, "");
            }
            free(first);
            free(second);
            config_free(&a);
            config_free(&b);
        }
}

static void text_with_sets(void **state)
{
    const char *const more[] = {"seed=8"};
    struct config c;

    (void)state;
    assert_int_equal(config_load_text(&c, "{\"seed\": 1, \"stage1\":{\"lr\":0.5}}", "x.h5", more, 1, 0), CL_OK);
    assert_true(c.seed == 8 && c.stage1.lr == 0.5);
    config_free(&c);
    assert_int_equal(config_load_text(&c, "{\"sed\": 1}", "x.h5", more, 1, 0), CL_ECONFIG);
    assert_non_null(strstr(err_text(), "x.h5:1: sed"));
}

static uint64_t hash_with(const char *set)
{
    struct config c;

    assert_int_equal(with(&c, full, set, NULL), CL_OK);
    uint64_t h = config_hash(&c);
    config_free(&c);
    return h;
}

static void hash(void **state)
{
    const uint64_t h = hash_with("seed=7");

    (void)state;
    assert_true(h == hash_with("output=/elsewhere"));
    assert_true(h == hash_with("threads=3"));
    assert_true(h == hash_with("parallel.tensor=4")); // a checkpoint goes on with any number of ranks
    assert_true(h == hash_with("parallel.coordinator=dedicated"));
    assert_true(h == hash_with("parallel.wire=bf16"));
    assert_true(h == hash_with("parallel.overlap=true"));
    assert_true(h == hash_with("watchdog.seconds=0"));
    assert_true(h == hash_with("checkpoint.every_steps=1"));
    assert_true(h == hash_with("stream.tasks.0.train=/elsewhere/a.json"));
    assert_true(h != hash_with("seed=8"));
    assert_true(h != hash_with("stage1.lr=0.10000000000000002"));
    assert_true(h != hash_with("stream.tasks.0.train=c.json"));
    assert_true(h != hash_with("stream.tasks.1.name=c"));
    assert_true(h != hash_with("prompt.system=null"));
}

static void later_checks(void **state)
{
    struct config c;

    (void)state;
    good(&c, "seed: 1\nmethod: continual_lava\nstream:\n  tasks:\n  - name: a\n    metric: exat\n  - name: b\n");
    assert_int_equal(config_check_listed(&c, "method", c.method, "zero_shot, continual_llava"), CL_ECONFIG);
    assert_non_null(
        strstr(err_text(),
               "run.yaml:2: method: unknown value (got continual_lava, expected one of zero_shot, continual_llava); "
               "hint: did you mean continual_llava?"));
    assert_int_equal(config_check_listed(&c, "stream.tasks.0.metric", c.stream.task[0].metric, "exact"), CL_ECONFIG);
    assert_non_null(strstr(err_text(), "run.yaml:6: stream.tasks.0.metric"));
    assert_int_equal(config_check_listed(&c, "stream.tasks.1.metric", "exact", "vqa, exact"), CL_OK);
    assert_int_equal(config_error(&c, "stream.tasks.1.metric", "odd"), CL_ECONFIG); // a default: where the list begins
    assert_non_null(strstr(err_text(), "run.yaml:5: stream.tasks.1.metric: odd"));
    config_free(&c);
}

static void help(void **state)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    (void)state;
    config_help(f);
    fclose(f);
    assert_non_null(strstr(text, "stage2.warmup_ratio"));
    assert_non_null(strstr(text, "one of cosine, linear, constant; default cosine"));
    assert_non_null(strstr(text, "prompt_suffix"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest config[] = {
        cmocka_unit_test(defaults),       cmocka_unit_test(values),        cmocka_unit_test(anchors),
        cmocka_unit_test(unknown_keys),   cmocka_unit_test(wrong_types),   cmocka_unit_test(broken_yaml),
        cmocka_unit_test(names),          cmocka_unit_test(uneven_values), cmocka_unit_test(paths),
        cmocka_unit_test(sets),           cmocka_unit_test(bad_sets),      cmocka_unit_test(round_trips),
        cmocka_unit_test(text_with_sets), cmocka_unit_test(hash),          cmocka_unit_test(later_checks),
        cmocka_unit_test(help),
    };

    return cmocka_run_group_tests(config, setup, teardown);
}
