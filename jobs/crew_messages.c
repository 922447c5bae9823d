/* crew_messages.c - fields of each kind of message, written and read side by side. */
#include "jobs/crew_messages.h"

#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "mpi/ranks.h"

void crew_begin_message(struct message *m, enum crew_word w)
{
    message_clear(m);
    message_put_int(m, w);
}

int crew_hear(struct message *m, struct comm *c, int from, enum crew_word *w, int *who)
{
    int rc;

    TRY(message_receive(m, c, from, who));
    *w = (enum crew_word)message_int(m);
    TRY(message_check(m, "of the crew"));
done:
    return rc;
}

int crew_unexpected(enum crew_word w, const char *where)
{
    return err_set(CL_EMPI, "message %d came %s, where none like it belongs", (int)w, where);
}

/* ---- limits */

void crew_put_limits(struct message *m, const struct lvlm_limits *l)
{
    message_put_int(m, l->samples), message_put_int(m, l->tokens), message_put_int(m, l->rows);
    message_put_int(m, l->slots), message_put_int(m, l->rank), message_put_int(m, l->train);
    message_put_int(m, l->again), message_put_int(m, l->residuals);
}

void crew_take_limits(struct message *m, struct lvlm_limits *l)
{
    l->samples = (int)message_int(m), l->tokens = message_int(m), l->rows = message_int(m);
    l->slots = (int)message_int(m), l->rank = (int)message_int(m), l->train = message_int(m) != 0;
    l->again = (enum recompute)message_int(m), l->residuals = (int)message_int(m);
}

/* ---- micro-batches */

/* The arrays of a pack with their lengths; each is a field of the message. */
#define PACK_ARRAYS(X, b)                                                                                              \
    X((b)->cu, (size_t)(b)->samples + 1)                                                                               \
    X((b)->cu_row, (size_t)(b)->samples + 1)                                                                           \
    X((b)->id, (size_t)(b)->n)                                                                                         \
    X((b)->pos, (size_t)(b)->n)                                                                                        \
    X((b)->row, (size_t)(b)->rows)                                                                                     \
    X((b)->target, (size_t)(b)->rows)                                                                                  \
    X((b)->picture_at, (size_t)(b)->pictures)                                                                          \
    X((b)->picture_sample, (size_t)(b)->pictures)

static void put_pack(struct message *m, const struct packed_batch *b)
{
    message_put_int(m, b->samples), message_put_int(m, b->n), message_put_int(m, b->rows);
    message_put_int(m, b->pictures);
#define PUT(array, count) message_put_bytes(m, array, (count) * sizeof *(array));
    PACK_ARRAYS(PUT, b)
#undef PUT
}

/* Into b, which has room for the limits. */
static int take_pack(struct message *m, struct packed_batch *b)
{
    int rc;
    int64_t samples = message_int(m), n = message_int(m), rows = message_int(m), pictures = message_int(m);

    TRY(message_check(m, "with a micro-batch"));
    if (samples < 0 || samples > b->room_samples || n < 0 || n > b->room_n || rows < 0 || rows > n || pictures < 0 ||
        pictures > samples)
        FAIL(CL_EMPI, "micro-batch of %lld samples, %lld tokens, %lld rows (there is room for %d, %lld)",
             (long long)samples, (long long)n, (long long)rows, b->room_samples, (long long)b->room_n);
    b->samples = (int)samples, b->n = n, b->rows = rows, b->pictures = (int)pictures;
#define TAKE(array, count) message_copy(m, array, (count) * sizeof *(array));
    PACK_ARRAYS(TAKE, b)
#undef TAKE
    for (int i = 0; i < b->pictures; i++) b->feature[i] = NULL;
done:
    return rc;
}

static void put_listening(struct message *m, const struct listening *l)
{
    message_put_int(m, l->masked != NULL);
    if (!l->masked) return;
    message_put_double(m, (double)l->weight), message_put_double(m, (double)l->margin);
    put_pack(m, l->masked);
}

static int take_listening(struct message *m, struct listening *l, struct packed_batch *room)
{
    int rc = CL_OK;

    *l = (struct listening){0};
    if (!message_int(m)) goto done;
    if (!room) FAIL(CL_EMPI, "masked questions, for which there is no room");
    l->weight = (float)message_double(m), l->margin = (float)message_double(m);
    l->masked = room;
    TRY(take_pack(m, room));
done:
    return rc;
}

