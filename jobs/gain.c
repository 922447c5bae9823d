/* gain.c - records of one task after another, each with its whole question and with the key parts left out, forward only. */
#include "jobs/gain.h"

#include "io/err.h"
#include "io/signal.h"
#include "jobs/key_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 16 }; // records at a time, two passes each

struct asked { // one record of the window
    struct record r;
    int words; // that are left out; 0: not run
};

struct weighing {
    struct job *j;
    struct task_data *d;          // of the records' task
    const struct sample_ref *ref; // (n) of one task
    int64_t n;
    bool stops;              // when asked to: nothing would be lost
    double *gain;            // (n) out
    char **question;         // (n)
    struct key_words common; // of these questions
    struct adapters set;
    struct routing routes;                // of a window's passes
    struct asked asked[WINDOW];           // [0, n) of the window
    struct packed_batch pack[2 * WINDOW]; // of those that are run: whole, masked, whole, ..
    struct crew_micro micro[2 * WINDOW];
    int passes;
    int64_t longest, rows; // that memory is reserved for
};

double gain_of(double whole, double masked, int64_t answers)
{
    return round(1e4 * (masked - whole) / (double)answers) / 1e4;
}

static void forget(struct weighing *w)
{
    for (int k = 0; k < WINDOW; k++) record_free(&w->asked[k].r), w->asked[k].words = 0;
    for (int k = 0; k < w->passes; k++) batch_free(&w->pack[k]);
    w->passes = 0;
}

static void close_weighing(struct weighing *w)
{
    forget(w);
    for (int64_t i = 0; w->question && i < w->n; i++) free(w->question[i]);
    mem_free(w->question);
    key_words_free(&w->common);
    routing_free(&w->routes);
}

static int read_questions(struct weighing *w)
{
    int rc;

    w->question = mem_new((size_t)w->n, sizeof *w->question);
    if (!w->question) FAIL(CL_ENOMEM, "no memory for %lld questions", (long long)w->n);
    for (int64_t i = 0; i < w->n; i++) TRY(task_data_question(w->d, w->ref[i].index, &w->question[i]));
    TRY(key_words_new(&w->common, (const char *const *)w->question, w->n));
done:
    return rc;
}

/* The record as it is now, as the window's next pass. A question without its key parts may have a few tokens more than the
 * longest that is trained on. */
static int add_pass(struct weighing *w, struct record *r)
{
    int rc;
    struct sampler how = w->j->sampler;
    struct sample s = {0};
    struct packed_batch *pack = &w->pack[w->passes];

    how.max_length *= 2;
    TRY(sample_make(&s, &how, r));
    w->micro[w->passes] = (struct crew_micro){.pack = pack, .picture = (const char **)(uintptr_t)&r->image};
    w->passes++;
    TRY(batch_new(pack, 1, s.n));
    TRY(batch_add(pack, &s, 0));
done:
    sample_free(&s);
    return rc;
}

/* Record i into place k of the window: two passes, or none where there is nothing to leave out. */
static int add_record(struct weighing *w, int k, int64_t i)
{
    int rc;
    struct asked *a = &w->asked[k];
    char *masked = NULL;

    TRY(dataset_get(w->d->ds, w->ref[i].index, &a->r));
    TRY(key_parts_mask(&masked, &a->words, &w->common, w->question[i], a->r.key_parts, a->r.n_key_parts));
    if (!a->words) goto done;
    TRY(add_pass(w, &a->r));
    free(a->r.turn[0].text);
    a->r.turn[0].text = masked;
    masked = NULL;
    TRY(add_pass(w, &a->r));
done:
    free(masked);
    return rc;
}

/* Room for the window's longest. */
static int reserve(struct weighing *w)
{
    int64_t tokens = w->longest, rows = w->rows;

    for (int k = 0; k < w->passes; k++) {
        if (w->pack[k].n > tokens) tokens = w->pack[k].n;
        if (w->pack[k].rows > rows) rows = w->pack[k].rows;
    }
    if (tokens == w->longest && rows == w->rows) return CL_OK;
    w->longest = tokens, w->rows = rows;
    const struct lvlm_limits lim = lvlm_limits_of(&w->set, tokens, rows);
    return crew_reserve(w->j->crew, &lim);
}

