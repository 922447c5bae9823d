/* tok_added.c - finding added tokens in a text. */
#include "io/tok_added.h"

#include "io/err.h"

#include <stdlib.h>
#include <string.h>

void tok_parts_free(struct tok_parts *p)
{
    free(p->part);
    *p = (struct tok_parts){0};
}

static int put_part(struct tok_parts *p, size_t at, size_t n, int32_t id)
{
    if (p->n == p->room) {
        size_t room = p->room ? p->room * 2 : 16;
        struct tok_part *more = realloc(p->part, room * sizeof *more);

        if (!more) return err_set(CL_ENOMEM, "no memory for %zu parts of a text", room);
        p->part = more;
        p->room = room;
    }
    p->part[p->n++] = (struct tok_part){at, n, id};
    return CL_OK;
}

int tok_added_put(struct tok_added *a, const char *s, size_t n, struct tok_added_token as)
{
    struct tok_added_token *more = realloc(a->token, (a->n + 1) * sizeof *more);

    if (!more) return err_set(CL_ENOMEM, "no memory for an added token");
    a->token = more;
    as.n = n;
    as.text = malloc(n + 1);
    if (!as.text) return err_set(CL_ENOMEM, "no memory for an added token");
    memcpy(as.text, s, n);
    as.text[n] = 0;
    a->token[a->n++] = as;
    return CL_OK;
}

void tok_added_free(struct tok_added *a)
{
    for (size_t i = 0; i < a->n; i++) free(a->token[i].text);
    free(a->token);
    *a = (struct tok_added){0};
}

static int normalise(struct tok_added_token *t, const struct tok_norm *norm)
{
    int rc;
    struct tok_buf a = {0}, b = {0}, own = {0};
    const char *s;
    size_t n;

    TRY(tok_norm_apply(norm, t->text, t->n, false, &a, &b, &s, &n, NULL));
    TRY(tok_buf_add(&own, s, n));
    free(t->text);
    t->text = own.s;
    t->n = own.n;
    own = (struct tok_buf){0};
    rc = CL_OK;
done:
    tok_buf_free(&a);
    tok_buf_free(&b);
    tok_buf_free(&own);
    return rc;
}

/* In the order of search: round, first byte, longest first; of equal ones the lowest id. */
static int order(const void *pa, const void *pb)
{
    const struct tok_added_token *a = pa, *b = pb;

    if (a->normalized != b->normalized) return a->normalized - b->normalized;
    if (!a->n || !b->n) return (b->n == 0) - (a->n == 0); // empty ones behind, out of every range
    if (a->text[0] != b->text[0]) return (uint8_t)a->text[0] - (uint8_t)b->text[0];
    if (a->n != b->n) return a->n > b->n ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

int tok_added_seal(struct tok_added *a, const struct tok_norm *norm)
{
    int rc;
    size_t i = 0;

    for (size_t k = 0; k < a->n; k++)
        if (a->token[k].normalized) TRY(normalise(&a->token[k], norm));
    if (a->n) qsort(a->token, a->n, sizeof *a->token, order);
    for (int round = 0; round < 2; round++) {
        for (int byte = 0; byte < 256; byte++) {
            a->begin[round][byte] = i;
            while (i < a->n && a->token[i].normalized == round && a->token[i].n && (uint8_t)a->token[i].text[0] == byte)
                i++;
        }
        a->begin[round][256] = i;
        while (i < a->n && a->token[i].normalized == round) i++; // empty ones
    }
    rc = CL_OK;
done:
    return rc;
}

/* The character that ends right before s[at]. */
static uint32_t char_before(const char *s, size_t at)
{
    size_t len;

    do at--;
    while (at && ((uint8_t)s[at] & 0xC0) == 0x80);
    return tok_char(s + at, &len);
}

static bool stands_alone(const char *s, size_t n, size_t at, size_t end)
{
    size_t len;

    return (at == 0 || !tok_is_word(char_before(s, at))) && (end == n || !tok_is_word(tok_char(s + end, &len)));
}

static const struct tok_added_token *find_at(const struct tok_added *a, bool normalized, const char *s, size_t n)
{
    const size_t *begin = &a->begin[normalized][(uint8_t)s[0]];

    for (size_t i = begin[0]; i < begin[1]; i++)
        if (a->token[i].n <= n && memcmp(a->token[i].text, s, a->token[i].n) == 0) return &a->token[i];
    return NULL;
}

static size_t strip_left(const char *s, size_t at, size_t least)
{
    while (at > least && tok_is_space(char_before(s, at))) {
        do at--;
        while (((uint8_t)s[at] & 0xC0) == 0x80);
    }
    return at;
}

static size_t strip_right(const char *s, size_t n, size_t end)
{
    size_t len;

    while (end < n && tok_is_space(tok_char(s + end, &len))) end += len;
    return end;
}

int tok_added_split(const struct tok_added *a, bool normalized, const char *s, size_t n, struct tok_parts *out)
{
    int rc;
    size_t kept = 0, at = 0;

    out->n = 0;
    while (at < n) {
        const struct tok_added_token *t = find_at(a, normalized, s + at, n - at);
        size_t begin = at, end;

        at += t ? t->n : 1;
        if (!t || begin < kept) continue; // kept: blanks that the last find swallowed
        end = at;
        if (t->single_word && !stands_alone(s, n, begin, end)) continue;
        if (t->lstrip) begin = strip_left(s, begin, kept);
        if (t->rstrip) end = strip_right(s, n, end);
        if (begin > kept) TRY(put_part(out, kept, begin - kept, -1));
        TRY(put_part(out, begin, end - begin, t->id));
        kept = end;
    }
    if (kept < n) TRY(put_part(out, kept, n - kept, -1));
    rc = CL_OK;
done:
    return rc;
}
