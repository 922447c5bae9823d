/* task_data.c - records of one side of a task, checked and measured once. */
#include "jobs/task_data.h"

#include "io/err.h"
#include "jobs/distinct.h"
#include "jobs/masked.h"
#include "jobs/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int make_sample(struct task_data *d, struct job *j, const struct record *r, bool prompt_only, struct sample *s)
{
    (void)d;
    if (r->image && !j->base.has_vision)
        return err_set(CL_EDATA, "record has a picture, but the base has no vision tower");
    return prompt_only ? sample_make_prompt(s, &j->sampler, r) : sample_make(s, &j->sampler, r);
}

/* Which picture each record has, while the task is opened. */
struct pictures {
    struct distinct path;
    int64_t *of;  // (records) number of its path, -1: none
    char **fault; // (path.n) what is wrong with it, NULL: nothing
};

static int pictures_new(struct pictures *p, int64_t records)
{
    int rc;

    *p = (struct pictures){0};
    TRY(distinct_new(&p->path, records));
    p->of = mem_new((size_t)records, sizeof *p->of);
    p->fault = mem_new((size_t)records, sizeof *p->fault);
    if (!p->of || !p->fault) FAIL(CL_ENOMEM, "no memory for the pictures of %lld records", (long long)records);
done:
    return rc;
}

static void pictures_free(struct pictures *p)
{
    for (int64_t i = 0; p->fault && i < p->path.n; i++) free(p->fault[i]);
    mem_free(p->fault);
    mem_free(p->of);
    distinct_free(&p->path);
}

/* Tokenises every record once: what is too long or has no answer token is known before any work. */
static int measure(struct task_data *d, struct job *j, bool test, struct pictures *p)
{
    int rc = CL_OK;
    int64_t i = 0;

    while (i < dataset_size(d->ds)) {
        struct record r = {0};
        struct sample s = {0};
        if (!(rc = dataset_get(d->ds, i, &r)) && !(rc = make_sample(d, j, &r, test, &s))) {
            d->length[i] = (int32_t)(test ? s.prompt_n : s.n);
            d->answers[i] = (int32_t)s.answers;
            p->of[i] = r.image ? distinct_add(&p->path, r.image) : -1;
            r.image = NULL; // taken over
            i++;
        } else {
            rc = dataset_reject(d->ds, i, rc); // skipped: the next record moves up to i
        }
        sample_free(&s);
        record_free(&r);
        if (rc) return rc;
    }
    d->n = i;
    return CL_OK;
}

/* Looks into the header of every picture: one that is none, or is too large, is known before any work too. */
static int probe(struct pictures *p)
{
    int64_t lost = 0;

#pragma omp parallel for schedule(dynamic, 16) reduction(+ : lost)
    for (int64_t i = 0; i < p->path.n; i++) {
        int width, height;
        if (!image_probe(p->path.text[i], &width, &height)) continue;
        p->fault[i] = strdup(err_text()); // of this thread
        lost += !p->fault[i];
    }
    return lost ? err_set(CL_ENOMEM, "no memory for the faults of %lld pictures", (long long)lost) : CL_OK;
}

static int reject_faulty(struct task_data *d, struct pictures *p)
{
    int rc = CL_OK;
    int64_t kept = 0;

    for (int64_t i = 0; i < d->n; i++) {
        const char *fault = p->of[i] < 0 ? NULL : p->fault[p->of[i]];
        if (fault) {
            TRY(dataset_reject(d->ds, kept, err_set(CL_EDATA, "%s", fault)));
            continue;
        }
        d->length[kept] = d->length[i], d->answers[kept] = d->answers[i], p->of[kept] = p->of[i];
        if (d->length[i] > d->longest) d->longest = d->length[i];
        if (d->answers[i] > d->most_answers) d->most_answers = d->answers[i];
        kept++;
    }
    d->n = kept;
    if (!kept) FAIL(CL_EDATA, "%s: no usable record is left", dataset_path(d->ds));
done:
    return rc;
}

/* Which records have a picture in common. */
static int find_first(struct task_data *d, const struct pictures *p)
{
    int64_t *first = mem_new((size_t)p->path.n + 1, sizeof *first); // 1 + the first record of a picture

    d->first = mem_new((size_t)d->n, sizeof *d->first);
    for (int64_t i = 0; first && d->first && i < d->n; i++) {
        int64_t *seen = p->of[i] < 0 ? NULL : &first[p->of[i]];
        if (seen && !*seen) *seen = i + 1;
        d->first[i] = seen ? *seen - 1 : i;
    }
    mem_free(first);
    return first && d->first ? CL_OK
                             : err_set(CL_ENOMEM, "no memory for the pictures of %lld records", (long long)d->n);
}

static void say_dropped(const struct task_data *d, struct job *j)
{
    const struct dataset_dropped *first;
    int listed;
    int64_t n = dataset_dropped(d->ds, &first, &listed);

    if (!n) return;
    log_warn(j->log, "%s: %lld broken records left out", dataset_path(d->ds), (long long)n);
    for (int i = 0; i < listed; i++) log_say(j->log, "  record %lld: %s", (long long)first[i].number, first[i].reason);
}

static int open_records(struct task_data *d, struct job *j, const char *path, const struct dataset_options *how)
{
    int rc;
    struct pictures pictures = {0};

    TRY(dataset_open(&d->ds, path, how));
    d->length = mem_new((size_t)dataset_size(d->ds), sizeof *d->length);
    d->answers = mem_new((size_t)dataset_size(d->ds), sizeof *d->answers);
    if (!d->length || !d->answers) FAIL(CL_ENOMEM, "no memory for the lengths of %s", path);
    TRY(pictures_new(&pictures, dataset_size(d->ds)));
    TRY(measure(d, j, how->use == DATASET_TEST, &pictures));
    TRY(probe(&pictures));
    TRY(reject_faulty(d, &pictures));
    TRY(find_first(d, &pictures));
    say_dropped(d, j);
done:
    pictures_free(&pictures);
    return rc;
}

