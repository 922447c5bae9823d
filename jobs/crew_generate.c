/* crew_generate.c - prompts dealt out to the groups, answers gathered.
 *
 * Which group answers what follows from the prompts' lengths alone, and every group takes its prompts in a fixed order, so
 * equal runs give equal bits. Leaders have a few prompts more than they decode at once; the coordinator sends further ones as
 * answers come in, between its own group's steps, without waiting for anybody.
 */
#include "jobs/crew_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/err.h"
#include "mpi/watch.h"

struct share { // of one group
    int64_t *item;
    int64_t n, sent, answered;
    int batch;           // that it decodes at once
    struct message away; // prompts on their way
    bool abandoned;
};

struct dealing {
    struct crew *c;
    const struct generator_ends *ends;
    int slots;           // of the set
    struct share *share; // (groups)
    int64_t *order;      // (n) prompts, group after group
    float *coef;         // (slots) of the prompt that is being sent
};

/* ---- dealing */

struct by_length {
    int64_t item;
    int32_t length;
};

static int longer_first(const void *a, const void *b)
{
    const struct by_length *x = a, *y = b;

    if (x->length != y->length) return x->length < y->length ? 1 : -1;
    return (x->item > y->item) - (x->item < y->item);
}

/* Position of the k-th longest: forth and back over the groups, so that no group gets the longer one every time. */
static int group_of(int64_t k, int groups)
{
    int64_t round = k / groups, at = k % groups;

    return (int)(round % 2 ? groups - 1 - at : at);
}

static int deal(struct dealing *d, int64_t n, const int32_t *length, int batch)
{
    int rc;
    int groups = d->c->groups;
    struct by_length *sorted = mem_new((size_t)n, sizeof *sorted);
    int64_t at = 0;

    d->order = mem_new((size_t)n, sizeof *d->order);
    if (!sorted || !d->order) FAIL(CL_ENOMEM, "no memory for %lld prompts", (long long)n);
    for (int64_t i = 0; i < n; i++) sorted[i] = (struct by_length){i, length ? length[i] : 0};
    if (groups > 1) qsort(sorted, (size_t)n, sizeof *sorted, longer_first);
    for (int g = 0; g < groups; g++) {
        struct share *s = &d->share[g];
        s->item = d->order + at;
        for (int64_t k = 0; k < n; k++)
            if (group_of(k, groups) == g) s->item[s->n++] = sorted[k].item;
        at += s->n;
        s->batch = batch < s->n ? batch : (int)s->n;
    }
    rc = CL_OK;
done:
    mem_free(sorted);
    return rc;
}

/* ---- other groups */

/* A group without prompts gets the increments like all others, so it makes room for them. */
static int say_prompts_come(struct dealing *d, int g, const struct generator_limits *lim)
{
    const struct share *s = &d->share[g];
    struct message *m = &d->c->out;

    if (!s->n) {
        crew_begin_message(m, CREW_RESERVE);
        crew_put_limits(m, &(struct lvlm_limits){.samples = 1,
                                                 .tokens = 1,
                                                 .rows = 1,
                                                 .slots = d->slots,
                                                 .rank = lim->rank,
                                                 .residuals = lim->residuals});
        return crew_tell(d->c, g);
    }
    crew_begin_message(m, CREW_GENERATE);
    message_put_text(m, d->c->at);
    message_put_int(m, d->slots > 0), message_put_int(m, d->ends->token != NULL);
    message_put_int(m, s->n), message_put_int(m, s->batch), message_put_int(m, lim->prompt_n);
    message_put_int(m, lim->max_new_tokens), message_put_int(m, d->slots), message_put_int(m, lim->rank);
    message_put_int(m, lim->share), message_put_int(m, lim->residuals);
    return crew_tell(d->c, g);
}

