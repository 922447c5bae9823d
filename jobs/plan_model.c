/* plan_model.c - the model of one rank, opened over a backend that only counts, and run once.
 *
 * What it asks for between two calls is the memory of that kind; what passes through the clocks on top are the operations.
 * Both are what the very code of a run does, for this rank's share.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/jsonfile.h"
#include "io/safetensors.h"
#include "jobs/generator.h"
#include "jobs/plan.h"
#include "model/backend_measuring.h"
#include "model/traffic.h"
#include "model/vision.h"

struct opened {
    const struct plan *p;
    const struct plan_layout *l;
    struct tp tp;
    const struct tp *group; // &tp, or NULL alone
    const struct backend *be;
    struct lvlm *m;
    struct lvlm_limits train, answer;
    struct kv_cache *kv;
    struct feature *feature;
    struct adapters set; // slots of version 0: nothing is loaded
    struct adapter_slot *slot;
    float *coef;
};

static struct lvlm_limits widest(const struct lvlm_limits *a, const struct lvlm_limits *b)
{
    return (struct lvlm_limits){.samples = a->samples > b->samples ? a->samples : b->samples,
                                .tokens = a->tokens > b->tokens ? a->tokens : b->tokens,
                                .rows = a->rows > b->rows ? a->rows : b->rows,
                                .slots = a->slots,
                                .rank = a->rank};
}

static void set_limits(struct opened *o)
{
    const struct plan *p = o->p;
    const struct plan_data *d = &p->data;
    const double questions = ceil(d->test / d->tasks / o->l->groups); // of a task, for this group
    struct generator_limits g = {.batch = p->cfg.eval.batch,
                                 .prompt_n = d->longest_prompt,
                                 .max_new_tokens = p->cfg.eval.max_new_tokens,
                                 .slots = p->method.slots,
                                 .rank = p->method.rank};

    if (questions < g.batch) g.batch = questions < 1 ? 1 : (int)questions;
    o->answer = generator_model_limits(&g);
    if (!p->method.trains) return;
    o->train = (struct lvlm_limits){.samples = o->l->micro,
                                    .tokens = d->longest * o->l->micro,
                                    .rows = d->most_answers * o->l->micro,
                                    .slots = p->method.slots,
                                    .rank = p->method.rank,
                                    .train = true,
                                    .again = p->again};
}

/* The larger of the two kinds of passes, as lvlm_reserve takes it. */
static double step_bytes(struct opened *o, bool slots)
{
    struct lvlm_limits train = o->train, plain = widest(&o->answer, &o->train);
    size_t a, b = 0;

    if (!slots) train.slots = plain.slots = 0;
    a = lvlm_step_bytes(o->m, &plain);
    if (o->p->method.trains) b = lvlm_step_bytes(o->m, &train);
    return (double)(a > b ? a : b);
}

static int reserve(struct opened *o, bool slots)
{
    int rc;
    struct lvlm_limits train = o->train, answer = o->answer;

    if (!slots) train.slots = answer.slots = 0;
    TRY(lvlm_reserve(o->m, &answer));
    if (o->p->method.trains) TRY(lvlm_reserve(o->m, &train));
done:
    return rc;
}

static int tower_bytes(struct opened *o, double *bytes)
{
    int rc = CL_OK;
    struct safetensors *st = NULL;
    struct vision *v = NULL;
    struct measured before = backend_measured();

    *bytes = 0;
    if (!o->p->base.has_vision) return CL_OK;
    TRY(safetensors_blank(&st, o->p->weights));
    TRY(vision_open(&v, st, &o->p->base, o->be, o->group));
    *bytes = (double)(backend_measured().own - before.own);
done:
    vision_close(v);
    safetensors_close(st);
    return rc;
}

