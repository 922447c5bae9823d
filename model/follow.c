/* follow.c - orders: what the leader writes and what the members read, side by side.
 *
 * An order is its number in the list of follow_internal.h and its arguments (follow_args.c). Members then call the very function that the leader is in: on a rank that is no leader it tells nobody. Ids of features and caches
 * agree because all ranks make and drop them in the same order. Nothing here allocates once the buffers have grown.
 */
#include "model/follow.h"

#include <omp.h>

#include "io/err.h"
#include "model/follow_internal.h"
#include "model/lvlm_internal.h"
#include "mpi/ranks.h"
#include "mpi/watch.h"

/* ---- the orders: leader, member */

/* Threads that the user chose go for all ranks; else each takes its own share of its machine. */
int follow_open(struct lvlm *m, const char *dir)
{
    const int threads = omp_get_max_threads();

    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_open);
    message_put_text(&m->say, dir);
    message_put_int(&m->say, m->be->act), message_put_int(&m->say, m->train);
    message_put_int(&m->say, threads == ranks_threads() ? 0 : threads);
    return order_send(m);
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
    return order_send_bare(m, ORDER_close);
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
    return order_send_int(m, ORDER_adapt, chosen);
}

static int member_adapt(struct member *s)
{
    int rc;
    const int64_t chosen = message_int(&s->in);

    TRY(message_check(&s->in, "about maps that have increments"));
    TRY(order_needs_model(s));
    TRY(lvlm_adapt(s->m, (unsigned)chosen));
done:
    return rc;
}

int follow_reserve(struct lvlm *m, const struct lvlm_limits *l)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_reserve);
    message_put_int(&m->say, l->samples), message_put_int(&m->say, l->tokens), message_put_int(&m->say, l->rows);
    message_put_int(&m->say, l->slots), message_put_int(&m->say, l->rank), message_put_int(&m->say, l->train);
    message_put_int(&m->say, l->again), message_put_int(&m->say, l->residuals);
    return order_send(m);
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
    TRY(order_needs_model(s));
    TRY(follow_grow(&s->next, &s->next_room, l.samples, sizeof *s->next));
    TRY(lvlm_reserve(s->m, &l));
done:
    return rc;
}

int follow_see(struct lvlm *m, int n)
{
    return order_send_int(m, ORDER_see, n);
}

static int member_see(struct member *s)
{
    int rc, n = (int)message_int(&s->in);

    TRY(message_check(&s->in, "to see pictures"));
    TRY(order_needs_model(s));
    TRY(follow_grow(&s->feature, &s->feature_room, n, sizeof *s->feature));
    TRY(lvlm_see(s->m, (struct feature **)s->feature, NULL, n)); // the model's own list keeps them
done:
    return rc;
}

int follow_feature_free(struct lvlm *m, int64_t id)
{
    return order_send_int(m, ORDER_feature_free, id);
}

static int member_feature_free(struct member *s)
{
    int rc;
    void *f;

    TRY(order_needs_model(s));
    TRY(order_find(&f, &s->m->features, message_int(&s->in), "feature"));
    lvlm_feature_free(s->m, f);
done:
    return rc;
}

int follow_load(struct lvlm *m, const struct adapters *ad)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_load);
    order_put_set(m, ad, 0);
    return order_send(m);
}

static int member_load(struct member *s)
{
    int rc;

    TRY(order_needs_model(s));
    TRY(order_get_set(s, 0));
    TRY(lvlm_load(s->m, &s->set));
done:
    return rc;
}

