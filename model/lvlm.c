/* lvlm.c - the life of a model: opening, this rank's share, the memory of a step.
 *
 * How much a step needs is not computed by a second set of formulas that could drift from the code: the step itself runs
 * once over a backend whose operations do nothing, with an arena that only counts.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <math.h>
#include <stdio.h>

const char *const recompute_name[RECOMPUTES] = {"keep", "recompute_mlp", "recompute_layer"};

/* What needs no weight: config.json, this rank's share, the tables of layers. */
static int open_shape(struct lvlm *m, const struct lvlm_config *c)
{
    int rc;

    m->c = *c, m->D = c->text.hidden;
    projections_of(&m->on, PROJECTIONS_DEFAULT, &c->text);
    TRY(share_of(&m->own, c, m->tp));
    m->act = mem_new((size_t)c->text.layers + 1, sizeof *m->act);
    m->layer = mem_new((size_t)c->text.layers, sizeof *m->layer);
    if (!m->act || !m->layer) FAIL(CL_ENOMEM, "no memory for a model of %d layers", c->text.layers);
    rc = CL_OK;
done:
    return rc;
}

/* What each rank hashed of the files becomes the sum of all. */
static int add_hashes(struct lvlm *m)
{
    int rc;
    const int ranks = m->tp ? m->tp->size : 1;
    uint64_t *sum = mem_new((size_t)ranks, sizeof *sum);

    if (!sum) FAIL(CL_ENOMEM, "no memory for %d hashes", ranks);
    TRY(comm_gather(comm_of(m), sum, &m->hash_sum, sizeof *sum));
    m->hash_sum = 0;
    for (int i = 0; i < ranks; i++) m->hash_sum += sum[i];
done:
    mem_free(sum);
    return rc;
}

static int load(struct lvlm *m)
{
    int rc;

    if (!(m->hashed = mem_new(safetensors_count(m->st), sizeof *m->hashed))) FAIL(CL_ENOMEM, "no memory for a model");
    TRY(weights_load(m));
    if (m->c.has_vision) TRY(vision_open(&m->vision, m->st, &m->c, m->be, m->tp));
    if (m->vision) m->read += vision_read_bytes(m->vision);
    if (!(m->read_by = mem_new((size_t)(m->tp ? m->tp->size : 1), sizeof *m->read_by)))
        FAIL(CL_ENOMEM, "no memory for a model");
    // the first exchange: a rank that cannot read its share is missed here, not in the middle of a step
    TRY(comm_gather(comm_of(m), m->read_by, &m->read, sizeof m->read));
    TRY(add_hashes(m));
done:
    return rc;
}

/* weights: of the folder, or NULL: zeros of the type. */
static int open_model(struct lvlm **out, const char *dir, const char *weights, enum dtype type,
                      const struct backend *be, const struct tp *tp, bool train)
{
    int rc;
    struct lvlm_config c;
    struct lvlm *m = mem_new(1, sizeof *m);

    if (!m) return err_set(CL_ENOMEM, "no memory for a model");
    m->be = be, m->tp = tp, m->train = train;
    TRY(lvlm_config_read(&c, dir));
    TRY(open_shape(m, &c));
    TRY(weights ? safetensors_open(&m->st, weights) : safetensors_blank(&m->st, type));
    TRY(follow_open(m, dir)); // what is wrong up to here the leader finds for all
    TRY(follow_done(m, load(m)));
    m->opened = true;
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
    if (m->opened) follow_done(m, follow_close(m));
    weights_free(m);
    bank_free(m), prompts_free(m), residual_free(m);
    head_free(m), head_free_other(m, &m->teacher.at), listen_free(m);
    span_free(m);
    if (m->vision) vision_close(m->vision);
    safetensors_close(m->st);
    if (m->arena.base) m->be->free(m->arena.base);
    if (m->rope_cos) m->be->free(m->rope_cos);
    if (m->rope_sin) m->be->free(m->rope_sin);
    mem_free(m->act), mem_free(m->layer);
    mem_free(m->id), mem_free(m->row_pos);
    mem_free(m->features.at), mem_free(m->caches.at);
    mem_free(m->dcoef), mem_free(m->allowed), mem_free(m->read_by), mem_free(m->hashed);
    message_free(&m->say);
    mem_free(m);
}

