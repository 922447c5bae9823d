/* score.c - `cllava score`: the negative log-likelihood of every answer in a task file, with the slots that it used. */
#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/open_checkpoint.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scorer {
    struct job *j;
    struct dataset *ds;
    struct adapters set;
    struct routing one;
    struct packed_batch pack; // one sample: its answer is scored as it would be alone
    float *nll;
};

/* The images folder of a task whose file this is; NULL: the file's own folder. */
static const char *images_of(const struct config *f, const char *file)
{
    char *real = realpath(file, NULL);
    const char *images = NULL;

    for (int t = 0; real && t < f->stream.tasks; t++) {
        const struct task_config *k = &f->stream.task[t];
        if ((k->train && !strcmp(k->train, real)) || (k->test && !strcmp(k->test, real))) images = k->images;
    }
    free(real);
    return images;
}

static json_t *doubles(const double *v, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++) json_array_append_new(a, json_real(v[i]));
    return a;
}

static int print_line(const struct scorer *s, const char *id, double nll)
{
    const struct routing *r = &s->one;
    bool routed = s->set.slots > 0;
    json_t *selected = json_array(), *o;
    char *line;

    for (int m = 0; routed && m < r->M; m++)
        if (r->selected[m] >= 0) json_array_append_new(selected, json_integer(r->selected[m]));
    o = json_pack("{s:s, s:f, s:I, s:o, s:o, s:o}", "id", id, "nll", nll, "tokens", (json_int_t)s->pack.rows,
                  "selected", selected, "intrinsic", doubles(r->intrinsic, routed ? r->N : 0), "context",
                  doubles(r->context, routed ? r->N : 0));
    line = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    if (!line) return err_set(CL_ENOMEM, "no memory for a result");
    puts(line);
    free(line);
    return ferror(stdout) ? err_set(CL_EIO, "cannot write the results") : CL_OK;
}

static int score_sample(struct scorer *s, const struct record *r, const struct sample *sample)
{
    int rc;
    char *question = NULL;
    double nll = 0;
    const char *picture = r->image;

    batch_clear(&s->pack);
    TRY(batch_add(&s->pack, sample, 0));
    if (s->pack.pictures) TRY(features_get(s->j->features, &picture, 1, s->pack.feature));
    TRY(dataset_first_question(r, &question));
    TRY(job_route(s->j, question, &s->one));
    s->set.coef = s->one.coef;
    TRY(lvlm_forward(s->j->lvlm, &s->pack, s->set.slots ? &s->set : NULL, s->nll, 0));
    for (int64_t i = 0; i < s->pack.rows; i++) nll += (double)s->nll[i];
    if (!isfinite(nll)) FAIL(CL_ENUM, "nll of %s is not finite", r->id);
    TRY(print_line(s, r->id, nll));
done:
    free(question);
    return rc;
}

static int score_record(struct scorer *s, int64_t i)
{
    int rc;
    struct record r = {0};
    struct sample sample = {0};

    TRY(dataset_get(s->ds, i, &r));
    rc = sample_make(&sample, &s->j->sampler, &r);
    if (rc) {
        rc = err_prefix(rc, "%s: record %lld", dataset_path(s->ds), (long long)r.number);
        goto done;
    }
    if (sample.n > s->pack.room_n) { // grow to the longest so far
        batch_free(&s->pack);
        mem_free(s->nll);
        TRY(lvlm_reserve(
            s->j->lvlm,
            &(struct lvlm_limits){
                .samples = 1, .tokens = sample.n, .rows = sample.n, .slots = s->set.slots, .rank = s->set.rank}));
        TRY(batch_new(&s->pack, 1, sample.n));
        if (!(s->nll = mem_new((size_t)sample.n, sizeof *s->nll))) FAIL(CL_ENOMEM, "no memory for a sample");
    }
    TRY(score_sample(s, &r, &sample));
done:
    sample_free(&sample);
    record_free(&r);
    return rc;
}

int command_score(const struct command_args *a)
{
    int rc;
    struct job j = {0};
    struct scorer s = {.j = &j};
    const char *model = args_positional(a, 0), *file = args_positional(a, 1);

    if (args_flag(a, "base-only"))
        TRY(job_open_base(&j, model, a));
    else
        TRY(job_open_checkpoint(&j, model, args_value(a, "config", NULL), a));
    TRY(job_inference_set(&j, &s.set, &s.one));
    const char *images = args_value(a, "images", NULL);
    TRY(dataset_open(&s.ds, file,
                     &(struct dataset_options){.images = images ? images : images_of(&j.cfg, file),
                                               .use = DATASET_TRAIN,
                                               .skip = !strcmp(j.cfg.data.on_error, "skip")})); // limits are a run's
    for (int64_t i = 0; i < dataset_size(s.ds); i++) TRY(score_record(&s, i));
done:
    if (s.ds) dataset_close(s.ds);
    batch_free(&s.pack);
    routing_free(&s.one);
    mem_free(s.nll);
    job_close(&j);
    return rc;
}