static int measure_memory(struct opened *o, struct plan_model *out)
{
    int rc;
    double opened, plain, all, numbers = (double)projections_widest(&o->p->on);
    const struct vision_config *v = &o->p->base.vision;
    const double pixels = o->p->base.has_vision ? 3.0 * v->image_size * v->image_size * sizeof(float) : 0;

    opened = (double)backend_measured().own;
    out->mapped = (double)backend_measured().mapped;
    TRY(tower_bytes(o, &out->tower));
    out->base = opened - out->tower;
    TRY(reserve(o, false));
    plain = (double)backend_measured().own - step_bytes(o, false);
    out->scratch = plain - opened;
    TRY(reserve(o, true));
    out->step = step_bytes(o, true);
    all = (double)backend_measured().own - out->step;
    // on the host: one layer's increments side by side; pixels of four pictures, as they are and cut into patches
    out->increments = all - plain;
    if (!prompt_rows(o->p->method.rank))
        out->increments += o->p->method.slots * (double)o->p->method.rank * numbers * sizeof(float);
    out->scratch += 8 * pixels;
    TRY(lvlm_kv_new(&o->kv, o->m, o->answer.samples, o->p->data.longest_prompt + o->p->cfg.eval.max_new_tokens));
    out->cache = (double)backend_measured().own - out->step - all;
done:
    return rc;
}

/* n samples of the same length: a picture where there is room for one, the rest text. */
static int fill(struct opened *o, struct packed_batch *b, int n, double tokens, double answers, bool prompts)
{
    int rc;
    const struct lvlm_config *c = &o->p->base;
    const int64_t length = (int64_t)ceil(tokens), rows = prompts ? 1 : (int64_t)ceil(answers);
    const int64_t P = c->has_vision && o->p->data.pictures > 0.5 ? c->vision.tokens : 0;
    const bool picture = P && length - rows > P;
    struct sample s = {
        .n = length, .prompt_n = prompts ? length : length - rows, .answers = rows, .picture = picture - 1};

    s.id = mem_new((size_t)length, sizeof *s.id);
    s.label = mem_new((size_t)length, sizeof *s.label);
    if (!s.id || !s.label) FAIL(CL_ENOMEM, "no memory for a sample of %lld tokens", (long long)length);
    for (int64_t i = 0; i < length; i++) {
        s.id[i] = picture && i < P ? c->image_token : c->bos >= 0 ? c->bos : 0;
        s.label[i] = i >= length - rows ? s.id[i] : -100;
    }
    TRY(batch_new(b, n, n * length));
    for (int i = 0; i < n; i++) {
        TRY(batch_add(b, &s, prompts));
        if (picture) b->feature[i] = o->feature;
    }
done:
    mem_free(s.id), mem_free(s.label);
    return rc;
}

/* Operations since the last look, and the collectives that go with them. */
static struct plan_work look(struct opened *o)
{
    struct timing t[256];
    size_t n = backend_timing_read(t, sizeof t / sizeof *t);
    struct plan_work w = plan_work_of(o->p, o->l, t, n);

    backend_timing_clear();
    return w;
}

static int run_micro(struct opened *o, struct plan_work *w)
{
    int rc;
    const struct plan_data *d = &o->p->data;
    struct packed_batch b = {0};
    double *dcoef = mem_new((size_t)o->l->micro * (size_t)(o->set.slots + 1), sizeof *dcoef);
    float *nll = NULL;

    TRY(fill(o, &b, o->l->micro, d->tokens, d->answers, false));
    nll = mem_new((size_t)b.rows, sizeof *nll);
    if (!dcoef || !nll) FAIL(CL_ENOMEM, "no memory for a batch");
    TRY(lvlm_forward(o->m, &b, &o->set, nll, 1));
    TRY(lvlm_backward(o->m, &b, &o->set, dcoef));
    *w = look(o);
    plan_work_add(w, traffic_forward(&o->p->base, o->l->tensor, b.n, b.rows, o->tp.wire));
    plan_work_add(
        w, traffic_backward(&o->p->base, o->p->on.chosen, o->l->tensor, b.n, b.rows, o->tp.wire, o->train.again));
    if (prompt_rows(o->set.rank)) plan_work_add(w, traffic_to_embeddings(&o->p->base, o->l->tensor, b.n, o->tp.wire));
done:
    batch_free(&b);
    mem_free(dcoef), mem_free(nll);
    return rc;
}

