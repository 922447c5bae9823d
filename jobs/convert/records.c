/* records.c - going through a release's records, and writing the samples that they become. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "io/pickle.h"
#include "jobs/convert/convert.h"
#include "jobs/convert/output.h"
#include "jobs/convert/pictures.h"

/* ---- files of the release */

static bool exists(char out[PATH_ROOM], const char *folder, const char *relative)
{
    return snprintf(out, PATH_ROOM, "%s/%s", folder, relative) < PATH_ROOM && !access(out, R_OK);
}

bool release_has(const struct convert *c, char out[PATH_ROOM], const char *const *patterns)
{
    char relative[PATH_ROOM];

    for (; *patterns; patterns++) {
        if (!pattern_expand(relative, *patterns, c->split, NULL) || strlen(relative) + 4 > PATH_ROOM) continue;
        if (exists(out, c->source, relative)) return true;
        strcat(relative, ".gz");
        if (exists(out, c->source, relative)) return true;
    }
    return false;
}

int release_find(const struct convert *c, char out[PATH_ROOM], const char *what, const char *const *patterns)
{
    struct text t = {0};
    char relative[PATH_ROOM];
    int rc;

    if (release_has(c, out, patterns)) return CL_OK;
    for (int i = 0; patterns[i]; i++)
        if (pattern_expand(relative, patterns[i], c->split, NULL)) text_add(&t, "%s%s", i ? ", " : "", relative);
    rc = err_set(CL_EFORMAT, "%s: no %s of split %s there (expected %s); hint: cllava convert list %s shows the layout",
                 c->source, what, c->split, t.s ? t.s : "", c->kind->name);
    text_free(&t);
    return rc;
}

/* ---- what is left out */

/* What is said of a sample. */
static char *complaint(const struct convert *c, const char *what)
{
    char *s = NULL;

    if (!c->file ? asprintf(&s, "%s", what) < 0
                 : asprintf(&s, "%s: record %" PRId64 ": %s", c->file, c->number, what) < 0)
        s = NULL;
    return s;
}

int left_out(struct convert *c, enum left why, const char *fmt, ...)
{
    char what[512], *said;
    struct output *o = c->out;
    va_list ap;
    int rc = CL_OK;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    said = complaint(c, what);
    if (!said) return err_set(CL_ENOMEM, "out of memory for a message");
    if (c->how->strict && why != LEFT_CHOICE) rc = err_set(CL_EDATA, "%s (%s)", said, left_names[why]);
    if (o->left[why].n < EXAMPLES)
        o->left[why].example[o->left[why].n] = said;
    else
        free(said);
    o->left[why].n++;
    return rc;
}

bool convert_enough(const struct convert *c)
{
    return c->how->limit && c->out->written >= c->how->limit;
}

/* ---- records */

static bool is_pickle(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && (!strcmp(dot, ".p") || !strcmp(dot, ".pkl") || !strcmp(dot, ".pickle"));
}

/* One record, already parsed or found broken (rc with its text). */
static int take(struct convert *c, int rc, const char *key, const json_t *record, convert_one *one, void *with)
{
    if (rc == CL_EDATA) return left_out(c, LEFT_BROKEN, "%s", err_text());
    if (rc) return rc;
    if (!json_is_object(record)) return left_out(c, LEFT_BROKEN, "not a JSON object");
    return one(c, key, record, with);
}

static int each_of_pickle(struct convert *c, convert_one *one, void *with)
{
    struct pickle *p;
    const struct pickle_value *root;
    json_t *record = NULL;
    int rc = pickle_open(&p, c->file);

    if (rc) return rc;
    root = pickle_root(p);
    if (root->kind != PICKLE_LIST) FAIL(CL_EFORMAT, "%s: no list of records in the pickle", c->file);
    progress_begin(c->log, c->file, (int64_t)root->list.n, "records");
    for (size_t i = 0; i < root->list.n && !convert_enough(c); i++) {
        c->number = (int64_t)i + 1;
        rc = pickle_json(&record, root->list.item[i]);
        TRY(take(c, rc, NULL, record, one, with));
        json_decref(record);
        record = NULL;
        progress_step(c->log, c->number, NULL);
    }
done:
    json_decref(record);
    pickle_close(p);
    return rc;
}

static void show_place(struct convert *c, struct jsonstream *s)
{
    char note[64];
    int64_t at, size;

    jsonstream_place(s, &at, &size);
    snprintf(note, sizeof note, "%" PRId64 " samples", c->out->written);
    progress_step(c->log, at >> 10, note);
}

