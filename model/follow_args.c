/* follow_args.c - how an order is written and read: its number, then its arguments, in the order in which both sides name them.
 * Nothing here allocates once the buffers have grown.
 */
#include <string.h>

#include "io/err.h"
#include "model/follow_internal.h"
#include "model/lvlm_internal.h"
#include "mpi/ranks.h"

enum allowed_is { ALLOWED_ALL, ALLOWED_AS_BEFORE, ALLOWED_NEW };

/* ---- leader */

void order_begin(struct lvlm *m, enum order order)
{
    message_clear(&m->say);
    message_put_int(&m->say, order);
}

int order_send(struct lvlm *m)
{
    if (m->broken) return err_set(CL_EMPI, "the ranks of this group are out of step after an earlier error");
    m->told = true;
    ranks_busy_begin();
    return message_broadcast(&m->say, m->tp->comm);
}

/* An order without arguments. */
int order_send_bare(struct lvlm *m, enum order order)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, order);
    return order_send(m);
}

int order_send_int(struct lvlm *m, enum order order, int64_t argument)
{
    if (!follow_leads(m->tp)) return CL_OK;
    order_begin(m, order);
    message_put_int(&m->say, argument);
    return order_send(m);
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
void *order_values(struct message *in, int64_t n, size_t size)
{
    size_t bytes;
    const void *p = message_bytes(in, &bytes, size);

    if (n < 0 || bytes != (size_t)n * size) in->failed = true;
    return in->failed ? NULL : (void *)p;
}

/* What has a number on all ranks. */
int order_find(void **p, const struct numbered *t, int64_t id, const char *what)
{
    *p = id >= 0 && id < t->room ? t->at[id] : NULL;
    return *p ? CL_OK : err_set(CL_EMPI, "an order names %s %lld, which is not there", what, (long long)id);
}

int order_needs_model(const struct member *s)
{
    return s->m ? CL_OK : err_set(CL_EMPI, "an order to a model that is not open");
}

/* ---- arguments that several orders have: written, read */

void order_put_batch(struct message *out, const struct packed_batch *b)
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

int order_get_batch(struct member *s, struct packed_batch *b)
{
    int rc;
    struct message *in = &s->in;
    void *feature;

    *b = (struct packed_batch){0};
    b->samples = (int)message_int(in), b->n = message_int(in), b->rows = message_int(in);
    b->pictures = (int)message_int(in);
    b->cu = order_values(in, (int64_t)b->samples + 1, sizeof *b->cu);
    b->id = order_values(in, b->n, sizeof *b->id);
    b->pos = order_values(in, b->n, sizeof *b->pos);
    b->cu_row = order_values(in, (int64_t)b->samples + 1, sizeof *b->cu_row);
    b->row = order_values(in, b->rows, sizeof *b->row);
    b->target = order_values(in, b->rows, sizeof *b->target);
    b->picture_at = order_values(in, b->pictures, sizeof *b->picture_at);
    TRY(message_check(in, "of a batch"));
    TRY(follow_grow(&s->feature, &s->feature_room, b->pictures, sizeof *s->feature));
    b->feature = s->feature;
    for (int i = 0; i < b->pictures; i++) {
        TRY(order_find(&feature, &s->m->features, message_int(in), "feature"));
        s->feature[i] = feature;
    }
    rc = CL_OK;
done:
    return rc;
}

/* Versions alone, unless they are those that are loaded: values follow where they are new (bank_load). Coefficients of
 * `samples` samples. */
void order_put_set(struct lvlm *m, const struct adapters *ad, int samples)
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

int order_get_set(struct member *s, int samples)
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
    ad->coef = order_values(in, (int64_t)samples * ad->slots, sizeof *ad->coef);
    TRY(message_check(in, "of an adapter set"));
    TRY(set_check(s->m, ad));
done:
    return rc;
}

/* A vocabulary's flags are much beside a token to decode, and mostly the same: sent when they change. */
int order_put_allowed(struct lvlm *m, const uint8_t *allowed)
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

int order_get_allowed(struct member *s, const uint8_t **allowed)
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