static int run_answers(struct opened *o, struct plan_model *out)
{
    int rc, *seq = NULL;
    const struct plan_data *d = &o->p->data;
    struct packed_batch b = {0};
    int32_t *token = NULL;
    int n = (int)((double)o->answer.tokens / ceil(d->prompt));

    out->prompts = n < 1 ? 1 : n > o->answer.samples ? o->answer.samples : n;
    out->sequences = o->answer.samples;
    seq = mem_new((size_t)out->sequences, sizeof *seq);
    token = mem_new((size_t)out->sequences, sizeof *token);
    if (!seq || !token) FAIL(CL_ENOMEM, "no memory for a batch");
    for (int i = 0; i < out->sequences; i++) seq[i] = i;
    TRY(fill(o, &b, out->prompts, d->prompt, 1, true));
    TRY(lvlm_prefill(o->m, o->kv, seq, &b, &o->set, NULL, token));
    out->prefill = look(o);
    plan_work_add(&out->prefill, traffic_prefill(&o->p->base, o->l->tensor, b.n, b.rows, o->tp.wire));
    for (int i = 0; i < out->sequences; i += out->prompts) { // so that every sequence has its prompt behind it
        int now = out->sequences - i < out->prompts ? out->sequences - i : out->prompts;
        batch_free(&b);
        TRY(fill(o, &b, now, d->prompt, 1, true));
        TRY(lvlm_prefill(o->m, o->kv, seq + i, &b, &o->set, NULL, token));
    }
    backend_timing_clear();
    memset(token, 0, (size_t)out->sequences * sizeof *token);
    TRY(lvlm_decode(o->m, o->kv, out->sequences, seq, token, &o->set, NULL, token));
    out->decode = look(o);
    plan_work_add(&out->decode, traffic_decode(&o->p->base, o->l->tensor, out->sequences, o->tp.wire));
done:
    batch_free(&b);
    mem_free(seq), mem_free(token);
    return rc;
}

static int run_tower(struct opened *o, struct plan_work *w)
{
    int rc;
    const struct vision_config *v = &o->p->base.vision;
    float *pixels = NULL;

    if (!o->p->base.has_vision) return CL_OK;
    pixels = mem_new(3 * (size_t)v->image_size * (size_t)v->image_size, sizeof *pixels);
    if (!pixels) FAIL(CL_ENOMEM, "no memory for a picture");
    TRY(lvlm_see(o->m, &o->feature, pixels, 1));
    *w = look(o);
    plan_work_add(w, traffic_see(&o->p->base, o->l->tensor, 1, o->tp.wire));
done:
    mem_free(pixels);
    return rc;
}

static int make_set(struct opened *o)
{
    const struct plan_method *k = &o->p->method;
    const size_t slots = (size_t)(k->slots ? k->slots : 1), samples = (size_t)widest(&o->answer, &o->train).samples;

    o->slot = mem_new(slots, sizeof *o->slot);
    o->coef = mem_new(slots * samples, sizeof *o->coef);
    o->set =
        (struct adapters){.slots = k->slots, .learned = k->learned, .rank = k->rank, .slot = o->slot, .coef = o->coef};
    return o->slot && o->coef ? CL_OK : err_set(CL_ENOMEM, "no memory for %d slots", k->slots);
}

