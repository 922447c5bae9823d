/* tok_wordpiece.c - WordPiece: from the left, always the longest piece that fits; inside a word pieces carry a prefix. */
#include "io/tok_model.h"

#include "io/err.h"

#include <string.h>

static size_t count_chars(const char *s, size_t n)
{
    size_t chars = 0;

    for (size_t i = 0; i < n; i++) chars += ((uint8_t)s[i] & 0xC0) != 0x80;
    return chars;
}

/* Longest piece at the begin of s (n bytes), -1: none. mark: bytes in front of s that the piece has as well. */
static int32_t longest(const struct tok_model *m, const char *s, size_t n, size_t mark, size_t *len)
{
    size_t most = m->vocab->longest;

    if (most < mark) return -1;
    most -= mark;
    for (size_t i = n < most ? n : most; i > 0; i--) {
        bool boundary = i == n || ((uint8_t)s[i] & 0xC0) != 0x80;
        int32_t id = boundary ? tok_vocab_find(m->vocab, s - mark, i + mark) : -1;

        *len = i;
        if (id >= 0) return id;
    }
    return -1;
}

int tok_wordpiece_encode(const struct tok_model *m, struct tok_scratch *w, const char *s, size_t n, struct ids *out)
{
    int rc;
    size_t mark = m->prefix.n, len = 0, begin = out->n;
    char *t;

    if (count_chars(s, n) > m->max_chars) return ids_push(out, m->unknown);
    w->text.n = 0;
    TRY(tok_buf_add(&w->text, m->prefix.s, mark)); // room in front of the first character
    TRY(tok_buf_add(&w->text, s, n));
    t = w->text.s;
    for (size_t at = 0; at < n; at += len) {
        int32_t id;

        if (at && mark) memcpy(t + at, m->prefix.s, mark); // over what is done with: look up prefix and rest in one
        id = longest(m, t + mark + at, n - at, at ? mark : 0, &len);
        if (id < 0) {
            out->n = begin;
            return ids_push(out, m->unknown);
        }
        TRY(ids_push(out, id));
    }
    rc = CL_OK;
done:
    return rc;
}
