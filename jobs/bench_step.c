/* bench_step.c - a base of random weights at work: training step, forward pass, prefill, decoding.
 *
 * A sample is a picture, a prompt and an answer; each picks 4 of 8 slots. The tower and the decoder never run at once, so
 * their times add up: a step without cached features is tower + step.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/memory.h"
#include "jobs/bench.h"
#include "model/lvlm.h"
#include "mpi/ranks.h"

enum { SLOTS = 8, SELECTED = 4, RANK = 8, MOST_BATCH = 4, DECODE_STEPS = 32 };

struct step {
    struct bench *b;
    struct lvlm *m;
    const struct backend *be;
    const char *dir;
    int batch;
    struct packed_batch pack, prompts;
    struct adapter_slot slot[SLOTS];
    float coef[MOST_BATCH * SLOTS];
    struct adapters set;
    float *numbers; // A and B of every slot
    float *pixels;  // of MOST_BATCH pictures
    struct feature *feature[MOST_BATCH];
    float *nll;
    double dcoef[MOST_BATCH * SLOTS];
    struct kv_cache *kv;
    int seq[MOST_BATCH];
    int32_t token[MOST_BATCH];
};

/* ---- setting up */

static int make_slots(struct step *t)
{
    const struct bench_shape *s = t->b->shape;
    size_t one = (size_t)s->layers * (size_t)s->d * RANK, n = 2 * one * SLOTS;

    if (!(t->numbers = mem_new(n, sizeof *t->numbers))) return err_set(CL_ENOMEM, "no memory for increments");
    for (size_t i = 0; i < n; i++) t->numbers[i] = 0.01f * ((float)(i * 7919 % 1021) / 1021 - 0.5f);
    for (int i = 0; i < SLOTS; i++) {
        const float *A = t->numbers + 2 * one * (size_t)i;
        t->slot[i] = (struct adapter_slot){A, A + one, (uint64_t)i + 1};
    }
    for (int i = 0; i < MOST_BATCH; i++)
        for (int k = 0; k < SELECTED; k++) t->coef[i * SLOTS + (i + 2 * k) % SLOTS] = 1.0f / SELECTED;
    t->set = (struct adapters){SLOTS, SLOTS, RANK, t->slot, t->coef};
    return CL_OK;
}

static int make_pack(struct step *t, struct packed_batch *b, bool prompts)
{
    int rc = CL_OK;
    const struct bench_shape *s = t->b->shape;
    const int64_t P = bench_pictures_tokens(s), n = bench_tokens(s);
    struct sample one = {.n = n, .prompt_n = n - s->answer, .answers = s->answer, .picture = 1};

    one.id = mem_new((size_t)n, sizeof *one.id);
    one.label = mem_new((size_t)n, sizeof *one.label);
    if (!one.id || !one.label) FAIL(CL_ENOMEM, "no memory for a sample");
    for (int64_t i = 0; i < n; i++) {
        bool picture = i >= 1 && i <= P;
        one.id[i] = picture ? s->vocab - 1 : (int32_t)(3 + i * 7919 % (s->vocab - 8));
        one.label[i] = i >= one.prompt_n ? one.id[i] : -100;
    }
    batch_clear(b);
    for (int i = 0; i < t->batch; i++) {
        TRY(batch_add(b, &one, prompts));
        b->feature[i] = t->feature[i];
    }
done:
    mem_free(one.id), mem_free(one.label);
    return rc;
}

static int step_open(struct step *t)
{
    int rc;
    const struct bench_shape *s = t->b->shape;
    const size_t picture = 3 * (size_t)s->image * (size_t)s->image;
    const int64_t n = bench_tokens(s);
    double begun = bench_now(t->b);

    TRY(lvlm_open(&t->m, t->dir, t->be, ranks_now()->tp, true));
    TRY(bench_add(t->b, "loading", 0, bench_now(t->b) - begun, "s", YARD_NONE));
    t->pixels = mem_new(MOST_BATCH * picture, sizeof *t->pixels);
    t->nll = mem_new(MOST_BATCH * (size_t)s->answer, sizeof *t->nll);
    if (!t->pixels || !t->nll) FAIL(CL_ENOMEM, "no memory for a batch");
    for (size_t i = 0; i < MOST_BATCH * picture; i++) t->pixels[i] = (float)(i * 7919 % 1021) / 255 - 2;
    TRY(lvlm_see(t->m, t->feature, t->pixels, MOST_BATCH));
    TRY(make_slots(t));
    TRY(batch_new(&t->pack, MOST_BATCH, MOST_BATCH * n));
    TRY(batch_new(&t->prompts, MOST_BATCH, MOST_BATCH * n));
    for (int i = 0; i < MOST_BATCH; i++) t->seq[i] = i;
done:
    return rc;
}

static void let_features_go(struct step *t, int n)
{
    for (int i = 0; i < n; i++) lvlm_feature_free(t->m, t->feature[i]), t->feature[i] = NULL;
}

static void step_close(struct step *t)
{
    lvlm_kv_free(t->kv);
    batch_free(&t->pack);
    batch_free(&t->prompts);
    mem_free(t->numbers), mem_free(t->pixels), mem_free(t->nll);
    let_features_go(t, MOST_BATCH);
    lvlm_close(t->m);
}

/* ---- what is measured */

static int see(void *x)
{
    int rc;
    struct step *t = x;

    let_features_go(t, t->batch);
    TRY(lvlm_see(t->m, t->feature, t->pixels, t->batch));
    for (int i = 0; i < t->batch; i++) t->pack.feature[i] = t->prompts.feature[i] = t->feature[i];
done:
    return rc;
}

