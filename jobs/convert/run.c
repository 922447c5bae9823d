/* run.c - one conversion: which splits go where, then all files at once under their names, then the summary. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"
#include "jobs/convert/convert.h"
#include "jobs/convert/manifest.h"
#include "jobs/convert/output.h"
#include "jobs/convert/pictures.h"
#include "jobs/run_dir.h"

struct side {
    char file[ID_ROOM], split[ID_ROOM]; // "test", "val"
};

/* ---- which splits */

static bool is_plain(const char *s)
{
    return *s && *s != '.' && strlen(s) < ID_ROOM / 2 &&
           !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")];
}

/* "test=val", or "val" for both. */
static int parse_side(struct side *s, const struct kind *kind, const char *word)
{
    const char *equals = strchr(word, '='), *split = equals ? equals + 1 : word;
    const size_t n = equals ? (size_t)(equals - word) : strlen(word);
    char nearest[64] = "";

    if (n >= ID_ROOM || strlen(split) >= ID_ROOM)
        return err_set(CL_EUSAGE, "convert --split: too long a name (%zu bytes)", strlen(word));
    memcpy(s->file, word, n);
    s->file[n] = 0;
    strcpy(s->split, split);
    if (!is_plain(s->file) || !is_plain(s->split))
        return err_set(CL_EUSAGE, "convert --split: got %s, expected NAME or FILE=NAME of letters, digits, - _ .",
                       word);
    if (kind->splits && !text_listed(split, kind->splits, nearest, sizeof nearest))
        return err_set(CL_EUSAGE, "convert %s --split: unknown split (got %s, expected one of %s)", kind->name, split,
                       kind->splits);
    return CL_OK;
}

static void add_side(struct side *s, const char *file, const char *split)
{
    snprintf(s->file, sizeof s->file, "%s", file);
    snprintf(s->split, sizeof s->split, "%s", split);
}

static int choose_sides(struct side side[SIDES], int *n, const struct kind *kind, const struct convert_options *how,
                        double hold_out)
{
    int rc;

    *n = 0;
    if (how->n_splits > SIDES)
        return err_set(CL_EUSAGE, "convert --split: %zu of them (expected at most %d)", how->n_splits, SIDES);
    for (size_t i = 0; i < how->n_splits; i++) TRY(parse_side(&side[(*n)++], kind, how->splits[i]));
    for (int i = 0; i < *n; i++)
        for (int k = 0; k < i; k++)
            if (!strcmp(side[i].file, side[k].file))
                return err_set(CL_EUSAGE, "convert --split: two for %s.jsonl (expected one)", side[i].file);
    if (*n) return CL_OK;
    if (kind->train) add_side(&side[(*n)++], "train", kind->train);
    if (kind->test || hold_out > 0) add_side(&side[(*n)++], "test", kind->test ? kind->test : "test");
    rc = CL_OK;
done:
    return rc;
}

/* ---- the summary */

static void say_left(const struct output *o)
{
    for (int why = 0; why < LEFT_REASONS; why++) {
        if (!o->left[why].n) continue;
        printf("    %10" PRId64 "  %s\n", o->left[why].n, left_names[why]);
        for (int i = 0; i < EXAMPLES && o->left[why].example[i]; i++)
            printf("                %s\n", o->left[why].example[i]);
        if (o->left[why].n > EXAMPLES) printf("                ..\n");
    }
}

static void say_summary(const struct convert *c, const char *dest, const struct output *out, int n)
{
    const int64_t copied = pictures_copied(c->pictures);

    printf("%s: %s -> %s\n", c->kind->name, c->source, dest);
    for (int i = 0; i < n; i++) {
        const int64_t left = output_left(&out[i]);

        printf("  %-12s %10" PRId64 " samples, %" PRId64 " with a picture (split %s)", strrchr(out[i].path, '/') + 1,
               out[i].written, out[i].pictures, out[i].split);
        if (left) printf(", %" PRId64 " left out:", left);
        printf("\n");
        say_left(&out[i]);
    }
    if (c->how->copy)
        printf("  pictures     %10" PRId64 " copied to %s/images\n", copied, dest);
    else
        printf("  pictures     stay where they are, below %s\n", pictures_base(c->pictures));
}

