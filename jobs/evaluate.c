/* evaluate.c - questions of one task's test side to answers, answers to scores, all of it to a predictions file. */
#include "jobs/evaluate.h"

#include "io/bootstrap.h"
#include "io/clock.h"
#include "io/err.h"
#include "io/whole.h"
#include "io/path.h"
#include "io/metric.h"
#include "io/signal.h"
#include "io/text.h"
#include "jobs/generator.h"
#include "jobs/run_dir.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct place_in_line {
    int64_t first, record; // the first one with the same picture; itself
};

struct mark { // of one question
    double format_free;
    bool asked, routed;
};

struct cell {
    struct job *j;
    struct task_data *d;
    enum route_mode mode;
    const struct metric *metric, *loose; // the task's, and first_word
    const struct adapters *set;          // NULL: the base alone
    struct routing one;                  // routing of one sample
    struct place_in_line *turn;          // (n) in which order questions are asked
    int32_t *length;                     // (n) of their prompts, in that order
    int32_t *selected;                   // (n, M)
    double *weight;                      // (n, M) of the selected, intrinsic
    char **line;                         // (n) predictions, JSON
    double *scores;                      // (n) of 1
    struct mark *mark;                   // (n)
    double score;                        // of the answers so far
    int64_t done, tokens;
};

/* Task that owns the slots with the largest sum of coefficients among the selected. */
static int routed_task(const struct cell *c)
{
    const struct method_ops *ops = c->j->method->ops;
    int best = -1, T = c->j->cfg.stream.tasks;
    double most = -1;

    for (int t = 0; t < T; t++) {
        double sum = 0;
        for (int m = 0; m < c->one.M; m++)
            if (c->one.selected[m] >= 0 && ops->slot_task(c->j->method, c->one.selected[m]) == t)
                sum += c->one.intrinsic[c->one.selected[m]];
        if (sum > most) most = sum, best = t;
    }
    return best;
}

/* The owner of the slots that the task's questions belong to. */
static int home_of(const struct cell *c)
{
    const struct method_ops *ops = c->j->method->ops;

    return ops->home ? ops->home(c->j->method, c->d->task) : c->d->task;
}

static int compare_turns(const void *a, const void *b)
{
    const struct place_in_line *x = a, *y = b;

    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->record > y->record) - (x->record < y->record);
}

/* Questions on one picture are asked one after another, so that they share its keys and values (jobs/generator.h). */
static int take_turns(struct cell *c)
{
    const int64_t n = c->d->n;

    c->turn = mem_new((size_t)n, sizeof *c->turn);
    c->length = mem_new((size_t)n, sizeof *c->length);
    if (!c->turn || !c->length) return err_set(CL_ENOMEM, "no memory for %lld questions", (long long)n);
    for (int64_t i = 0; i < n; i++) c->turn[i] = (struct place_in_line){c->d->first[i], i};
    qsort(c->turn, (size_t)n, sizeof *c->turn, compare_turns);
    for (int64_t i = 0; i < n; i++) c->length[i] = c->d->length[c->turn[i].record];
    return CL_OK;
}

static int ask(void *context, int64_t at, struct prompt_item *item)
{
    int rc;
    struct cell *c = context;
    const int64_t i = c->turn[at].record;
    const float *query = task_data_query(c->d, i);
    uint64_t number = (uint64_t)i;

    if (stop_requested())
        FAIL(CL_ESTOP, "stopped while evaluating on %s; hint: the same command goes on from here", stop_reason());
    c->mark[i].asked = true;
    TRY(task_data_sample(c->d, c->j, i, true, &item->sample, &item->picture));
    if (!c->set) {
        sample_drop_prompts(&item->sample);
        return CL_OK;
    }
    TRY(job_routes(c->j, c->mode, c->d->task, &query, &number, 1, &c->one));
    memcpy(item->coef, c->one.coef, (size_t)c->set->slots * sizeof *item->coef);
    memcpy(c->selected + i * c->one.M, c->one.selected, (size_t)c->one.M * sizeof *c->selected);
    for (int m = 0; m < c->one.M; m++)
        if (c->one.selected[m] >= 0) c->weight[i * c->one.M + m] = c->one.intrinsic[c->one.selected[m]];
    if (query) c->mark[i].routed = routed_task(c) == home_of(c); // means nothing where slots have no owner
done:
    return rc;
}

