/* tok_pattern.c - fixed texts, regular expressions and classes of characters in one search. */
#include "io/tok_pattern.h"

#include "io/err.h"

#include <stdlib.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Oniguruma's \w: no joiners, but six numbers of Latin-1. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"

/* Escapes that PCRE2 reads otherwise than Oniguruma does, outside and inside [ ]. */
static const struct escape {
    char letter;
    const char *outside, *inside;
} escapes[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"}, // PCRE2's \s takes U+180E as well
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[" WORD "]", WORD},
    {'W', "[^" WORD "]", NULL},
    {'h', "[0-9A-Fa-f]", "0-9A-Fa-f"},
    {'H', "[^0-9A-Fa-f]", NULL},
};

/* The same for classes in [ ]. */
static const struct posix {
    const char *name, *to;
} posix[] = {
    {"[:space:]", "\\p{White_Space}"},
    {"[:punct:]", "\\p{P}\\p{S}"},
    {"[:alpha:]", "\\p{Alphabetic}"},
    {"[:word:]", WORD},
};

static int translate_escape(struct tok_buf *b, char letter, bool inside)
{
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        const char *to = inside ? escapes[i].inside : escapes[i].outside;

        if (escapes[i].letter != letter) continue;
        if (!to) return err_set(CL_EFORMAT, "\\%c inside [ ] of a regular expression is not supported", letter);
        return tok_buf_add(b, to, strlen(to));
    }
    return tok_buf_add(b, (char[]){'\\', letter}, 2);
}

/* [:name:] at s; *n: its bytes. Names that mean the same in both are left to PCRE2. */
static int translate_posix(struct tok_buf *b, const char *s, size_t room, size_t *n)
{
    const char *end = memmem(s, room, ":]", 2);

    if (!end || room < 2 || s[1] != ':')
        return err_set(CL_EFORMAT, "[ ] inside [ ] of a regular expression is not supported");
    *n = (size_t)(end - s) + 2;
    for (size_t i = 0; i < sizeof posix / sizeof *posix; i++)
        if (*n == strlen(posix[i].name) && memcmp(s, posix[i].name, *n) == 0)
            return tok_buf_add(b, posix[i].to, strlen(posix[i].to));
    return tok_buf_add(b, s, *n);
}

static int translate(struct tok_buf *b, const char *s, size_t n)
{
    int rc;
    bool inside = false; // of [ ]
    size_t len;

    for (size_t i = 0; i < n; i += len) {
        len = 1;
        if (s[i] == '\\' && i + 1 < n) {
            TRY(translate_escape(b, s[i + 1], inside));
            len = 2;
        } else if (s[i] == '[' && inside) {
            TRY(translate_posix(b, s + i, n - i, &len));
        } else if (s[i] == '&' && inside && i + 1 < n && s[i + 1] == '&') {
            FAIL(CL_EFORMAT, "&& inside [ ] of a regular expression is not supported");
        } else {
            inside = s[i] == '[' || (inside && s[i] != ']');
            TRY(tok_buf_add(b, s + i, 1));
        }
    }
    rc = CL_OK;
done:
    return rc;
}

int tok_pattern_regex(struct tok_pattern *p, const char *regex, size_t n)
{
    int rc, fault;
    PCRE2_SIZE at;
    PCRE2_UCHAR text[160];
    struct tok_buf b = {0};

    TRY(translate(&b, regex, n));
    TRY(tok_buf_add(&b, "", 0));
    p->regex = pcre2_compile((PCRE2_SPTR)b.s, b.n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &fault, &at, NULL);
    if (!p->regex) {
        pcre2_get_error_message(fault, text, sizeof text);
        FAIL(CL_EFORMAT, "regular expression \"%.200s\" does not compile: %s (at byte %zu)", b.s, (char *)text, at);
    }
    pcre2_jit_compile(p->regex, PCRE2_JIT_COMPLETE); // where there is none, the interpreter does the same
    rc = CL_OK;
done:
    tok_buf_free(&b);
    return rc;
}

