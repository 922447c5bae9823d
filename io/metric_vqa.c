/* metric_vqa.c - VQA accuracy: an answer is right as far as three of ten people gave it, each left out in turn.
 *
 * The two normalisers are those of the VQA challenge and of its EvalAI server (which LLaVA scores TextVQA and VizWiz with),
 * oddities kept: a mark is taken out or made a blank depending on blanks anywhere beside it, digit-comma-digit takes out
 * every mark, at most 32 periods go.
 */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/pystr.h"

/* ---- contractions that were typed without their apostrophe */

/* The word is an entry without its apostrophe. */
static const char *const once[] = {
    "ain't",      "aren't",    "can't",      "could've",  "couldn't",    "didn't",       "doesn't",   "don't",
    "hadn't",     "hasn't",    "haven't",    "he'd",      "he's",        "how'd",        "how'll",    "how's",
    "isn't",      "it'd",      "it'll",      "ma'am",     "mightn't",    "might've",     "mustn't",   "must've",
    "needn't",    "not've",    "o'clock",    "oughtn't",  "shan't",      "should've",    "shouldn't", "somebody'll",
    "somebody's", "someone'd", "someone'll", "someone's", "something'd", "something'll", "that's",    "there'd",
    "there're",   "there's",   "they'd",     "they'll",   "they're",     "they've",      "'twas",     "wasn't",
    "we've",      "weren't",   "what'll",    "what're",   "what's",      "what've",      "when's",    "where'd",
    "where's",    "where've",  "who'd",      "who'll",    "who's",       "who've",       "why'll",    "why're",
    "why's",      "won't",     "would've",   "wouldn't",  "y'all",       "you'd",        "you'll",    "you're",
    "you've"};
/* The word is an entry without its first, or without its second apostrophe. */
static const char *const twice[] = {"couldn't've", "hadn't've",    "he'd've",       "it'd've",      "mightn't've",
                                    "she'd've",    "shouldn't've", "somebody'd've", "someone'd've", "something'd've",
                                    "there'd've",  "they'd've",    "we'd've",       "who'd've",     "wouldn't've",
                                    "y'all'll",    "you'd've"};
/* The rest, as they are. */
static const char *const odd[][2] = {
    {"ow's'at", "'ow's'at"},     {"'ows'at", "'ow's'at"},     {"'ow'sat", "'ow's'at"},    {"yall'd've", "y'all'd've"},
    {"y'alld've", "y'all'd've"}, {"y'all'dve", "y'all'd've"}, {"somebody'd", "somebodyd"}};

/* Is word the entry without its k-th apostrophe? */
static bool lacks(const char *word, const char *entry, int k)
{
    const char *mark = strchr(entry, '\'');
    size_t n;

    if (k) mark = strchr(mark + 1, '\'');
    n = (size_t)(mark - entry);
    return !strncmp(word, entry, n) && !strcmp(word + n, mark + 1);
}

static const char *contraction(const char *word)
{
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        if (lacks(word, once[i], 0)) return once[i];
    for (size_t i = 0; i < sizeof twice / sizeof *twice; i++)
        if (lacks(word, twice[i], 0) || lacks(word, twice[i], 1)) return twice[i];
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        if (!strcmp(word, odd[i][0])) return odd[i][1];
    return word;
}

static const char *numeral(const char *word)
{
    static const char *const name[] = {"none", "zero", "one",   "two",   "three", "four",
                                       "five", "six",  "seven", "eight", "nine",  "ten"};
    static const char *const digits[] = {"0", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};

    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (!strcmp(word, name[i])) return digits[i];
    return word;
}

static bool is_article(const char *word)
{
    return !strcmp(word, "a") || !strcmp(word, "an") || !strcmp(word, "the");
}

/* ---- steps of the normalisers; each frees its argument, takes NULL and gives NULL without memory */

/* Newlines and tabs to blanks, trimmed. */
static char *unbroken(char *s)
{
    char *out = NULL;

    for (char *p = s; p && *p; p++)
        if (*p == '\n' || *p == '\t') *p = ' ';
    if (s) out = pystr_strip(s);
    free(s);
    return out;
}

static bool has_digit_comma_digit(const char *s)
{
    int32_t before = 0, c = 0;
    size_t n, unused;

    for (; *s; s += n, before = c) {
        c = pystr_at(s, &n);
        if (c == ',' && pystr_is_decimal(before) && pystr_is_decimal(pystr_at(s + 1, &unused))) return true;
    }
    return false;
}

static bool beside_blank(const char *s, char mark)
{
    for (const char *p = s; (p = strchr(p, mark)); p++)
        if (p[1] == ' ' || (p > s && p[-1] == ' ')) return true;
    return false;
}