static int train(void *x)
{
    struct step *t = x;
    int rc;

    TRY(lvlm_grads_clear(t->m));
    TRY(lvlm_forward(t->m, &t->pack, &t->set, t->nll, 1.0f / (float)t->pack.rows));
    TRY(lvlm_backward(t->m, &t->pack, &t->set, t->dcoef));
done:
    return rc;
}

static int score(void *x)
{
    struct step *t = x;
    return lvlm_forward(t->m, &t->pack, &t->set, t->nll, 0);
}

static int prefill(void *x)
{
    struct step *t = x;
    return lvlm_prefill(t->m, t->kv, t->seq, &t->prompts, &t->set, NULL, t->token);
}

static int decode(void *x)
{
    struct step *t = x;
    return lvlm_decode(t->m, t->kv, t->batch, t->seq, t->token, &t->set, NULL, t->token);
}

static int measure(struct step *t, const char *what, double *best, double seconds, int (*f)(void *))
{
    int rc;
    char name[96];

    bench_profile(NULL);
    TRY(bench_best(t->b, best, seconds, f, t));
    snprintf(name, sizeof name, "%s, shape %s, %s, batch %d", what, t->b->shape->name, t->b->precision, t->batch);
    if (t->b->profile) bench_profile(name);
done:
    return rc;
}

/* Two rows: tokens per second, and useful operations as a share of the best product's rate. */
static int add_rate(struct step *t, const char *what, double tokens, double flop, double seconds)
{
    int rc;

    TRY(bench_add(t->b, what, t->batch, tokens / seconds, "tokens/s", YARD_NONE));
    TRY(bench_add(t->b, what, t->batch, flop / seconds / 1e9, "GFLOP/s", YARD_PRODUCT));
done:
    return rc;
}

static int measure_training(struct step *t)
{
    int rc;
    const struct bench_shape *s = t->b->shape;
    const double n = (double)t->batch * (double)bench_tokens(s), tower_flop = t->batch * bench_flop_tower(s),
                 forward = t->batch * bench_flop_forward(s, bench_tokens(s), s->answer),
                 both = forward + t->batch * bench_flop_backward(s, bench_tokens(s), s->answer);
    const struct lvlm_limits limits = {t->batch, t->batch * bench_tokens(s), (int64_t)t->batch * s->answer, SLOTS, RANK,
                                       true,     RECOMPUTE_NOTHING};
    double tower, step;

    TRY(lvlm_reserve(t->m, &limits));
    TRY(make_pack(t, &t->pack, false));
    memory_forget_peak();
    TRY(measure(t, "tower", &tower, t->b->seconds, see));
    TRY(measure(t, "training step", &step, t->b->seconds, train));
    TRY(bench_add(t->b, "tower", t->batch, tower_flop / tower / 1e9, "GFLOP/s", YARD_PRODUCT));
    TRY(add_rate(t, "training, cached features", n, both, step));
    TRY(add_rate(t, "training", n, both + tower_flop, step + tower));
    TRY(bench_add(t->b, "memory of a step", t->batch, (double)lvlm_step_bytes(t->m, &limits) / (1 << 20), "MiB",
                  YARD_NONE));
    TRY(bench_add(t->b, "peak resident, training", t->batch, memory_peak(), "MiB", YARD_NONE));
    TRY(measure(t, "forward", &step, t->b->seconds, score));
    TRY(add_rate(t, "forward", n, forward + tower_flop, step + tower));
done:
    return rc;
}

static int measure_generation(struct step *t)
{
    int rc;
    const struct bench_shape *s = t->b->shape;
    const int64_t prompt = bench_tokens(s) - s->answer;
    const double d = s->d, weights = (double)dtype_size(t->be->act) *
                                     (s->layers * (4 * d * d + 3 * d * s->ff) + d * s->vocab); // read for each token
    double best = 0, whole = 0;

    TRY(make_pack(t, &t->prompts, true));
    lvlm_kv_free(t->kv);
    t->kv = NULL;
    TRY(lvlm_kv_new(&t->kv, t->m, t->batch, prompt + DECODE_STEPS));
    TRY(measure(t, "prefill", &best, t->b->seconds, prefill));
    TRY(add_rate(t, "prefill, cached features", (double)(t->batch * prompt),
                 t->batch * bench_flop_forward(s, prompt, 1), best));
    bench_profile(NULL);
    for (int i = 0; i < DECODE_STEPS; i++) {
        double begun = bench_now(t->b), took;
        TRY(decode(t));
        took = bench_now(t->b) - begun;
        if (!i || took < best) best = took;
        if ((whole += took) > t->b->seconds && i >= 2) break;
    }
    if (t->b->profile) bench_profile("decode");
    TRY(bench_add(t->b, "decode", t->batch, t->batch / best, "tokens/s", YARD_NONE));
    TRY(bench_add(t->b, "decode, weights read", t->batch, weights / best / 1e9, "GB/s", YARD_READ));
done:
    return rc;
}

int bench_steps(struct bench *b, const struct backend *be, const char *dir)
{
    int rc;
    struct step t = {.b = b, .be = be, .dir = dir};

    TRY(step_open(&t));
    for (t.batch = 1; t.batch <= MOST_BATCH; t.batch *= MOST_BATCH) {
        TRY(measure_training(&t));
        TRY(bench_product_peak(b, be->act)); // again: the machine may have been busy the first time
        TRY(measure_generation(&t));
    }
done:
    step_close(&t);
    return rc;
}
