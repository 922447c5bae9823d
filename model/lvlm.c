/* lvlm.c - the life of a model: opening, this rank's share, the memory of a step.
 *
 * How much a step needs is not computed by a second set of formulas that could drift from the code: the step itself runs
 * once over a backend whose operations do nothing, with an arena that only counts.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PICTURES_AT_ONCE = 4 }; // through the tower: enough rows to fill the cores, little scratch

static int share(struct lvlm *m)
{
    const struct text_config *c = &m->c.text;
    int64_t first, n;

    tp_shard(&first, &n, c->kv_heads, m->tp); // whole KV heads; query heads go with theirs
    if (n == 0)
        return err_set(
            CL_ECONFIG,
            "parallel.tensor: %d ranks share %d key/value heads (got more ranks than heads); hint: use at most %d",
            m->tp->size, c->kv_heads, c->kv_heads);
    m->kv_head0 = first, m->kv_heads = (int)n;
    m->head0 = first * (c->heads / c->kv_heads), m->heads = (int)(n * (c->heads / c->kv_heads));
    m->D = c->hidden;
    m->H = (int64_t)m->heads * c->head_dim, m->KV = (int64_t)m->kv_heads * c->head_dim;
    tp_shard(&first, &m->F, c->ffn, m->tp);
    return CL_OK;
}

/* weights: of the folder, or NULL: zeros of the type. */
static int open_model(struct lvlm **out, const char *dir, const char *weights, enum dtype type,
                      const struct backend *be, const struct tp *tp, bool train)
{
    int rc;
    struct lvlm *m = mem_new(1, sizeof *m);

    if (!m) return err_set(CL_ENOMEM, "no memory for a model");
    m->be = be, m->tp = tp, m->train = train;
    TRY(lvlm_config_read(&m->c, dir));
    TRY(weights ? safetensors_open(&m->st, weights) : safetensors_blank(&m->st, type));
    TRY(share(m));
    if (!(m->act = mem_new((size_t)m->c.text.layers + 1, sizeof *m->act))) FAIL(CL_ENOMEM, "no memory for a model");
    TRY(weights_load(m));
    if (m->c.has_vision) TRY(vision_open(&m->vision, m->st, &m->c, be));
    *out = m;
    return CL_OK;
done:
    lvlm_close(m);
    return err_prefix(rc, "base %s", dir);
}

int lvlm_open(struct lvlm **m, const char *dir, const struct backend *be, const struct tp *tp, bool train)
{
    return open_model(m, dir, dir, DT_F32, be, tp, train);
}

int lvlm_open_blank(struct lvlm **m, const char *dir, enum dtype type, const struct backend *be, const struct tp *tp,
                    bool train)
{
    return open_model(m, dir, NULL, type, be, tp, train);
}

void lvlm_close(struct lvlm *m)
{
    if (!m) return;
    weights_free(m);
    bank_free(m);
    if (m->vision) vision_close(m->vision);
    safetensors_close(m->st);
    if (m->arena.base) m->be->free(m->arena.base);
    if (m->rope_cos) m->be->free(m->rope_cos);
    if (m->rope_sin) m->be->free(m->rope_sin);
    mem_free(m->act);
    mem_free(m->id);
    mem_free(m->row_pos);
    mem_free(m);
}

const struct lvlm_config *lvlm_get_config(const struct lvlm *m)
{
    return &m->c;
}

const char *lvlm_hash(struct lvlm *m)
{
    if (!m->hash[0]) snprintf(m->hash, sizeof m->hash, "%016llx", (unsigned long long)safetensors_hash(m->st));
    return m->hash;
}

size_t lvlm_weight_bytes(const struct lvlm *m)
{
    return weights_bytes(m) + (m->vision ? vision_weight_bytes(m->vision) : 0);
}