static json_t *numbers(const int32_t *v, int n)
{
    json_t *a = json_array();

    for (int i = 0; i < n; i++)
        if (v[i] >= 0) json_array_append_new(a, json_integer(v[i]));
    return a;
}

/* In four decimals: what another number of ranks rounds otherwise does not show. */
static json_t *weights(const struct cell *c, int64_t i)
{
    json_t *a = json_array();

    for (int64_t k = i * c->one.M; c->set && k < (i + 1) * c->one.M; k++)
        if (c->selected[k] >= 0) json_array_append_new(a, json_real(round(1e4 * c->weight[k]) / 1e4));
    return a;
}

static int describe(struct cell *c, int64_t i, const struct record *r, const char *text, const int32_t *id, int n,
                    double score)
{
    int rc;
    char *question = NULL;
    json_t *answers = json_array(), *o;

    TRY(dataset_first_question(r, &question));
    for (int k = 0; k < r->n_answers; k++) json_array_append_new(answers, json_string(r->answers[k]));
    o = json_pack("{s:s, s:s, s:s, s:o, s:O, s:f, s:o, s:o}", "id", r->id, "question", question, "prediction", text,
                  "tokens", numbers(id, n), "answers", answers, "score", score, "selected",
                  numbers(c->selected + i * c->one.M, c->set ? c->one.M : 0), "weights", weights(c, i));
    if (o) c->line[i] = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(o);
    if (!c->line[i]) FAIL(CL_ENOMEM, "no memory for a prediction");
done:
    json_decref(answers);
    free(question);
    return rc;
}

static int take(void *context, int64_t at, const int32_t *id, int n, int64_t prompt_n)
{
    int rc;
    struct cell *c = context;
    const int64_t i = c->turn[at].record;
    struct record r = {0};
    char *text = NULL;
    double score, loose;
    char note[64];

    (void)prompt_n;
    TRY(dataset_get(c->d->ds, i, &r));
    TRY(job_decode(c->j, id, (size_t)n, &text));
    score = metric_score(c->metric, text, (const char *const *)r.answers, r.n_answers,
                         &(struct metric_options){r.question_type, r.choices, r.width, r.height});
    loose = metric_score(c->loose, text, (const char *const *)r.answers, r.n_answers, NULL);
    if (isnan(score + loose)) FAIL(CL_ENOMEM, "no memory for a score");
    c->scores[i] = score;
    c->score += score;
    c->mark[i].format_free = loose;
    c->tokens += n;
    TRY(describe(c, i, &r, text, id, n, score));
    c->done++;
    snprintf(note, sizeof note, "%.1f %%", 100 * c->score / (double)c->done);
    progress_step(c->j->log, c->done, note);
done:
    free(text);
    record_free(&r);
    return rc;
}

static int write_lines(char *const *line, int64_t n, const char *path)
{
    int rc;
    char folder[PATH_ROOM], *slash;
    struct text t = {0};

    TRY(path_print(folder, "%s", path));
    if (!(slash = strrchr(folder, '/'))) FAIL(CL_EINTERNAL, "%s: no folder to write it to", path);
    *slash = 0;
    for (int64_t i = 0; i < n; i++) text_add(&t, "%s\n", line[i]);
    if (t.failed) FAIL(CL_ENOMEM, "no memory for %lld predictions", (long long)n);
    TRY(whole_write(folder, slash + 1, t.s, t.len));
done:
    text_free(&t);
    return rc;
}

