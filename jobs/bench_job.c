/* bench_job.c - the program's own paths, with a job opened as the commands open it: evaluation of questions with short answers,
 * and over several ranks training steps, forward passes and generation.
 *
 * Of P ranks all are one group first, then each is a group of its own. Pictures are read from files; with `cached features` the
 * same ones come again in every step.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "io/memory.h"
#include "jobs/bench_work.h"
#include "jobs/evaluate.h"
#include "jobs/stage.h"
#include "mpi/ranks.h"

enum { RECORDS = 64, FEW_RECORDS = 8, SHARING = 4, NEW_TOKENS = 16 };
/* Three sides of the stream: a picture for each question, four questions about each, and one question to begin with. One task
 * has slots. */
enum { OWN, SHARED, FIRST, SIDES };
static const struct bench_pool pool = {.tasks = SIDES, .slots = 8, .rank = 8, .selected = 4};

struct work {
    struct bench *b;
    const char *base, *data;
    char layout[40]; // ", 2 as one group", behind a row's name
    int tensor;      // ranks of a group
    struct job j;
    struct task_data train[SIDES], side[SIDES];
    struct trainer t;
    int64_t step;
};

/* cache: of pictures' features, MiB; 0: only those of the last step stay. */
static int open_job(struct work *w, unsigned parts, int64_t cache)
{
    int rc;
    struct bench *b = w->b;

    TRY(bench_config(&w->j.cfg, &pool, w->base, w->data, b->precision, b->sets, b->n_sets));
    w->j.cfg.parallel.tensor = w->tensor;
    w->j.cfg.image.cache_mib = cache;
    TRY(job_open(&w->j, parts));
    TRY(w->j.method->ops->begin_task(w->j.method, 0, RECORDS));
    for (int i = 0; i < SIDES; i++) TRY(task_data_open(&w->side[i], &w->j, i, true));
done:
    return rc;
}

static void close_job(struct work *w)
{
    trainer_close(&w->t);
    task_data_close(&w->train[0]);
    for (int i = 0; i < SIDES; i++) task_data_close(&w->side[i]);
    job_close(&w->j);
}

static int add(struct work *w, const char *what, int batch, double value, const char *unit, enum bench_yardstick yard)
{
    char name[96];

    snprintf(name, sizeof name, "%.25s%s", what, w->layout);
    return bench_add(w->b, name, batch, value, unit, yard);
}

/* ---- answers */

/* Seconds of n questions of d, answers of so many tokens at most; *tokens: that came. */
static int ask(struct work *w, struct task_data *d, int64_t n, int new_tokens, int at_once, double *seconds,
               int64_t *tokens)
{
    int rc;
    struct cell_result r;
    const int64_t all = d->n;
    const double begun = bench_now(w->b);

    w->j.cfg.eval.max_new_tokens = new_tokens, w->j.cfg.eval.batch = at_once;
    d->n = n < all ? n : all;
    TRY(evaluate_task(&r, &w->j, d, ROUTE_FREE, true, NULL));
    *seconds = bench_now(w->b) - begun;
    *tokens = r.tokens;
done:
    d->n = all;
    return rc;
}

static int evaluation(struct work *w)
{
    int rc;
    static const char *const name[] = {[OWN] = "evaluation, own picture", [SHARED] = "evaluation, 4 a picture"};
    const int batch = w->j.cfg.eval.batch, new_tokens = w->j.cfg.eval.max_new_tokens;
    const int64_t n = w->b->samples ? w->b->samples : w->b->shape->d < 2048 ? RECORDS : FEW_RECORDS;
    double seconds;
    int64_t tokens;

    TRY(ask(w, &w->side[FIRST], 1, new_tokens, batch, &seconds, &tokens)); // what is done once
    memory_forget_peak();
    for (int i = OWN; i <= SHARED; i++) {
        TRY(ask(w, &w->side[i], n, new_tokens, batch, &seconds, &tokens));
        TRY(add(w, name[i], batch, (double)n / seconds, "samples/s", YARD_NONE));
    }
    TRY(add(w, "peak, evaluation", batch, memory_peak(), "MiB", YARD_NONE));
done:
    return rc;
}

static int generation(struct work *w, int batch)
{
    int rc;
    const int64_t n = (int64_t)batch * crew_groups(w->j.crew);
    struct task_data *d = &w->side[OWN];
    double first, prefill = INFINITY, whole = INFINITY, took;
    int64_t few, many;

    TRY(ask(w, d, n, 1, batch, &first, &few)); // their features stay
    for (int i = 0; i < 2; i++) {
        TRY(ask(w, d, n, 1, batch, &took, &few));
        prefill = fmin(prefill, took);
        TRY(ask(w, d, n, 1 + NEW_TOKENS, batch, &took, &many));
        whole = fmin(whole, took);
    }
    if (w->b->groups & BENCH_PREFILL)
        TRY(add(w, "prefill, cached features", batch, (double)(n * d->longest) / prefill, "tokens/s", YARD_NONE));
    if (w->b->groups & BENCH_DECODE)
        TRY(add(w, batch == 1 ? "decode, one sequence" : "decode", batch, (double)(many - few) / (whole - prefill),
                "tokens/s", YARD_NONE));
    rc = CL_OK;
done:
    return rc;
}