/* As many prompts as the group may have ahead, once it has worked off half of them. */
static int send_prompts(struct dealing *d, int g)
{
    int rc = CL_OK;
    struct share *s = &d->share[g];
    int64_t out = s->sent - s->answered;

    if (s->away.on_way) TRY(message_sent(&s->away));
    if (s->away.on_way || s->sent == s->n || out > s->batch) goto done;
    crew_begin_message(&s->away, CREW_PROMPTS);
    for (; out < 2 * (int64_t)s->batch && s->sent < s->n; out++, s->sent++) {
        struct prompt_item item = {.coef = d->coef};
        rc = d->ends->source(d->ends->context, s->item[s->sent], &item);
        if (!rc) crew_put_prompt(&s->away, s->item[s->sent], &item, d->slots);
        sample_free(&item.sample);
        free(item.picture);
        if (rc) goto done;
    }
    TRY(message_send_begin(&s->away, d->c->comm, g + d->c->first));
done:
    return rc;
}

/* Answers of one message, and tokens of answers that go on (prompt length -1). */
static int take_answers(struct dealing *d, struct share *s)
{
    int rc = CL_OK;
    struct message *m = &d->c->in;

    while (message_more(m)) {
        int64_t number = message_int(m), prompt_n = message_int(m);
        size_t bytes;
        const int32_t *id = message_bytes(m, &bytes, sizeof *id);
        TRY(message_check(m, "with answers"));
        if (prompt_n < 0) {
            TRY(d->ends->token(d->ends->context, number, *id));
        } else {
            s->answered++;
            TRY(d->ends->sink(d->ends->context, number, id, (int)(bytes / sizeof *id), prompt_n));
        }
    }
done:
    return rc;
}

/* One message of a leader, if one has come. drop: answers are of no use any more. */
static int take_message(struct dealing *d, bool drop, bool *came)
{
    int rc, who;
    struct crew *c = d->c;
    enum crew_word w;

    TRY(message_waiting(c->comm, -1, came));
    if (!*came) goto done;
    TRY(crew_hear(&c->in, c->comm, -1, &w, &who));
    if (w == CREW_FAILED) return crew_take_failure(&c->in, comm_world_rank(c->comm, who));
    if (w == CREW_ABANDONED) d->share[who - c->first].abandoned = true;
    if (w == CREW_ANSWERS && !drop) TRY(take_answers(d, &d->share[who - c->first]));
    if (w != CREW_ANSWERS && w != CREW_ABANDONED) TRY(crew_unexpected(w, "from a leader that answers prompts"));
done:
    return rc;
}

/* Between two steps of the own group: whatever other groups want. */
static int serve(struct dealing *d, bool *any)
{
    int rc;
    bool came = d->c->comm != NULL;

    *any = false;
    while (came) {
        TRY(take_message(d, false, &came));
        *any |= came;
    }
    for (int g = -1; crew_next(d->c, &g);) TRY(send_prompts(d, g));
    rc = CL_OK;
done:
    return rc;
}

/* Nothing has come: others may have the processor, and the watchdog may know since when this rank waits. */
static void nap(bool *waiting)
{
    if (!*waiting) watch_collective("message");
    *waiting = true;
    nanosleep(&(struct timespec){0, 100000}, NULL);
}

static void woken(bool *waiting)
{
    if (*waiting) watch_collective(NULL);
    *waiting = false;
}

static bool all_answered(const struct dealing *d)
{
    for (int g = -1; crew_next(d->c, &g);)
        if (d->share[g].answered < d->share[g].n || d->share[g].away.on_way) return false;
    return true;
}

static int wait_for_answers(struct dealing *d)
{
    int rc = CL_OK;
    bool waiting = false, any;

    while (!all_answered(d)) {
        TRY(serve(d, &any));
        any ? woken(&waiting) : nap(&waiting);
    }
done:
    woken(&waiting);
    return rc;
}

