/* tok_decode.c - surfaces of all pieces. */
#include "io/tok_decode.h"

#include "io/err.h"
#include "io/tok_json.h"
#include "io/tok_pattern.h"

#include <stdlib.h>
#include <string.h>

static const char mark[] = "\xE2\x96\x81"; // SentencePiece's blank

void tok_decoder_free(struct tok_decoder *d)
{
    free(d->surface);
    tok_buf_free(&d->text);
    *d = (struct tok_decoder){0};
}

static int start(struct tok_decoder *d, const struct tok_vocab *v)
{
    d->surface = calloc((size_t)v->size + 1, sizeof *d->surface);
    return d->surface ? CL_OK : err_set(CL_ENOMEM, "no memory for %d surfaces", v->size);
}

static int put(struct tok_decoder *d, const char *s, size_t n, uint32_t *at, uint32_t *len, int32_t id)
{
    if (n > TOK_MAX_SURFACE)
        return err_set(CL_EFORMAT, "the piece of id %d stands for %zu bytes, at most %d", id, n, TOK_MAX_SURFACE);
    if (d->text.n > UINT32_MAX - n) return err_set(CL_EFORMAT, "the vocabulary's text is longer than 4 GiB");
    *at = (uint32_t)d->text.n;
    *len = (uint32_t)n;
    return tok_buf_add(&d->text, s, n);
}

static int put_rest(struct tok_decoder *d, int32_t id, const char *s, size_t n)
{
    struct tok_surface *f = &d->surface[id];
    int rc = put(d, s, n, &f->at, &f->n, id);

    f->at_first = f->at;
    f->n_first = f->n;
    return rc;
}

static int put_first(struct tok_decoder *d, int32_t id, const char *s, size_t n)
{
    return put(d, s, n, &d->surface[id].at_first, &d->surface[id].n_first, id);
}

/* b := s with every `from` replaced. */
static int replace(struct tok_buf *b, const char *s, size_t n, const char *from, const char *to)
{
    int rc;
    const char *hit;

    b->n = 0;
    while (n && (hit = memmem(s, n, from, strlen(from)))) {
        TRY(tok_buf_add(b, s, (size_t)(hit - s)));
        TRY(tok_buf_add(b, to, strlen(to)));
        n -= (size_t)(hit - s) + strlen(from);
        s = hit + strlen(from);
    }
    TRY(tok_buf_add(b, s, n));
    rc = CL_OK;
done:
    return rc;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The byte that a piece <0xXX> stands for, -1: none. */
static int byte_of(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[3]) < 0 || hex(s[4]) < 0) return -1;
    return hex(s[3]) << 4 | hex(s[4]);
}

int tok_decoder_sentencepiece(struct tok_decoder *d, const struct tok_vocab *v, const bool *is_byte, bool strip,
                              bool strip_all)
{
    int rc;
    struct tok_buf b = {0};

    TRY(start(d, v));
    d->begin = strip_all ? TOK_BEGIN_OUTPUT : TOK_BEGIN_SURFACE;
    d->each_byte = true;
    for (int32_t id = 0; id < v->size; id++) {
        const char *s = tok_vocab_piece(v, id);
        size_t n = v->piece[id].n;
        char byte = s ? (char)byte_of(s, n) : 0;
        bool marked = s && n >= 3 && memcmp(s, mark, 3) == 0;

        if (!s) continue;
        if (is_byte && is_byte[id]) {
            TRY(put_rest(d, id, &byte, 1));
            continue;
        }
        TRY(replace(&b, s, n, mark, " "));
        TRY(put_rest(d, id, b.s, b.n));
        if (marked && (strip || strip_all)) TRY(put_first(d, id, b.s + 1, b.n - 1));
    }
    rc = CL_OK;
done:
    tok_buf_free(&b);
    return rc;
}

/* Bytes of a text in GPT-2's alphabet; a text with any other character (an added token) stays as it is. */
static int from_bytes(struct tok_buf *b, const char *s, size_t n)
{
    int rc;
    size_t len;

    b->n = 0;
    for (size_t i = 0; i < n; i += len) {
        int byte = tok_char_byte(tok_char(s + i, &len));
        char c = (char)byte;

        if (byte < 0) {
            b->n = 0;
            return tok_buf_add(b, s, n);
        }
        TRY(tok_buf_add(b, &c, 1));
    }
    TRY(tok_buf_add(b, "", 0));
    rc = CL_OK;
done:
    return rc;
}

int tok_decoder_bytes(struct tok_decoder *d, const struct tok_vocab *v)
{
    int rc;
    struct tok_buf b = {0};

    TRY(start(d, v));
    for (int32_t id = 0; id < v->size; id++) {
        const char *s = tok_vocab_piece(v, id);

        if (!s) continue;
        TRY(from_bytes(&b, s, v->piece[id].n));
        TRY(put_rest(d, id, b.s, b.n));
    }
    rc = CL_OK;
done:
    tok_buf_free(&b);
    return rc;
}

