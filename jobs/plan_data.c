/* plan_data.c - what goes through the model: lengths of the task files where they are, else what was said or the longest that
 * is allowed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/jsonfile.h"
#include "jobs/distinct.h"
#include "jobs/plan.h"
#include "jobs/task_data.h"

static bool readable(const char *path)
{
    return path && !access(path, R_OK);
}

/* Task files can be measured when all of them are there and the base's tokenizer is too. */
static bool measurable(const struct config *c)
{
    static const char *const tokenizer[] = {"tokenizer.model", "tokenizer.json"};
    bool all = c->stream.tasks > 0, tok = false;

    for (int t = 0; t < c->stream.tasks; t++)
        all = all && readable(c->stream.task[t].train) && readable(c->stream.task[t].test);
    for (int i = 0; all && i < 2; i++) {
        char *path = jsonfile_path(c->base, tokenizer[i]);
        tok = tok || readable(path);
        free(path);
    }
    return all && tok;
}

/* ---- measured */

struct sums {
    double tokens, answers, prompts, pictures;
};

/* The picture of every record of one side. */
static int count_pictures(struct plan_data *p, struct sums *s, const struct task_data *d, bool test)
{
    int rc;
    struct distinct u;

    TRY(distinct_new(&u, d->n));
    for (int64_t i = 0; i < d->n; i++) {
        struct record r = {0};
        TRY(dataset_get(d->ds, i, &r));
        if (r.image) {
            s->pictures++;
            distinct_add(&u, r.image);
            r.image = NULL; // taken over
        }
        record_free(&r);
    }
    *(test ? &p->test_pictures : &p->train_pictures) += (double)u.n;
done:
    distinct_free(&u);
    return rc;
}

/* Lengths of one side's records. */
static void add_lengths(struct plan_data *p, struct sums *s, const struct task_data *d, bool test)
{
    *(test ? &p->test : &p->train) += (double)d->n;
    for (int64_t i = 0; i < d->n; i++) {
        *(test ? &s->prompts : &s->tokens) += (double)d->length[i];
        if (!test) s->answers += (double)d->answers[i];
    }
    if (test && d->longest > p->longest_prompt) p->longest_prompt = d->longest;
    if (!test && d->longest > p->longest) p->longest = d->longest;
    if (!test && d->most_answers > p->most_answers) p->most_answers = d->most_answers;
}

static void set_means(struct plan_data *d, const struct sums *s)
{
    d->tokens = s->tokens / d->train, d->answers = s->answers / d->train, d->prompt = s->prompts / d->test;
    d->pictures = s->pictures / (d->train + d->test);
    d->measured = true;
}

static int measure_side(struct plan_data *p, struct sums *s, struct job *j, int task, bool test)
{
    int rc;
    struct task_data d;

    TRY(task_data_open(&d, j, task, test));
    add_lengths(p, s, &d, test);
    TRY(count_pictures(p, s, &d, test));
done:
    task_data_close(&d);
    return rc;
}

static int measure(struct plan *p)
{
    int rc;
    struct plan_data *d = &p->data;
    struct sums s = {0};
    struct job j = {.cfg = p->cfg};

    TRY(job_open(&j, JOB_RULES)); // records as a run would read them
    for (int t = 0; t < d->tasks; t++) {
        TRY(measure_side(d, &s, &j, t, false));
        TRY(measure_side(d, &s, &j, t, true));
    }
    set_means(d, &s);
done:
    memset(&j.cfg, 0, sizeof j.cfg); // p's
    job_close(&j);
    return rc;
}

/* Records are not read again for their pictures: each may have one of its own. */
void plan_data_of(struct plan_data *d, const struct task_data *train, const struct task_data *test, int tasks,
                  bool pictures)
{
    struct sums s = {0};

    *d = (struct plan_data){.tasks = tasks};
    for (int t = 0; t < tasks; t++) add_lengths(d, &s, &train[t], false), add_lengths(d, &s, &test[t], true);
    d->train_pictures = pictures * d->train, d->test_pictures = pictures * d->test;
    s.pictures = d->train_pictures + d->test_pictures;
    set_means(d, &s);
}

/* ---- assumed */

enum { RECORDS = 10000, TASKS = 4, ANSWER = 32 };

static void assume(struct plan *p, const struct plan_options *o)
{
    struct plan_data *d = &p->data;
    const double positions = p->base.has_vision ? p->base.vision.tokens : 0;

    d->longest = o->tokens ? o->tokens : p->cfg.stage2.max_length;
    d->most_answers = o->answers ? o->answers : d->longest / 4 < ANSWER ? d->longest / 4 : ANSWER;
    if (d->most_answers >= d->longest) d->most_answers = d->longest - 1;
    d->tokens = (double)d->longest, d->answers = (double)d->most_answers;
    d->longest_prompt = d->longest - d->most_answers;
    d->prompt = (double)d->longest_prompt;
    d->pictures = p->base.has_vision && d->prompt > positions; // a sample that short has none
    d->train = (double)d->tasks * (double)(o->samples ? o->samples : RECORDS);
    d->test = d->train / 10;
    d->train_pictures = d->pictures * d->train, d->test_pictures = d->pictures * d->test;
}

int plan_data(struct plan *p, const struct plan_options *o)
{
    int rc = CL_OK;
    struct plan_data *d = &p->data;
    bool told = o->tokens || o->answers || o->samples || o->tasks;

    *d = (struct plan_data){.tasks = o->tasks ? o->tasks : p->cfg.stream.tasks ? p->cfg.stream.tasks : TASKS};
    if (!told && measurable(&p->cfg))
        TRY(measure(p));
    else
        assume(p, o);
    d->new_tokens = fmin(d->answers, p->cfg.eval.max_new_tokens);
done:
    return rc;
}