/* The run stops: groups drop what they have. Prompts on their way arrive first, answers on theirs are dropped. */
static int abandon(struct dealing *d)
{
    int rc = CL_OK;
    bool came, waiting = false;

    for (int g = -1; crew_next(d->c, &g);) {
        struct share *s = &d->share[g];
        if (!s->n) continue;
        while (s->away.on_way) {
            TRY(message_sent(&s->away));
            TRY(take_message(d, true, &came));
        }
        crew_begin_message(&d->c->out, CREW_ABANDON);
        TRY(crew_tell(d->c, g));
        while (!s->abandoned) {
            TRY(take_message(d, true, &came));
            came ? woken(&waiting) : nap(&waiting);
        }
    }
done:
    woken(&waiting);
    return rc;
}

/* ---- the own group */

static int own_source(void *context, int64_t i, struct prompt_item *item)
{
    struct dealing *d = context;
    return d->ends->source(d->ends->context, d->share[0].item[i], item);
}

static int own_token(void *context, int64_t i, int32_t id)
{
    struct dealing *d = context;
    return d->ends->token(d->ends->context, d->share[0].item[i], id);
}

static int own_sink(void *context, int64_t i, const int32_t *id, int n, int64_t prompt_n)
{
    struct dealing *d = context;
    return d->ends->sink(d->ends->context, d->share[0].item[i], id, n, prompt_n);
}

static int own_between(void *context)
{
    bool any;

    return serve(context, &any);
}

static int answer_own(struct dealing *d, const struct adapters *set, const struct generator_limits *lim)
{
    int rc;
    struct generator *g = NULL;
    struct generator_limits own = *lim;
    struct generator_ends ends = {d, own_source, d->ends->token ? own_token : NULL, own_sink,
                                  d->c->comm ? own_between : NULL};

    own.batch = d->share[0].batch;
    if (!own.batch) return CL_OK;
    TRY(generator_new(&g, d->c->j, &own));
    rc = generator_run(g, d->share[0].n, set, &ends);
    if (rc == CL_ENUM) hand_name_place(d->c->j->lvlm);
done:
    generator_free(g);
    return rc;
}

/* ---- all of it */

static int answer_all(struct dealing *d, const struct adapters *set, const struct generator_limits *lim)
{
    int rc;
    bool any;

    for (int g = -1; crew_next(d->c, &g);) TRY(say_prompts_come(d, g, lim));
    crew_expect_room(d->c, d->slots - lim->residuals, lim->rank);
    TRY(crew_load(d->c, set));
    TRY(serve(d, &any));
    if (!d->c->first) TRY(answer_own(d, set, lim));
    TRY(wait_for_answers(d));
done:
    return rc;
}

static void dealing_free(struct dealing *d)
{
    for (int g = 0; d->share && g < d->c->groups; g++) message_free(&d->share[g].away);
    mem_free(d->share), mem_free(d->order), mem_free(d->coef);
}

int crew_generate(struct crew *c, int64_t n, const int32_t *length, const struct adapters *set,
                  const struct generator_limits *lim, const struct generator_ends *ends)
{
    int rc;
    struct dealing d = {.c = c, .ends = ends, .slots = set ? set->slots : 0};

    d.share = mem_new((size_t)c->groups, sizeof *d.share);
    d.coef = mem_new((size_t)d.slots + 1, sizeof *d.coef);
    if (!d.share || !d.coef) FAIL(CL_ENOMEM, "no memory to deal out prompts");
    TRY(deal(&d, n, length, lim->batch));
    crew_begin(c);
    rc = answer_all(&d, d.slots ? set : NULL, lim);
    if (rc != CL_ESTOP) {
        rc = crew_end(c, rc);
    } else { // an orderly end; the error text stays
        char text[1024];
        snprintf(text, sizeof text, "%s", err_text());
        TRY(abandon(&d));
        crew_end(c, CL_OK);
        rc = err_set(CL_ESTOP, "%s", text);
    }
done:
    dealing_free(&d);
    return rc;
}