int task_data_open(struct task_data *d, struct job *j, int task, bool test)
{
    const struct task_config *t = &j->cfg.stream.task[task];
    const struct dataset_options how = {.images = t->images,
                                        .suffix = t->prompt_suffix,
                                        .use = test ? DATASET_TEST : DATASET_TRAIN,
                                        .skip = !strcmp(j->cfg.data.on_error, "skip"),
                                        .limit = test ? j->cfg.eval.limit : j->cfg.data.limit};
    const char *path = test ? t->test : t->train;

    *d = (struct task_data){.task = task, .conf = t};
    if (!path) return err_set(CL_ECONFIG, "stream.tasks: %s has no `%s` file", t->name, test ? "test" : "train");
    return open_records(d, j, path, &how);
}

int task_data_open_file(struct task_data *d, struct job *j, int task, const char *path)
{
    *d = (struct task_data){.task = task, .conf = &j->cfg.stream.task[task]};
    return open_records(d, j, path, &(struct dataset_options){.use = DATASET_TRAIN});
}

void task_data_close(struct task_data *d)
{
    if (d->ds) dataset_close(d->ds);
    masked_close(d->masked);
    mem_free(d->length), mem_free(d->answers), mem_free(d->first), mem_free(d->embedding), mem_free(d->question);
    memset(d, 0, sizeof *d);
}

/* What records are routed by, each thing once: as a text "LENGTH:PICTURE QUESTION", either of which may hold anything. */
struct queries {
    struct distinct of;
    const char **question, **picture; // (of.n) into of's texts
};

/* malloc'ed; the picture is left out where it does not count. */
static int query_text(char **text, struct task_data *d, const struct job *j, int64_t i)
{
    int rc;
    struct record r = {0};
    char *question = NULL;
    const char *picture = "";

    TRY(dataset_get(d->ds, i, &r));
    TRY(dataset_first_question(&r, &question));
    if (query_has_picture(&j->cfg) && r.image) picture = r.image;
    if (asprintf(text, "%zu:%s %s", strlen(picture), picture, question) < 0) {
        *text = NULL;
        FAIL(CL_ENOMEM, "no memory for a question");
    }
done:
    free(question);
    record_free(&r);
    return rc;
}

static int collect_queries(struct queries *q, struct task_data *d, const struct job *j)
{
    int rc;

    TRY(distinct_new(&q->of, d->n));
    for (int64_t i = 0; i < d->n; i++) {
        char *text;
        TRY(query_text(&text, d, j, i));
        d->question[i] = (int32_t)distinct_add(&q->of, text);
    }
    q->question = mem_new((size_t)q->of.n, sizeof *q->question);
    q->picture = mem_new((size_t)q->of.n, sizeof *q->picture);
    if (!q->question || !q->picture) FAIL(CL_ENOMEM, "no memory for the questions of %s", d->conf->name);
    for (int64_t u = 0; u < q->of.n; u++) {
        char *picture;
        size_t n = strtoul(q->of.text[u], &picture, 10);
        picture++;
        picture[n] = 0;
        q->question[u] = picture + n + 1;
        q->picture[u] = n ? picture : NULL;
    }
done:
    return rc;
}

int task_data_embed(struct task_data *d, struct job *j)
{
    int rc;
    struct queries q = {0};

    if (!j->encoder || d->embedding) return CL_OK;
    d->question = mem_new((size_t)d->n, sizeof *d->question);
    if (!d->question) FAIL(CL_ENOMEM, "no memory for the questions of %s", d->conf->name);
    TRY(collect_queries(&q, d, j));
    d->K = query_width(j);
    d->unique = q.of.n;
    if (!(d->embedding = mem_new((size_t)d->unique * (size_t)d->K, sizeof *d->embedding)))
        FAIL(CL_ENOMEM, "no memory for the embeddings of %s", d->conf->name);
    TRY(query_embed(j, d->embedding, q.question, q.picture, (size_t)d->unique));
done:
    mem_free(q.question), mem_free(q.picture);
    distinct_free(&q.of);
    return rc;
}

int task_data_sample(struct task_data *d, struct job *j, int64_t i, bool prompt_only, struct sample *s, char **picture)
{
    int rc;
    struct record r = {0};

    *picture = NULL;
    TRY(dataset_get(d->ds, i, &r));
    TRY(make_sample(d, j, &r, prompt_only, s));
    if (s->picture >= 0 && r.image && !(*picture = strdup(r.image))) FAIL(CL_ENOMEM, "no memory for a path");
done:
    record_free(&r);
    return rc;
}

int task_data_question(struct task_data *d, int64_t i, char **text)
{
    int rc;
    struct record r = {0};

    *text = NULL;
    TRY(dataset_get(d->ds, i, &r));
    *text = r.turn[0].text;
    r.turn[0].text = NULL; // taken over
done:
    record_free(&r);
    return rc;
}

const float *task_data_query(const struct task_data *d, int64_t i)
{
    return d->embedding ? d->embedding + (int64_t)d->question[i] * d->K : NULL;
}

void task_data_add_name(struct task_data *d, int64_t i, char *names, size_t room)
{
    struct record r = {0};
    size_t used = strlen(names);

    if (!dataset_get(d->ds, i, &r) && used + strlen(r.id) + 3 < room)
        snprintf(names + used, room - used, "%s%s", used ? ", " : "", r.id);
    record_free(&r);
}
