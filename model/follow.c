/* follow.c - orders: what the leader writes and what the members read, side by side.
 *
 * An order begins with its number in the list below; its arguments follow in the order in which both sides name them. Members
 * then call the very function that the leader is in: on a rank that is no leader it tells nobody. Ids of features and caches
 * agree because all ranks make and drop them in the same order. Nothing here allocates once the buffers have grown.
 */
#include "model/follow.h"

#include <omp.h>
#include <string.h>

#include "io/err.h"
#include "model/follow_internal.h"
#include "model/lvlm_internal.h"
#include "mpi/ranks.h"
#include "mpi/watch.h"

enum allowed_is { ALLOWED_ALL, ALLOWED_AS_BEFORE, ALLOWED_NEW };

struct member {
    const struct tp *tp;
    struct message in;
    bool released;
    struct lvlm *m;

    struct packed_batch b; // arrays lie in the message
    struct adapters set;
    struct adapter_slot *slot;
    int64_t slot_room;
    const struct feature **feature;
    int64_t feature_room;
    int32_t *next; // choices, which the leader has too
    int64_t next_room;

    struct texts *texts; // NULL until the first are embedded
};

/* ---- leader */

static void begin(struct lvlm *m, enum order order)
{
    message_clear(&m->say);
    message_put_int(&m->say, order);
}

static int send(struct lvlm *m)
{
    if (m->broken) return err_set(CL_EMPI, "the ranks of this group are out of step after an earlier error");
    m->told = true;
    ranks_busy_begin();
    return message_broadcast(&m->say, m->tp->comm);
}

/* An order without arguments. */
static int send_bare(struct lvlm *m, enum order order)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, order);
    return send(m);
}

static int send_int(struct lvlm *m, enum order order, int64_t argument)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, order);
    message_put_int(&m->say, argument);
    return send(m);
}

int follow_done(struct lvlm *m, int rc)
{
    if (!m->told) return rc;
    m->told = false;
    if (rc)
        m->broken = true;
    else
        ranks_busy_end();
    return rc;
}

/* ---- member: reading and carrying out */

int follow_grow(void *array, int64_t *room, int64_t want, size_t size)
{
    void **p = array, *more;

    if (want <= *room) return CL_OK;
    if (!(more = mem_grow(*p, (size_t)*room, (size_t)want, size)))
        return err_set(CL_ENOMEM, "no memory for %lld values of an order", (long long)want);
    *p = more, *room = want;
    return CL_OK;
}

/* n values of that size in place, or NULL with failed set. */
static void *values(struct message *in, int64_t n, size_t size)
{
    size_t bytes;
    const void *p = message_bytes(in, &bytes, size);

    if (n < 0 || bytes != (size_t)n * size) in->failed = true;
    return in->failed ? NULL : (void *)p;
}

/* What has a number on all ranks. */
static int find(void **p, const struct numbered *t, int64_t id, const char *what)
{
    *p = id >= 0 && id < t->room ? t->at[id] : NULL;
    return *p ? CL_OK : err_set(CL_EMPI, "an order names %s %lld, which is not there", what, (long long)id);
}

static int need_model(const struct member *s)
{
    return s->m ? CL_OK : err_set(CL_EMPI, "an order to a model that is not open");
}

/* ---- arguments that several orders have: written, read */

static void put_batch(struct message *out, const struct packed_batch *b)
{
    const size_t n = (size_t)b->n, rows = (size_t)b->rows, samples = (size_t)b->samples;

    message_put_int(out, b->samples), message_put_int(out, b->n), message_put_int(out, b->rows);
    message_put_int(out, b->pictures);
    message_put_bytes(out, b->cu, (samples + 1) * sizeof *b->cu);
    message_put_bytes(out, b->id, n * sizeof *b->id);
    message_put_bytes(out, b->pos, n * sizeof *b->pos);
    message_put_bytes(out, b->cu_row, (samples + 1) * sizeof *b->cu_row);
    message_put_bytes(out, b->row, rows * sizeof *b->row);
    message_put_bytes(out, b->target, rows * sizeof *b->target);
    message_put_bytes(out, b->picture_at, (size_t)b->pictures * sizeof *b->picture_at);
    for (int i = 0; i < b->pictures; i++) message_put_int(out, b->feature[i]->id);
}