int numbered_add(struct numbered *t, void *p, int64_t *id)
{
    void **more;

    for (*id = 0; *id < t->room && t->at[*id]; ++*id) continue;
    if (*id == t->room) {
        more = mem_grow(t->at, (size_t)t->room, (size_t)(2 * t->room + 16), sizeof *t->at);
        if (!more) return err_set(CL_ENOMEM, "no memory for a list of %lld", (long long)(2 * t->room + 16));
        t->at = more, t->room = 2 * t->room + 16;
    }
    t->at[*id] = p;
    return CL_OK;
}

void numbered_drop(struct numbered *t, int64_t id)
{
    t->at[id] = NULL;
}

int lvlm_adapt(struct lvlm *m, unsigned chosen)
{
    int rc;

    if (m->limits.tokens) FAIL(CL_EINTERNAL, "increments of other maps than those that memory was laid out for");
    TRY(follow_adapt(m, chosen));
    projections_of(&m->on, chosen, &m->c.text);
    rc = CL_OK;
done:
    return follow_done(m, rc);
}

const struct projections *lvlm_get_projections(const struct lvlm *m)
{
    return &m->on;
}

const struct lvlm_config *lvlm_get_config(const struct lvlm *m)
{
    return &m->c;
}

/* Matrices were hashed while they were read; what is left (the embedding table, the tower, what nobody loads) is little, or all
 * of it where products use the mapped files themselves. */