/* ---- training steps of several ranks */

static int train(void *x)
{
    struct work *w = x;
    double lr;
    struct step_report report;

    return stage2_step(&w->t, w->step++, &lr, &report);
}

static int score(void *x)
{
    int rc, odd;
    struct work *w = x;
    struct adapters set;

    TRY(w->j.method->ops->adapters(w->j.method, ROUTE_TRAIN, 0, &set));
    TRY(crew_score(w->j.crew, w->t.now.micro, w->t.now.micros, &set, &odd));
done:
    return rc;
}

static int open_trainer(struct work *w, int batch, int64_t records)
{
    int rc;

    trainer_close(&w->t);
    task_data_close(&w->train[0]);
    w->j.cfg.stage2.micro_batch = batch, w->j.cfg.stage2.batch = batch * crew_groups(w->j.crew);
    w->j.cfg.data.limit = records;
    TRY(task_data_open(&w->train[0], &w->j, 0, false));
    TRY(task_data_embed(&w->train[0], &w->j));
    TRY(trainer_open(&w->t, &w->j, w->train, 0));
    w->step = 0;
done:
    return rc;
}

static int add_training(struct work *w, const char *what, int batch, double flop, double seconds)
{
    int rc;

    TRY(add(w, what, batch, (double)w->t.now.tokens / seconds, "tokens/s", YARD_NONE));
    TRY(add(w, what, batch, flop / seconds / 1e9, "GFLOP/s", YARD_PRODUCT));
done:
    return rc;
}

static int training(struct work *w, int batch)
{
    int rc;
    const struct bench_shape *s = w->b->shape;
    const int64_t n = bench_tokens(s), samples = (int64_t)batch * crew_groups(w->j.crew);
    const double forward = (double)samples * bench_flop_forward(s, n, s->answer),
                 both = forward + (double)samples * bench_flop_backward(s, n, s->answer),
                 tower = (double)samples * bench_flop_tower(s);
    double best;

    if (w->b->groups & BENCH_TRAINING) {
        TRY(open_trainer(w, batch, 0));
        TRY(bench_best(w->b, &best, w->b->seconds, train, w));
        TRY(add_training(w, "training", batch, both + tower, best));
    }
    TRY(open_trainer(w, batch, samples));
    TRY(train(w)); // the pictures' features stay
    if (w->b->groups & BENCH_TRAINING) {
        TRY(bench_best(w->b, &best, w->b->seconds, train, w));
        TRY(add_training(w, "training, cached features", batch, both, best));
    }
    if (!(w->b->groups & BENCH_FORWARD)) goto done;
    TRY(bench_best(w->b, &best, w->b->seconds, score, w));
    TRY(add_training(w, "forward, cached features", batch, forward, best));
done:
    return rc;
}

static int train_and_score(struct work *w)
{
    int rc;

    TRY(open_job(w, JOB_MODEL | JOB_METHOD | JOB_TRAIN, 0));
    for (int i = 0; i < w->b->batches; i++) TRY(training(w, w->b->batch[i]));
done:
    close_job(w);
    return rc;
}

static int answer(struct work *w, bool generate)
{
    int rc;

    TRY(open_job(w, JOB_MODEL | JOB_METHOD, 1024));
    if (w->b->groups & BENCH_EVALUATION) TRY(evaluation(w));
    for (int i = 0; generate && i < w->b->batches; i++) TRY(generation(w, w->b->batch[i]));
    rc = CL_OK;
done:
    close_job(w);
    return rc;
}

/* All that is wanted of one layout of the ranks. One process generates here too where settings were given: bench_steps does so
 * without any. */
static int layout(struct work *w, int tensor)
{
    int rc = CL_OK;
    const unsigned groups = w->b->groups;
    const bool several = ranks_size() > 1,
               generate = (several || w->b->n_sets) && groups & (BENCH_PREFILL | BENCH_DECODE);

    w->tensor = tensor;
    if (several)
        snprintf(w->layout, sizeof w->layout, ", tensor %d of %d", tensor, ranks_size());
    else if (w->b->n_sets)
        snprintf(w->layout, sizeof w->layout, ", as set");
    if (several && groups & (BENCH_TRAINING | BENCH_FORWARD)) TRY(train_and_score(w));
    if (generate || groups & BENCH_EVALUATION) TRY(answer(w, generate));
done:
    return rc;
}

int bench_jobs(struct bench *b, const char *dir)
{
    int rc;
    char *data = NULL;
    struct work w = {.b = b, .base = dir};

    TRY(bench_folder_make(&data));
    TRY(bench_data_write(data, b->shape, RECORDS, SHARING));
    w.data = data;
    if (ranks_size() > 1) TRY(layout(&w, ranks_size()));
    TRY(layout(&w, 1));
done:
    bench_model_remove(data);
    return rc;
}
