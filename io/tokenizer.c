/* tokenizer.c - opening whichever kind a directory holds, encoding, decoding as a stream. */
#include "io/tokenizer.h"

#include "io/err.h"
#include "io/tok.h"

#include <stdlib.h>
#include <string.h>

int ids_push(struct ids *v, int32_t id)
{
    if (v->n == v->room) {
        size_t room = v->room ? v->room * 2 : 64;
        int32_t *more = room > SIZE_MAX / 8 ? NULL : realloc(v->id, room * sizeof *more);

        if (!more) return err_set(CL_ENOMEM, "no memory for %zu ids", room);
        v->id = more;
        v->room = room;
    }
    v->id[v->n++] = id;
    return CL_OK;
}

void ids_free(struct ids *v)
{
    free(v->id);
    *v = (struct ids){0};
}

static int load(struct tokenizer *t, const char *dir)
{
    bool model = tok_load_exists(dir, "tokenizer.model"), json = tok_load_exists(dir, "tokenizer.json"),
         tiktoken = false;
    int rc = model ? tok_load_is_tiktoken(dir, &tiktoken) : CL_OK;

    if (rc) return rc;
    if (model && !tiktoken) return tok_load_sentencepiece(t, dir);
    if (json) return tok_load_json(t, dir);
    if (tok_load_exists(dir, "vocab.txt")) return tok_load_wordpiece(t, dir);
    if (tok_load_exists(dir, "vocab.json") && tok_load_exists(dir, "merges.txt")) return tok_load_bpe(t, dir);
    if (tiktoken)
        return err_set(CL_EFORMAT,
                       "%s/tokenizer.model is a tiktoken list, not SentencePiece; hint: take the model's "
                       "Hugging Face form, which has a tokenizer.json",
                       dir);
    return err_set(CL_EIO,
                   "no tokenizer in %s; looked for tokenizer.model, tokenizer.json, vocab.txt, vocab.json with "
                   "merges.txt; hint: check the path",
                   dir);
}

int tokenizer_open(struct tokenizer **out, const char *dir)
{
    int rc;
    struct tokenizer *t = calloc(1, sizeof *t);

    *out = NULL;
    if (!t) FAIL(CL_ENOMEM, "no memory for a tokenizer");
    TRY(load(t, dir));
    *out = t;
    t = NULL;
done:
    tokenizer_close(t);
    return rc;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t) return;
    tok_sentencepiece_close(t->sp);
    tok_added_free(&t->added);
    tok_norm_free(&t->norm);
    tok_pre_free(&t->pre);
    tok_model_free(&t->model);
    tok_decoder_free(&t->decoder);
    tok_vocab_free(&t->vocab);
    ids_free(&t->before);
    ids_free(&t->after);
    free(t);
}

int32_t tokenizer_size(const struct tokenizer *t)
{
    return t->vocab.size;
}

/* What one encode needs. */
struct encoder {
    const struct tokenizer *t;
    struct tok_scratch scratch;
    struct tok_words words, other;
    struct tok_parts raw, normal;
    struct tok_buf a, b;
    struct ids *out;
};

static void encoder_free(struct encoder *e)
{
    tok_scratch_free(&e->scratch);
    tok_words_free(&e->words);
    tok_words_free(&e->other);
    tok_parts_free(&e->raw);
    tok_parts_free(&e->normal);
    tok_buf_free(&e->a);
    tok_buf_free(&e->b);
}

static int encode_normal(struct encoder *e, const char *s, size_t n, bool first, bool glued)
{
    int rc;

    TRY(tok_pre_apply(&e->t->pre, s, n, first, glued, &e->words, &e->other));
    for (size_t i = 0; i < e->words.n; i++) {
        const struct tok_word *w = &e->words.word[i];

        TRY(tok_model_encode(&e->t->model, &e->scratch, e->words.text.s + w->at, w->n, e->out));
    }
    rc = CL_OK;
done:
    return rc;
}

/* A part of the text without added tokens that are searched in raw text. */
static int encode_raw(struct encoder *e, const char *s, size_t n, bool first, bool glued)
{
    int rc;

    TRY(tok_norm_apply(&e->t->norm, s, n, glued, &e->a, &e->b, &s, &n, &first));
    TRY(tok_added_split(&e->t->added, true, s, n, &e->normal));
    for (size_t i = 0; i < e->normal.n; i++) {
        struct tok_part p = e->normal.part[i];
        bool begins = p.at == 0;

        TRY(p.id >= 0 ? ids_push(e->out, p.id) : encode_normal(e, s + p.at, p.n, first && begins, glued && begins));
    }
    rc = CL_OK;
done:
    return rc;
}

static int encode_pipeline(const struct tokenizer *t, const char *s, size_t n, bool glued, struct ids *out)
{
    int rc;
    struct encoder e = {.t = t, .out = out};

    TRY(tok_added_split(&t->added, false, s, n, &e.raw));
    for (size_t i = 0; i < e.raw.n; i++) {
        struct tok_part p = e.raw.part[i];
        bool begins = p.at == 0;

        TRY(p.id >= 0 ? ids_push(out, p.id) : encode_raw(&e, s + p.at, p.n, begins, glued && begins));
    }
    rc = CL_OK;
done:
    encoder_free(&e);
    return rc;
}

static int lower(struct tok_buf *b, const char **s, size_t *n)
{
    int rc;
    size_t len;

    TRY(tok_buf_add(b, "", 0));
    for (size_t i = 0; i < *n; i += len) TRY(tok_add_lower(b, tok_char(*s + i, &len)));
    *s = b->s;
    *n = b->n;
    rc = CL_OK;
done:
    return rc;
}

