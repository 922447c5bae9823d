/* tok_normalize.c - the steps of a normalizer; each reads one text and writes another. */
#include "io/tok_normalize.h"

#include "io/err.h"
#include "io/tok_json.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* NULL: no memory; the error text is set. */
static struct tok_norm_step *add_step(struct tok_norm *n)
{
    struct tok_norm_step *more = realloc(n->step, (n->n + 1) * sizeof *more);

    if (!more) {
        err_set(CL_ENOMEM, "no memory for a normalizer");
        return NULL;
    }
    n->step = more;
    more[n->n] = (struct tok_norm_step){0};
    return &more[n->n++];
}

int tok_norm_bert(struct tok_norm *n, bool chinese, bool accents, bool lower)
{
    struct tok_norm_step *s = add_step(n);

    if (!s) return CL_ENOMEM;
    s->kind = TOK_NORM_BERT;
    s->clean = true;
    s->chinese = chinese;
    s->accents = accents;
    s->lower = lower;
    return CL_OK;
}

static int read_bert(struct tok_norm_step *s, const json_t *o)
{
    int rc;

    s->kind = TOK_NORM_BERT;
    TRY(tok_json_bool(&s->clean, o, "clean_text", true));
    TRY(tok_json_bool(&s->chinese, o, "handle_chinese_chars", true));
    TRY(tok_json_bool(&s->lower, o, "lowercase", true));
    TRY(tok_json_bool(&s->accents, o, "strip_accents", s->lower)); // null: as lowercase
    rc = CL_OK;
done:
    return rc;
}

static int read_text(struct tok_buf *b, const json_t *o, const char *key)
{
    const char *s;
    size_t n;
    int rc = tok_json_string(&s, &n, o, key, NULL);

    return rc ? rc : tok_buf_add(b, s, n);
}

/* Normal forms and the steps without members. */
static const struct plain {
    const char *type;
    enum tok_norm_kind kind;
    int form;
} plain[] = {
    {"NFC", TOK_NORM_UNICODE, UTF8PROC_STABLE | UTF8PROC_COMPOSE},
    {"NFD", TOK_NORM_UNICODE, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
    {"NFKC", TOK_NORM_UNICODE, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
    {"NFKD", TOK_NORM_UNICODE, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    {"Lowercase", TOK_NORM_LOWER, 0},
    {"StripAccents", TOK_NORM_ACCENTS, 0},
    {"ByteLevel", TOK_NORM_BYTES, 0},
};

static int read_step(void *to, const char *type, const json_t *o)
{
    int rc;
    struct tok_norm_step *s = add_step(to);

    if (!s) return CL_ENOMEM;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(type, plain[i].type) != 0) continue;
        s->kind = plain[i].kind;
        s->form = plain[i].form;
        return CL_OK;
    }
    if (strcmp(type, "BertNormalizer") == 0) return read_bert(s, o);
    if (strcmp(type, "Strip") == 0) {
        s->kind = TOK_NORM_STRIP;
        TRY(tok_json_bool(&s->left, o, "strip_left", true));
        TRY(tok_json_bool(&s->right, o, "strip_right", true));
    } else if (strcmp(type, "Replace") == 0) {
        s->kind = TOK_NORM_REPLACE;
        TRY(tok_json_pattern(&s->find, o, "pattern"));
        TRY(read_text(&s->text, o, "content"));
    } else if (strcmp(type, "Prepend") == 0) {
        s->kind = TOK_NORM_PREPEND;
        TRY(read_text(&s->text, o, "prepend"));
    } else {
        FAIL(CL_EFORMAT, "type \"%.40s\" is not supported", type);
    }
    rc = CL_OK;
done:
    return rc;
}

int tok_norm_read(struct tok_norm *n, const json_t *normalizer)
{
    return err_prefix(tok_json_steps(normalizer, "normalizers", read_step, n), "normalizer");
}

void tok_norm_free(struct tok_norm *n)
{
    for (size_t i = 0; i < n->n; i++) {
        tok_pattern_free(&n->step[i].find);
        tok_buf_free(&n->step[i].text);
    }
    free(n->step);
    *n = (struct tok_norm){0};
}

bool tok_norm_prepends(const struct tok_norm *n)
{
    bool yes = false;

    for (size_t i = 0; i < n->n; i++) yes |= n->step[i].kind == TOK_NORM_PREPEND;
    return yes;
}

static int apply_unicode(struct tok_buf *b, const char *s, size_t n, int form)
{
    int rc;
    utf8proc_uint8_t *t = NULL;
    utf8proc_ssize_t got = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &t, (utf8proc_option_t)form);

    if (got < 0) FAIL(CL_ELIB, "Unicode normalisation of %zu bytes fails: %s", n, utf8proc_errmsg(got));
    TRY(tok_buf_add(b, (const char *)t, (size_t)got));
    rc = CL_OK;
done:
    free(t);
    return rc;
}