static int get_batch(struct member *s)
{
    int rc;
    struct message *in = &s->in;
    struct packed_batch *b = &s->b;
    void *feature;

    *b = (struct packed_batch){0};
    b->samples = (int)message_int(in), b->n = message_int(in), b->rows = message_int(in);
    b->pictures = (int)message_int(in);
    b->cu = values(in, (int64_t)b->samples + 1, sizeof *b->cu);
    b->id = values(in, b->n, sizeof *b->id);
    b->pos = values(in, b->n, sizeof *b->pos);
    b->cu_row = values(in, (int64_t)b->samples + 1, sizeof *b->cu_row);
    b->row = values(in, b->rows, sizeof *b->row);
    b->target = values(in, b->rows, sizeof *b->target);
    b->picture_at = values(in, b->pictures, sizeof *b->picture_at);
    TRY(message_check(in, "of a batch"));
    TRY(follow_grow(&s->feature, &s->feature_room, b->pictures, sizeof *s->feature));
    b->feature = s->feature;
    for (int i = 0; i < b->pictures; i++) {
        TRY(find(&feature, &s->m->features, message_int(in), "feature"));
        s->feature[i] = feature;
    }
    rc = CL_OK;
done:
    return rc;
}

/* Versions alone, unless they are those that are loaded: values follow where they are new (bank_load). Coefficients of
 * `samples` samples. */
static void put_set(struct lvlm *m, const struct adapters *ad, int samples)
{
    struct message *out = &m->say;
    bool loaded = true;

    message_put_int(out, ad ? ad->slots : 0);
    if (!ad || !ad->slots) return;
    message_put_int(out, ad->learned), message_put_int(out, ad->rank), message_put_int(out, ad->residuals);
    if (has_prompts(ad)) return; // the leader's own business (prompts.c)
    for (int i = 0; loaded && i < ad->slots; i++) loaded = set_version(m, ad, i) == ad->slot[i].version;
    message_put_int(out, loaded);
    for (int i = 0; !loaded && i < ad->slots; i++) message_put_int(out, (int64_t)ad->slot[i].version);
    message_put_bytes(out, ad->coef, (size_t)samples * (size_t)ad->slots * sizeof *ad->coef);
}

static int get_set(struct member *s, int samples)
{
    int rc;
    struct message *in = &s->in;
    struct adapters *ad = &s->set;
    bool loaded;

    *ad = (struct adapters){.slots = (int)message_int(in)};
    if (!ad->slots) return message_check(in, "of an adapter set");
    ad->learned = (int)message_int(in), ad->rank = (int)message_int(in), ad->residuals = (int)message_int(in);
    if (has_prompts(ad)) return message_check(in, "of prompts");
    loaded = message_int(in);
    TRY(message_check(in, "of an adapter set"));
    if (loaded && ad->slots - ad->residuals != s->m->bank.slots)
        FAIL(CL_EMPI, "an order uses %d loaded slots, here are %d", ad->slots - ad->residuals, s->m->bank.slots);
    TRY(follow_grow(&s->slot, &s->slot_room, ad->slots, sizeof *s->slot));
    for (int i = 0; i < ad->slots; i++)
        s->slot[i] = (struct adapter_slot){.version = loaded ? set_version(s->m, ad, i) : (uint64_t)message_int(in)};
    ad->slot = s->slot;
    ad->coef = values(in, (int64_t)samples * ad->slots, sizeof *ad->coef);
    TRY(message_check(in, "of an adapter set"));
    TRY(set_check(s->m, ad));
done:
    return rc;
}