static int each_of_json(struct convert *c, enum jsonstream_form form, const char *member, convert_one *one, void *with)
{
    struct jsonstream *s;
    const char *key;
    json_t *record;
    bool more = true;
    int64_t at, size;
    int rc = jsonstream_open(&s, c->file, form, member);

    if (rc) return rc;
    jsonstream_place(s, &at, &size);
    progress_begin(c->log, c->file, (size >> 10) + 1, "KiB");
    while (!convert_enough(c)) {
        rc = jsonstream_next(s, &key, &record, &more);
        c->number = jsonstream_number(s);
        if (!rc && !more) break;
        TRY(take(c, rc, key, record, one, with));
        if (!(c->number & 255)) show_place(c, s);
    }
    show_place(c, s);
    rc = CL_OK;
done:
    jsonstream_close(s);
    return rc;
}

int convert_each(struct convert *c, const char *path, enum jsonstream_form form, const char *member, convert_one *one,
                 void *with)
{
    const char *outer = c->file;
    const int64_t number = c->number;
    int rc;

    c->file = path;
    rc = is_pickle(path) ? each_of_pickle(c, one, with) : each_of_json(c, form, member, one, with);
    progress_end(c->log);
    c->file = outer;
    c->number = number;
    return rc;
}

/* ---- samples */

static bool is_blank(const char *s)
{
    return !s || !s[strspn(s, " \t\r\n")];
}

static void add_turn(struct text *t, const char *from, const char *before, const char *value)
{
    text_add(t, "{\"from\": \"%s\", \"value\": ", from);
    if (*before) {
        struct text whole = {0};

        text_add(&whole, "%s", before);
        text_bytes(&whole, value, strlen(value));
        t->failed |= whole.failed;
        if (!whole.failed) text_json(t, whole.s);
        text_free(&whole);
    } else {
        text_json(t, value);
    }
    text_add(t, "}");
}

static void make_line(struct text *t, const struct item *it, const char *image)
{
    text_clear(t);
    text_add(t, "{\"id\": ");
    text_json(t, it->id);
    if (image) text_add(t, ", \"image\": "), text_json(t, image);
    text_add(t, ", \"conversations\": [");
    add_turn(t, "human", image ? "<image>\n" : "", it->question);
    text_add(t, ", ");
    add_turn(t, "gpt", "", it->answer);
    for (int i = 0; i < it->n_more; i++) {
        text_add(t, ", ");
        add_turn(t, "human", "", it->more[2 * i]);
        text_add(t, ", ");
        add_turn(t, "gpt", "", it->more[2 * i + 1]);
    }
    text_add(t, "], \"answers\": [");
    for (int i = 0; i < (it->answers ? it->n_answers : 1); i++) {
        if (i) text_add(t, ", ");
        text_json(t, it->answers ? it->answers[i] : it->answer);
    }
    text_add(t, "]");
    if (it->question_type) text_add(t, ", \"question_type\": "), text_json(t, it->question_type);
    if (it->choices) text_add(t, ", \"choices\": %d", it->choices);
    if (it->width && it->height) text_add(t, ", \"size\": [%d, %d]", it->width, it->height);
    text_add(t, "}\n");
}

/* A marker anywhere would be taken for a place of a picture. */
static bool has_marker(const struct item *it)
{
    if (strstr(it->question, "<image>") || strstr(it->answer, "<image>")) return true;
    for (int i = 0; i < it->n_more; i++)
        if (strstr(it->more[2 * i], "<image>") || strstr(it->more[2 * i + 1], "<image>")) return true;
    return false;
}

int convert_write(struct convert *c, const struct item *it)
{
    char image[PATH_ROOM];
    int rc;

    if (convert_enough(c)) return CL_OK;
    if (!it->question) return err_set(CL_ENOMEM, "out of memory for a question");
    if (is_blank(it->question)) return left_out(c, LEFT_BROKEN, "%s: the question is empty", it->id);
    if (is_blank(it->answer)) return left_out(c, LEFT_ANSWER, "%s", it->id);
    for (int i = 0; i < it->n_more; i++)
        if (is_blank(it->more[2 * i + 1])) return left_out(c, LEFT_ANSWER, "%s: question %d", it->id, i + 2);
    if (has_marker(it)) return left_out(c, LEFT_BROKEN, "%s: <image> inside of a text", it->id);
    if (it->picture && !picture_name_safe(it->picture))
        return left_out(c, LEFT_BROKEN, "%s: a picture name that leads out of its folder, or is none", it->id);
    if (it->picture && !pictures_find(c->pictures, image, c->split, it->patterns, it->picture))
        return left_out(c, LEFT_PICTURE, "%s", it->picture);
    if (it->picture) TRY(pictures_copy(c->pictures, image));
    make_line(&c->line, it, it->picture ? image : it->made);
    if (c->line.failed) return err_set(CL_ENOMEM, "out of memory for a sample");
    TRY(output_bytes(c->out, c->line.s, c->line.len));
    c->out->written++;
    c->out->pictures += it->picture || it->made;
    rc = CL_OK;
done:
    return rc;
}
