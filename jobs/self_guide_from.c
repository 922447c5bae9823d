/* self_guide_from.c - what samples are written from: questions of an earlier task, pictures of the new one. */
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/text.h"
#include "jobs/distinct.h"
#include "jobs/self_guide_internal.h"
#include "pool/rng.h"

static const char marker[] = PICTURE_MARKER;
enum { MARKER = sizeof marker - 1, EXAMPLES = 3 }; // seeds that are shown for a new question

void written_texts_free(struct written_texts *t)
{
    for (int64_t i = 0; i < t->n; i++) free(t->text[i]);
    mem_free(t->text);
    *t = (struct written_texts){0};
}

static int written_texts_new(struct written_texts *t, int64_t room)
{
    *t = (struct written_texts){.text = mem_new((size_t)room, sizeof *t->text)};
    return t->text ? CL_OK : err_set(CL_ENOMEM, "no memory for %lld texts", (long long)room);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* *order (n) := a random order of a task's records; to be mem_free'd. */
static int order_of(int64_t **order, const struct writing *p, int64_t n, enum rng_purpose purpose, int task, int epoch)
{
    *order = mem_new((size_t)n, sizeof **order);
    if (!*order) return err_set(CL_ENOMEM, "no memory for %lld records", (long long)n);
    rng_permutation(*order, n, (uint64_t)p->j->cfg.seed, purpose, (uint32_t)task, (uint64_t)epoch);
    return CL_OK;
}

/* The first turn of a record; malloc'ed. */
static int question_of(char **text, const struct task_data *d, int64_t i)
{
    struct record r = {0};
    int rc = dataset_get(d->ds, i, &r);

    if (!rc) *text = r.turn[0].text, r.turn[0].text = NULL;
    record_free(&r);
    return rc;
}

/* So many of the earlier task's questions that differ, of records in a random order, which is the same for every later task. */
static int take_seeds(struct writing *p)
{
    int rc;
    const struct task_data *d = &p->data[p->of];
    const int64_t most = least(p->j->cfg.self_guide.seeds, d->n);
    int64_t *order = NULL;
    struct distinct seen = {0};

    TRY(order_of(&order, p, d->n, RNG_SELF_GUIDE_SEEDS, p->of, 0));
    TRY(distinct_new(&seen, d->n));
    TRY(written_texts_new(&p->about, most));
    TRY(written_texts_new(&p->plain, most));
    for (int64_t i = 0; i < d->n && seen.n < most; i++) {
        char *text;
        TRY(question_of(&text, d, order[i]));
        distinct_add(&seen, text);
    }
    for (int64_t i = 0; i < seen.n; i++) {
        struct written_texts *to = strstr(seen.text[i], marker) ? &p->about : &p->plain;
        if (!(to->text[to->n] = strdup(seen.text[i]))) FAIL(CL_ENOMEM, "no memory for a question");
        to->n++;
    }
done:
    mem_free(order);
    distinct_free(&seen);
    return rc;
}

/* Pictures of the new task, each once, in an order that differs from one earlier task to the next. */
static int take_pictures(struct writing *p)
{
    int rc;
    const struct task_data *d = &p->data[p->task];
    const int64_t most = p->about.n ? least(p->j->cfg.replay.budget, d->n) : 0;
    int64_t *order = NULL;

    TRY(order_of(&order, p, d->n, RNG_SELF_GUIDE_PICTURES, p->task, p->of));
    TRY(written_texts_new(&p->picture, most));
    for (int64_t i = 0; i < d->n && p->picture.n < most; i++) {
        struct record r = {0};
        if (d->first[order[i]] != order[i]) continue; // another record's picture
        TRY(dataset_get(d->ds, order[i], &r));
        if (r.image) p->picture.text[p->picture.n++] = r.image;
        r.image = NULL; // taken over
        record_free(&r);
    }
done:
    mem_free(order);
    return rc;
}

/* Number i: what a seed asks, on a picture of the new task where it is about one. */
static int set_sample(struct writing *p, int64_t i)
{
    struct written *w = &p->w[i];
    int64_t picture, seed;

    if (i < p->plain.n) {
        w->question = strdup(p->plain.text[i]);
        return w->question ? CL_OK : err_set(CL_ENOMEM, "no memory for a question");
    }
    written_pair(i - p->plain.n, p->picture.n, p->about.n, &picture, &seed);
    w->question = strdup(p->about.text[seed]), w->picture = strdup(p->picture.text[picture]);
    return w->question && w->picture ? CL_OK : err_set(CL_ENOMEM, "no memory for a question");
}

int self_guide_from(struct writing *p)
{
    int rc;

    TRY(take_seeds(p));
    TRY(take_pictures(p));
    p->n = least(p->j->cfg.replay.budget, p->plain.n + p->picture.n * p->about.n); // both are numbers of records
    p->w = mem_new((size_t)p->n, sizeof *p->w);
    if (!p->w) FAIL(CL_ENOMEM, "no memory for %lld samples", (long long)p->n);
    for (int64_t i = 0; i < p->n; i++) TRY(set_sample(p, i));
done:
    return rc;
}

char *self_guide_example(const struct writing *p, int64_t i)
{
    struct text t = {0};
    int64_t picture, seed;

    written_pair(i - p->plain.n, p->picture.n, p->about.n, &picture, &seed);
    text_add(&t, "%s\nQuestions about pictures:\n", marker);
    for (int64_t k = 0; k < least(EXAMPLES, p->about.n); k++) {
        const char *s = p->about.text[(seed + k) % p->about.n], *at = strstr(s, marker), *rest = at + MARKER;
        text_add(&t, "%.*s%s\n", (int)(at - s), s, *rest == '\n' ? rest + 1 : rest);
    }
    text_add(&t, "Another question of this kind about this picture:");
    return text_take(&t);
}
