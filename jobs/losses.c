/* losses.c - records, their questions' routes, forward passes. Each record goes through the model alone, so that its loss does not
 * depend on the others. */
#include "jobs/losses.h"

#include <math.h>
#include <stdlib.h>

#include "io/err.h"
#include "jobs/query.h"
#include "pool/rng.h"

struct looked {
    struct packed_batch pack;
    char *picture, *question;
    const float *query; // what it is routed by, NULL where nothing routes
};

struct looking {
    struct job *j;
    struct task_data *d;
    int n;
    struct looked *of;        // (n)
    struct crew_micro *micro; // (n)
    const char **question;    // (n)
    float *embedding;         // (n, K)
    struct routing routes;
    int64_t answers;
};

static void close_looking(struct looking *l)
{
    for (int i = 0; l->of && i < l->n; i++) {
        batch_free(&l->of[i].pack);
        free(l->of[i].picture), free(l->of[i].question);
    }
    mem_free(l->of), mem_free(l->micro), mem_free(l->question), mem_free(l->embedding);
    routing_free(&l->routes);
}

/* Record number `index` into place i. */
static int take_record(struct looking *l, int i, int64_t index)
{
    int rc;
    struct looked *x = &l->of[i];
    struct record r = {0};
    struct sample s = {0};

    TRY(task_data_sample(l->d, l->j, index, false, &s, &x->picture));
    TRY(batch_new(&x->pack, 1, s.n));
    TRY(batch_add(&x->pack, &s, false));
    TRY(dataset_get(l->d->ds, index, &r));
    TRY(dataset_first_question(&r, &x->question));
    l->question[i] = x->question;
    l->answers += x->pack.rows;
    l->micro[i] = (struct crew_micro){.pack = &x->pack, .picture = (const char **)(uintptr_t)&x->picture};
done:
    sample_free(&s), record_free(&r);
    return rc;
}

static int take_records(struct looking *l)
{
    int rc;
    const struct config *f = &l->j->cfg;
    int64_t *order = mem_new((size_t)l->d->n, sizeof *order);
    const size_t n = (size_t)l->n;

    l->of = mem_new(n, sizeof *l->of), l->micro = mem_new(n, sizeof *l->micro);
    l->question = mem_new(n, sizeof *l->question);
    if (!order || !l->of || !l->micro || !l->question) FAIL(CL_ENOMEM, "no memory for %d records", l->n);
    rng_permutation(order, l->d->n, (uint64_t)f->seed, RNG_LOSSES, (uint32_t)l->d->task, 0);
    for (int i = 0; i < l->n; i++) TRY(take_record(l, i, order[i]));
    rc = CL_OK;
done:
    mem_free(order);
    return rc;
}

/* The task's own queries may be gone or never have been made in this process: so few are made anew. */
static int embed(struct looking *l)
{
    int rc = CL_OK;
    size_t K;
    const char **picture = NULL;

    if (!l->j->method->ops->routes) return CL_OK;
    K = (size_t)query_width(l->j);
    picture = mem_new((size_t)l->n, sizeof *picture);
    l->embedding = mem_new((size_t)l->n * K, sizeof *l->embedding);
    if (!picture || !l->embedding) FAIL(CL_ENOMEM, "no memory for %d queries", l->n);
    for (int i = 0; i < l->n; i++) {
        picture[i] = query_has_picture(&l->j->cfg) ? l->of[i].picture : NULL;
        l->of[i].query = l->embedding + (size_t)i * K;
    }
    TRY(query_embed(l->j, l->embedding, l->question, picture, (size_t)l->n));
done:
    mem_free(picture);
    return rc;
}

static int route(struct looking *l, enum route_mode mode, const struct adapters *set)
{
    int rc;
    const float **query = mem_new((size_t)l->n, sizeof *query);
    uint64_t *number = mem_new((size_t)l->n, sizeof *number);

    if (!query || !number) FAIL(CL_ENOMEM, "no memory for %d questions", l->n);
    for (int i = 0; i < l->n; i++) query[i] = l->of[i].query, number[i] = (uint64_t)i;
    TRY(job_routing_new(l->j, &l->routes, l->n));
    TRY(job_routes(l->j, mode, l->d->task, query, number, l->n, &l->routes));
    l->routes.query = NULL; // they go now
    for (int i = 0; i < l->n; i++) l->micro[i].coef = l->routes.coef + (int64_t)i * set->slots;
done:
    mem_free(query), mem_free(number);
    return rc;
}

int losses_measure(double *loss, struct job *j, struct task_data *d, enum route_mode mode)
{
    int rc, odd;
    const int64_t want = j->cfg.eval.loss_samples;
    struct looking l = {.j = j, .d = d, .n = (int)(want < d->n ? want : d->n)};
    struct adapters set = {0};

    TRY(job_adapters(j, mode, d->task, &set));
    TRY(take_records(&l));
    TRY(embed(&l));
    TRY(route(&l, mode, &set));
    const struct lvlm_limits lim = lvlm_limits_of(&set, d->longest, d->most_answers);
    TRY(crew_reserve(j->crew, &lim));
    TRY(crew_score(j->crew, l.micro, l.n, &set, &odd));
    *loss = 0;
    for (int i = 0; i < l.n; i++) *loss += l.micro[i].nll;
    *loss /= (double)l.answers;
done:
    close_looking(&l);
    return err_prefix(rc, "losses of %s", d->conf->name);
}