int plan_model(struct plan_model *out, const struct plan *p, const struct plan_layout *l, int rank)
{
    int rc;
    struct opened o = {.p = p, .l = l, .tp = {rank, l->tensor, NULL, plan_wire(p)}};

    *out = (struct plan_model){0};
    o.group = l->tensor > 1 ? &o.tp : NULL;
    set_limits(&o);
    backend_measured_clear();
    backend_timing(&o.be, backend_measuring(p->act), CLOCK_MONOTONIC);
    TRY(lvlm_open_blank(&o.m, p->cfg.base, p->weights, o.be, o.group, p->method.trains));
    TRY(lvlm_adapt(o.m, p->on.chosen));
    if (!strcmp(p->cfg.eval.decode_weights, "int8")) TRY(lvlm_decode_int8(o.m));
    TRY(measure_memory(&o, out));
    TRY(make_set(&o));
    backend_timing_clear();
    TRY(run_tower(&o, &out->see));
    if (p->method.trains) TRY(run_micro(&o, &out->micro));
    TRY(run_answers(&o, out));
    // gradients of keys and values, in every thread: of a sample of mean length, so more for the longest
    out->scratch += (double)backend_measured().scratch * plan_threads(p, l) * (double)p->data.longest / p->data.tokens;
done:
    lvlm_kv_free(o.kv);
    if (o.m) lvlm_feature_free(o.m, o.feature);
    mem_free(o.slot), mem_free(o.coef);
    lvlm_close(o.m);
    return rc;
}

/* ---- what the base is */

/* As the files have them where they are there; else as config.json says; else bf16. */
static int read_weight_type(struct plan *p)
{
    static const char *const key[] = {"dtype", "torch_dtype"};
    int rc = CL_OK;
    struct safetensors *st = NULL;
    const struct st_array *a;
    json_t *root = NULL;
    struct jsonfile_at at;
    const char *name = "bfloat16";
    char *path = NULL;

    p->weights_known = true;
    if (!safetensors_open(&st, p->cfg.base) && (a = safetensors_find(st, "embed_tokens.weight"))) {
        p->weights = a->type;
        goto done;
    }
    if (!(path = jsonfile_path(p->cfg.base, "config.json"))) FAIL(CL_ENOMEM, "no memory for a path");
    TRY(jsonfile_open_object(&root, &at, path));
    p->weights_known = jsonfile_has(&at, key[0]) || jsonfile_has(&at, key[1]);
    for (int i = 0; i < 2; i++) TRY(jsonfile_text(&name, &at, key[i]));
    p->weights = !strcmp(name, "float32") ? DT_F32 : !strcmp(name, "float16") ? DT_F16 : DT_BF16;
done:
    safetensors_close(st);
    json_decref(root);
    free(path);
    return rc;
}

int plan_base(struct plan *p)
{
    int rc;
    const struct text_config *c = &p->base.text;
    const struct vision_config *v = &p->base.vision;
    double D, H, KV, F, d, f;
    unsigned chosen;

    TRY(lvlm_config_read(&p->base, p->cfg.base));
    TRY(projections_read(&chosen, p->cfg.adapter.projections));
    projections_of(&p->on, chosen, c);
    TRY(read_weight_type(p));
    p->act = strcmp(p->cfg.precision, "bf16") ? DT_F32 : DT_BF16;
    D = c->hidden, H = (double)c->heads * c->head_dim, KV = (double)c->kv_heads * c->head_dim, F = c->ffn;
    p->parameters[0] = (c->tied ? 1 : 2) * D * c->vocab + D +
                       c->layers * (2 * D * H + 2 * D * KV + 3 * D * F + 2 * D + c->attention_bias * (H + 2 * KV + D) +
                                    c->mlp_bias * (2 * F + D));
    if (p->base.has_vision) {
        d = v->hidden, f = v->ffn;
        p->parameters[1] = v->layers * (4 * d * d + 2 * d * f + 9 * d + f) +
                           d * (3.0 * v->patch * v->patch + v->tokens + !v->keep_cls + 1 + 4);
        p->parameters[2] = D * (d + D) + p->base.projector_bias * 2 * D;
    }
done:
    return rc;
}
