/* follow_internal.h - the list of orders, and what follow.c (the model's), follow_args.c and follow_texts.c share. */
#ifndef CLLAVA_MODEL_FOLLOW_INTERNAL_H
#define CLLAVA_MODEL_FOLLOW_INTERNAL_H

#include "model/lvlm.h"
#include "mpi/message.h"
#include "mpi/tp.h"

#define ORDERS(X)                                                                                                      \
    X(release)                                                                                                         \
    X(open)                                                                                                            \
    X(close)                                                                                                           \
    X(adapt)                                                                                                           \
    X(reserve)                                                                                                         \
    X(see)                                                                                                             \
    X(feature_free)                                                                                                    \
    X(load)                                                                                                            \
    X(forward)                                                                                                         \
    X(backward)                                                                                                        \
    X(grads_clear)                                                                                                     \
    X(grads_read)                                                                                                      \
    X(residual_read)                                                                                                   \
    X(coef_reduce) X(logits) X(kv_new) X(kv_free) X(kv_copy) X(prefill) X(decode) X(nonfinite) X(decode_int8) X(embed)

enum order {
#define X(name) ORDER_##name,
    ORDERS(X)
#undef X
        ORDERS_END
};

/* A rank that gives orders. */
static inline bool follow_leads(const struct tp *tp)
{
    return tp && tp->comm && tp->size > 1 && tp->rank == 0;
}

/* A rank that takes part in what its leader does. */
struct member {
    const struct tp *tp;
    struct message in;
    bool released;
    struct lvlm *m;

    struct packed_batch b, masked; // arrays lie in the message; the features of both in `feature`
    struct adapters set;
    struct adapter_slot *slot;
    int64_t slot_room;
    const struct feature **feature;
    int64_t feature_room;
    int32_t *next; // choices, which the leader has too
    int64_t next_room;

    struct texts *texts; // NULL until the first are embedded
};

/* ---- follow_args.c */

/* The leader's side: an order's number, what follows it, off it goes. From send to follow_done the members are in the middle of
 * it. bare, int: whole orders; nothing on a rank that does not lead. */
void order_begin(struct lvlm *m, enum order order);
int order_send(struct lvlm *m);
int order_send_bare(struct lvlm *m, enum order order);
int order_send_int(struct lvlm *m, enum order order, int64_t argument);

/* n values of that size in place, or NULL with in->failed set. */
void *order_values(struct message *in, int64_t n, size_t size);
/* What has a number on all ranks; CL_EMPI names it by `what`. */
struct numbered;
int order_find(void **p, const struct numbered *t, int64_t id, const char *what);
int order_needs_model(const struct member *s); // CL_EMPI: none is open

/* Arguments that several orders have: written by the leader, read by members into s. Of a set go versions alone, unless
 * they are those that are loaded (values follow in bank_load), and the coefficients of `samples` samples; allowed ids go when they
 * change. */
void order_put_batch(struct message *out, const struct packed_batch *b);
int order_get_batch(struct member *s, struct packed_batch *b); // one of s's own
void order_put_set(struct lvlm *m, const struct adapters *ad, int samples);
int order_get_set(struct member *s, int samples);
int order_put_allowed(struct lvlm *m, const uint8_t *allowed);
int order_get_allowed(struct member *s, const uint8_t **allowed);

/* *array (room) holds at least `want` values of that size afterwards. array: address of a pointer. */
int follow_grow(void *array, int64_t *room, int64_t want, size_t size);

/* A member's sentence encoder, opened on first use. texts_embed carries out the order that follow_embed gives. */
struct texts;
int texts_new(struct texts **t, const struct tp *tp);
void texts_free(struct texts *t);
int texts_embed(struct texts *t, struct message *in);

#endif
