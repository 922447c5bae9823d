/* demo.c - `cllava demo DIR`: an embedded stream and base, three methods trained on it, their matrices side by side.
 *
 * Sequential LoRA shows what naive tuning forgets, a small replay what storing a few samples repairs, Continual LLaVA what
 * it keeps without storing any. The verdict is computed from the matrices, for better or worse.
 */
#include "io/accuracy.h"
#include "io/err.h"
#include "io/whole.h"
#include "io/signal.h"
#include "io/path.h"
#include "jobs/commands.h"
#include "jobs/settings.h"
#include "jobs/demo.h"
#include "jobs/report.h"
#include "jobs/run_dir.h"
#include "jobs/train.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The methods of the demo with the settings that the study of the stream found for each (demo/README.md). */
static const struct demo_method {
    const char *name, *label, *settings;
} methods[] = {
    {"sequential_lora", "sequential LoRA",
     "lora: {rank: 32}\n"
     "stage2: {epochs: 4, batch: 32, micro_batch: 32, lr: 5e-3, beta2: 0.99, warmup_ratio: 0.05}\n"},
    {"replay", "replay, 50 stored per task",
     "lora: {rank: 32}\nreplay: {budget: 50, ratio: 0.25}\n"
     "stage2: {epochs: 4, batch: 32, micro_batch: 32, lr: 5e-3, beta2: 0.99, warmup_ratio: 0.05}\n"},
    {"continual_llava", "Continual LLaVA",
     "pool: {slots_per_task: 8, rank: 8, top_m: 4}\n"
     "stage1: {epochs: 3, batch: 32, lr: 1e-2, lr_decay: 1.0, clip: 0.0}\n"
     "stage2: {epochs: 4, batch: 32, micro_batch: 32, lr: 1e-2, beta2: 0.99, warmup_ratio: 0.05}\n"},
};
enum { METHODS = sizeof methods / sizeof *methods };

/* ---- the base that comes with the program */

static bool is_folder(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

int demo_base_folder(char *out, size_t room)
{
    static const char *const places[] = {"../demo/base", "../share/cllava/demo/base"}; // build tree, installed
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0) return err_set(CL_EIO, "cannot tell where the program stands: %s", strerror(errno));
    self[n] = 0;
    *strrchr(self, '/') = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (snprintf(out, room, "%s/%s", self, places[i]) < (int)room && is_folder(out)) return CL_OK;
    return err_set(CL_EIO, "the embedded base is not where it should be (%s/%s); hint: give --base DIR", self,
                   places[0]);
}

static int copy_file(const char *from, const char *to)
{
    int rc;
    char bytes[1 << 16];
    size_t n;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");

    if (!in) FAIL(CL_EIO, "cannot read %s: %s", from, strerror(errno));
    if (!out) FAIL(CL_EIO, "cannot write %s: %s", to, strerror(errno));
    while ((n = fread(bytes, 1, sizeof bytes, in)))
        if (fwrite(bytes, 1, n, out) != n) FAIL(CL_EIO, "cannot write %s: %s", to, strerror(errno));
    if (ferror(in)) FAIL(CL_EIO, "cannot read %s: %s", from, strerror(errno));
    rc = CL_OK;
done:
    if (in) fclose(in);
    if (out && fclose(out) && !rc) rc = err_set(CL_EIO, "cannot write %s: %s", to, strerror(errno));
    return rc;
}

static int copy_base(const char *from, const char *to)
{
    static const char *const files[] = {"config.json",      "generation_config.json", "preprocessor_config.json",
                                        "tokenizer.json",   "tokenizer_config.json",  "encoder_idf.json",
                                        "model.safetensors"};
    int rc = CL_OK;
    char source[PATH_ROOM], target[PATH_ROOM];

    TRY(run_dir_make_folders(to));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        TRY(path_print(source, "%s/%s", from, files[i]));
        TRY(path_print(target, "%s/%s", to, files[i]));
        TRY(copy_file(source, target));
    }
done:
    return rc;
}

/* ---- the stream and its configurations */

