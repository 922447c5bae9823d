/* pickle_text.c - numbers and texts as protocol 0 writes them: in lines, with Python's escapes; and the encoding of texts that
 * Python 2 wrote. */
#include "io/pickle_machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

/* ---- numbers and texts in lines (protocol 0) */

int machine_parse_integer(struct machine *m, int64_t *v)
{
    char digits[32], *end;
    const char *line;
    size_t n;
    int rc;

    TRY(machine_take_line(m, &line, &n));
    if (n && line[n - 1] == 'L') n--;
    if (!n || n >= sizeof digits) return machine_broken(m, "an integer that is none or has more than 64 bits");
    memcpy(digits, line, n);
    digits[n] = 0;
    errno = 0;
    *v = strtoll(digits, &end, 10);
    if (end != digits + n || errno) return machine_broken(m, "an integer that is none or has more than 64 bits");
    rc = CL_OK;
done:
    return rc;
}

/* I: integer, or 00 and 01 for bool. */
int machine_line_integer(struct machine *m)
{
    const unsigned char *line = m->at;
    int64_t v;
    int rc;

    TRY(machine_parse_integer(m, &v));
    if (m->op == 'I' && m->at - line == 3 && line[0] == '0' && v >= 0 && v <= 1)
        return machine_push_new(m, (struct pickle_value){.kind = PICKLE_BOOL, .truth = v == 1});
    TRY(machine_push_integer(m, v));
done:
    return rc;
}

int machine_line_float(struct machine *m)
{
    char digits[64], *end;
    const char *line;
    size_t n;
    double v;
    int rc;

    TRY(machine_take_line(m, &line, &n));
    if (!n || n >= sizeof digits) return machine_broken(m, "a number that is none");
    memcpy(digits, line, n);
    digits[n] = 0;
    v = strtod(digits, &end);
    if (end != digits + n) return machine_broken(m, "a number that is none");
    TRY(machine_push_new(m, (struct pickle_value){.kind = PICKLE_FLOAT, .real = v}));
done:
    return rc;
}

static size_t put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) return to[0] = (char)c, 1;
    if (c < 0x800) return to[0] = (char)(0xc0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 63)), to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18), to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63)), to[3] = (char)(0x80 | (c & 63));
    return 4;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* n hexadecimal digits at s; false where there are fewer. */
static bool hex_number(const char *s, const char *end, int n, uint32_t *v)
{
    *v = 0;
    if (end - s < n) return false;
    for (int i = 0; i < n; i++) {
        if (hex(s[i]) < 0) return false;
        *v = *v << 4 | (uint32_t)hex(s[i]);
    }
    return true;
}

/* One \uXXXX or \UXXXXXXXX at s (behind the backslash); narrow builds of Python wrote surrogate pairs. */
static const char *unicode_escape(const char *s, const char *end, uint32_t *c)
{
    uint32_t low;

    if (s >= end || !hex_number(s + 1, end, *s == 'u' ? 4 : 8, c)) return NULL;
    s += *s == 'u' ? 5 : 9;
    if (*c >= 0xd800 && *c < 0xdc00 && end - s >= 6 && s[0] == '\\' && s[1] == 'u' && hex_number(s + 2, end, 4, &low) &&
        low >= 0xdc00 && low < 0xe000) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        s += 6;
    }
    return *c <= 0x10ffff ? s : NULL;
}

/* V: Latin-1 with \u escapes. At most twice as long in UTF-8. */
int machine_line_unicode(struct machine *m)
{
    const char *s, *end;
    char *text = NULL;
    size_t n, k = 0;
    int rc;

    TRY(machine_take_line(m, &s, &n));
    if (!(text = malloc(2 * n + 1))) return machine_out_of_memory();
    for (end = s + n; s < end;) {
        uint32_t c = (unsigned char)*s++;

        if (c == '\\' && s < end && (*s == 'u' || *s == 'U') && !(s = unicode_escape(s, end, &c))) {
            rc = machine_broken(m, "a \\u escape that is none");
            goto done;
        }
        k += put_utf8(text + k, c);
    }
    TRY(machine_push_text(m, text, k));
done:
    free(text);
    return rc;
}

/* One escape of a Python string literal at s (behind the backslash). */
static const char *literal_escape(const char *s, const char *end, uint32_t *c)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *plain = memchr(from, *s, sizeof from - 1);

    if (plain) return *c = (unsigned char)to[plain - from], s + 1;
    if (*s == 'x') return hex_number(s + 1, end, 2, c) ? s + 3 : NULL;
    return *c = '\\', s; // unknown: the backslash stands for itself
}

static bool is_utf8(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t k = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

        if (!k || n - i < k) return false;
        for (size_t j = 1; j < k; j++)
            if (((unsigned char)s[i + j] & 0xc0) != 0x80) return false;
        i += k;
    }
    return true;
}

/* Text of Python 2, whose encoding nobody wrote down. */
int machine_push_bytes(struct machine *m, const char *s, size_t n)
{
    char *text;
    size_t k = 0;
    int rc;

    if (is_utf8(s, n)) return machine_push_text(m, s, n);
    if (!(text = malloc(2 * n + 1))) return machine_out_of_memory();
    for (size_t i = 0; i < n; i++) k += put_utf8(text + k, (unsigned char)s[i]);
    rc = machine_push_text(m, text, k);
    free(text);
    return rc;
}

/* S: a string literal as Python writes it. */
int machine_line_literal(struct machine *m)
{
    const char *s, *end;
    char *text = NULL;
    size_t n, k = 0;
    int rc;

    TRY(machine_take_line(m, &s, &n));
    if (n < 2 || (*s != '\'' && *s != '"') || s[n - 1] != *s) return machine_broken(m, "a string without quotes");
    if (!(text = malloc(n))) return machine_out_of_memory();
    end = s + n - 1;
    for (s++; s < end;) {
        uint32_t c = (unsigned char)*s++;

        if (c == '\\' && (s == end || !(s = literal_escape(s, end, &c)))) {
            rc = machine_broken(m, "an escape in a string that is none");
            goto done;
        }
        text[k++] = (char)c;
    }
    rc = machine_push_bytes(m, text, k);
done:
    free(text);
    return rc;
}