/* What becomes of each mark is decided on the text as it came in. */
static char *unmarked(char *s)
{
    static const char marks[] = ";/[]\"{}()=+\\_-><@`,?!";
    bool gone[sizeof marks], all;
    char *to = s;

    if (!s) return NULL;
    all = has_digit_comma_digit(s);
    for (size_t i = 0; i < sizeof marks - 1; i++) gone[i] = all || beside_blank(s, marks[i]);
    for (const char *p = s; *p; p++) {
        const char *mark = strchr(marks, *p);

        if (!mark)
            *to++ = *p;
        else if (!gone[mark - marks])
            *to++ = ' ';
    }
    *to = 0;
    return s;
}

/* Periods that no digit follows, the first 32 of them. */
static char *unperiodic(char *s)
{
    char *to = s;
    int left = 32;
    size_t n;

    if (!s) return NULL;
    for (const char *p = s; *p; p++) {
        if (*p == '.' && left && !pystr_is_decimal(pystr_at(p + 1, &n)))
            left--;
        else
            *to++ = *p;
    }
    *to = 0;
    return s;
}

/* Number words to digits, articles out, contractions. */
static char *reworded(char *s)
{
    char *lower = s ? pystr_lower(s) : NULL;
    struct pystr_words w = {0};
    struct text t = {0};

    free(s);
    t.failed = !lower || pystr_split(&w, lower);
    for (int i = 0; i < w.n; i++) {
        const char *word = numeral(w.word[i]);

        if (!is_article(word)) text_add(&t, "%s%s", t.len ? " " : "", contraction(word));
    }
    free(lower);
    pystr_words_free(&w);
    return text_take(&t);
}

static char *normalize(char *s)
{
    return reworded(unperiodic(unmarked(unbroken(s))));
}

/* EvalAI's: lower case, no commas and question marks, 's apart, then the same. */
static char *normalize_evalai(const char *s)
{
    char *lower = pystr_lower(s), *to = lower;
    struct text t = {0};

    for (const char *p = lower; p && *p; p++)
        if (*p != ',' && *p != '?') *to++ = *p;
    if (lower) *to = 0;
    for (const char *p = lower; p && *p; p++) text_add(&t, *p == '\'' && p[1] == 's' ? " %c" : "%c", *p);
    t.failed |= !lower;
    free(lower);
    return normalize(unbroken(text_take(&t)));
}

/* ---- the score */

/* Mean over the references of min(matches among the others / 3, 1). matches: which references equal the prediction. */
static double leave_one_out(const bool *matches, int n)
{
    int all = 0;
    double sum = 0;

    for (int i = 0; i < n; i++) all += matches[i];
    for (int i = 0; i < n; i++) sum += fmin((all - matches[i]) / 3.0, 1);
    return n ? sum / n : 0;
}

enum manner { OFFICIAL, ALWAYS, EVALAI };

static char *brought(const char *s, enum manner how, bool normalised)
{
    char *copy;

    if (how == EVALAI) return normalize_evalai(s);
    copy = unbroken(strdup(s));
    return normalised ? normalize(copy) : copy;
}

/* 1: no two references differ once they are trimmed, 0: some do, -1: no memory. */
static int all_alike(const char *const *references, int n)
{
    double alike = 1;

    for (int i = 1; i < n && alike == 1; i++)
        alike = metric_equal(unbroken(strdup(references[0])), unbroken(strdup(references[i])));
    return isnan(alike) ? -1 : alike == 1;
}

static double vqa(const char *prediction, const char *const *references, int n, enum manner how)
{
    bool *matches = malloc((size_t)n + 1);
    int alike = how == OFFICIAL ? all_alike(references, n) : 0;
    char *p = brought(prediction, how, !alike);
    double score = !matches || !p || alike < 0 ? NAN : 0;

    for (int i = 0; i < n && !isnan(score); i++) {
        char *r = brought(references[i], how, !alike);

        if (r)
            matches[i] = !strcmp(p, r);
        else
            score = NAN;
        free(r);
    }
    if (!isnan(score)) score = leave_one_out(matches, n);
    free(matches);
    free(p);
    return score;
}

double metric_vqa(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    (void)o;
    return vqa(prediction, references, n, OFFICIAL);
}

double metric_vqa_always(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    (void)o;
    return vqa(prediction, references, n, ALWAYS);
}

double metric_vqa_evalai(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    (void)o;
    return vqa(prediction, references, n, EVALAI);
}

/* ---- the normalisers by themselves */

static int as_json(struct text *json, char *s)
{
    if (!s) return err_set(CL_ENOMEM, "no memory for a text");
    text_json(json, s);
    free(s);
    return CL_OK;
}

int metric_normalize_vqa(struct text *json, const char *prediction, const char *const *references, int n,
                         const struct metric_options *o)
{
    (void)references, (void)n, (void)o;
    return as_json(json, normalize(strdup(prediction)));
}

int metric_normalize_evalai(struct text *json, const char *prediction, const char *const *references, int n,
                            const struct metric_options *o)
{
    (void)references, (void)n, (void)o;
    return as_json(json, normalize_evalai(prediction));
}