/* A vocabulary's flags are much beside a token to decode, and mostly the same: sent when they change. */
static int put_allowed(struct lvlm *m, const uint8_t *allowed)
{
    const size_t V = (size_t)m->c.text.vocab;

    if (allowed && m->allowed && !memcmp(allowed, m->allowed, V)) {
        message_put_int(&m->say, ALLOWED_AS_BEFORE);
        return CL_OK;
    }
    message_put_int(&m->say, allowed ? ALLOWED_NEW : ALLOWED_ALL);
    if (!allowed) return CL_OK;
    if (!m->allowed && !(m->allowed = mem_new(V, 1))) return err_set(CL_ENOMEM, "no memory for the vocabulary");
    memcpy(m->allowed, allowed, V);
    message_put_bytes(&m->say, allowed, V);
    return CL_OK;
}

static int get_allowed(struct member *s, const uint8_t **allowed)
{
    struct lvlm *m = s->m;
    const size_t V = (size_t)m->c.text.vocab;
    int64_t is = message_int(&s->in);

    if (is == ALLOWED_NEW && !m->allowed && !(m->allowed = mem_new(V, 1)))
        return err_set(CL_ENOMEM, "no memory for the vocabulary");
    if (is == ALLOWED_NEW) message_copy(&s->in, m->allowed, V);
    *allowed = is == ALLOWED_ALL ? NULL : m->allowed;
    return message_check(&s->in, "of allowed ids");
}

/* ---- the orders: leader, member */

/* Threads that the user chose go for all ranks; else each takes its own share of its machine. */
int follow_open(struct lvlm *m, const char *dir)
{
    const int threads = omp_get_max_threads();

    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_open);
    message_put_text(&m->say, dir);
    message_put_int(&m->say, m->be->act), message_put_int(&m->say, m->train);
    message_put_int(&m->say, threads == ranks_threads() ? 0 : threads);
    return send(m);
}

static int member_open(struct member *s)
{
    int rc;
    const struct backend *be;
    const char *dir = message_text(&s->in);
    const enum dtype act = (enum dtype)message_int(&s->in);
    const bool train = message_int(&s->in);
    int threads = (int)message_int(&s->in);

    TRY(message_check(&s->in, "to open a model"));
    if (s->m) FAIL(CL_EINTERNAL, "a second model of one group at the same time: %s", dir);
    if (!threads) threads = ranks_threads();
    if (threads > 0) omp_set_num_threads(threads);
    TRY(backend_cpu(&be, act));
    TRY(lvlm_open(&s->m, dir, be, s->tp, train));
done:
    return rc;
}

int follow_close(struct lvlm *m)
{
    return send_bare(m, ORDER_close);
}

static void drop_all(struct lvlm *m)
{
    for (int64_t i = 0; i < m->features.room; i++) lvlm_feature_free(m, m->features.at[i]);
    for (int64_t i = 0; i < m->caches.room; i++) lvlm_kv_free(m->caches.at[i]);
}

static int member_close(struct member *s)
{
    if (s->m) drop_all(s->m);
    lvlm_close(s->m);
    s->m = NULL;
    return CL_OK;
}

int follow_adapt(struct lvlm *m, unsigned chosen)
{
    return send_int(m, ORDER_adapt, chosen);
}

static int member_adapt(struct member *s)
{
    int rc;
    const int64_t chosen = message_int(&s->in);

    TRY(message_check(&s->in, "about maps that have increments"));
    TRY(need_model(s));
    TRY(lvlm_adapt(s->m, (unsigned)chosen));
done:
    return rc;
}

int follow_reserve(struct lvlm *m, const struct lvlm_limits *l)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_reserve);
    message_put_int(&m->say, l->samples), message_put_int(&m->say, l->tokens), message_put_int(&m->say, l->rows);
    message_put_int(&m->say, l->slots), message_put_int(&m->say, l->rank), message_put_int(&m->say, l->train);
    message_put_int(&m->say, l->again), message_put_int(&m->say, l->residuals);
    return send(m);
}