int follow_forward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad,
                   const struct adapter_teacher *t, const struct listening *l, float grad_scale)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_forward);
    order_put_batch(&m->say, b);
    order_put_set(m, ad, b->samples);
    message_put_double(&m->say, (double)grad_scale);
    message_put_int(&m->say, t != NULL);
    if (t) {
        message_put_double(&m->say, (double)t->weight), message_put_double(&m->say, (double)t->temperature);
        message_put_bytes(&m->say, t->coef, (size_t)b->samples * (size_t)ad->slots * sizeof *t->coef);
    }
    message_put_int(&m->say, l != NULL);
    if (l) {
        message_put_double(&m->say, (double)l->weight), message_put_double(&m->say, (double)l->margin);
        order_put_batch(&m->say, l->masked);
    }
    return order_send(m);
}

static int member_forward(struct member *s)
{
    int rc;
    double scale;
    struct adapter_teacher t = {0};
    struct listening l = {0};

    TRY(order_needs_model(s));
    TRY(order_get_batch(s, &s->b));
    TRY(order_get_set(s, s->b.samples));
    scale = message_double(&s->in);
    if (message_int(&s->in)) {
        t.weight = (float)message_double(&s->in), t.temperature = (float)message_double(&s->in);
        t.coef = order_values(&s->in, (int64_t)s->b.samples * s->set.slots, sizeof *t.coef);
    }
    if (message_int(&s->in)) {
        l.weight = (float)message_double(&s->in), l.margin = (float)message_double(&s->in);
        TRY(order_get_batch(s, &s->masked));
        l.masked = &s->masked;
    }
    TRY(message_check(&s->in, "of a forward pass"));
    TRY(lvlm_forward_beside(s->m, &s->b, &s->set, &t, &l, (struct lvlm_losses){0}, (float)scale));
done:
    return rc;
}

int follow_backward(struct lvlm *m, const struct packed_batch *b, const struct adapters *ad)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_backward);
    order_put_batch(&m->say, b);
    order_put_set(m, ad, b->samples);
    return order_send(m);
}

static int member_backward(struct member *s)
{
    int rc;

    TRY(order_needs_model(s));
    TRY(order_get_batch(s, &s->b));
    TRY(order_get_set(s, s->b.samples));
    TRY(lvlm_backward(s->m, &s->b, &s->set, NULL));
done:
    return rc;
}

int follow_grads_clear(struct lvlm *m)
{
    return order_send_bare(m, ORDER_grads_clear);
}

static int member_grads_clear(struct member *s)
{
    int rc = order_needs_model(s);

    return rc ? rc : lvlm_grads_clear(s->m);
}

int follow_grads_read(struct lvlm *m, int learned, int rank)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_grads_read);
    message_put_int(&m->say, learned), message_put_int(&m->say, rank);
    return order_send(m);
}

static int member_grads_read(struct member *s)
{
    int rc, learned = (int)message_int(&s->in), rank = (int)message_int(&s->in);

    TRY(message_check(&s->in, "to read gradients"));
    TRY(order_needs_model(s));
    TRY(lvlm_grads_read(s->m, NULL, NULL, learned, rank));
done:
    return rc;
}

int follow_residual_read(struct lvlm *m)
{
    return order_send_bare(m, ORDER_residual_read);
}

static int member_residual_read(struct member *s)
{
    int rc = order_needs_model(s);

    return rc ? rc : lvlm_residual_read(s->m, NULL);
}

int follow_coef_reduce(struct lvlm *m)
{
    return order_send_int(m, ORDER_coef_reduce, m->n_dcoef);
}

static int member_coef_reduce(struct member *s)
{
    int rc = order_needs_model(s);

    return rc ? rc : lvlm_coef_reduce(s->m, NULL, message_int(&s->in));
}

int follow_logits(struct lvlm *m, int64_t rows)
{
    return order_send_int(m, ORDER_logits, rows);
}

static int member_logits(struct member *s)
{
    int rc = order_needs_model(s);

    return rc ? rc : lvlm_logits(s->m, NULL, message_int(&s->in));
}

int follow_kv_new(struct lvlm *m, int sequences, int64_t length)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_kv_new);
    message_put_int(&m->say, sequences), message_put_int(&m->say, length);
    return order_send(m);
}