static int encode(const struct tokenizer *t, const char *text, size_t n, bool glued, struct ids *out)
{
    int rc;
    struct tok_buf valid = {0}, low = {0};
    const char *s;
    size_t had = out->n;

    TRY(tok_text_valid(&valid, text, n, &s, &n));
    if (t->lower) TRY(lower(&low, &s, &n));
    TRY(t->sp ? tok_sentencepiece_encode(t->sp, s, n, glued, out) : encode_pipeline(t, s, n, glued, out));
    rc = CL_OK;
done:
    if (rc) out->n = had;
    tok_buf_free(&valid);
    tok_buf_free(&low);
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, struct ids *out)
{
    return encode(t, text, n, false, out);
}

int tokenizer_encode_continued(const struct tokenizer *t, const char *text, size_t n, struct ids *out)
{
    return encode(t, text, n, true, out);
}

int tokenizer_encode_special(const struct tokenizer *t, const char *text, size_t n, size_t max, struct ids *out)
{
    int rc;
    size_t added = t->before.n + t->after.n, had = out->n, most;

    if (max && max < added)
        FAIL(CL_EUSAGE, "at most %zu ids asked for, but %zu stand around every sentence", max, added);
    for (size_t i = 0; i < t->before.n; i++) TRY(ids_push(out, t->before.id[i]));
    most = out->n + max - added;
    TRY(encode(t, text, n, false, out));
    if (max && out->n > most) out->n = most;
    for (size_t i = 0; i < t->after.n; i++) TRY(ids_push(out, t->after.id[i]));
    rc = CL_OK;
done:
    if (rc) out->n = had;
    return rc;
}

bool tokenizer_adds_prefix(const struct tokenizer *t)
{
    return t->adds_prefix;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *piece)
{
    return tok_vocab_find(&t->vocab, piece, strlen(piece));
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id)
{
    return tok_vocab_piece(&t->vocab, id);
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab.size && t->vocab.piece[id].special;
}

uint64_t tokenizer_hash(const struct tokenizer *t)
{
    uint64_t h = TOK_HASH_START;

    for (int32_t id = 0; id < t->vocab.size; id++) {
        const struct tok_piece *p = &t->vocab.piece[id];

        if (!p->used) continue;
        for (int i = 0; i < 4; i++) h = tok_hash_byte(h, (uint8_t)(id >> 8 * i));
        for (int i = 0; i < 4; i++) h = tok_hash_byte(h, (uint8_t)(p->n >> 8 * i));
        for (size_t i = 0; i < p->n; i++) h = tok_hash_byte(h, (uint8_t)t->vocab.text.s[p->at + i]);
    }
    return h;
}

void token_stream_init(struct token_stream *s, const struct tokenizer *t)
{
    *s = (struct token_stream){.t = t};
}

/* Gives what is whole in bytes (n); an incomplete character at the end stays in s->held, unless this is the end. */
static int give(struct token_stream *s, const char *bytes, size_t n, bool end, char *out, size_t room, size_t *given)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    size_t len;

    s->n_held = 0;
    for (size_t i = 0; i < n; i += len) {
        enum tok_utf8 what = tok_utf8_next(bytes + i, n - i, &len);
        size_t times = what == TOK_UTF8_CHAR || !s->t->decoder.each_byte ? 1 : len;
        const char *from = what == TOK_UTF8_CHAR ? bytes + i : replacement;
        size_t take = what == TOK_UTF8_CHAR ? len : 3;

        if (what == TOK_UTF8_PART && !end) { // at most 3 bytes
            memcpy(s->held, bytes + i, len);
            s->n_held = len;
            return CL_OK;
        }
        if (room - *given < times * take)
            return err_set(CL_EINTERNAL, "a room of %zu bytes is too small for decoded text", room);
        for (; times; times--, *given += take) memcpy(out + *given, from, take);
    }
    return CL_OK;
}

int token_stream_push(struct token_stream *s, int32_t id, char *out, size_t room, size_t *n)
{
    const struct tok_decoder *d = &s->t->decoder;
    const struct tok_surface *f;
    char bytes[sizeof s->held + TOK_MAX_SURFACE];
    size_t held = s->n_held, len;
    bool first = !s->begun;

    *n = 0;
    if (!tok_vocab_piece(&s->t->vocab, id) || tokenizer_is_special(s->t, id)) return CL_OK; // says nothing
    f = &d->surface[id];
    len = first ? f->n_first : f->n;
    memcpy(bytes, s->held, held);
    memcpy(bytes + held, d->text.s + (first ? f->at_first : f->at), len);
    s->begun |= d->begin == TOK_BEGIN_ID || (d->begin == TOK_BEGIN_SURFACE ? f->n > 0 : len > 0);
    return give(s, bytes, held + len, false, out, room, n);
}

int token_stream_end(struct token_stream *s, char *out, size_t room, size_t *n)
{
    char bytes[sizeof s->held];
    size_t held = s->n_held;

    *n = 0;
    memcpy(bytes, s->held, held);
    return give(s, bytes, held, true, out, room, n);
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *id, size_t n, char **text)
{
    int rc;
    struct token_stream s;
    struct tok_buf b = {0};
    char out[4096];
    size_t given;

    *text = NULL;
    token_stream_init(&s, t);
    TRY(tok_buf_add(&b, "", 0));
    for (size_t i = 0; i < n; i++) {
        TRY(token_stream_push(&s, id[i], out, sizeof out, &given));
        TRY(tok_buf_add(&b, out, given));
    }
    TRY(token_stream_end(&s, out, sizeof out, &given));
    TRY(tok_buf_add(&b, out, given));
    *text = b.s;
    b = (struct tok_buf){0};
    rc = CL_OK;
done:
    tok_buf_free(&b);
    return rc;
}