void crew_put_micro(struct message *m, const struct crew_micro *k, int slots)
{
    const struct packed_batch *b = k->pack;

    put_pack(m, b);
    for (int i = 0; i < b->pictures; i++) message_put_text(m, k->picture[i]);
    message_put_bytes(m, k->coef, (size_t)b->samples * (size_t)slots * sizeof *k->coef);
    put_listening(m, &k->listening);
    message_put_int(m, k->teacher.coef != NULL);
    if (!k->teacher.coef) return;
    message_put_double(m, (double)k->teacher.weight), message_put_double(m, (double)k->teacher.temperature);
    message_put_bytes(m, k->teacher.coef, (size_t)b->samples * (size_t)slots * sizeof *k->coef);
}

/* (samples, slots) coefficients in place. */
static const float *take_coefficients(struct message *m, const struct packed_batch *b, int slots)
{
    size_t bytes;
    const float *coef = message_bytes(m, &bytes, sizeof *coef);

    if (bytes != (size_t)b->samples * (size_t)slots * sizeof *coef) m->failed = true;
    return coef;
}

int crew_take_micro(struct message *m, struct crew_micro *k, int slots)
{
    int rc;
    struct packed_batch *b = k->pack;

    TRY(take_pack(m, b));
    for (int i = 0; i < b->pictures; i++) k->picture[i] = message_text(m);
    k->coef = take_coefficients(m, b, slots);
    TRY(take_listening(m, &k->listening, k->masked));
    k->teacher = (struct adapter_teacher){0};
    if (message_int(m)) {
        k->teacher.weight = (float)message_double(m), k->teacher.temperature = (float)message_double(m);
        k->teacher.coef = take_coefficients(m, b, slots);
    }
    TRY(message_check(m, "with a micro-batch"));
done:
    return rc;
}

void crew_put_heard(struct message *m, const struct heard *h)
{
    message_put_double(m, h->jsd), message_put_double(m, h->missing);
    message_put_int(m, h->rows);
}

struct heard crew_take_heard(struct message *m)
{
    struct heard h = {0};

    h.jsd = message_double(m), h.missing = message_double(m);
    h.rows = message_int(m);
    return h;
}

/* ---- prompts */

void crew_put_prompt(struct message *m, int64_t number, const struct prompt_item *item, int slots)
{
    const struct sample *s = &item->sample;

    message_put_int(m, number);
    message_put_bytes(m, s->id, (size_t)s->prompt_n * sizeof *s->id);
    message_put_int(m, s->picture);
    message_put_text(m, item->picture);
    message_put_bytes(m, item->coef, (size_t)slots * sizeof *item->coef);
}

int crew_take_prompt(struct message *m, int64_t *number, struct prompt_item *item, float *coef, int slots)
{
    int rc;
    struct sample *s = &item->sample;
    size_t n;
    const int32_t *id;
    const char *picture;

    *number = message_int(m);
    id = message_bytes(m, &n, sizeof *id);
    s->picture = message_int(m);
    picture = message_text(m);
    message_copy(m, coef, (size_t)slots * sizeof *coef);
    TRY(message_check(m, "with prompts"));
    s->n = s->prompt_n = (int64_t)(n / sizeof *id);
    if (!(s->id = malloc(n ? n : 1)) || (picture && !(item->picture = strdup(picture))))
        FAIL(CL_ENOMEM, "no memory for a prompt");
    memcpy(s->id, id, n);
    item->coef = coef;
done:
    return rc;
}

/* ---- failures */

void crew_put_failure(struct message *m, int code)
{
    crew_begin_message(m, CREW_FAILED);
    message_put_int(m, code);
    message_put_text(m, err_text());
}

int crew_take_failure(struct message *m, int world_rank)
{
    int rc, code = (int)message_int(m);
    const char *text = message_text(m);

    TRY(message_check(m, "about a failure"));
    return err_set(code, "rank %d (%s): %s", world_rank, ranks_host(world_rank), text ? text : "");
done:
    return rc;
}
