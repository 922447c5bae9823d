/* convert.c - `cllava convert`: official releases become task files, and task files a ready stream. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/convert/convert.h"
#include "jobs/convert/instruct.h"

/* ---- list ---- */

static void list_lines(const char *title, const char *lines)
{
    printf("%s\n", title);
    while (*lines) {
        const size_t n = strcspn(lines, "\n");

        printf("  %.*s\n", (int)n, lines);
        lines += n + (lines[n] != 0);
    }
}

static int list_kind(const char *name)
{
    const struct kind *k = kind_find(name);

    if (!k) return CL_EUSAGE;
    printf("%s - %s\n", k->name, k->title);
    list_lines("where", k->where);
    list_lines("layout of SOURCE", k->layout);
    list_lines("a record becomes", k->becomes);
    printf("splits\n ");
    if (k->train) printf(" train.jsonl from %s", k->train);
    if (k->test) printf("%s test.jsonl from %s", k->train ? "," : "", k->test);
    if (!k->test && k->hold_out) printf(", test.jsonl from what is held out");
    printf("%s%s\n", k->splits ? "; --split takes " : "", k->splits ? k->splits : "");
    printf("metric\n  %s\n", k->metric);
    printf("command\n  cllava convert %s SOURCE DEST\n", k->name);
    return CL_OK;
}

static int list_kinds(void)
{
    for (const struct kind *k = kinds; k->name; k++) printf("%-20s %s\n", k->name, k->title);
    printf("\n`cllava convert list KIND` shows where a release comes from, the layout expected and what a record "
           "becomes.\n");
    return CL_OK;
}

/* ---- options ---- */

/* An option that the kind does not know would be ignored silently. */
static int check_options(const struct command_args *a, const struct kind *kind)
{
    static const char *const special[] = {"prompt",  "hold-out", "answers", "ocr",       "names",
                                          "classes", "by",       "box",     "choose-img"};
    char meant[64] = "";

    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        const char *value = args_value(a, special[i], NULL);

        if (!value) continue;
        if (!strcmp(special[i], "prompt")) {
            if (kind->forms && text_listed(value, kind->forms, meant, sizeof meant)) continue;
            return err_set(CL_EUSAGE, "convert %s --prompt: unknown form (got %s, expected %s)", kind->name, value,
                           kind->forms ? kind->forms : "none: there is one form");
        }
        if (!kind->options || !text_listed(special[i], kind->options, meant, sizeof meant))
            return err_set(
                CL_EUSAGE, "convert %s --%s: not an option of this kind (expected %s); hint: cllava convert list %s",
                kind->name, special[i], kind->options ? kind->options : "none beside the common ones", kind->name);
    }
    return CL_OK;
}

static int read_options(struct convert_options *how, const struct command_args *a)
{
    const char *percent = args_value(a, "hold-out", NULL);
    char *end;

    *how = (struct convert_options){.limit = args_int(a, "limit", 0),
                                    .copy = args_flag(a, "copy"),
                                    .strict = args_flag(a, "strict"),
                                    .choose_img = args_flag(a, "choose-img"),
                                    .hold_out = -1,
                                    .form = args_value(a, "prompt", NULL),
                                    .by = args_value(a, "by", NULL),
                                    .box = args_value(a, "box", NULL),
                                    .answers = args_value(a, "answers", NULL),
                                    .ocr = args_value(a, "ocr", NULL),
                                    .names = args_value(a, "names", NULL),
                                    .classes = args_value(a, "classes", NULL)};
    how->images = args_values(a, "images", &how->n_images);
    how->splits = args_values(a, "split", &how->n_splits);
    how->maps = args_values(a, "map", &how->n_maps);
    for (size_t i = 0; i < how->n_maps; i++)
        if (!strchr(how->maps[i], '='))
            return err_set(CL_EUSAGE, "convert --map: got %s, expected OLD=NEW, e.g. ImageNet/=ImageNet_withlabel/",
                           how->maps[i]);
    if (how->choose_img && !how->copy)
        return err_set(
            CL_EUSAGE,
            "convert --choose-img wants --copy: it makes pictures, which lie in DEST/images with all others");
    if (!percent) return CL_OK;
    how->hold_out = strtod(percent, &end);
    if (*end || end == percent || !(how->hold_out >= 0 && how->hold_out <= 90))
        return err_set(CL_EUSAGE, "convert --hold-out: got %s, expected a percentage from 0 to 90", percent);
    return CL_OK;
}

/* ---- one task, or a folder of tasks ---- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Every folder of SOURCE that holds instructions becomes a folder of DEST. */
static int convert_folders(const struct kind *kind, const struct convert_options *how, const char *source,
                           const char *dest, struct log *log)
{
    struct dirent **list = NULL;
    char from[PATH_ROOM], to[PATH_ROOM];
    int n = scandir(source, &list, NULL, by_name), rc = CL_OK, tasks = 0;

    if (n < 0) return err_set(CL_EIO, "cannot list %s: %s", source, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] == '.') continue;
        TRY(path_print(from, "%s/%s", source, list[i]->d_name));
        TRY(path_print(to, "%s/%s", dest, list[i]->d_name));
        if (!instructions_in(from)) continue;
        TRY(convert_run(kind, how, from, to, log));
        tasks++;
    }
    if (!tasks)
        FAIL(CL_EFORMAT, "%s: no train*.json there or in a folder below; hint: cllava convert list %s shows the layout",
             source, kind->name);
done:
    for (int i = 0; i < n; i++) free(list[i]);
    free(list);
    return rc;
}

static int convert_kind(const struct command_args *a, const struct kind *kind)
{
    const char *source = args_positional(a, 1), *dest = args_positional(a, 2);
    struct convert_options how;
    struct log *log = NULL;
    struct stat st;
    int rc;

    if (!source || !dest)
        FAIL(CL_EUSAGE, "convert %s: missing arguments (got %d, expected SOURCE DEST); hint: cllava convert list %s",
             kind->name, args_count(a) - 1, kind->name);
    TRY(check_options(a, kind));
    TRY(read_options(&how, a));
    TRY(log_open(&log, NULL, -1));
    log_quiet(log, args_flag(a, "quiet"));
    if (kind->folders && !stat(source, &st) && S_ISDIR(st.st_mode) && !instructions_in(source) && !how.n_splits)
        TRY(convert_folders(kind, &how, source, dest, log));
    else
        TRY(convert_run(kind, &how, source, dest, log));
done:
    log_close(log);
    return rc;
}

int command_convert(const struct command_args *a)
{
    const char *word = args_positional(a, 0), *first = args_positional(a, 1), *second = args_positional(a, 2);
    const struct kind *kind;

    if (!strcmp(word, "list")) return first ? list_kind(first) : list_kinds();
    if (!strcmp(word, "stream")) {
        if (!first || !second)
            return err_set(CL_EUSAGE,
                           "convert stream: missing arguments (got %d, expected NAME ROOT); NAME is one of %s",
                           args_count(a) - 1, convert_stream_names());
        return convert_stream(first, second, args_value(a, "base", NULL), args_value(a, "encoder", NULL),
                              args_flag(a, "force"));
    }
    kind = kind_find(word);
    return kind ? convert_kind(a, kind) : CL_EUSAGE;
}
