/* task_data.c - records of one side of a task, checked and measured once. */
#include "jobs/task_data.h"

#include "io/err.h"

#include <stdlib.h>
#include <string.h>

static int make_sample(struct task_data *d, struct job *j, const struct record *r, bool prompt_only, struct sample *s)
{
    (void)d;
    if (r->image && !lvlm_get_config(j->lvlm)->has_vision)
        return err_set(CL_EDATA, "record has a picture, but the base has no vision tower");
    return prompt_only ? sample_make_prompt(s, &j->sampler, r) : sample_make(s, &j->sampler, r);
}

/* Tokenises every record once: what is too long or has no answer token is known before any work. */
static int measure(struct task_data *d, struct job *j, bool test)
{
    int rc = CL_OK;
    int64_t i = 0;

    while (i < dataset_size(d->ds)) {
        struct record r = {0};
        struct sample s = {0};
        if (!(rc = dataset_get(d->ds, i, &r)) && !(rc = make_sample(d, j, &r, test, &s))) {
            d->length[i] = (int32_t)(test ? s.prompt_n : s.n);
            d->answers[i] = (int32_t)s.answers;
            if (d->length[i] > d->longest) d->longest = d->length[i];
            if (d->answers[i] > d->most_answers) d->most_answers = d->answers[i];
            i++;
        } else {
            rc = dataset_reject(d->ds, i, rc); // skipped: the next record moves up to i
        }
        sample_free(&s);
        record_free(&r);
        if (rc) return rc;
    }
    d->n = i;
    if (!d->n) return err_set(CL_EDATA, "%s: no usable record is left", dataset_path(d->ds));
    return CL_OK;
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

int task_data_open(struct task_data *d, struct job *j, int task, bool test)
{
    int rc;
    const struct task_config *t = &j->cfg.stream.task[task];
    struct dataset_options how = {.images = t->images,
                                  .suffix = t->prompt_suffix,
                                  .use = test ? DATASET_TEST : DATASET_TRAIN,
                                  .skip = !strcmp(j->cfg.data.on_error, "skip"),
                                  .limit = test ? j->cfg.eval.limit : j->cfg.data.limit};
    const char *path = test ? t->test : t->train;

    *d = (struct task_data){.task = task, .conf = t};
    if (!path) FAIL(CL_ECONFIG, "stream.tasks: %s has no `%s` file", t->name, test ? "test" : "train");
    TRY(dataset_open(&d->ds, path, &how));
    d->length = mem_new((size_t)dataset_size(d->ds), sizeof *d->length);
    d->answers = mem_new((size_t)dataset_size(d->ds), sizeof *d->answers);
    if (!d->length || !d->answers) FAIL(CL_ENOMEM, "no memory for the lengths of %s", path);
    TRY(measure(d, j, test));
    say_dropped(d, j);
done:
    return rc;
}

void task_data_close(struct task_data *d)
{
    if (d->ds) dataset_close(d->ds);
    mem_free(d->length), mem_free(d->answers), mem_free(d->embedding), mem_free(d->question);
    memset(d, 0, sizeof *d);
}

static uint64_t text_hash(const char *s)
{
    uint64_t h = 1469598103934665603u; // FNV-1a

    for (; *s; s++) h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

/* Distinct questions, by open addressing over their texts. */
struct distinct {
    char **text;     // (n)
    int64_t n, size; // size: of slot, a power of two
    int32_t *slot;   // index of text + 1, 0: free
};

static int64_t distinct_add(struct distinct *u, char *text) // takes text over
{
    for (uint64_t at = text_hash(text);; at++) {
        int32_t *slot = &u->slot[at & (uint64_t)(u->size - 1)];
        if (!*slot) {
            u->text[u->n++] = text;
            *slot = (int32_t)u->n;
            return u->n - 1;
        }
        if (!strcmp(u->text[*slot - 1], text)) {
            free(text);
            return *slot - 1;
        }
    }
}

int task_data_embed(struct task_data *d, struct job *j)
{
    int rc;
    struct distinct u = {.size = 1};

    if (!j->encoder || d->embedding) return CL_OK;
    while (u.size < 2 * d->n) u.size *= 2;
    u.text = mem_new((size_t)d->n, sizeof *u.text);
    u.slot = mem_new((size_t)u.size, sizeof *u.slot);
    d->question = mem_new((size_t)d->n, sizeof *d->question);
    if (!u.text || !u.slot || !d->question) FAIL(CL_ENOMEM, "no memory for the questions of %s", d->conf->name);
    for (int64_t i = 0; i < d->n; i++) {
        struct record r = {0};
        char *text = NULL;
        rc = dataset_get(d->ds, i, &r);
        if (!rc) rc = dataset_first_question(&r, &text);
        record_free(&r);
        if (rc) goto done;
        d->question[i] = (int32_t)distinct_add(&u, text);
    }
    d->K = text_encoder_width(j->encoder);
    d->unique = u.n;
    if (!(d->embedding = mem_new((size_t)u.n * (size_t)d->K, sizeof *d->embedding)))
        FAIL(CL_ENOMEM, "no memory for the embeddings of %s", d->conf->name);
    TRY(text_encoder_embed(j->encoder, d->embedding, (const char *const *)u.text, (size_t)u.n));
done:
    for (int64_t i = 0; i < u.n; i++) free(u.text[i]);
    mem_free(u.text);
    mem_free(u.slot);
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

const float *task_data_query(const struct task_data *d, int64_t i)
{
    return d->embedding ? d->embedding + (int64_t)d->question[i] * d->K : NULL;
}

int task_data_name(struct task_data *d, int64_t i, char **name)
{
    int rc;
    struct record r = {0};

    TRY(dataset_get(d->ds, i, &r));
    if (!(*name = strdup(r.id))) FAIL(CL_ENOMEM, "no memory for a name");
done:
    record_free(&r);
    return rc;
}