/* cos and sin of every position up to `positions`, in float as the reference computes its angles. */
int rope_reserve(struct lvlm *m, int64_t positions)
{
    int rc;
    int half = m->c.text.head_dim / 2;
    size_t bytes = (size_t)(positions * half) * sizeof(float);
    double *inv = mem_new((size_t)half, sizeof *inv);
    float *cos_t = mem_new(1, bytes), *sin_t = mem_new(1, bytes);

    if (positions <= m->rope_positions) {
        rc = CL_OK;
        goto done;
    }
    if (!inv || !cos_t || !sin_t) FAIL(CL_ENOMEM, "no memory for %lld positions", (long long)positions);
    lvlm_rope_frequencies(inv, &m->c.text);
    for (int64_t p = 0; p < positions; p++)
        for (int i = 0; i < half; i++) {
            float angle = (float)p * (float)inv[i];
            cos_t[p * half + i] = (float)cos((double)angle);
            sin_t[p * half + i] = (float)sin((double)angle);
        }
    if (m->rope_cos) m->be->free(m->rope_cos);
    if (m->rope_sin) m->be->free(m->rope_sin);
    m->rope_positions = 0;
    m->rope_cos = m->be->alloc(bytes);
    m->rope_sin = m->be->alloc(bytes);
    if (!m->rope_cos || !m->rope_sin) FAIL(CL_ENOMEM, "no memory for %lld positions", (long long)positions);
    TRY(m->be->upload(m->rope_cos, cos_t, bytes));
    TRY(m->be->upload(m->rope_sin, sin_t, bytes));
    m->rope_positions = positions;
    rc = CL_OK;
done:
    mem_free(inv);
    mem_free(cos_t);
    mem_free(sin_t);
    return rc;
}

size_t lvlm_step_bytes(struct lvlm *m, const struct lvlm_limits *l)
{
    const struct backend *be = m->be;
    struct arena kept = m->arena;
    struct adapter_bank bank = m->bank;
    struct vision *vision = m->vision;
    struct packed_batch b = {0};
    struct adapters ad = {.slots = l->slots, .learned = l->slots, .rank = l->rank};
    struct pass p = {.b = &b, .ad = l->slots ? &ad : NULL, .save = l->train, .rows_only = true};
    struct tensor *none = mem_new((size_t)m->c.text.layers, sizeof *none); // increments that nobody looks at
    size_t peak = SIZE_MAX;

    if (!none || batch_new(&b, l->samples, l->tokens)) goto done;
    b.samples = l->samples, b.n = l->tokens;
    b.rows = l->rows < l->tokens ? l->rows : l->tokens;
    b.pictures = vision ? l->samples : 0;
    m->bank = (struct adapter_bank){
        .slots = l->slots, .learned = l->slots, .rank = l->rank, .A = none, .B = none, .dA = none, .dB = none};
    m->be = backend_measuring(be->act);
    m->arena = (struct arena){0};
    m->vision = NULL;
    decoder_measure(m, &p);
    b.n = b.rows = l->samples; // decoding: every sequence one row, none left out of the last layer
    b.pictures = 0;
    p.save = p.rows_only = false;
    decoder_measure(m, &p);
    peak = m->arena.peak;
    m->be = be, m->arena = kept, m->bank = bank, m->vision = vision;
done:
    batch_free(&b);
    mem_free(none);
    return peak;
}

static void widen(struct lvlm_limits *l, const struct lvlm_limits *want)
{
    if (want->samples > l->samples) l->samples = want->samples;
    if (want->tokens > l->tokens) l->tokens = want->tokens;
    if (l->tokens < l->samples) l->tokens = l->samples;
    if (want->rows > l->rows) l->rows = want->rows;
    if (l->rows < l->samples) l->rows = l->samples;
    if (want->slots > l->slots) l->slots = want->slots;
    if (want->slots) l->rank = want->rank;
    l->train |= want->train;
}

