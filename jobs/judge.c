/* judge.c - `cllava judge`: answers out to a language model that judges, its verdicts in.
 *
 * Verdicts are kept in RUN/judge-cache.jsonl ({form, id, content}), named by what was judged. Nothing is asked twice, and
 * what rules scored stays as it is: verdicts make a matrix of their own, judge.csv and judge.json beside accuracy.csv.
 */
#include "io/accuracy.h"
#include "io/err.h"
#include "io/jsonl.h"
#include "io/path.h"
#include "io/whole.h"
#include "jobs/commands.h"
#include "jobs/predictions.h"
#include "jobs/settings.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char cache_name[] = "judge-cache.jsonl";

static bool is_folder(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* ---- lines of verdicts */

struct verdicts {
    json_t *into;     // content by id
    const char *form; // only lines of that form, of a cache; NULL: all
};

/* {"id", "content"}: into the object, under the id. */
static int take_verdict(void *context, const char *line)
{
    int rc = CL_OK;
    const struct verdicts *v = context;
    json_error_t e;
    json_t *o = json_loads(line, 0, &e), *content = json_object_get(o, "content");
    const char *id = json_string_value(json_object_get(o, "id")), *f = json_string_value(json_object_get(o, "form"));

    if (!o) FAIL(CL_EDATA, "%s (expected one JSON object per line)", e.text);
    if (!id || !json_is_string(content)) FAIL(CL_EDATA, "no verdict (expected {\"id\": .., \"content\": \"..\"})");
    if (v->form && f && strcmp(f, v->form)) goto done;
    if (json_object_set(v->into, id, content)) FAIL(CL_ENOMEM, "no memory for verdicts");
done:
    json_decref(o);
    return rc;
}

static int read_verdicts(json_t *into, const char *path, const char *form)
{
    struct verdicts v = {into, form};

    return jsonl_each_of(path, take_verdict, &v);
}

/* A run without a cache has no verdicts yet. */
static int read_cache(json_t *into, const char *run, const char *form)
{
    int rc;
    char path[PATH_ROOM];

    TRY(path_print(path, "%s/%s", run, cache_name));
    if (!access(path, F_OK) || errno != ENOENT) TRY(read_verdicts(into, path, form));
done:
    return rc;
}

/* ---- export */

struct export
{
    FILE *to;
    const struct judge_form *form;
    char *rule;   // or NULL
    json_t *done; // ids that were written, or judged before
    int64_t written, known;
};

static int export_one(void *context, const struct judge_item *x, const char *question_id)
{
    int rc;
    struct export *e = context;
    struct text line = {0};
    char id[JUDGE_ID];

    judge_id(id, x);
    if (json_object_get(e->done, id)) {
        e->known++;
        return CL_OK;
    }
    TRY(judge_request(&line, e->form, e->rule, x, question_id));
    if (json_object_set_new(e->done, id, json_true())) FAIL(CL_ENOMEM, "no memory for a list of requests");
    if (fprintf(e->to, "%s\n", line.s) < 0) FAIL(CL_EIO, "cannot write a request: %s", strerror(errno));
    e->written++;
done:
    text_free(&line);
    return rc;
}

static int export_run(struct export *e, const char *run)
{
    int rc, n = 0;
    char **path = NULL;

    TRY(predictions_list(run, &path, &n));
    TRY(read_cache(e->done, run, e->form->name));
    for (int i = 0; i < n; i++) TRY(predictions_each(path[i], export_one, e));
done:
    predictions_list_free(path, n);
    return rc;
}

static int read_rule(char **rule, const char *path)
{
    int rc = CL_OK;
    FILE *f = fopen(path, "r");
    struct text t = {0};
    char some[4096];
    size_t n;

    if (!f) FAIL(CL_EIO, "cannot read %s: %s", path, strerror(errno));
    while ((n = fread(some, 1, sizeof some, f))) text_bytes(&t, some, n);
    if (ferror(f)) FAIL(CL_EIO, "cannot read %s: %s", path, strerror(errno));
    if (!(*rule = text_take(&t))) FAIL(CL_ENOMEM, "no memory for a rule");
    for (n = strlen(*rule); n && (*rule)[n - 1] == '\n'; n--) (*rule)[n - 1] = 0;
done:
    text_free(&t);
    if (f) fclose(f);
    return rc;
}

/* The file takes its name when it is whole. */
static int export(struct export *e, const struct command_args *a, const char *output)
{
    int rc;
    char temporary[PATH_ROOM];
    const char *rule = args_value(a, "rule", NULL);

    TRY(path_print(temporary, "%s.tmp-%ld", output, (long)getpid()));
    if (rule) TRY(read_rule(&e->rule, rule));
    if (!(e->done = json_object())) FAIL(CL_ENOMEM, "no memory for a list of requests");
    if (!(e->to = fopen(temporary, "w"))) FAIL(CL_EIO, "cannot write %s: %s", temporary, strerror(errno));
    for (int i = 1; i < args_count(a); i++) {
        const char *from = args_positional(a, i);
        TRY(is_folder(from) ? export_run(e, from) : predictions_each(from, export_one, e));
    }
    if (fflush(e->to) || fsync(fileno(e->to)) || rename(temporary, output))
        FAIL(CL_EIO, "cannot write %s: %s", output, strerror(errno));
    printf("%s: %lld requests; %lld answers more are the same as one of them or were judged before\n", output,
           (long long)e->written, (long long)e->known);
done:
    if (e->to) fclose(e->to);
    if (rc && e->to) unlink(temporary);
    json_decref(e->done);
    free(e->rule);
    return rc;
}

/* ---- import */

struct import {
    const struct judge_form *form;
    json_t *incoming, *cache; // id -> content
    json_t *used;             // ids of the incoming that belong to this run
    struct judge_sum cell;    // of the file being read
    int64_t missing;
};

static int import_one(void *context, const struct judge_item *x, const char *question_id)
{
    int rc = CL_OK;
    struct import *m = context;
    char id[JUDGE_ID];
    json_t *content;

    (void)question_id;
    judge_id(id, x);
    if ((content = json_object_get(m->incoming, id)) &&
        (json_object_set(m->cache, id, content) || json_object_set_new(m->used, id, json_true())))
        FAIL(CL_ENOMEM, "no memory for verdicts");
    if ((content = json_object_get(m->cache, id)))
        TRY(judge_add(&m->cell, m->form, json_string_value(content)));
    else
        m->missing++;
done:
    return rc;
}

/* A cell counts when each of its answers has a verdict: a part of them could be the easy part. */
static int import_cell(struct import *m, const char *path, struct accuracy *matrix)
{
    int rc, after, on;

    if (!predictions_cell(path, &after, &on) || after >= matrix->T || on >= matrix->T) return CL_OK;
    m->cell = (struct judge_sum){0}, m->missing = 0;
    TRY(predictions_each(path, import_one, m));
    if (m->cell.unreadable)
        fprintf(stderr, "%s: %lld of %lld verdicts cannot be read and are left out\n", path,
                (long long)m->cell.unreadable, (long long)m->cell.n);
    if (m->missing)
        fprintf(stderr, "%s: %lld of %lld answers have no verdict: the cell stays empty\n", path, (long long)m->missing,
                (long long)(m->missing + m->cell.n));
    else
        *accuracy_cell(matrix, after, on) = judge_percent(&m->cell);
done:
    return rc;
}

/* Verdicts of other forms stay in the file. */
static int write_cache(const struct import *m, const char *run)
{
    int rc = CL_OK;
    struct text t = {0};
    char path[PATH_ROOM], *line = NULL;
    size_t room = 0;
    const char *id;
    json_t *content;
    FILE *f = NULL;

    TRY(path_print(path, "%s/%s", run, cache_name));
    if ((f = fopen(path, "r")))
        while (getline(&line, &room, f) > 0) {
            json_t *o = json_loads(line, 0, NULL);
            const char *form = json_string_value(json_object_get(o, "form"));
            if (form && strcmp(form, m->form->name)) text_add(&t, "%s", line);
            json_decref(o);
        }
    json_object_foreach(m->cache, id, content)
    {
        text_add(&t, "{\"form\":\"%s\",\"id\":", m->form->name);
        text_json(&t, id);
        text_add(&t, ",\"content\":");
        text_json(&t, json_string_value(content));
        text_add(&t, "}\n");
    }
    if (t.failed) FAIL(CL_ENOMEM, "no memory for verdicts");
    TRY(whole_write(run, cache_name, t.s ? t.s : "", t.len));
done:
    if (f) fclose(f);
    free(line);
    text_free(&t);
    return rc;
}

static int write_matrix(const struct import *m, const struct config *c, const struct accuracy *matrix, const char *run)
{
    int rc;
    struct text t = {0};
    struct accuracy_run about = {.method = c->method, .stream = c->stream.name, .seed = c->seed};
    char title[128];

    accuracy_csv(&t, matrix);
    if (!t.failed) TRY(whole_write(run, "judge.csv", t.s, t.len));
    text_clear(&t);
    accuracy_json(&t, matrix, &about);
    if (!t.failed) TRY(whole_write(run, "judge.json", t.s, t.len));
    text_clear(&t);
    snprintf(title, sizeof title, "%s, judged (%s)", c->method, m->form->name);
    accuracy_table(&t, matrix, title);
    if (t.failed) FAIL(CL_ENOMEM, "no memory for a table");
    fputs(t.s, stdout);
done:
    text_free(&t);
    return rc;
}

static int import_run(struct import *m, const char *run, const struct config *c)
{
    int rc, n = 0;
    char **path = NULL;
    struct accuracy matrix = {0};
    const char **name = calloc((size_t)c->stream.tasks, sizeof *name);

    if (!name) FAIL(CL_ENOMEM, "no memory for names");
    for (int t = 0; t < c->stream.tasks; t++) name[t] = c->stream.task[t].name;
    TRY(accuracy_new(&matrix, c->stream.tasks, name));
    TRY(predictions_list(run, &path, &n));
    for (int i = 0; i < n; i++) TRY(import_cell(m, path[i], &matrix));
    TRY(write_cache(m, run));
    TRY(write_matrix(m, c, &matrix, run));
    fprintf(stderr, "%zu verdicts read, %zu of them on answers of this run\n", json_object_size(m->incoming),
            json_object_size(m->used));
done:
    predictions_list_free(path, n);
    accuracy_free(&matrix);
    free(name);
    return rc;
}

static int import(struct import *m, const struct command_args *a, const char *run)
{
    int rc;
    char path[PATH_ROOM];
    struct config c = {0};

    m->incoming = json_object(), m->cache = json_object(), m->used = json_object();
    if (!m->incoming || !m->cache || !m->used) FAIL(CL_ENOMEM, "no memory for verdicts");
    TRY(path_print(path, "%s/config.yaml", run));
    TRY(settings_load(&c, NULL, path, 0));
    for (int i = 1; i < args_count(a); i++) TRY(read_verdicts(m->incoming, args_positional(a, i), NULL));
    TRY(read_cache(m->cache, run, m->form->name));
    TRY(import_run(m, run, &c));
done:
    config_free(&c);
    json_decref(m->incoming);
    json_decref(m->cache);
    json_decref(m->used);
    return rc;
}

int command_judge(const struct command_args *a)
{
    const char *action = args_positional(a, 0), *output = args_value(a, "output", NULL),
               *run = args_value(a, "run", NULL);
    const struct judge_form *form = judge_form(args_value(a, "form", "llava_bench"));

    if (!strcmp(action, "export")) {
        if (!output) return err_set(CL_EUSAGE, "judge export: no --output; hint: --output requests.jsonl");
        return export(&(struct export){.form = form}, a, output);
    }
    if (strcmp(action, "import"))
        return err_set(CL_EUSAGE, "judge: unknown action (got %s, expected export or import)", action);
    if (!run)
        return err_set(CL_EUSAGE, "judge import: no --run; hint: --run RUN, the folder whose answers were judged");
    return import(&(struct import){.form = form}, a, run);
}