/* NaN came out: the questions that were being answered, by name. */
static int name_unanswered(const struct cell *c)
{
    char names[1024] = "";

    for (int64_t i = 0; c->line && c->mark && i < c->d->n; i++)
        if (c->mark[i].asked && !c->line[i]) task_data_add_name(c->d, i, names, sizeof names);
    return err_set(CL_ENUM, "%s (while answering %s)", err_text(), names);
}

/* In the order of records, whatever the order in which answers came. */
static void sum_up(struct cell_result *out, const struct cell *c)
{
    double score = 0, format_free = 0, n = (double)c->d->n;
    int64_t routed = 0;
    bool owned = c->set && c->j->method->ops->owns;

    for (int64_t i = 0; i < c->d->n; i++)
        score += c->scores[i], format_free += c->mark[i].format_free, routed += c->mark[i].routed;
    *out = (struct cell_result){.n = c->d->n,
                                .score = 100 * score / n,
                                .format_free = 100 * format_free / n,
                                .routed = owned && c->d->embedding ? 100 * (double)routed / n : NAN,
                                .tokens = c->tokens};
}

enum route_mode evaluate_mode(const char *word)
{
    static const struct {
        const char *word;
        enum route_mode mode;
    } modes[] = {{"oracle", ROUTE_ORACLE}, {"random", ROUTE_RANDOM}, {"mean_key", ROUTE_MEAN_KEY}};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(word, modes[i].word)) return modes[i].mode;
    return ROUTE_FREE;
}

int evaluate_task(struct cell_result *out, struct job *j, struct task_data *d, enum route_mode mode, bool adapters,
                  const char *predictions)
{
    int rc;
    double begun = clock_seconds();
    struct adapters set = {0};
    struct cell c = {
        .j = j, .d = d, .mode = mode, .metric = metric_find(d->conf->metric), .loose = metric_find("first_word")};
    struct generator_ends ends = {&c, ask, NULL, take, NULL};
    struct generator_limits lim = {.batch = j->cfg.eval.batch,
                                   .prompt_n = d->longest,
                                   .max_new_tokens = j->cfg.eval.max_new_tokens,
                                   .share = j->cfg.eval.share_prefix};
    struct bootstrap_interval b;
    size_t n = (size_t)d->n;

    if (!c.metric) FAIL(CL_ECONFIG, "metric %s is unknown; hint: cllava metric list", d->conf->metric);
    if (adapters) {
        TRY(job_adapters(j, mode, d->task, &set));
        if (set.slots) c.set = &set, lim.slots = set.slots, lim.rank = set.rank, lim.residuals = set.residuals;
    }
    TRY(job_routing_new(j, &c.one, 1));
    c.selected = mem_new(n * (size_t)c.one.M, sizeof *c.selected);
    c.weight = mem_new(n * (size_t)c.one.M, sizeof *c.weight);
    c.line = mem_new(n, sizeof *c.line);
    c.scores = mem_new(n, sizeof *c.scores);
    c.mark = mem_new(n, sizeof *c.mark);
    if (!c.selected || !c.weight || !c.line || !c.scores || !c.mark)
        FAIL(CL_ENOMEM, "no memory for %zu predictions", n);
    TRY(take_turns(&c));
    if (c.set) TRY(task_data_embed(d, j));
    TRY(crew_generate(j->crew, d->n, c.length, c.set, &lim, &ends));
    if (predictions) TRY(write_lines(c.line, d->n, predictions));
    TRY(bootstrap_mean(&b, c.scores, d->n));
    sum_up(out, &c);
    out->low = 100 * b.low, out->high = 100 * b.high;
    out->seconds = clock_seconds() - begun;
done:
    if (rc == CL_ENUM) name_unanswered(&c);
    for (size_t i = 0; c.line && i < n; i++) free(c.line[i]);
    mem_free(c.line);
    mem_free(c.scores);
    mem_free(c.mark);
    mem_free(c.selected), mem_free(c.weight);
    mem_free(c.turn), mem_free(c.length);
    routing_free(&c.one);
    return rc == CL_ESTOP ? rc : err_prefix(rc, "evaluation on %s", d->conf->name);
}
