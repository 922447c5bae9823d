/* self_guide_ask.c - the model writes: questions where they are wanted, then answers, by the generator that evaluation uses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/signal.h"
#include "jobs/distinct.h"
#include "jobs/self_guide_internal.h"

typedef char *prompt_fn(const struct writing *p, int64_t i); // first turn, malloc'ed

/* Some of the samples, before the model. */
struct asking {
    struct writing *p;
    prompt_fn *prompt;
    int64_t *which;  // (n) numbers of samples
    int32_t *length; // (n) tokens of their prompts
    int64_t n, done;
    struct adapters set;
    struct routing one;
};

static char *seed_question(const struct writing *p, int64_t i)
{
    return strdup(p->w[i].question);
}

static int make_prompt(const struct asking *a, int64_t i, struct sample *s)
{
    struct turn turn = {.human = true, .text = a->prompt(a->p, i)};
    const struct record r = {.image = a->p->w[i].picture, .turns = 1, .turn = &turn};
    int rc = turn.text ? sample_make_prompt(s, &a->p->j->sampler, &r) : err_set(CL_ENOMEM, "no memory for a question");

    free(turn.text);
    return rc;
}

static int source(void *context, int64_t at, struct prompt_item *item)
{
    int rc;
    struct asking *a = context;
    const struct written *w = &a->p->w[a->which[at]];

    if (stop_requested())
        FAIL(CL_ESTOP, "stopped while writing samples on %s; hint: the same command goes on from here", stop_reason());
    TRY(make_prompt(a, a->which[at], &item->sample));
    if (w->picture && !(item->picture = strdup(w->picture))) FAIL(CL_ENOMEM, "no memory for a path");
    if (a->set.slots) memcpy(item->coef, a->one.coef, (size_t)a->set.slots * sizeof *item->coef);
done:
    return rc;
}

static int sink(void *context, int64_t at, const int32_t *id, int n, int64_t prompt_n)
{
    struct asking *a = context;
    struct written *w = &a->p->w[a->which[at]];

    (void)prompt_n;
    w->ended = n && job_is_end(a->p->j, id[n - 1]);
    progress_step(a->p->j->log, ++a->done, "");
    return job_decode(a->p->j, id, (size_t)n, &w->answer);
}

/* The samples from number `first` on that have no fault yet, and the length of the longest prompt. One that is too long for a
 * sample is a fault. */
static int take_prompts(struct asking *a, int64_t first, int64_t *longest)
{
    int rc = CL_OK;

    for (int64_t i = first; i < a->p->n; i++) {
        struct sample s = {0};
        if (a->p->w[i].fault) continue;
        rc = make_prompt(a, i, &s);
        if (!rc && s.prompt_n > *longest) *longest = s.prompt_n;
        if (!rc) a->which[a->n] = i, a->length[a->n++] = (int32_t)s.prompt_n;
        if (rc == CL_EDATA) a->p->w[i].fault = WRITTEN_LIMIT, rc = CL_OK;
        sample_free(&s);
        if (rc) break;
    }
    return rc;
}

/* What the prompt's function asks of the samples from number `first` on, in at most so many tokens each. */
static int ask(struct writing *p, int64_t first, prompt_fn *prompt, int64_t most)
{
    int rc;
    const struct config *f = &p->j->cfg;
    struct asking a = {.p = p, .prompt = prompt};
    struct generator_limits lim = {.batch = f->eval.batch, .max_new_tokens = (int)most, .share = f->eval.share_prefix};
    const struct generator_ends ends = {&a, source, NULL, sink, NULL};

    a.which = mem_new((size_t)p->n, sizeof *a.which), a.length = mem_new((size_t)p->n, sizeof *a.length);
    if (!a.which || !a.length) FAIL(CL_ENOMEM, "no memory for %lld prompts", (long long)p->n);
    TRY(job_route_alike(p->j, p->of, 1, &a.set, &a.one));
    lim.slots = a.set.slots, lim.rank = a.set.rank;
    TRY(take_prompts(&a, first, &lim.prompt_n));
    if (a.n) TRY(crew_generate(p->j->crew, a.n, a.length, a.set.slots ? &a.set : NULL, &lim, &ends));
done:
    mem_free(a.which), mem_free(a.length);
    routing_free(&a.one);
    return rc;
}

/* What the model wrote as an answer becomes the question, once on each picture. */
static int use_as_questions(struct writing *p, int64_t first)
{
    int rc;
    struct distinct seen = {0};

    TRY(distinct_new(&seen, p->n));
    for (int64_t i = first; i < p->n; i++) {
        struct written *w = &p->w[i];
        char *text;
        const int64_t before = seen.n;
        if (w->fault) continue;
        if (asprintf(&text, "%zu:%s %s", strlen(w->picture), w->picture, w->answer) < 0)
            FAIL(CL_ENOMEM, "no memory for a question");
        distinct_add(&seen, text);
        if (seen.n == before) w->fault = WRITTEN_TWICE;
        if (asprintf(&w->question, PICTURE_MARKER "\n%s", w->answer) < 0) {
            w->question = NULL;
            FAIL(CL_ENOMEM, "no memory for a question");
        }
        free(w->answer);
        w->answer = NULL;
    }
done:
    distinct_free(&seen);
    return rc;
}

/* Tokens of the longest question with its template. */
static int longest_question(const struct writing *p, int64_t *longest)
{
    const struct asking a = {.p = (struct writing *)(uintptr_t)p, .prompt = seed_question};
    int rc = CL_OK;

    *longest = 1;
    for (int64_t i = 0; i < p->n; i++) {
        struct sample s = {0};
        TRY(make_prompt(&a, i, &s));
        const int64_t n = s.prompt_n - (p->w[i].picture ? p->j->sampler.patches : 0);
        if (n > *longest) *longest = n;
        sample_free(&s);
    }
done:
    return rc;
}

int self_guide_ask(struct writing *p)
{
    int rc;
    const int64_t limit = p->j->cfg.eval.max_new_tokens;
    int64_t longest;
    const int64_t first = p->plain.n < p->n ? p->plain.n : p->n; // those about pictures

    if (!strcmp(p->j->cfg.self_guide.questions, "written")) {
        TRY(longest_question(p, &longest));
        for (int64_t i = first; i < p->n; i++) free(p->w[i].question), p->w[i].question = NULL; // the model's come
        TRY(ask(p, first, self_guide_example, longest));
        const struct spread seeds = written_spread((const char *const *)p->about.text, p->about.n);
        written_filter(p->w + first, p->n - first,
                       &(struct spread){seeds.mean - (sizeof PICTURE_MARKER "\n" - 1), seeds.deviation});
        TRY(use_as_questions(p, first));
    }
    TRY(ask(p, 0, seed_question, limit < p->answers ? limit : p->answers)); // longer ones would not be used
    written_filter(p->w, p->n, NULL);
done:
    return rc;
}