static int member_reserve(struct member *s)
{
    int rc;
    struct lvlm_limits l = {0};
    struct message *in = &s->in;

    l.samples = (int)message_int(in), l.tokens = message_int(in), l.rows = message_int(in);
    l.slots = (int)message_int(in), l.rank = (int)message_int(in), l.train = message_int(in);
    l.again = (enum recompute)message_int(in), l.residuals = (int)message_int(in);
    TRY(message_check(in, "to reserve memory"));
    TRY(need_model(s));
    TRY(follow_grow(&s->next, &s->next_room, l.samples, sizeof *s->next));
    TRY(lvlm_reserve(s->m, &l));
done:
    return rc;
}

int follow_see(struct lvlm *m, int n)
{
    return send_int(m, ORDER_see, n);
}

static int member_see(struct member *s)
{
    int rc, n = (int)message_int(&s->in);

    TRY(message_check(&s->in, "to see pictures"));
    TRY(need_model(s));
    TRY(follow_grow(&s->feature, &s->feature_room, n, sizeof *s->feature));
    TRY(lvlm_see(s->m, (struct feature **)s->feature, NULL, n)); // the model's own list keeps them
done:
    return rc;
}

int follow_feature_free(struct lvlm *m, int64_t id)
{
    return send_int(m, ORDER_feature_free, id);
}

static int member_feature_free(struct member *s)
{
    int rc;
    void *f;

    TRY(need_model(s));
    TRY(find(&f, &s->m->features, message_int(&s->in), "feature"));
    lvlm_feature_free(s->m, f);
done:
    return rc;
}

int follow_load(struct lvlm *m, const struct adapters *ad)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_load);
    put_set(m, ad, 0);
    return send(m);
}

static int member_load(struct member *s)
{
    int rc;

    TRY(need_model(s));
    TRY(get_set(s, 0));
    TRY(lvlm_load(s->m, &s->set));
done:
    return rc;
}

int follow_forward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                   const struct adapter_teacher *t, float grad_scale)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_forward);
    put_batch(&m->say, b);
    put_set(m, ad, b->samples);
    message_put_double(&m->say, (double)grad_scale);
    message_put_int(&m->say, t != NULL);
    if (t) {
        message_put_double(&m->say, (double)t->weight), message_put_double(&m->say, (double)t->temperature);
        message_put_bytes(&m->say, t->coef, (size_t)b->samples * (size_t)ad->slots * sizeof *t->coef);
    }
    return send(m);
}

static int member_forward(struct member *s)
{
    int rc;
    double scale;
    struct adapter_teacher t = {0};

    TRY(need_model(s));
    TRY(get_batch(s));
    TRY(get_set(s, s->b.samples));
    scale = message_double(&s->in);
    if (message_int(&s->in)) {
        t.weight = (float)message_double(&s->in), t.temperature = (float)message_double(&s->in);
        t.coef = values(&s->in, (int64_t)s->b.samples * s->set.slots, sizeof *t.coef);
    }
    TRY(message_check(&s->in, "of a forward pass"));
    TRY(lvlm_forward_taught(s->m, &s->b, &s->set, &t, NULL, NULL, (float)scale));
done:
    return rc;
}

int follow_backward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_backward);
    put_batch(&m->say, b);
    put_set(m, ad, b->samples);
    return send(m);
}

static int member_backward(struct member *s)
{
    int rc;

    TRY(need_model(s));
    TRY(get_batch(s));
    TRY(get_set(s, s->b.samples));
    TRY(lvlm_backward(s->m, &s->b, &s->set, NULL));
done:
    return rc;
}

int follow_grads_clear(struct lvlm *m)
{
    return send_bare(m, ORDER_grads_clear);
}

static int member_grads_clear(struct member *s)
{
    int rc = need_model(s);

    return rc ? rc : lvlm_grads_clear(s->m);
}

int follow_grads_read(struct lvlm *m, int learned, int rank)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_grads_read);
    message_put_int(&m->say, learned), message_put_int(&m->say, rank);
    return send(m);
}