int tok_pattern_literal(struct tok_pattern *p, const char *s, size_t n)
{
    return tok_buf_add(&p->literal, s, n);
}

void tok_pattern_free(struct tok_pattern *p)
{
    pcre2_code_free(p->regex);
    tok_buf_free(&p->literal);
    *p = (struct tok_pattern){0};
}

int tok_search_start(struct tok_search *f, const struct tok_pattern *p, const char *s, size_t n)
{
    *f = (struct tok_search){.p = p, .s = s, .n = n};
    if (!p->regex) return CL_OK;
    f->match = pcre2_match_data_create_from_pattern(p->regex, NULL);
    return f->match ? CL_OK : err_set(CL_ENOMEM, "no memory for a search");
}

void tok_search_end(struct tok_search *f)
{
    pcre2_match_data_free(f->match);
    f->match = NULL;
}

static int next_regex(struct tok_search *f, bool *found, size_t *at, size_t *len)
{
    size_t *span = pcre2_get_ovector_pointer(f->match), step;
    PCRE2_UCHAR text[160];
    int got;

    *found = false;
    if (f->from > f->n) return CL_OK;
    got = pcre2_match(f->p->regex, (PCRE2_SPTR)f->s, f->n, f->from, PCRE2_NO_UTF_CHECK, f->match, NULL);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT) // the interpreter keeps its backtracking on the heap
        got = pcre2_match(f->p->regex, (PCRE2_SPTR)f->s, f->n, f->from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, f->match,
                          NULL);
    if (got == PCRE2_ERROR_NOMATCH) return CL_OK;
    if (got < 0) {
        pcre2_get_error_message(got, text, sizeof text);
        return err_set(CL_ELIB, "the split pattern fails on a text of %zu bytes: %s", f->n, (char *)text);
    }
    if (span[1] < span[0]) return err_set(CL_EFORMAT, "the split pattern sets its begin behind its end (\\K)");
    *found = true;
    *at = span[0];
    *len = span[1] - span[0];
    f->from = span[1];
    if (*len) return CL_OK;
    step = 1; // an empty find: look again one character further
    if (f->from < f->n) tok_char(f->s + f->from, &step);
    f->from += step;
    return CL_OK;
}

static void next_class(struct tok_search *f, bool *found, size_t *at, size_t *len)
{
    *found = false;
    for (size_t i = f->from; i < f->n && !*found; i += *len) {
        *found = f->p->is_class(tok_char(f->s + i, len));
        *at = i;
        f->from = i + *len;
    }
}

static void next_literal(struct tok_search *f, bool *found, size_t *at, size_t *len)
{
    const struct tok_buf *l = &f->p->literal;
    const char *hit = l->n && f->from < f->n ? memmem(f->s + f->from, f->n - f->from, l->s, l->n) : NULL;

    *found = hit != NULL;
    if (!hit) return;
    *at = (size_t)(hit - f->s);
    *len = l->n;
    f->from = *at + l->n;
}

int tok_search_next(struct tok_search *f, bool *found, size_t *at, size_t *len)
{
    if (f->p->regex) return next_regex(f, found, at, len);
    if (f->p->is_class)
        next_class(f, found, at, len);
    else
        next_literal(f, found, at, len);
    return CL_OK;
}

int tok_replace(struct tok_buf *b, const struct tok_pattern *p, const char *s, size_t n, const char *by, size_t n_by)
{
    int rc;
    struct tok_search f = {0};
    size_t kept = 0, at, len;
    bool found;

    TRY(tok_search_start(&f, p, s, n));
    for (;;) {
        TRY(tok_search_next(&f, &found, &at, &len));
        if (!found) break;
        TRY(tok_buf_add(b, s + kept, at - kept));
        TRY(tok_buf_add(b, by, n_by));
        kept = at + len;
    }
    TRY(tok_buf_add(b, s + kept, n - kept));
    rc = CL_OK;
done:
    tok_search_end(&f);
    return rc;
}
