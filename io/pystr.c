/* pystr.c - see pystr.h. Letters, digits and white space come from utf8proc's tables. */
#include "io/pystr.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

#include "io/text.h"

int32_t pystr_at(const char *s, size_t *n)
{
    utf8proc_int32_t c = -1;
    utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)s, -1, &c);

    *n = got > 0 ? (size_t)got : 1;
    return got > 0 ? c : -1;
}

size_t pystr_length(const char *s)
{
    size_t length = 0, n;

    for (; *s; s += n, length++) pystr_at(s, &n);
    return length;
}

/* ---- kinds of characters */

static utf8proc_category_t category(int32_t c)
{
    return c < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(c);
}

bool pystr_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 ||
           (c > 0x85 && category(c) >= UTF8PROC_CATEGORY_ZS && category(c) <= UTF8PROC_CATEGORY_ZP);
}

bool pystr_is_decimal(int32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_ND;
}

bool pystr_is_alnum(int32_t c)
{
    utf8proc_category_t k = category(c);

    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

/* Decimal digits stand in runs of ten, from nought to nine. */
static int digit_value(int32_t c)
{
    int32_t first = c;

    while (pystr_is_decimal(first - 1)) first--;
    return (c - first) % 10;
}

/* ---- strip, split, join */

const char *pystr_stripped(const char *s, size_t *length)
{
    const char *from = s, *end;
    size_t n;

    while (*from && pystr_is_space(pystr_at(from, &n))) from += n;
    end = from;
    for (const char *p = from; *p; p += n)
        if (!pystr_is_space(pystr_at(p, &n))) end = p + n;
    *length = (size_t)(end - from);
    return from;
}

char *pystr_strip(const char *s)
{
    size_t n;
    const char *from = pystr_stripped(s, &n);

    return strndup(from, n);
}

int pystr_split(struct pystr_words *w, const char *s)
{
    size_t bytes = strlen(s), n;
    char *to;
    bool inside = false;

    *w = (struct pystr_words){.text = malloc(bytes + 2), .word = malloc((bytes / 2 + 1) * sizeof *w->word)};
    if (!w->text || !w->word) {
        pystr_words_free(w);
        return -1;
    }
    to = w->text;
    for (; *s; s += n) {
        bool space = pystr_is_space(pystr_at(s, &n));

        if (space && inside) *to++ = 0;
        if (!space && !inside) w->word[w->n++] = to;
        if (!space) memcpy(to, s, n), to += n;
        inside = !space;
    }
    *to = 0;
    return 0;
}

void pystr_words_free(struct pystr_words *w)
{
    free(w->text);
    free(w->word);
    *w = (struct pystr_words){0};
}

char *pystr_join(const struct pystr_words *w)
{
    struct text t = {0};

    for (int i = 0; i < w->n; i++) text_add(&t, "%s%s", i ? " " : "", w->word[i]);
    return text_take(&t);
}

char *pystr_replace(const char *s, char what, const char *with)
{
    struct text t = {0};

    for (; *s; s++)
        if (*s != what)
            text_bytes(&t, s, 1);
        else if (with)
            text_bytes(&t, with, strlen(with));
    return text_take(&t);
}

/* ---- case */

static void put(struct text *t, int32_t c)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);

    text_bytes(t, (const char *)bytes, n > 0 ? (size_t)n : 0);
}

enum { SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2, DOTTED_I = 0x130, DOT_ABOVE = 0x307 };

/* Letters that have a case, and characters that a word's end is looked for through. (Word_Break's middle marks are listed:
 * utf8proc has general categories only.) */
static bool is_cased(int32_t c)
{
    utf8proc_category_t k = category(c);

    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT ||
           (c > 0 && (utf8proc_isupper(c) || utf8proc_islower(c)));
}