static int member_grads_read(struct member *s)
{
    int rc, learned = (int)message_int(&s->in), rank = (int)message_int(&s->in);

    TRY(message_check(&s->in, "to read gradients"));
    TRY(need_model(s));
    TRY(lvlm_grads_read(s->m, NULL, NULL, learned, rank));
done:
    return rc;
}

int follow_residual_read(struct lvlm *m)
{
    return send_bare(m, ORDER_residual_read);
}

static int member_residual_read(struct member *s)
{
    int rc = need_model(s);

    return rc ? rc : lvlm_residual_read(s->m, NULL);
}

int follow_coef_reduce(struct lvlm *m)
{
    return send_int(m, ORDER_coef_reduce, m->n_dcoef);
}

static int member_coef_reduce(struct member *s)
{
    int rc = need_model(s);

    return rc ? rc : lvlm_coef_reduce(s->m, NULL, message_int(&s->in));
}

int follow_logits(struct lvlm *m, int64_t rows)
{
    return send_int(m, ORDER_logits, rows);
}

static int member_logits(struct member *s)
{
    int rc = need_model(s);

    return rc ? rc : lvlm_logits(s->m, NULL, message_int(&s->in));
}

int follow_kv_new(struct lvlm *m, int sequences, int64_t length)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_kv_new);
    message_put_int(&m->say, sequences), message_put_int(&m->say, length);
    return send(m);
}

static int member_kv_new(struct member *s)
{
    int rc, sequences = (int)message_int(&s->in);
    int64_t length = message_int(&s->in);
    struct kv_cache *kv; // the model's own list keeps it

    TRY(message_check(&s->in, "of a KV cache"));
    TRY(need_model(s));
    TRY(follow_grow(&s->next, &s->next_room, sequences, sizeof *s->next));
    TRY(lvlm_kv_new(&kv, s->m, sequences, length));
done:
    return rc;
}

int follow_kv_free(struct lvlm *m, int64_t id)
{
    return send_int(m, ORDER_kv_free, id);
}

static int member_kv_free(struct member *s)
{
    int rc;
    void *kv;

    TRY(need_model(s));
    TRY(find(&kv, &s->m->caches, message_int(&s->in), "cache"));
    lvlm_kv_free(kv);
done:
    return rc;
}

int follow_kv_copy(struct lvlm *m, const struct kv_cache *kv, int from, int to, int64_t tokens)
{
    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_kv_copy);
    message_put_int(&m->say, kv_number(kv));
    message_put_int(&m->say, from), message_put_int(&m->say, to), message_put_int(&m->say, tokens);
    return send(m);
}

static int member_kv_copy(struct member *s)
{
    int rc, from, to;
    int64_t tokens;
    void *kv;

    TRY(need_model(s));
    TRY(find(&kv, &s->m->caches, message_int(&s->in), "cache"));
    from = (int)message_int(&s->in), to = (int)message_int(&s->in), tokens = message_int(&s->in);
    TRY(message_check(&s->in, "to copy keys and values"));
    TRY(lvlm_kv_copy(kv, from, to, tokens));
done:
    return rc;
}

int follow_prefill(struct lvlm *m, const struct kv_cache *kv, const int *seq, const struct packed_batch *b,
                   const struct adapters *ad, const uint8_t *allowed)
{
    int rc;

    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_prefill);
    message_put_int(&m->say, kv_number(kv));
    put_batch(&m->say, b);
    message_put_bytes(&m->say, seq, (size_t)b->samples * sizeof *seq);
    put_set(m, ad, b->samples);
    TRY(put_allowed(m, allowed));
    TRY(send(m));
done:
    return rc;
}

