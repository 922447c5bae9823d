/* follow_internal.h - the list of orders, and what follow.c (the model's) and follow_texts.c share. */
#ifndef CLLAVA_MODEL_FOLLOW_INTERNAL_H
#define CLLAVA_MODEL_FOLLOW_INTERNAL_H

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

/* *array (room) holds at least `want` values of that size afterwards. array: address of a pointer. */
int follow_grow(void *array, int64_t *room, int64_t want, size_t size);

/* A member's sentence encoder, opened on first use. texts_embed carries out the order that follow_embed gives. */
struct texts;
int texts_new(struct texts **t, const struct tp *tp);
void texts_free(struct texts *t);
int texts_embed(struct texts *t, struct message *in);

#endif
