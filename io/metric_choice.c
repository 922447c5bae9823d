/* metric_choice.c - multiple choice: which letter an answer names, as LLaVA, CoIN and lmms-eval read it. */
#include "io/metric_rules.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/metric_pattern.h"
#include "io/pystr.h"

enum { OPTIONS = 5, UNREADABLE = -1 }; // A to E; no memory

static bool is_option(char c)
{
    return c >= 'A' && c < 'A' + OPTIONS;
}

/* "B", or "B. " and anything behind it; else 0. */
static int plain_letter(const char *s)
{
    if (is_option(s[0]) && (!s[1] || !strncmp(s + 1, ". ", 2))) return s[0];
    return 0;
}

/* Then "The answer is B", if it stands there once and one character more (of whatever kind) on the same line. */
static int llava_letter(const char *s)
{
    struct pattern p;
    int letter = plain_letter(s), found = 0, more;

    if (letter) return letter;
    if (pattern_open(&p, "The answer is ([A-Z])[^\\n]", s)) return UNREADABLE;
    while ((more = pattern_next(&p)) > 0) {
        letter = s[p.span[2]];
        found++;
    }
    pattern_close(&p);
    return more < 0 ? UNREADABLE : found == 1 ? letter : 0;
}

/* Then the first word of one letter, capital or not: "(b)" is B, but so "A cat" is A and "it's B" is S. */
static int coin_letter(const char *s)
{
    struct pattern p;
    int letter = plain_letter(s), more;

    if (letter) return letter;
    if (pattern_open(&p, "(?<!" PATTERN_WORD ")" PATTERN_WORD "(?!" PATTERN_WORD ")", s)) return UNREADABLE;
    more = pattern_next(&p);
    if (more > 0) letter = toupper((unsigned char)s[p.span[0]]);
    pattern_close(&p);
    return more < 0 ? UNREADABLE : letter;
}

/* The letter that a reference stands for: itself, or what LLaVA's rule reads in "The answer is B." */
static int right_letter(const char *reference)
{
    char *r = pystr_strip(reference);
    int letter = !r ? UNREADABLE : r[0] && !r[1] ? r[0] : llava_letter(r);

    free(r);
    return letter;
}

static double letter_is(int letter, const char *reference, const struct metric_options *o)
{
    int choices = o->choices > 0 && o->choices < OPTIONS ? o->choices : OPTIONS, right = right_letter(reference);

    if (letter == UNREADABLE || right == UNREADABLE) return NAN;
    return letter >= 'A' && letter < 'A' + choices && letter == right;
}

static double llava(const char *prediction, const char *reference, const struct metric_options *o)
{
    return letter_is(llava_letter(prediction), reference, o);
}

double metric_scienceqa_llava(const char *prediction, const char *const *references, int n,
                              const struct metric_options *o)
{
    return metric_best(llava, prediction, references, n, o);
}

static double coin(const char *prediction, const char *reference, const struct metric_options *o)
{
    return letter_is(coin_letter(prediction), reference, o);
}

double metric_scienceqa_coin(const char *prediction, const char *const *references, int n,
                             const struct metric_options *o)
{
    return metric_best(coin, prediction, references, n, o);
}

/* Equal but for case; or a capital with a period behind it, which then is the letter. */
static double lmms(const char *prediction, const char *reference, const struct metric_options *o)
{
    int right = right_letter(reference);

    (void)o;
    if (right == UNREADABLE) return NAN;
    if (!right || !*prediction) return 0;
    if (!prediction[1]) return toupper((unsigned char)prediction[0]) == toupper(right);
    return prediction[1] == '.' && prediction[0] == right && right >= 'A' && right <= 'Z';
}

double metric_scienceqa_lmms(const char *prediction, const char *const *references, int n,
                             const struct metric_options *o)
{
    return metric_best(lmms, prediction, references, n, o);
}

/* IconQA: letters where there are choices, else the filled-in text. */
static double iconqa(const char *prediction, const char *reference, const struct metric_options *o)
{
    const char *type = o->question_type ? o->question_type : "";
    char *p;
    double letter;

    if (!strcmp(type, "fill_in_blank") || (strncmp(type, "choose", 6) && !o->choices))
        return metric_equal(pystr_lower_strip(prediction), pystr_lower_strip(reference));
    if (!(p = pystr_strip(prediction))) return NAN;
    letter = plain_letter(p) ? letter_is(plain_letter(p), reference, o) : lmms(p, reference, o);
    free(p);
    return letter;
}

double metric_iconqa(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(iconqa, prediction, references, n, o);
}