static int member_kv_new(struct member *s)
{
    int rc, sequences = (int)message_int(&s->in);
    int64_t length = message_int(&s->in);
    struct kv_cache *kv; // the model's own list keeps it

    TRY(message_check(&s->in, "of a KV cache"));
    TRY(order_needs_model(s));
    TRY(follow_grow(&s->next, &s->next_room, sequences, sizeof *s->next));
    TRY(lvlm_kv_new(&kv, s->m, sequences, length));
done:
    return rc;
}

int follow_kv_free(struct lvlm *m, int64_t id)
{
    return order_send_int(m, ORDER_kv_free, id);
}

static int member_kv_free(struct member *s)
{
    int rc;
    void *kv;

    TRY(order_needs_model(s));
    TRY(order_find(&kv, &s->m->caches, message_int(&s->in), "cache"));
    lvlm_kv_free(kv);
done:
    return rc;
}

int follow_kv_copy(struct lvlm *m, const struct kv_cache *kv, int from, int to, int64_t tokens)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, ORDER_kv_copy);
    message_put_int(&m->say, kv_number(kv));
    message_put_int(&m->say, from), message_put_int(&m->say, to), message_put_int(&m->say, tokens);
    return order_send(m);
}

static int member_kv_copy(struct member *s)
{
    int rc, from, to;
    int64_t tokens;
    void *kv;

    TRY(order_needs_model(s));
    TRY(order_find(&kv, &s->m->caches, message_int(&s->in), "cache"));
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
    order_begin(m, ORDER_prefill);
    message_put_int(&m->say, kv_number(kv));
    order_put_batch(&m->say, b);
    message_put_bytes(&m->say, seq, (size_t)b->samples * sizeof *seq);
    order_put_set(m, ad, b->samples);
    TRY(order_put_allowed(m, allowed));
    TRY(order_send(m));
done:
    return rc;
}

static int member_prefill(struct member *s)
{
    int rc;
    void *kv;
    const int *seq;
    const uint8_t *allowed;

    TRY(order_needs_model(s));
    TRY(order_find(&kv, &s->m->caches, message_int(&s->in), "cache"));
    TRY(order_get_batch(s, &s->b));
    seq = order_values(&s->in, s->b.samples, sizeof *seq);
    TRY(order_get_set(s, s->b.samples));
    TRY(order_get_allowed(s, &allowed));
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
    order_begin(m, ORDER_decode);
    message_put_int(&m->say, kv_number(kv));
    message_put_int(&m->say, n);
    message_put_bytes(&m->say, seq, (size_t)n * sizeof *seq);
    message_put_bytes(&m->say, token, (size_t)n * sizeof *token);
    order_put_set(m, ad, n);
    TRY(order_put_allowed(m, allowed));
    TRY(order_send(m));
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

    TRY(order_needs_model(s));
    TRY(order_find(&kv, &s->m->caches, message_int(&s->in), "cache"));
    n = (int)message_int(&s->in);
    seq = order_values(&s->in, n, sizeof *seq);
    token = order_values(&s->in, n, sizeof *token);
    TRY(order_get_set(s, n));
    TRY(order_get_allowed(s, &allowed));
    TRY(follow_grow(&s->next, &s->next_room, n, sizeof *s->next));
    TRY(lvlm_decode(s->m, kv, n, seq, token, &s->set, allowed, s->next));
done:
    return rc;
}

int follow_nonfinite(struct lvlm *m)
{
    return order_send_bare(m, ORDER_nonfinite);
}

static int member_nonfinite(struct member *s)
{
    int rc = order_needs_model(s);

    return rc ? rc : lvlm_find_nonfinite(s->m, NULL, 0);
}

int follow_decode_int8(struct lvlm *m)
{
    return order_send_bare(m, ORDER_decode_int8);
}

static int member_decode_int8(struct member *s)
{
    int rc = order_needs_model(s);

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