static int member_prefill(struct member *s)
{
    int rc;
    void *kv;
    const int *seq;
    const uint8_t *allowed;

    TRY(need_model(s));
    TRY(find(&kv, &s->m->caches, message_int(&s->in), "cache"));
    TRY(get_batch(s));
    seq = values(&s->in, s->b.samples, sizeof *seq);
    TRY(get_set(s, s->b.samples));
    TRY(get_allowed(s, &allowed));
    TRY(follow_grow(&s->next, &s->next_room, s->b.samples, sizeof *s->next));
    TRY(lvlm_prefill(s->m, kv, seq, &s->b, &s->set, allowed, s->next));
done:
    return rc;
}

int follow_decode(struct lvlm *m, const struct kv_cache *kv, int n, const int *seq, const int32_t *token,
                  const struct adapters *ad, const uint8_t *allowed)
{
    int rc;

    if (!follow_leads(m->tp)) return CL_OK;
    begin(m, ORDER_decode);
    message_put_int(&m->say, kv_number(kv));
    message_put_int(&m->say, n);
    message_put_bytes(&m->say, seq, (size_t)n * sizeof *seq);
    message_put_bytes(&m->say, token, (size_t)n * sizeof *token);
    put_set(m, ad, n);
    TRY(put_allowed(m, allowed));
    TRY(send(m));
done:
    return rc;
}

static int member_decode(struct member *s)
{
    int rc, n;
    void *kv;
    const int *seq;
    const int32_t *token;
    const uint8_t *allowed;

    TRY(need_model(s));
    TRY(find(&kv, &s->m->caches, message_int(&s->in), "cache"));
    n = (int)message_int(&s->in);
    seq = values(&s->in, n, sizeof *seq);
    token = values(&s->in, n, sizeof *token);
    TRY(get_set(s, n));
    TRY(get_allowed(s, &allowed));
    TRY(follow_grow(&s->next, &s->next_room, n, sizeof *s->next));
    TRY(lvlm_decode(s->m, kv, n, seq, token, &s->set, allowed, s->next));
done:
    return rc;
}

int follow_nonfinite(struct lvlm *m)
{
    return send_bare(m, ORDER_nonfinite);
}

static int member_nonfinite(struct member *s)
{
    int rc = need_model(s);

    return rc ? rc : lvlm_find_nonfinite(s->m, NULL, 0);
}

int follow_decode_int8(struct lvlm *m)
{
    return send_bare(m, ORDER_decode_int8);
}

static int member_decode_int8(struct member *s)
{
    int rc = need_model(s);

    return rc ? rc : lvlm_decode_int8(s->m);
}

/* ---- a member's life */

int lvlm_release(const struct tp *tp)
{
    int rc;
    struct message out = {0};

    if (!follow_leads(tp)) return CL_OK;
    message_put_int(&out, ORDER_release);
    rc = message_broadcast(&out, tp->comm);
    message_free(&out);
    return rc;
}

static int member_embed(struct member *s)
{
    int rc;

    if (!s->texts) TRY(texts_new(&s->texts, s->tp));
    TRY(texts_embed(s->texts, &s->in));
done:
    return rc;
}

static int member_release(struct member *s)
{
    s->released = true;
    return CL_OK;
}

static int obey(struct member *s)
{
    static int (*const act[])(struct member *) = {
#define X(name) [ORDER_##name] = member_##name,
        ORDERS(X)
#undef X
    };
    const int64_t order = message_int(&s->in);

    if (s->in.failed || order < 0 || order >= ORDERS_END)
        return err_set(CL_EMPI, "unknown order %lld from the leader; hint: the ranks run different programs",
                       (long long)order);
    return act[order](s);
}

int lvlm_follow(const struct tp *tp)
{
    int rc = CL_OK;
    struct member s = {.tp = tp};

    while (!rc && !s.released)
        if (!(rc = message_broadcast(&s.in, tp->comm))) rc = obey(&s);
    if (rc) watch_fail(err_status(rc), err_text()); // the leader waits in vain: the job ends here
    member_close(&s);
    texts_free(s.texts);
    mem_free(s.slot), mem_free(s.feature), mem_free(s.next);
    message_free(&s.in);
    return CL_OK;
}
