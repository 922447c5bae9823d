/* metric_equal.c - rules that compare texts: equal, or contained, after as much tidying as each one's authors do. */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/pystr.h"

double metric_best(metric_fit_fn *fit, const char *prediction, const char *const *references, int n,
                   const struct metric_options *o)
{
    double best = 0, got;

    for (int i = 0; i < n; i++) {
        got = fit(prediction, references[i], o);
        if (isnan(got)) return got;
        if (got > best) best = got;
    }
    return best;
}

double metric_equal(char *a, char *b)
{
    double equal = a && b ? !strcmp(a, b) : NAN;

    free(a);
    free(b);
    return equal;
}

/* ---- exact: white space around both does not count */

static double exact(const char *prediction, const char *reference, const struct metric_options *o)
{
    size_t n, k;
    const char *p = pystr_stripped(prediction, &n), *r = pystr_stripped(reference, &k);

    (void)o;
    return n == k && !memcmp(p, r, n);
}

double metric_exact(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(exact, prediction, references, n, o);
}

/* ---- lower-cased and trimmed: ImageNet, OCR-VQA */

static double lowered(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return metric_equal(pystr_lower_strip(prediction), pystr_lower_strip(reference));
}

double metric_lowered(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(lowered, prediction, references, n, o);
}

/* ---- GQA: the prediction loses its periods at the end and its capitals, the reference stays */

static double gqa(const char *prediction, const char *reference, const struct metric_options *o)
{
    size_t n = strlen(prediction);
    char *p = strdup(prediction), *lower = NULL;

    (void)o;
    while (p && n && p[n - 1] == '.') p[--n] = 0;
    if (p) lower = pystr_lower(p);
    free(p);
    return metric_equal(lower, strdup(reference));
}

double metric_gqa(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(gqa, prediction, references, n, o);
}

/* ---- CoIN and MCITlib */

static double coin_exact(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return metric_equal(pystr_upper(prediction), pystr_upper(reference));
}

double metric_coin_exact(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(coin_exact, prediction, references, n, o);
}

/* One contains the other; nothing is contained in everything, so an empty answer is right. */
static double coin_imagenet(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return strstr(prediction, reference) || strstr(reference, prediction);
}

double metric_coin_imagenet(const char *prediction, const char *const *references, int n,
                            const struct metric_options *o)
{
    return metric_best(coin_imagenet, prediction, references, n, o);
}

static double coin_ocrvqa(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return strstr(prediction, "Unanswerable") ? 0 : metric_equal(pystr_lower(prediction), pystr_lower(reference));
}

double metric_coin_ocrvqa(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(coin_ocrvqa, prediction, references, n, o);
}

static double mcit_contains(const char *prediction, const char *reference, const struct metric_options *o)
{
    char *p = pystr_lower(prediction), *r = pystr_lower(reference);
    double found = !p || !r ? NAN : !strstr(prediction, "Unanswerable") && strstr(p, r);

    (void)o;
    free(p);
    free(r);
    return found;
}

double metric_mcit_contains(const char *prediction, const char *const *references, int n,
                            const struct metric_options *o)
{
    return metric_best(mcit_contains, prediction, references, n, o);
}

/* ---- PathVQA: yes or no by the first word, other answers as a whole */

/* Lower-cased, punctuation out, the first word: "No, it is not." -> "no". malloc'ed. */
static char *first_plain_word(const char *s)
{
    static const char punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"; // Python's string.punctuation
    char *lower = pystr_lower(s), *to = lower, *word = NULL;
    struct pystr_words w;

    if (!lower) return NULL;
    for (const char *p = lower; *p; p++)
        if (!strchr(punctuation, *p)) *to++ = *p;
    *to = 0;
    if (!pystr_split(&w, lower)) word = strdup(w.n ? w.word[0] : "");
    free(lower);
    pystr_words_free(&w);
    return word;
}

/* Lower-cased, runs of white space one blank, none outside, one period at the end gone. malloc'ed. */
static char *tidy(const char *s)
{
    char *lower = pystr_lower(s), *out = NULL;
    struct pystr_words w = {0};
    size_t n;

    if (lower && !pystr_split(&w, lower)) out = pystr_join(&w);
    n = out ? strlen(out) : 0;
    if (n && out[n - 1] == '.') out[n - 1] = 0;
    free(lower);
    pystr_words_free(&w);
    return out;
}

static double pathvqa(const char *prediction, const char *reference, const struct metric_options *o)
{
    char *r = tidy(reference);

    (void)o;
    if (!r) return NAN;
    return metric_equal(strcmp(r, "yes") && strcmp(r, "no") ? tidy(prediction) : first_plain_word(prediction), r);
}

double metric_pathvqa(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(pathvqa, prediction, references, n, o);
}