static int apply_strip(struct tok_buf *b, const char *s, size_t n, bool left, bool right)
{
    size_t begin = 0, end = n, len;

    while (left && begin < n && tok_is_space(tok_char(s + begin, &len))) begin += len;
    for (size_t i = begin, last = begin; right && i < n; i += len) { // last: behind the last that stays
        if (!tok_is_space(tok_char(s + i, &len))) last = i + len;
        end = last;
    }
    return tok_buf_add(b, s + begin, end > begin ? end - begin : 0);
}

static int apply_replace(struct tok_buf *b, const struct tok_norm_step *st, const char *s, size_t n)
{
    return tok_replace(b, &st->find, s, n, st->text.s, st->text.n);
}

static bool is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Control characters go, every blank becomes a space; ideographs get a space on each side. */
static int bert_char(struct tok_buf *b, const struct tok_norm_step *st, uint32_t c)
{
    int rc;
    bool keeps = c == '\t' || c == '\n' || c == '\r';

    if (st->clean && !keeps && (c == 0 || c == 0xFFFD || tok_is_control(c))) return CL_OK;
    if (st->clean && tok_is_space(c)) c = ' ';
    if (!st->chinese || !is_chinese(c)) return tok_buf_add_char(b, c);
    TRY(tok_buf_add(b, " ", 1));
    TRY(tok_buf_add_char(b, c));
    TRY(tok_buf_add(b, " ", 1));
    rc = CL_OK;
done:
    return rc;
}

/* Adds every character that stays, in lower case where asked. */
static int filter(struct tok_buf *b, const char *s, size_t n, bool (*drop)(uint32_t), bool lower)
{
    int rc;
    size_t len;

    for (size_t i = 0; i < n; i += len) {
        uint32_t c = tok_char(s + i, &len);

        if (drop && drop(c)) continue;
        TRY(lower ? tok_add_lower(b, c) : tok_buf_add(b, s + i, len));
    }
    rc = CL_OK;
done:
    return rc;
}

static int apply_bert(struct tok_buf *b, const struct tok_norm_step *st, const char *s, size_t n)
{
    int rc;
    size_t len;
    struct tok_buf clean = {0}, apart = {0};

    TRY(tok_buf_add(&clean, "", 0));
    for (size_t i = 0; i < n; i += len) TRY(bert_char(&clean, st, tok_char(s + i, &len)));
    if (st->accents) TRY(apply_unicode(&apart, clean.s, clean.n, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE));
    s = st->accents ? apart.s : clean.s;
    n = st->accents ? apart.n : clean.n;
    TRY(filter(b, s, n, st->accents ? tok_is_accent : NULL, st->lower));
    rc = CL_OK;
done:
    tok_buf_free(&clean);
    tok_buf_free(&apart);
    return rc;
}

static int apply_bytes(struct tok_buf *b, const char *s, size_t n)
{
    int rc;

    for (size_t i = 0; i < n; i++) TRY(tok_buf_add_char(b, tok_byte_char((uint8_t)s[i])));
    rc = CL_OK;
done:
    return rc;
}

static int apply_step(struct tok_buf *b, const struct tok_norm_step *st, const char *s, size_t n, bool glued)
{
    int rc;

    TRY(tok_buf_add(b, "", 0));
    switch (st->kind) {
    case TOK_NORM_UNICODE: return apply_unicode(b, s, n, st->form);
    case TOK_NORM_LOWER: return filter(b, s, n, NULL, true);
    case TOK_NORM_ACCENTS: return filter(b, s, n, tok_is_mark, false);
    case TOK_NORM_STRIP: return apply_strip(b, s, n, st->left, st->right);
    case TOK_NORM_REPLACE: return apply_replace(b, st, s, n);
    case TOK_NORM_BYTES: return apply_bytes(b, s, n);
    case TOK_NORM_BERT: return apply_bert(b, st, s, n);
    case TOK_NORM_PREPEND:
        if (n && !glued) TRY(tok_buf_add(b, st->text.s, st->text.n)); // nothing in front of nothing
        TRY(tok_buf_add(b, s, n));
    }
    rc = CL_OK;
done:
    return rc;
}

int tok_norm_apply(const struct tok_norm *n, const char *s, size_t len, bool glued, struct tok_buf *a,
                   struct tok_buf *b, const char **out, size_t *out_n, bool *first)
{
    int rc;
    struct tok_buf *to = a;
    size_t width;

    for (size_t i = 0; i < n->n; i++) {
        const struct tok_norm_step *st = &n->step[i];

        to->n = 0;
        if (first && st->kind == TOK_NORM_STRIP && st->left && len && tok_is_space(tok_char(s, &width))) *first = false;
        TRY(apply_step(to, st, s, len, glued));
        s = to->s;
        len = to->n;
        to = to == a ? b : a;
    }
    *out = s;
    *out_n = len;
    rc = CL_OK;
done:
    return rc;
}
