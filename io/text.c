/* text.c - see text.h. */
#include "io/text.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64 }; // longest word that text_nearest compares

/* Room for n more bytes and the NUL. */
static bool grow(struct text *t, size_t n)
{
    if (t->failed) return false;
    if (n < t->cap && t->len < t->cap - n) return true;
    size_t cap = t->cap ? t->cap : 256;
    while (cap - t->len <= n && cap < SIZE_MAX / 2) cap *= 2;
    char *s = cap - t->len > n ? realloc(t->s, cap) : NULL;
    t->failed = !s;
    if (!s) return false;
    t->s = s;
    t->cap = cap;
    return true;
}

void text_free(struct text *t)
{
    free(t->s);
    *t = (struct text){0};
}

void text_clear(struct text *t)
{
    t->len = 0;
    t->failed = false;
    if (t->s) t->s[0] = 0;
}

char *text_take(struct text *t)
{
    char *s = NULL;

    if (grow(t, 0)) {
        t->s[t->len] = 0;
        s = t->s;
        t->s = NULL;
    }
    text_free(t);
    return s;
}

void text_bytes(struct text *t, const char *s, size_t n)
{
    if (!grow(t, n)) return;
    if (n) memcpy(t->s + t->len, s, n);
    t->len += n;
    t->s[t->len] = 0;
}

void text_add(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) t->failed = true;
    if (n < 0 || !grow(t, (size_t)n)) return;
    va_start(ap, fmt);
    vsnprintf(t->s + t->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    t->len += (size_t)n;
}

void text_number(struct text *t, double v)
{
    char s[40];
    int digits = 1;

    if (!isfinite(v)) {
        text_add(t, "null");
        return;
    }
    do snprintf(s, sizeof s, "%.*g", digits, v);
    while (strtod(s, NULL) != v && ++digits <= 17);
    const char *e = strchr(s, 'e'), *end = e ? e : s + strlen(s);
    text_bytes(t, s, (size_t)(end - s));
    if (!strchr(s, '.')) text_add(t, ".0");
    if (e) text_add(t, "%s", e);
}

/* Length of the UTF-8 character at s and its code point; 0: not UTF-8 (overlong, surrogate, beyond U+10FFFF, cut off). */
static size_t character(const unsigned char *s, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : (s[0] & 0xf8) == 0xf0 ? 4 : 0;

    if (!n) return 0;
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    *code = c;
    return c < least[n] || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff ? 0 : n;
}

/* What YAML does not take as it stands, beside what JSON does not: controls, its extra line breaks, the byte order mark. */
static bool printable(uint32_t c)
{
    return c >= 0x20 && (c < 0x7f || c >= 0xa0) && c != 0x2028 && c != 0x2029 && c != 0xfeff && c != 0xfffe &&
           c != 0xffff;
}

void text_json(struct text *t, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;

    text_add(t, "\"");
    while (*p) {
        uint32_t code = 0;
        size_t n = character(p, &code);
        if (!n)
            text_add(t, "\xef\xbf\xbd");
        else if (code == '"' || code == '\\')
            text_add(t, "\\%c", (int)code);
        else if (code == '\n')
            text_add(t, "\\n");
        else if (!printable(code))
            text_add(t, "\\u%04x", (unsigned)code);
        else
            text_bytes(t, (const char *)p, n);
        p += n ? n : 1;
    }
    text_add(t, "\"");
}

/* Levenshtein distance, ignoring case, of words of at most WORD letters. */
static size_t distance(const char *a, const char *b)
{
    size_t row[WORD + 1], n = strlen(b);

    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t d = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            diagonal = row[j];
            if (row[j] + 1 < d) d = row[j] + 1;
            if (row[j - 1] + 1 < d) d = row[j - 1] + 1;
            row[j] = d;
        }
    }
    return row[n];
}

/* A third of the letters may be wrong. */
const char *text_nearest(const char *word, const char *const *words, size_t n)
{
    const char *best = NULL;
    size_t least = (strlen(word) + 2) / 3 + 1;

    if (strlen(word) > WORD) return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = strlen(words[i]) > WORD ? SIZE_MAX : distance(word, words[i]);
        if (d >= least || d >= strlen(word)) continue;
        least = d;
        best = words[i];
    }
    return best;
}

bool text_listed(const char *word, const char *list, char *nearest, size_t room)
{
    size_t least = SIZE_MAX;

    nearest[0] = 0;
    while (*list) {
        char item[WORD + 1];
        const char *items[] = {item};
        list += strspn(list, ", ");
        size_t n = strcspn(list, ", ");
        snprintf(item, sizeof item, "%.*s", (int)n, list);
        list += n;
        if (n && !strcmp(item, word)) return true;
        if (!n || !text_nearest(word, items, 1) || distance(word, item) >= least) continue;
        least = distance(word, item);
        snprintf(nearest, room, "%s", item);
    }
    return false;
}

void text_markup(struct text *t, const char *s)
{
    for (; *s; s++) {
        if (strchr("&<>\"'", *s))
            text_add(t, "&#%d;", *s);
        else if ((unsigned char)*s >= 32 && *s != 127)
            text_add(t, "%c", *s);
    }
}
