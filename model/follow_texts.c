/* follow_texts.c - questions spread over a group: the leader sends all texts, every rank embeds its share, the shares come back
 * to the leader. */
#include <string.h>

#include "io/err.h"
#include "model/follow.h"
#include "model/follow_internal.h"
#include "mpi/ranks.h"

struct texts {
    const struct tp *tp;
    struct text_encoder *encoder;
    struct tokenizer *tok; // of the base, for encoder `base`
    float *embedding;      // (embedding_room) of this rank's share
    int64_t embedding_room;
    const char **text; // (text_room) all of an order, in the message
    int64_t text_room;
};

/* ---- leader */

enum { TEXTS_AT_ONCE = 16 << 20 }; // bytes of one order

/* As many of n texts as go into one order, the first always. */
static size_t texts_of_order(const char *const *text, size_t n)
{
    size_t bytes = 0, k = 0;

    while (k < n && (!k || bytes < TEXTS_AT_ONCE)) bytes += strlen(text[k++]) + 24;
    return k;
}

static int embed_together(const struct tp *tp, struct message *out, struct text_encoder *e, const char *spec,
                          const char *base_dir, float *to, const char *const *text, size_t n)
{
    int rc;
    const size_t K = (size_t)text_encoder_width(e);
    int64_t first, mine;

    message_clear(out);
    message_put_int(out, ORDER_embed);
    message_put_text(out, spec), message_put_text(out, base_dir), message_put_text(out, text_encoder_hash(e));
    message_put_int(out, (int64_t)n);
    for (size_t i = 0; i < n; i++) message_put_text(out, text[i]);
    TRY(message_broadcast(out, tp->comm));
    tp_shard(&first, &mine, (int64_t)n, tp);
    TRY(text_encoder_embed(e, to, text, (size_t)mine));
    for (int r = 1; r < tp->size; r++) {
        tp_shard(&first, &mine, (int64_t)n, &(struct tp){.rank = r, .size = tp->size});
        if (mine) TRY(comm_receive(tp->comm, to + (size_t)first * K, (size_t)mine * K * sizeof *to, r));
    }
    rc = CL_OK;
done:
    return rc;
}

int follow_embed(const struct tp *tp, struct text_encoder *e, const char *spec, const char *base_dir, float *out,
                 const char *const *text, size_t n)
{
    int rc = CL_OK;
    struct message order = {0};

    if (!follow_leads(tp) || n < (size_t)tp->size) return text_encoder_embed(e, out, text, n);
    ranks_busy_begin();
    for (size_t at = 0, now; at < n; at += now) {
        now = texts_of_order(text + at, n - at);
        TRY(embed_together(tp, &order, e, spec, base_dir, out + at * (size_t)text_encoder_width(e), text + at, now));
    }
    ranks_busy_end();
done:
    message_free(&order);
    return rc;
}

/* ---- member */

static void close_encoder(struct texts *t)
{
    if (t->encoder) text_encoder_close(t->encoder);
    if (t->tok) tokenizer_close(t->tok);
    t->encoder = NULL, t->tok = NULL;
}

int texts_new(struct texts **t, const struct tp *tp)
{
    if (!(*t = mem_new(1, sizeof **t))) return err_set(CL_ENOMEM, "no memory for the sentence encoder");
    (*t)->tp = tp;
    return CL_OK;
}

void texts_free(struct texts *t)
{
    if (!t) return;
    close_encoder(t);
    mem_free(t->embedding), mem_free(t->text);
    mem_free(t);
}

/* The encoder of an order: the one that is open, or a new one. hash: of the leader's. */
static int open_encoder(struct texts *t, const char *spec, const char *base_dir, const char *hash)
{
    int rc;
    const struct backend *f32;

    if (t->encoder && !strcmp(hash, text_encoder_hash(t->encoder))) return CL_OK;
    close_encoder(t);
    TRY(backend_cpu(&f32, DT_F32));
    if (!strcmp(spec, "base")) TRY(tokenizer_open(&t->tok, base_dir));
    TRY(text_encoder_open(&t->encoder, spec, base_dir, t->tok, f32));
    if (strcmp(hash, text_encoder_hash(t->encoder)))
        FAIL(CL_EMISMATCH, "encoder %s is another one here (got %s, expected %s); hint: the ranks read different files",
             spec, text_encoder_hash(t->encoder), hash);
    rc = CL_OK;
done:
    return rc;
}

int texts_embed(struct texts *t, struct message *in)
{
    int rc;
    const char *spec = message_text(in), *base_dir = message_text(in), *hash = message_text(in);
    int64_t n = message_int(in), first, mine;
    size_t K;

    TRY(message_check(in, "to embed texts"));
    if (!spec || !hash) FAIL(CL_EMPI, "an order to embed texts names no encoder");
    TRY(follow_grow(&t->text, &t->text_room, n, sizeof *t->text));
    for (int64_t i = 0; i < n; i++) t->text[i] = message_text(in);
    TRY(message_check(in, "of texts"));
    TRY(open_encoder(t, spec, base_dir, hash));
    K = (size_t)text_encoder_width(t->encoder);
    tp_shard(&first, &mine, n, t->tp);
    if (!mine) return CL_OK;
    TRY(follow_grow(&t->embedding, &t->embedding_room, mine * (int64_t)K, sizeof *t->embedding));
    TRY(text_encoder_embed(t->encoder, t->embedding, t->text + first, (size_t)mine));
    TRY(comm_send(t->tp->comm, t->embedding, (size_t)mine * K * sizeof *t->embedding, 0));
done:
    return rc;
}