const char *lvlm_hash(struct lvlm *m)
{
    uint64_t sum = m->hash_sum;

    if (m->hash[0]) return m->hash;
    for (size_t i = 0; i < safetensors_count(m->st); i++) {
        if (m->hashed[i]) continue;
        sum += safetensors_hash_array(safetensors_at(m->st, i));
        safetensors_forget(safetensors_at(m->st, i));
    }
    snprintf(m->hash, sizeof m->hash, "%016llx", (unsigned long long)sum);
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

int64_t lvlm_read_bytes(const struct lvlm *m, int rank)
{
    return m->read_by[rank];
}

static void widen(struct lvlm_limits *l, const struct lvlm_limits *want)
{
    const int inc = l->slots - l->residuals, theirs = want->slots - want->residuals;

    if (want->samples > l->samples) l->samples = want->samples;
    if (want->tokens > l->tokens) l->tokens = want->tokens;
    if (l->tokens < l->samples) l->tokens = l->samples;
    if (want->rows > l->rows) l->rows = want->rows;
    if (l->rows < l->samples) l->rows = l->samples;
    if (want->residuals > l->residuals) l->residuals = want->residuals;
    l->slots = (theirs > inc ? theirs : inc) + l->residuals;
    if (want->slots) l->rank = want->rank;
    l->train |= want->train;
    if (want->train) l->again = want->again;
}

/* Host arrays of a step. */
static int host_tables(struct lvlm *m, const struct lvlm_limits *l)
{
    int rc;

    mem_free(m->id), mem_free(m->row_pos);
    m->id = mem_new((size_t)l->tokens, sizeof *m->id);
    m->row_pos = mem_new((size_t)l->rows, sizeof *m->row_pos);
    if (!m->id || !m->row_pos) FAIL(CL_ENOMEM, "no memory for a step of %lld tokens", (long long)l->tokens);
    TRY(head_reserve(m, l->rows));
done:
    return rc;
}

/* Runs the passes of such limits on a model without weights. */
static int measure(struct lvlm *m, const struct lvlm_limits *l, size_t *bytes)
{
    int rc;
    struct packed_batch b = {0};
    const int slots = l->slots - l->residuals;
    struct adapters ad = {.slots = slots, .learned = slots, .rank = l->rank};
    struct pass p = {.b = &b, .ad = slots ? &ad : NULL, .save = l->train, .again = l->again, .rows_only = true};
    struct tensor *none = mem_new((size_t)m->c.text.layers, sizeof *none); // increments that nobody looks at

    if (!none) FAIL(CL_ENOMEM, "no memory for %d layers", m->c.text.layers);
    TRY(batch_new(&b, l->samples, l->tokens));
    b.samples = l->samples, b.n = l->tokens;
    b.rows = l->rows < l->tokens ? l->rows : l->tokens;
    b.pictures = m->c.has_vision ? l->samples : 0;
    m->bank = (struct adapter_bank){.slots = slots, .learned = slots, .rank = l->rank};
    for (int i = 0; i < PROJECTIONS; i++) m->bank.A[i] = m->bank.B[i] = m->bank.dA[i] = m->bank.dB[i] = none;
    TRY(decoder_measure(m, &p));
    b.n = b.rows = l->samples; // decoding: every sequence one row, none left out of the last layer
    b.pictures = 0;
    p.save = p.rows_only = false;
    TRY(decoder_measure(m, &p));
    *bytes = m->arena.peak;
done:
    batch_free(&b);
    mem_free(none);
    return rc;
}

size_t lvlm_step_bytes_of(const struct lvlm_config *c, unsigned chosen, enum dtype act, const struct tp *tp,
                          const struct lvlm_limits *l)
{
    size_t bytes = SIZE_MAX;
    struct tp silent = tp ? (struct tp){.rank = tp->rank, .size = tp->size} : (struct tp){.size = 1};
    struct lvlm_limits at_least = {0};
    struct lvlm *m = mem_new(1, sizeof *m);

    widen(&at_least, l);
    if (m) m->be = backend_measuring(act), m->tp = &silent;
    if (m && !open_shape(m, c)) {
        projections_of(&m->on, chosen, &c->text);
        if (!host_tables(m, &at_least) && measure(m, &at_least, &bytes)) bytes = SIZE_MAX;
    }
    if (m) mem_free(m->act), mem_free(m->layer), mem_free(m->id), mem_free(m->row_pos), head_free(m);
    mem_free(m);
    return bytes;
}

size_t lvlm_step_bytes(struct lvlm *m, const struct lvlm_limits *l)
{
    return lvlm_step_bytes_of(&m->c, m->on.chosen, m->be->act, m->tp, l);
}

/* Host arrays and tables of a step, the same for both kinds; scratch of sums. */
static int reserve_tables(struct lvlm *m, const struct lvlm_limits *l)
{
    int rc;
    const int slots = l->slots - l->residuals;

    TRY(host_tables(m, l));
    TRY(span_reserve(m, l));
    TRY(rope_reserve(m, l->tokens));
    if (slots && prompt_rows(l->rank))
        TRY(prompts_reserve(m, slots, prompt_rows(l->rank)));
    else if (slots)
        TRY(bank_reserve(m, slots, l->rank));
    TRY(residual_reserve(m, l));
    if (m->vision) TRY(vision_reserve(m->vision, PICTURES_AT_ONCE, l->samples));
    TRY(comm_reserve(comm_of(m), l->tokens * m->D));
done:
    return rc;
}

int lvlm_reserve(struct lvlm *m, const struct lvlm_limits *want)
{
    int rc;
    struct lvlm_limits plain = m->limits, train = m->train_limits, same = *want;
    size_t bytes, train_bytes = 0;

    if (want->train && !m->train) FAIL(CL_EINTERNAL, "model was opened without train");
    TRY(follow_reserve(m, want));
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
    return follow_done(m, rc);
}

size_t lvlm_feature_bytes(const struct lvlm *m)
{
    return (size_t)m->c.vision.tokens * (size_t)m->c.vision.hidden * dtype_size(m->be->act);
}

static int feature_new(struct lvlm *m, struct feature **f)
{
    *f = mem_new(1, sizeof **f);
    if (*f && ((*f)->data = m->be->alloc(lvlm_feature_bytes(m))) && !numbered_add(&m->features, *f, &(*f)->id))
        return CL_OK;
    if (*f && (*f)->data) m->be->free((*f)->data);
    mem_free(*f);
    *f = NULL;
    return err_set(CL_ENOMEM, "no memory for the features of a picture; hint: lower image.cache_mib");
}

static void feature_drop(struct lvlm *m, struct feature *f)
{
    numbered_drop(&m->features, f->id);
    m->be->free(f->data);
    mem_free(f);
}

int lvlm_see(struct lvlm *m, struct feature **feature, const float *pixels, int n)
{
    const struct vision_config *v = &m->c.vision;
    size_t picture = (size_t)3 * (size_t)v->image_size * (size_t)v->image_size;
    float *received = NULL;
    struct tensor out[PICTURES_AT_ONCE];
    int rc, made = 0;

    if (!m->vision) return err_set(CL_EMISMATCH, "the base has no vision tower, but a sample has a picture");
    TRY(follow_see(m, n));
    for (; made < n; made++) TRY(feature_new(m, &feature[made]));
    if (!pixels && !(pixels = received = mem_new((size_t)n, picture * sizeof *pixels)))
        FAIL(CL_ENOMEM, "no memory for the pixels of %d pictures", n);
    TRY(comm_broadcast(comm_of(m), (void *)pixels, (size_t)n * picture * sizeof *pixels, 0));
    for (int i = 0, now; i < n; i += now) {
        now = n - i < PICTURES_AT_ONCE ? n - i : PICTURES_AT_ONCE;
        for (int k = 0; k < now; k++) out[k] = tensor_of(feature[i + k]->data, m->be->act, v->tokens, v->hidden);
        TRY(vision_tower(m->vision, out, pixels + (size_t)i * picture, now));
    }
    group_look(m, SUM_TOWER, -1);
done:
    for (int i = 0; rc && i < made; i++) feature_drop(m, feature[i]), feature[i] = NULL;
    mem_free(received);
    return follow_done(m, rc);
}

void lvlm_feature_free(struct lvlm *m, struct feature *f)
{
    if (!f) return;
    follow_done(m, follow_feature_free(m, f->id));
    feature_drop(m, f);
}

int lvlm_feature_mean(struct lvlm *m, float *out, const struct feature *f)
{
    int rc;
    const int n = m->c.vision.tokens, K = m->c.vision.hidden;
    void *host = mem_new(lvlm_feature_bytes(m), 1);
    float *row = mem_new((size_t)K, sizeof *row);
    double *sum = mem_new((size_t)K, sizeof *sum);

    if (!host || !row || !sum) FAIL(CL_ENOMEM, "no memory for the features of a picture");
    TRY(m->be->download(host, f->data, lvlm_feature_bytes(m)));
    for (int i = 0; i < n; i++) {
        convert_to_f32(row, (const char *)host + (size_t)i * (size_t)K * dtype_size(m->be->act), m->be->act, K);
        for (int k = 0; k < K; k++) sum[k] += (double)row[k];
    }
    for (int k = 0; k < K; k++) out[k] = (float)(sum[k] / n);
done:
    mem_free(host), mem_free(row), mem_free(sum);
    return rc;
}

int lvlm_load(struct lvlm *m, const struct adapters *ad)
{
    int rc;

    TRY(set_check(m, ad));
    TRY(follow_load(m, ad));
    TRY(set_load(m, ad));
done:
    return follow_done(m, rc);
}

/* Under tensor parallelism other ranks see a part of an embedding table and of the targets, so the leader looks for all. */
static int check_ids(const struct lvlm *m, const struct packed_batch *b, const struct adapters *ad)
{
    const int vocab = m->c.text.vocab;

    for (int64_t i = 0; i < b->n; i++)
        if ((b->id[i] < 0 || b->id[i] >= vocab) && !(b->pictures && b->id[i] == m->c.image_token) &&
            !(has_prompts(ad) && b->id[i] == PROMPT_TOKEN))
            return err_set(
                CL_ENUM, "token id %d at place %lld is not below the table's %d rows; hint: tokenizer and model differ",
                (int)b->id[i], (long long)i, vocab);
    return CL_OK;
}

int check_batch(const struct lvlm *m, const struct packed_batch *b, const struct adapters *ad, bool train)
{
    int rc;
    const struct lvlm_limits *l = train ? &m->train_limits : &m->limits;

    if (b->n > l->tokens || b->rows > l->rows || b->samples > l->samples)
        FAIL(CL_EINTERNAL, "batch of %lld tokens, %lld answer rows, %d samples (reserved %lld, %lld, %d)",
             (long long)b->n, (long long)b->rows, b->samples, (long long)l->tokens, (long long)l->rows, l->samples);
    for (int i = 0; i < b->pictures; i++)
        if (!b->feature[i]) FAIL(CL_EINTERNAL, "picture %d of a batch has no features", i);
    TRY(check_ids(m, b, ad));
    TRY(set_check(m, ad));
    TRY(prompts_check_batch(m, b, ad));
done:
    return rc;
}