/* "-capability": what the names of a stream's files end in. The domain stream came first: its names are plain. */
static const char *suffix_of(const char *stream)
{
    return !strcmp(stream, "domain") ? "" : !strcmp(stream, "capability") ? "-capability" : "-dataset";
}

/* Longest answer of a stream, in tokens of the embedded base. */
static int answer_tokens(const char *stream)
{
    return !strcmp(stream, "domain") ? 8 : !strcmp(stream, "capability") ? 48 : 24;
}

int demo_write_config(const char *dir, const char *stream, const char *method, const char *settings, int64_t seed)
{
    int rc = CL_OK;
    struct generate_task t[GENERATE_MOST_TASKS];
    const char *suffix = suffix_of(stream);
    char *text = NULL, file[256];
    size_t size;
    FILE *f = open_memstream(&text, &size);

    if (!f) return err_set(CL_ENOMEM, "no memory for a configuration");
    fprintf(f, "# The embedded stream with method %s. Made by cllava demo; change it and run: cllava train %s%s.yaml\n",
            method, method, suffix);
    fprintf(f, "base: base\nencoder: base\nmethod: %s\nstream:\n  name: demo-%s\n  tasks:\n", method, stream);
    for (int i = 0, n = generate_stream_tasks(stream, t); i < n; i++)
        fprintf(f,
                "    - {name: %s, train: stream%s/%s/train.json, test: stream%s/%s/test.json, images: "
                "stream%s/%s/images, metric: %s}\n",
                t[i].name, suffix, t[i].name, suffix, t[i].name, suffix, t[i].name, t[i].metric);
    fprintf(f, "prompt: {template: \"USER: {question}\\nASSISTANT:\"}\n%s", settings);
    fprintf(f, "eval: {max_new_tokens: %d, batch: 64}\nprecision: f32\nseed: %lld\noutput: runs/%s%s\n",
            answer_tokens(stream), (long long)seed, method, suffix);
    if (fclose(f)) FAIL(CL_ENOMEM, "no memory for a configuration");
    snprintf(file, sizeof file, "%s%s.yaml", method, suffix);
    TRY(whole_write(dir, file, text, size));
done:
    free(text);
    return rc;
}

static int prepare(const struct command_args *a, const char *dir)
{
    int rc;
    char path[PATH_ROOM], base[PATH_ROOM];
    const char *given = args_value(a, "base", NULL), *stream = args_value(a, "stream", "domain");
    struct generate_options g = {path, stream, (int)args_int(a, "train", DEMO_TRAIN),
                                 (int)args_int(a, "test", DEMO_TEST), (uint64_t)args_int(a, "seed", 0)};

    if (!given) TRY(demo_base_folder(base, sizeof base));
    TRY(run_dir_make_folders(dir));
    TRY(path_print(path, "%s/base", dir));
    TRY(copy_base(given ? given : base, path));
    TRY(path_print(path, "%s/stream%s", dir, suffix_of(stream)));
    TRY(generate_stream(&g));
    for (int m = 0; m < METHODS; m++)
        TRY(demo_write_config(dir, stream, methods[m].name, methods[m].settings, (int64_t)g.seed));
done:
    return rc;
}

/* ---- training and the verdict */

/* DIR/accuracy.svg: the matrices beside each other. */
static int draw(const char *dir, const char *stream, int T, char **names, struct train_result *r,
                const char *const *label)
{
    int rc;
    struct accuracy m[METHODS];
    const struct accuracy *all[METHODS];
    struct text svg = {0};
    char file[64];

    for (int i = 0; i < METHODS; i++) m[i] = (struct accuracy){T, names, r[i].accuracy}, all[i] = &m[i];
    accuracy_svg(&svg, all, label, METHODS);
    if (svg.failed) FAIL(CL_ENOMEM, "no memory for a picture");
    snprintf(file, sizeof file, "accuracy%s.svg", suffix_of(stream));
    TRY(whole_write(dir, file, svg.s, svg.len));
done:
    text_free(&svg);
    return rc;
}