/* Takes the blank before punctuation and contractions away, as English is written. */
static int close_up(struct tok_buf *a, struct tok_buf *b)
{
    static const char *const pairs[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    int rc;

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct tok_buf swap;

        TRY(replace(b, a->s, a->n, pairs[i][0], pairs[i][1]));
        swap = *a;
        *a = *b;
        *b = swap;
    }
    rc = CL_OK;
done:
    return rc;
}

static int read_wordpiece(struct tok_decoder *d, const struct tok_vocab *v, const char *prefix, size_t np, bool cleanup)
{
    int rc;
    struct tok_buf a = {0}, b = {0};

    TRY(start(d, v));
    d->begin = TOK_BEGIN_ID;
    for (int32_t id = 0; id < v->size; id++) {
        const char *s = tok_vocab_piece(v, id);
        size_t n = v->piece[id].n;
        bool inside = s && np && n >= np && memcmp(s, prefix, np) == 0;

        if (!s) continue;
        for (int first = 0; first < 2; first++) {
            a.n = 0;
            if (!first && !inside) TRY(tok_buf_add(&a, " ", 1));
            TRY(!first && inside ? tok_buf_add(&a, s + np, n - np) : tok_buf_add(&a, s, n));
            if (cleanup) TRY(close_up(&a, &b));
            TRY(first ? put_first(d, id, a.s, a.n) : put_rest(d, id, a.s, a.n));
        }
    }
    rc = CL_OK;
done:
    tok_buf_free(&a);
    tok_buf_free(&b);
    return rc;
}

int tok_decoder_wordpiece(struct tok_decoder *d, const struct tok_vocab *v)
{
    return read_wordpiece(d, v, "##", 2, true);
}

/* A decoder of the file as a list of steps over one piece. */
struct step {
    enum { REPLACE, BYTES, BYTE_FALLBACK, STRIP, METASPACE } kind;
    struct tok_pattern find; // REPLACE
    const char *text;        // REPLACE: by this; STRIP, METASPACE: this character
    size_t n;
    int64_t left, right; // STRIP: at most so many at each end of the piece
    bool drops;          // METASPACE: the first piece loses its marks
};
struct program {
    struct step step[16];
    size_t n;
    bool byte_fallback;  // ByteFallback was there
    bool fused;          // Fuse was there: a later Strip means the whole text
    const char *leading; // that Strip's character, one of which the whole text loses; NULL: none
    size_t n_leading;
    const json_t *wordpiece;
};

/* After Fuse only one thing can be done while streaming: take one character from the begin. */
static int read_strip(struct program *p, struct step *s, const json_t *o)
{
    int rc;
    size_t len = 0;

    s->kind = STRIP;
    TRY(tok_json_string(&s->text, &s->n, o, "content", NULL));
    TRY(tok_json_number(&s->left, o, "start", 0));
    TRY(tok_json_number(&s->right, o, "stop", 0));
    if (s->n) tok_char(s->text, &len);
    if (!s->n || len != s->n) FAIL(CL_EFORMAT, "Strip: content is \"%.40s\", expected one character", s->text);
    if (s->left < 0 || s->right < 0) FAIL(CL_EFORMAT, "Strip: start and stop must not be negative");
    if (!p->fused) return CL_OK;
    if (s->left > 1 || s->right || p->leading)
        FAIL(CL_EFORMAT, "Strip after Fuse: start %lld, stop %lld; only one start 1, stop 0 is supported",
             (long long)s->left, (long long)s->right);
    if (s->left) {
        p->leading = s->text;
        p->n_leading = s->n;
    }
    p->n--;
    rc = CL_OK;
done:
    return rc;
}

static int read_metaspace(struct step *s, const json_t *o)
{
    int rc;
    bool add;
    const char *scheme;

    s->kind = METASPACE;
    TRY(tok_json_string(&s->text, &s->n, o, "replacement", mark));
    if (!s->n) FAIL(CL_EFORMAT, "Metaspace: replacement is empty");
    TRY(tok_json_bool(&add, o, "add_prefix_space", true));
    TRY(tok_json_string(&scheme, NULL, o, "prepend_scheme", add ? "always" : "never"));
    s->drops = strcmp(scheme, "never") != 0;
    rc = CL_OK;
done:
    return rc;
}

static int read_step(void *to, const char *type, const json_t *o)
{
    struct program *p = to;
    struct step *s = &p->step[p->n];
    int rc;

    if (strcmp(type, "Fuse") == 0) {
        p->fused = true;
        return CL_OK;
    }
    if (p->n == sizeof p->step / sizeof *p->step || p->wordpiece)
        return err_set(CL_EFORMAT, "%.40s: too many steps, or a step behind WordPiece", type);
    if (p->fused && strcmp(type, "Strip") != 0) return err_set(CL_EFORMAT, "%.40s after Fuse is not supported", type);
    if (strcmp(type, "WordPiece") == 0) {
        p->wordpiece = o;
        return p->n ? err_set(CL_EFORMAT, "WordPiece behind other steps is not supported") : CL_OK;
    }
    p->n++;
    if (strcmp(type, "Strip") == 0) return read_strip(p, s, o);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(s, o);
    if (strcmp(type, "ByteLevel") == 0) {
        s->kind = BYTES;
    } else if (strcmp(type, "ByteFallback") == 0) {
        s->kind = BYTE_FALLBACK;
        p->byte_fallback = true;
    } else if (strcmp(type, "Replace") == 0) {
        s->kind = REPLACE;
        TRY(tok_json_pattern(&s->find, o, "pattern"));
        TRY(tok_json_string(&s->text, &s->n, o, "content", NULL));
    } else {
        FAIL(CL_EFORMAT, "type \"%.40s\" is not supported", type);
    }
    rc = CL_OK;
done:
    return rc;
}