/* Records [first, first + n). */
static int weigh_window(struct weighing *w, int64_t first, int n)
{
    int rc, odd, at = 0;

    if (w->stops && stop_requested())
        FAIL(CL_ESTOP, "stopped while weighing records on %s; hint: the same command goes on from here", stop_reason());
    for (int k = 0; k < n; k++) TRY(add_record(w, k, first + k));
    TRY(reserve(w));
    for (int k = 0; k < w->passes; k++) w->micro[k].coef = w->routes.coef + (int64_t)k * w->set.slots;
    if (w->passes) TRY(crew_score(w->j->crew, w->micro, w->passes, &w->set, &odd));
    for (int k = 0; k < n; k++) {
        const struct crew_micro *m = &w->micro[at];
        if (!w->asked[k].words) continue;
        w->gain[first + k] = gain_of(m[0].nll, m[1].nll, m[0].pack->rows);
        at += 2;
    }
done:
    forget(w);
    return rc;
}

/* gain (n) of records that are all of one task. before: records that were weighed already, for the progress line. */
static int weigh_task(double *gain, struct job *j, struct task_data *d, const struct sample_ref *ref, int64_t n,
                      int64_t before, bool stops)
{
    int rc;
    struct weighing *w = mem_new(1, sizeof *w);

    if (!w) return err_set(CL_ENOMEM, "no memory to weigh records");
    w->j = j, w->d = d, w->ref = ref, w->n = n, w->gain = gain, w->stops = stops;
    TRY(read_questions(w));
    TRY(job_route_alike(j, d->task, 2 * WINDOW, &w->set, &w->routes));
    for (int64_t i = 0; i < n; i += WINDOW) {
        TRY(weigh_window(w, i, n - i < WINDOW ? (int)(n - i) : WINDOW));
        progress_step(j->log, before + (n - i < WINDOW ? n : i + WINDOW), "");
    }
done:
    close_weighing(w);
    mem_free(w);
    return rc == CL_ESTOP ? rc : err_prefix(rc, "gains of %s", d->conf->name);
}

static int64_t count_of(const struct sample_ref *ref, int64_t n, int task)
{
    int64_t count = 0;

    for (int64_t i = 0; i < n; i++) count += ref[i].task == task;
    return count;
}

/* What came out for the n records of one earlier task. */
static int say(struct log *l, int task, int64_t step, int of, const double *gain, const bool *chosen, int64_t n)
{
    double sum = 0;
    int64_t k = 0;

    for (int64_t i = 0; i < n; i++) sum += gain[i], k += chosen[i];
    log_begin(l, "kpig");
    log_int(l, "task", task);
    log_int(l, "step", step);
    log_int(l, "of", of);
    log_int(l, "records", n);
    log_int(l, "chosen", k);
    log_num(l, "gain", n ? sum / (double)n : NAN);
    return log_end(l);
}

int gain_weigh(struct job *j, struct task_data *data, int task, int64_t step)
{
    int rc = CL_OK;
    const struct method_ops *ops = j->method->ops;
    const struct sample_ref *ref;
    int64_t n = 0, at = 0, count;
    double *gain = NULL;
    bool *chosen = NULL;

    ref = ops->kept ? ops->kept(j->method, &n) : NULL;
    if (!n) return CL_OK;
    gain = mem_new((size_t)n, sizeof *gain), chosen = mem_new((size_t)n, sizeof *chosen);
    if (!gain || !chosen) FAIL(CL_ENOMEM, "no memory for the gains of %lld records", (long long)n);
    crew_at(j->crew, "gains of earlier records in task %d %s, step %lld", task, j->cfg.stream.task[task].name,
            (long long)step);
    progress_begin(j->log, "what key parts of earlier questions tell", n, "records");
    for (int t = 0; t < task; t++, at += count) {
        count = count_of(ref, n, t);
        TRY(weigh_task(gain + at, j, &data[t], ref + at, count, at, !step));
    }
    TRY(ops->weigh(j->method, gain, chosen));
    at = 0;
    for (int t = 0; t < task; t++, at += count) {
        count = count_of(ref, n, t);
        TRY(say(j->log, task, step, t, gain + at, chosen + at, count));
    }
done:
    progress_end(j->log);
    mem_free(gain), mem_free(chosen);
    return rc;
}