static int train_one(const struct command_args *a, const char *dir, int m, struct train_result *out)
{
    int rc;
    char path[PATH_ROOM];
    struct config cfg = {0};
    struct train_options options = {.fresh = args_flag(a, "fresh"), .stop_after_task = -1, .max_steps = -1};

    TRY(path_print(path, "%s/%s%s.yaml", dir, methods[m].name, suffix_of(args_value(a, "stream", "domain"))));
    fprintf(stderr, "\n=== %d of %d: %s\n", m + 1, METHODS, methods[m].label);
    TRY(settings_load(&cfg, a, path, NEED_BASE | NEED_STREAM | NEED_TRAIN | NEED_OUTPUT));
    TRY(train_run(&cfg, &options, out));
done:
    config_free(&cfg);
    return rc;
}

/* Summary numbers of a bare matrix. */
static struct accuracy_summary summary_of(double *matrix, int T, char **names)
{
    return accuracy_summarise(&(struct accuracy){T, names, matrix});
}

static void verdict(const struct accuracy_summary *s, const char *stream)
{
    const struct accuracy_summary *seq = &s[0], *replay = &s[1], *cl = &s[2];

    printf("\nAgainst sequential LoRA, Continual LLaVA keeps %+.1f points of average accuracy and forgets %.1f points "
           "less%s.\n",
           cl->AA - seq->AA, seq->AF - cl->AF,
           strcmp(stream, "domain") ? "" : " (the paper reports +13.06 and 13.25 on COAST-domain)");
    printf("A small replay (50 stored samples per task) reaches %.1f with %.1f points of forgetting: %s. It stores "
           "data; Continual LLaVA "
           "stores none.\n",
           replay->AA, replay->AF,
           replay->AA > cl->AA + 2   ? "it does better here"
           : replay->AA < cl->AA - 2 ? "less than Continual LLaVA"
                                     : "it does as well here");
    printf("Old slots are frozen, so this method forgets exactly where routing errs. %s\n",
           strcmp(stream, "domain") ? "Each task has its own metric."
                                    : "Exact scores count the answer's format; format-free scores compare the first "
                                      "content word, number or letter alone.");
}

int command_demo(const struct command_args *a)
{
    int rc, T = 0;
    const char *dir = args_positional(a, 0), *stream = args_value(a, "stream", "domain");
    bool domain = !strcmp(stream, "domain");
    struct train_result r[METHODS] = {0};
    struct accuracy_summary s[METHODS];
    struct generate_task task[GENERATE_MOST_TASKS];
    const char *label[METHODS], *name[GENERATE_MOST_TASKS];
    const double *exact[METHODS], *loose[METHODS];

    TRY(signal_install());
    TRY(prepare(a, dir));
    if (args_flag(a, "write-only")) goto done;
    for (int m = 0; m < METHODS; m++) TRY(train_one(a, dir, m, &r[m]));
    T = generate_stream_tasks(stream, task);
    for (int t = 0; t < T; t++) name[t] = task[t].name;
    for (int m = 0; m < METHODS; m++) {
        label[m] = methods[m].label, exact[m] = r[m].accuracy, loose[m] = r[m].format_free;
        s[m] = summary_of(r[m].accuracy, T, (char **)(uintptr_t)name);
    }
    report_side_by_side(stdout, domain ? "exact match, percent" : "each task's own metric, percent", METHODS, label, T,
                        name, exact);
    report_side_by_side(stdout, "format-free (first content word), percent", METHODS, label, T, name, loose);
    for (int m = 0; m < METHODS; m++)
        printf("%-28s AA %5.1f   AF %5.1f   MAA %5.1f   learned %8lld numbers   %4.0f s\n", label[m], s[m].AA, s[m].AF,
               s[m].MAA, (long long)r[m].parameters, r[m].seconds);
    verdict(s, stream);
    TRY(draw(dir, stream, T, (char **)(uintptr_t)name, r, label));
done:
    for (int m = 0; m < METHODS; m++) mem_free(r[m].accuracy), mem_free(r[m].format_free);
    return rc;
}
