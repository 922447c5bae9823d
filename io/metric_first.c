/* metric_first.c - first_word: what is left of an answer when its wording and format do not count.
 *
 * Much of what looks like forgetting is another habit of answering. So this score stands beside each exact one. What is
 * looked for in a prediction depends on what the reference is:
 *
 *     a letter of a choice   B      the letter that is given as an option: "(b) left", "The answer is B." but not "A cat"
 *     a number               1,200  the first number, written in digits or spelled out
 *     anything else          Red    the first content word: "It is red."
 */
#include "io/metric_rules.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "io/pystr.h"

enum { WORD = 256 }; // bytes of a word that count

static bool is_letter(int32_t point)
{
    utf8proc_category_t c = point < 0 ? UTF8PROC_CATEGORY_CN : utf8proc_category(point);

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

/* The next run of letters, or number (sign, digits, commas between digits left out, one fraction), from s on; *begin: where
 * it begins. Returns where it ends, NULL when there is none. A number is brought to one form: "01.50" -> "1.5". */
static const char *next_word(char *word, size_t room, const char *s, const char **begin)
{
    size_t at = 0, n;
    int32_t before = ' ', point;
    bool number, fraction = false;

    for (point = pystr_at(s, &n); *s && !is_letter(point) && !is_digit(point); point = pystr_at(s, &n)) {
        before = point;
        s += n;
    }
    if (!*s) return NULL;
    *begin = s;
    number = is_digit(point);
    if (number && before == '-') word[at++] = '-';
    for (; *s; s += n) {
        point = pystr_at(s, &n);
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
    const char *begin;

    word[0] = 0;
    for (const char *s = text; (s = next_word(word, sizeof word, s, &begin));) {
        if (!*first) memcpy(first, word, sizeof first);
        if (!is_filler(word)) break;
        word[0] = 0;
    }
    if (!*word) memcpy(word, first, sizeof word); // nothing but fillers: the first of them
    number_of_word(word, sizeof word);
    snprintf(out, room, "%s", word);
}

static bool is_number(const char *word)
{
    return is_digit(word[word[0] == '-']);
}

/* The first number, in digits or spelled out; "one" is a pronoun where there is another number. "": none. */
static void first_number(char *out, size_t room, const char *text)
{
    char word[WORD];
    const char *begin;
    bool one = false;

    for (const char *s = text; (s = next_word(word, sizeof word, s, &begin));) {
        if (!strcmp(word, "one")) {
            one = true;
            continue;
        }
        number_of_word(word, sizeof word);
        if (!is_number(word)) continue;
        snprintf(out, room, "%s", word);
        return;
    }
    snprintf(out, room, "%s", one ? "1" : "");
}

/* The letter of "B", "(b)", "B." and the like, small; 0 when the text is more than that. */
static char bare_letter(const char *s)
{
    size_t n;
    const char *p = pystr_stripped(s, &n);
    char letter;

    if (n && *p == '(') p++, n--;
    if (!n || !isalpha((unsigned char)*p)) return 0;
    letter = (char)tolower((unsigned char)*p);
    p++, n--;
    while (n && strchr(").:", *p)) p++, n--;
    return n ? 0 : letter;
}

/* Is a letter that stands alone given as an option? By a mark at it, by the words before it, or since nothing follows. */
static bool is_given(const char *text, const char *begin, const char *end, const char *word_before)
{
    size_t n;

    if (begin > text && (begin[-1] == '(' || begin[-1] == '[')) return true;
    if (*end && strchr(".):,]", *end)) return true;
    if (!strcmp(word_before, "answer") || !strcmp(word_before, "option") || !strcmp(word_before, "choice")) return true;
    if (!strcmp(word_before, "is") && isupper((unsigned char)*begin)) return true;
    pystr_stripped(end, &n);
    return !n;
}

/* The option that a text gives, small; 0: none. Without a mark a letter counts too, unless it reads as "a" or "I". */
static char option_letter(const char *text)
{
    char word[WORD], before[WORD] = "", loose = 0;
    const char *begin, *end;

    for (const char *s = text; (end = next_word(word, sizeof word, s, &begin)); s = end) {
        if (isalpha((unsigned char)word[0]) && !word[1]) {
            if (is_given(text, begin, end, before)) return word[0];
            if (!loose && word[0] != 'a' && word[0] != 'i') loose = word[0];
        }
        memcpy(before, word, sizeof before);
    }
    return loose;
}

static double first_word(const char *prediction, const char *reference, const struct metric_options *o)
{
    char got[WORD], want[WORD], letter = bare_letter(reference), said;

    (void)o;
    if (letter && (said = option_letter(prediction))) return said == letter;
    metric_content_word(want, sizeof want, reference);
    if (is_number(want))
        first_number(got, sizeof got, prediction);
    else
        metric_content_word(got, sizeof got, prediction);
    return *want && !strcmp(got, want); // nothing said is nothing right
}

double metric_first_word(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(first_word, prediction, references, n, o);
}
