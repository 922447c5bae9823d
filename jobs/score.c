/* score.c - `cllava score`: the negative log-likelihood of every answer in a task file, with the slots that it used.
 *
 * Each sample goes through the model alone, so that its answer is scored as it would be alone. Several groups of ranks take
 * samples side by side: a window of a few for each, printed in the order of the file.
 */
#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/open_checkpoint.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 4 }; // samples of a group at a time: long and short ones even out

struct scored { // one sample of the window
    struct record r;
    struct sample sample;
    struct routing one;
    struct packed_batch pack;
    const char *picture; // r's
};

struct scorer {
    struct job *j;
    struct dataset *ds;
    struct adapters set;
    int window;
    struct scored *of;        // (window)
    struct crew_micro *micro; // (window)
    int64_t longest;          // tokens that there is room for
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

static int print_line(const struct scorer *s, const struct scored *x, double nll)
{
    const struct routing *r = &x->one;
    bool routed = s->set.slots > 0;
    json_t *selected = json_array(), *o;
    char *line;

    for (int m = 0; routed && m < r->M; m++)
        if (r->selected[m] >= 0) json_array_append_new(selected, json_integer(r->selected[m]));
    o = json_pack("{s:s, s:f, s:I, s:o, s:o, s:o}", "id", x->r.id, "nll", nll, "tokens", (json_int_t)x->pack.rows,
                  "selected", selected, "intrinsic", doubles(r->intrinsic, routed ? r->N : 0), "context",
                  doubles(r->context, routed ? r->N : 0));
    line = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    if (!line) return err_set(CL_ENOMEM, "no memory for a result");
    puts(line);
    free(line);
    return ferror(stdout) ? err_set(CL_EIO, "cannot write the results") : CL_OK;
}

static int read_sample(struct scorer *s, struct scored *x, int64_t i)
{
    int rc;

    TRY(dataset_get(s->ds, i, &x->r));
    rc = sample_make(&x->sample, &s->j->sampler, &x->r);
    if (rc) err_prefix(rc, "%s: record %lld", dataset_path(s->ds), (long long)x->r.number);
    if (!rc && !s->set.slots) sample_drop_prompts(&x->sample);
done:
    return rc;
}

/* Room for the longest sample so far. */
static int grow(struct scorer *s, int64_t tokens)
{
    int rc = CL_OK;

    if (tokens <= s->longest) return CL_OK;
    const struct lvlm_limits lim = lvlm_limits_of(&s->set, tokens, tokens);
    TRY(crew_reserve(s->j->crew, &lim));
    for (int k = 0; k < s->window; k++) {
        batch_free(&s->of[k].pack);
        TRY(batch_new(&s->of[k].pack, 1, tokens));
    }
    s->longest = tokens;
done:
    return rc;
}

static int prepare(struct scorer *s, struct scored *x, struct crew_micro *m)
{
    int rc;
    char *question = NULL;

    batch_clear(&x->pack);
    TRY(batch_add(&x->pack, &x->sample, 0));
    TRY(dataset_first_question(&x->r, &question));
    TRY(job_route(s->j, question, x->r.image, &x->one));
    x->picture = x->r.image;
    *m = (struct crew_micro){.pack = &x->pack, .picture = &x->picture, .coef = x->one.coef};
done:
    free(question);
    return rc;
}

static void forget(struct scorer *s)
{
    for (int k = 0; k < s->window; k++) {
        sample_free(&s->of[k].sample), record_free(&s->of[k].r);
        s->of[k].sample = (struct sample){0}, s->of[k].r = (struct record){0};
    }
}

/* Records [first, first + n). */
static int score_window(struct scorer *s, int64_t first, int n)
{
    int rc = CL_OK, odd;
    int64_t longest = 0;

    for (int k = 0; k < n; k++) {
        TRY(read_sample(s, &s->of[k], first + k));
        if (s->of[k].sample.n > longest) longest = s->of[k].sample.n;
    }
    TRY(grow(s, longest));
    for (int k = 0; k < n; k++) TRY(prepare(s, &s->of[k], &s->micro[k]));
    rc = crew_score(s->j->crew, s->micro, n, &s->set, &odd);
    if (rc == CL_ENUM && odd >= 0) FAIL(CL_ENUM, "nll of %s is not finite", s->of[odd].r.id);
    if (rc) goto done;
    for (int k = 0; k < n; k++) TRY(print_line(s, &s->of[k], s->micro[k].nll));
done:
    forget(s);
    return rc;
}

static int open_window(struct scorer *s)
{
    int rc = CL_OK, groups = crew_groups(s->j->crew);
    struct routing unused;

    TRY(job_inference_set(s->j, &s->set, &unused));
    routing_free(&unused);
    s->window = groups > 1 ? WINDOW * groups : 1;
    s->of = mem_new((size_t)s->window, sizeof *s->of);
    s->micro = mem_new((size_t)s->window, sizeof *s->micro);
    if (!s->of || !s->micro) FAIL(CL_ENOMEM, "no memory for %d samples", s->window);
    for (int k = 0; k < s->window; k++) TRY(job_routing_new(s->j, &s->of[k].one, 1));
done:
    return rc;
}

static void close_window(struct scorer *s)
{
    for (int k = 0; s->of && k < s->window; k++) {
        batch_free(&s->of[k].pack);
        routing_free(&s->of[k].one);
    }
    mem_free(s->of), mem_free(s->micro);
}

int command_score(const struct command_args *a)
{
    int rc;
    struct job j = {0};
    struct scorer s = {.j = &j};
    const char *model = args_positional(a, 0), *file = args_positional(a, 1), *images = args_value(a, "images", NULL);

    if (args_flag(a, "base-only"))
        TRY(job_open_base(&j, model, a));
    else
        TRY(job_open_checkpoint(&j, model, args_value(a, "config", NULL), a));
    TRY(open_window(&s));
    TRY(dataset_open(&s.ds, file,
                     &(struct dataset_options){.images = images ? images : images_of(&j.cfg, file),
                                               .use = DATASET_TRAIN,
                                               .skip = !strcmp(j.cfg.data.on_error, "skip")})); // limits are a run's
    crew_at(j.crew, "scoring %s", file);
    for (int64_t i = 0, n = dataset_size(s.ds); i < n; i += s.window)
        TRY(score_window(&s, i, n - i < s.window ? (int)(n - i) : s.window));
done:
    if (s.ds) dataset_close(s.ds);
    close_window(&s);
    job_close(&j);
    return rc;
}