/* Host arrays and tables of a step, the same for both kinds. */
static int reserve_tables(struct lvlm *m, const struct lvlm_limits *l)
{
    int rc;

    mem_free(m->id), mem_free(m->row_pos);
    m->id = mem_new((size_t)l->tokens, sizeof *m->id);
    m->row_pos = mem_new((size_t)l->rows, sizeof *m->row_pos);
    if (!m->id || !m->row_pos) FAIL(CL_ENOMEM, "no memory for a step of %lld tokens", (long long)l->tokens);
    TRY(rope_reserve(m, l->tokens));
    if (l->slots) TRY(bank_reserve(m, l->slots, l->rank));
    if (m->vision) TRY(vision_reserve(m->vision, PICTURES_AT_ONCE, l->samples));
done:
    return rc;
}

int lvlm_reserve(struct lvlm *m, const struct lvlm_limits *want)
{
    int rc;
    struct lvlm_limits plain = m->limits, train = m->train_limits, same = *want;
    size_t bytes, train_bytes = 0;

    if (want->train && !m->train) FAIL(CL_EINTERNAL, "model was opened without train");
    same.train = false;
    widen(&plain, &same);
    if (want->train) widen(&train, want);
    TRY(reserve_tables(m, &plain));
    bytes = lvlm_step_bytes(m, &plain);
    if (train.train) train_bytes = lvlm_step_bytes(m, &train);
    if (train_bytes > bytes) bytes = train_bytes;
    if (bytes > m->arena.size) {
        if (m->arena.base) m->be->free(m->arena.base);
        m->arena = (struct arena){.base = m->be->alloc(bytes), .size = bytes};
    }
    if (!m->arena.base) {
        m->arena.size = 0;
        FAIL(CL_ENOMEM,
             "no memory for a step of %lld tokens (%.1f GiB); hint: lower stage2.micro_batch or stage2.max_length",
             (long long)plain.tokens, (double)bytes / (1 << 30));
    }
    m->limits = plain, m->train_limits = train;
    rc = CL_OK;
done:
    return rc;
}

size_t lvlm_feature_bytes(const struct lvlm *m)
{
    return (size_t)m->c.vision.tokens * (size_t)m->c.vision.hidden * dtype_size(m->be->act);
}

static int feature_new(struct lvlm *m, struct feature **f)
{
    *f = mem_new(1, sizeof **f);
    if (*f && ((*f)->data = m->be->alloc(lvlm_feature_bytes(m)))) return CL_OK;
    mem_free(*f);
    *f = NULL;
    return err_set(CL_ENOMEM, "no memory for the features of a picture; hint: lower image.cache_mib");
}

int lvlm_see(struct lvlm *m, struct feature **feature, const float *pixels, int n)
{
    const struct vision_config *v = &m->c.vision;
    size_t numbers = (size_t)3 * (size_t)v->image_size * (size_t)v->image_size;
    int rc = CL_OK, made = 0;

    if (!m->vision) return err_set(CL_EMISMATCH, "the base has no vision tower, but a sample has a picture");
    for (; made < n; made++) TRY(feature_new(m, &feature[made]));
    for (int i = 0; i < n; i++)
        TRY(vision_tower(m->vision, tensor_of(feature[i]->data, m->be->act, v->tokens, v->hidden),
                         pixels + (size_t)i * numbers, 1));
done:
    for (int i = 0; rc && i < made; i++) lvlm_feature_free(m, feature[i]), feature[i] = NULL;
    return rc;
}

void lvlm_feature_free(struct lvlm *m, struct feature *f)
{
    if (!f) return;
    m->be->free(f->data);
    mem_free(f);
}

int lvlm_load(struct lvlm *m, const struct adapters *ad)
{
    return bank_load(m, ad);
}

int lvlm_coef_reduce(struct lvlm *m, double *dcoef, int64_t n)
{
    (void)m, (void)dcoef, (void)n;
    return CL_OK;
}

int lvlm_follow(const struct tp *tp)
{
    (void)tp;
    return CL_OK;
}

int lvlm_release(const struct tp *tp)
{
    (void)tp;
    return CL_OK;
}

int lvlm_find_nonfinite(struct lvlm *m, char *text, size_t room)
{
    (void)m, (void)room;
    *text = 0;
    return CL_OK;
}