static bool is_ignored(int32_t c)
{
    static const int32_t marks[] = {'\'',   '.',    ':',    0xb7,   0x387,  0x55f,  0x5f4,  0x2018, 0x2019,
                                    0x2024, 0x2027, 0xfe13, 0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    utf8proc_category_t k = category(c);

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (c == marks[i]) return true;
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK;
}

/* Is the sigma that ends in front of `after` the last letter of a word? `begun`: a letter with a case went before it. */
static bool ends_word(bool begun, const char *after)
{
    size_t n;

    for (; *after && is_ignored(pystr_at(after, &n));) after += n;
    return begun && !(*after && is_cased(pystr_at(after, &n)));
}

char *pystr_lower(const char *s)
{
    struct text t = {0};
    bool begun = false; // the last character that is not ignored has a case
    size_t n;

    for (; *s; s += n) {
        int32_t c = pystr_at(s, &n);

        if (c < 0)
            text_bytes(&t, s, 1);
        else if (c == SIGMA && ends_word(begun, s + n))
            put(&t, FINAL_SIGMA);
        else
            put(&t, c == DOTTED_I ? 'i' : utf8proc_tolower(c));
        if (c == DOTTED_I) put(&t, DOT_ABOVE);
        if (!is_ignored(c)) begun = is_cased(c);
    }
    return text_take(&t);
}

/* One small letter may be two capitals, ß is SS: those are the capitals of what it folds to. */
static void put_upper(struct text *t, int32_t c)
{
    utf8proc_int32_t folded[8];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(c, folded, 8, UTF8PROC_CASEFOLD, &boundary);

    if (n < 2 || n > 8 || category(c) == UTF8PROC_CATEGORY_LU) {
        put(t, utf8proc_toupper(c));
        return;
    }
    for (utf8proc_ssize_t i = 0; i < n; i++) put(t, utf8proc_toupper(folded[i]));
}

char *pystr_upper(const char *s)
{
    struct text t = {0};
    size_t n;

    for (; *s; s += n) {
        int32_t c = pystr_at(s, &n);

        if (c < 0)
            text_bytes(&t, s, 1);
        else
            put_upper(&t, c);
    }
    return text_take(&t);
}

char *pystr_lower_strip(const char *s)
{
    char *lower = pystr_lower(s), *out = lower ? pystr_strip(lower) : NULL;

    free(lower);
    return out;
}

/* ---- numbers */

/* ASCII form of a number's text, as float() brings it: digits of every script; an underscore must stand between digits and
 * goes. false: some other character. */
static bool plain_number(struct text *t, const char *s, size_t bytes)
{
    const char *end = s + bytes;
    char before = 0;
    size_t n;

    for (; s < end; s += n) {
        int32_t c = pystr_at(s, &n), next;
        size_t unused;

        if (pystr_is_decimal(c)) {
            before = (char)('0' + digit_value(c));
        } else if (c == '_') {
            next = s + n < end ? pystr_at(s + n, &unused) : 0;
            if (before < '0' || before > '9' || !pystr_is_decimal(next)) return false;
            before = '_';
            continue;
        } else if (c > 0 && c < 0x80) {
            before = (char)c;
        } else {
            return false;
        }
        text_bytes(t, &before, 1);
    }
    return !t->failed;
}

static const char *digits(const char *s)
{
    while (*s >= '0' && *s <= '9') s++;
    return s;
}

/* [sign] digits [. digits] [e [sign] digits], a digit at least in front of the exponent; or inf, infinity, nan. */
static bool is_python_number(const char *s)
{
    const char *from, *point;

    if (*s == '+' || *s == '-') s++;
    if (!strcasecmp(s, "inf") || !strcasecmp(s, "infinity") || !strcasecmp(s, "nan")) return true;
    from = s;
    s = point = digits(s);
    if (*s == '.') s = digits(s + 1);
    if (s == from || (point == from && s == from + 1)) return false; // nothing, or a point alone
    if (*s == 'e' || *s == 'E') {
        s += s[1] == '+' || s[1] == '-' ? 2 : 1;
        if (*s < '0' || *s > '9') return false;
        s = digits(s);
    }
    return !*s;
}

/* float() does not take the separators 0x1c to 0x1f for white space, which str.strip does. */
bool pystr_float(const char *s, double *v)
{
    struct text t = {0};
    size_t n;
    const char *from = pystr_stripped(s, &n);
    bool separators = strpbrk(s, "\x1c\x1d\x1e\x1f") != NULL;
    bool good = n && !separators && plain_number(&t, from, n) && t.s && is_python_number(t.s);

    if (good) *v = strtod(t.s, NULL);
    text_free(&t);
    return good;
}

bool pystr_is_number(const char *s)
{
    size_t n;

    if (!*s) return false;
    for (; *s; s += n)
        if (!pystr_is_decimal(pystr_at(s, &n))) return false;
    return true;
}