/* Why nothing of a split could be used: the largest reason and its first example. */
static int nothing_taken(const struct convert *c, const struct output *o)
{
    enum left most = LEFT_BROKEN;
    const char *hint = "";

    for (enum left why = LEFT_BROKEN; why < LEFT_REASONS; why++)
        if (o->left[why].n > o->left[most].n) most = why;
    if (!o->left[most].n)
        return err_set(CL_EDATA, "%s: no samples of split %s; hint: cllava convert list %s shows the layout", c->source,
                       o->split, c->kind->name);
    if (most == LEFT_PICTURE) hint = "; hint: --images DIR names the folder that holds the pictures";
    if (most == LEFT_ANSWER && c->kind->test && strcmp(o->split, c->kind->test))
        hint = "; hint: this split was published without answers, take another one: --split test=val";
    return err_set(CL_EDATA, "%s: no usable sample of split %s (%" PRId64 " left out, most: %s, the first: %s)%s",
                   c->source, o->split, output_left(o), left_names[most], o->left[most].example[0], hint);
}

/* ---- running */

static int convert_side(struct convert *c, struct output *o, const char *dest, const struct side *side)
{
    char name[ID_ROOM + 8];
    int rc;

    snprintf(name, sizeof name, "%s.jsonl", side->file);
    TRY(output_open(o, dest, name));
    o->side = side->file;
    o->split = side->split;
    c->out = o;
    c->side = side->file;
    c->split = side->split;
    TRY(c->kind->run(c));
    if (!o->written) TRY(nothing_taken(c, o));
    TRY(output_finish(o));
done:
    return rc;
}

static int open_convert(struct convert *c, const struct kind *kind, const struct convert_options *how,
                        const char *source, const char *dest)
{
    struct stat st;
    int rc;

    c->kind = kind;
    c->how = how;
    c->form = how->form;
    if (!realpath(source, c->source) || stat(c->source, &st))
        FAIL(CL_EIO, "cannot open %s: %s; hint: cllava convert list %s shows the layout", source, strerror(errno),
             kind->name);
    if (!S_ISDIR(st.st_mode) && !(kind->file && S_ISREG(st.st_mode)))
        FAIL(CL_EIO, "%s is no folder; hint: cllava convert list %s shows the layout", source, kind->name);
    c->task = strrchr(c->source, '/') + 1;
    TRY(path_print(c->dest, "%s", dest));
    TRY(pictures_open(&c->pictures, how, c->source, dest));
done:
    return rc;
}

int convert_run(const struct kind *kind, const struct convert_options *how, const char *source, const char *dest,
                struct log *log)
{
    struct convert *c = calloc(1, sizeof *c);
    struct output *out = calloc(SIDES, sizeof *out);
    struct side side[SIDES];
    json_t *old = NULL;
    int rc, n = 0;

    if (!c || !out) FAIL(CL_ENOMEM, "out of memory");
    c->log = log;
    TRY(choose_sides(side, &n, kind, how, how->hold_out < 0 ? kind->hold_out / 100.0 : how->hold_out));
    TRY(open_convert(c, kind, how, source, dest));
    TRY(run_dir_make_folders(dest));
    TRY(manifest_check(&old, c, dest, pictures_base(c->pictures)));
    for (int i = 0; i < n; i++) TRY(convert_side(c, &out[i], dest, &side[i]));
    TRY(manifest_remove(dest));
    for (int i = 0; i < n; i++) TRY(output_publish(&out[i]));
    TRY(manifest_write(how->n_splits ? old : NULL, c, dest, pictures_base(c->pictures), out, n));
    say_summary(c, dest, out, n);
done:
    for (int i = 0; out && i < n; i++) output_close(&out[i]);
    json_decref(old);
    free(out);
    if (c) {
        pictures_close(c->pictures);
        text_free(&c->line);
        text_free(&c->prompt);
    }
    free(c);
    return rc;
}