static int run_replace(struct tok_buf *b, const struct step *st, const char *s, size_t n)
{
    return tok_replace(b, &st->find, s, n, st->text, st->n);
}

static int run_strip(struct tok_buf *b, const struct step *st, const char *s, size_t n)
{
    for (int64_t i = 0; i < st->left && n >= st->n && memcmp(s, st->text, st->n) == 0; i++) s += st->n, n -= st->n;
    for (int64_t i = 0; i < st->right && n >= st->n && memcmp(s + n - st->n, st->text, st->n) == 0; i++) n -= st->n;
    return tok_buf_add(b, s, n);
}

/* Steps over one piece; *raw: it has become a byte that later steps leave alone. b and other change places as needed. */
static int run_step(const struct step *st, struct tok_buf *b, struct tok_buf *other, bool first, bool *raw)
{
    struct tok_buf swap;
    int rc;

    other->n = 0;
    TRY(tok_buf_add(other, "", 0));
    switch (st->kind) {
    case REPLACE: TRY(run_replace(other, st, b->s, b->n)); break;
    case BYTES:
        TRY(from_bytes(other, b->s, b->n));
        *raw = true;
        break;
    case STRIP: TRY(run_strip(other, st, b->s, b->n)); break;
    case METASPACE: TRY(replace(other, b->s, b->n, st->text, first && st->drops ? "" : " ")); break;
    case BYTE_FALLBACK: {
        int byte = byte_of(b->s, b->n);
        char c = (char)byte;

        *raw = byte >= 0;
        TRY(byte >= 0 ? tok_buf_add(other, &c, 1) : tok_buf_add(other, b->s, b->n));
    }
    }
    swap = *b;
    *b = *other;
    *other = swap;
    rc = CL_OK;
done:
    return rc;
}

static int run(const struct program *p, const char *s, size_t n, bool first, struct tok_buf *b, struct tok_buf *other)
{
    int rc;
    bool raw = false;

    b->n = 0;
    TRY(tok_buf_add(b, s, n));
    for (size_t i = 0; i < p->n && !raw; i++) TRY(run_step(&p->step[i], b, other, first, &raw));
    rc = CL_OK;
done:
    return rc;
}

static int run_all(struct tok_decoder *d, const struct tok_vocab *v, const struct program *p)
{
    int rc;
    struct tok_buf b = {0}, other = {0};

    TRY(start(d, v));
    d->begin = p->leading ? TOK_BEGIN_SURFACE : TOK_BEGIN_ID;
    for (int32_t id = 0; id < v->size; id++) {
        const char *s = tok_vocab_piece(v, id);
        size_t n = v->piece[id].n, cut;

        if (!s) continue;
        TRY(run(p, s, n, false, &b, &other));
        TRY(put_rest(d, id, b.s, b.n));
        TRY(run(p, s, n, true, &b, &other));
        cut = p->leading && b.n >= p->n_leading && memcmp(b.s, p->leading, p->n_leading) == 0 ? p->n_leading : 0;
        if (cut || b.n != d->surface[id].n || memcmp(b.s, d->text.s + d->surface[id].at, b.n) != 0)
            TRY(put_first(d, id, b.s + cut, b.n - cut));
    }
    rc = CL_OK;
done:
    tok_buf_free(&b);
    tok_buf_free(&other);
    return rc;
}

static int read_wordpiece_json(struct tok_decoder *d, const struct tok_vocab *v, const json_t *o)
{
    int rc;
    const char *prefix;
    size_t n;
    bool cleanup;

    TRY(tok_json_string(&prefix, &n, o, "prefix", "##"));
    TRY(tok_json_bool(&cleanup, o, "cleanup", true));
    TRY(read_wordpiece(d, v, prefix, n, cleanup));
    rc = CL_OK;
done:
    return rc;
}

int tok_decoder_read(struct tok_decoder *d, const struct tok_vocab *v, const json_t *decoder)
{
    int rc;
    struct program p = {0};

    if (!decoder || json_is_null(decoder)) return read_wordpiece(d, v, "", 0, false);
    TRY(err_prefix(tok_json_steps(decoder, "decoders", read_step, &p), "decoder"));
    TRY(p.wordpiece ? read_wordpiece_json(d, v, p.wordpiece) : run_all(d, v, &p));
    d->each_byte = p.byte_fallback;
    rc = CL_OK;
done:
    for (size_t i = 0; i < p.n; i++) tok_pattern_free(&p.step[i].find);
    return rc;
}
