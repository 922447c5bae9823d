/* metric.c - the table of metrics. A new rule is one function and one line of METRICS. */
#include "io/metric.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "io/err.h"
#include "io/text.h"

enum { WORD = 256 }; // bytes of a word that count

/* One code point at s, its bytes in *n; a byte that is no UTF-8 is a mark between words, so that every text can be scored. */
static int32_t point_at(const char *s, size_t *n)
{
    utf8proc_int32_t point = -1;
    utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)s, -1, &point);

    *n = got > 0 ? (size_t)got : 1;
    return got > 0 ? point : 0xfffd;
}

static bool is_space(int32_t point)
{
    utf8proc_category_t c;

    if (point == 0) return false;
    c = utf8proc_category(point);
    return (point >= 9 && point <= 13) || (point >= 0x1c && point <= 0x1f) || point == 0x85 ||
           c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

/* ---- exact */

/* The part of a text between outer white space. */
static const char *trimmed(const char *s, size_t *length)
{
    const char *from = s, *end;
    size_t n;

    while (*from && is_space(point_at(from, &n))) from += n;
    end = from;
    for (const char *p = from; *p; p += n)
        if (!is_space(point_at(p, &n))) end = p + n;
    *length = (size_t)(end - from);
    return from;
}

static double exact(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    size_t got_length, length;
    const char *got = trimmed(prediction, &got_length);

    (void)o;
    for (int i = 0; i < n; i++) {
        const char *want = trimmed(references[i], &length);
        if (length == got_length && !memcmp(want, got, length)) return 1;
    }
    return 0;
}

/* ---- first_word: what is left of an answer when its wording does not count */

static bool is_letter(int32_t point)
{
    utf8proc_category_t c = utf8proc_category(point);

    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) || c == UTF8PROC_CATEGORY_MN ||
           c == UTF8PROC_CATEGORY_MC;
}

static bool is_digit(int32_t point)
{
    return point >= '0' && point <= '9';
}

static size_t put_point(char *word, size_t at, size_t room, int32_t point)
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(utf8proc_tolower(point), bytes);

    if (n <= 0 || at + (size_t)n >= room) return at;
    memcpy(word + at, bytes, (size_t)n);
    return at + (size_t)n;
}

/* The next run of letters, or number (sign, digits, commas between digits left out, one fraction), from s on. Returns where
 * it ends, NULL when there is none. A number is brought to one form: "01.50" -> "1.5". */
static const char *next_word(char *word, size_t room, const char *s)
{
    size_t at = 0, n;
    int32_t before = ' ', point;
    bool number, fraction = false;

    for (point = point_at(s, &n); *s && !is_letter(point) && !is_digit(point); point = point_at(s, &n)) {
        before = point;
        s += n;
    }
    if (!*s) return NULL;
    number = is_digit(point);
    if (number && before == '-') word[at++] = '-';
    for (; *s; s += n) {
        point = point_at(s, &n);
        if (number && point == ',' && is_digit(s[1])) continue;
        if (number && point == '.' && is_digit(s[1]) && !fraction)
            fraction = true;
        else if (number ? !is_digit(point) : !is_letter(point) && !is_digit(point) && !(point == '\'' && at))
            break;
        at = put_point(word, at, room, point);
    }
    while (at && word[at - 1] == '\'') at--;
    word[at] = 0;
    if (number && at < 16) snprintf(word, room, "%.15g", strtod(word, NULL) + 0.0); // + 0: no -0
    return s;
}

/* Whether a word says nothing by itself. "a" is one of them: as a letter of a choice it stands alone or in brackets, where
 * nothing else is left. */
static bool is_filler(const char *word)
{
    static const char *const filler[] = {
        "a",  "an", "the", "is", "are", "was", "were", "be",  "it", "it's", "its",  "this", "that",   "these", "there",
        "of", "in", "on",  "at", "to",  "i",   "my",   "and", "so", "has",  "have", "does", "answer", "option"};

    for (size_t i = 0; i < sizeof filler / sizeof *filler; i++)
        if (!strcmp(word, filler[i])) return true;
    return false;
}

/* Digits for the small numbers that answers spell out. */
static void number_of_word(char *word, size_t room)
{
    static const char *const name[] = {"zero", "one",   "two",   "three", "four", "five",
                                       "six",  "seven", "eight", "nine",  "ten"};

    for (int i = 0; i <= 10; i++)
        if (!strcmp(word, name[i])) {
            snprintf(word, room, "%d", i);
            return;
        }
}

void metric_content_word(char *out, size_t room, const char *text)
{
    char word[WORD], first[WORD] = "";

    word[0] = 0;
    for (const char *s = text; (s = next_word(word, sizeof word, s));) {
        if (!*first) memcpy(first, word, sizeof first);
        if (!is_filler(word)) break;
        word[0] = 0;
    }
    if (!*word) memcpy(word, first, sizeof word); // nothing but fillers: the first of them
    number_of_word(word, sizeof word);
    snprintf(out, room, "%s", word);
}

static double first_word(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    char got[WORD], want[WORD];

    (void)o;
    metric_content_word(got, sizeof got, prediction);
    for (int i = 0; i < n; i++) {
        metric_content_word(want, sizeof want, references[i]);
        if (*want && !strcmp(got, want)) return 1;
    }
    return 0;
}

/* ---- the table */

#define METRICS(X)                                                                                                     \
    X(exact, "equal to a reference; white space around both does not count, case does")                                \
    X(first_word, "format-free: the first content word, number or letter is that of a reference")

#define METRIC_ROW(name, help) {#name, help, name},
#define METRIC_NAME(name, help) ", " #name
static const struct metric metrics[] = {METRICS(METRIC_ROW)};
static const char names[] = METRICS(METRIC_NAME);

const char *metric_names(void)
{
    return names + 2; // behind the first comma
}

const struct metric *metric_at(size_t i)
{
    return i < sizeof metrics / sizeof *metrics ? &metrics[i] : NULL;
}

const struct metric *metric_find(const char *name)
{
    char nearest[64];

    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (!strcmp(metrics[i].name, name)) return &metrics[i];
    text_listed(name, metric_names(), nearest, sizeof nearest);
    err_set(CL_EUSAGE, "unknown metric '%s'%s%s%s; hint: one of %s", name, *nearest ? " (did you mean " : "", nearest,
            *nearest ? "?)" : "", metric_names());
    return NULL;
}

double metric_score(const struct metric *m, const char *prediction, const char *const *references, int n,
                    const struct metric_options *o)
{
    static const struct metric_options none = {0};

    return m->score(prediction, references, n, o ? o : &none);
}
