/* metric_words.c - scores that count words in common: token F1, ROUGE-L, and the two of PathVQA's authors. */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/pystr.h"

static int count(const struct pystr_words *w, const char *word)
{
    int n = 0;

    for (int i = 0; i < w->n; i++) n += !strcmp(w->word[i], word);
    return n;
}

/* How often the word at i was seen up to i itself. */
static int seen(const struct pystr_words *w, int i)
{
    int n = 0;

    for (int k = 0; k <= i; k++) n += !strcmp(w->word[k], w->word[i]);
    return n;
}

static double harmonic(double precision, double recall)
{
    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

/* Two texts as words, by one way of making words, and a score of them. */
typedef int words_fn(struct pystr_words *w, const char *s);
typedef double pair_fn(const struct pystr_words *p, const struct pystr_words *r);

static double of_words(const char *prediction, const char *reference, words_fn *make, pair_fn *score)
{
    struct pystr_words p = {0}, r = {0};
    double s = make(&p, prediction) || make(&r, reference) ? NAN : score(&p, &r);

    pystr_words_free(&p);
    pystr_words_free(&r);
    return s;
}

/* ---- token F1, as SQuAD counts it */

static bool is_article(const char *s, size_t n)
{
    return (n == 1 && *s == 'a') || (n == 2 && !memcmp(s, "an", 2)) || (n == 3 && !memcmp(s, "the", 3));
}

static bool is_word(int32_t c)
{
    return c == '_' || pystr_is_alnum(c);
}

/* Lower case, ASCII punctuation out, then the articles, which may stand beside a character that is no word's. */
static int squad_words(struct pystr_words *w, const char *s)
{
    static const char punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    char *lower = pystr_lower(s), *to = lower;
    size_t n;
    int rc;

    *w = (struct pystr_words){0};
    if (!lower) return -1;
    for (const char *p = lower; *p; p++)
        if (!strchr(punctuation, *p)) *to++ = *p;
    *to = 0;
    for (char *p = lower, *from; *p;) {
        for (from = p; *p && is_word(pystr_at(p, &n)); p += n) {}
        if (p > from && is_article(from, (size_t)(p - from))) memset(from, ' ', (size_t)(p - from));
        if (p == from) pystr_at(p, &n), p += n;
    }
    rc = pystr_split(w, lower);
    free(lower);
    return rc;
}

static double f1(const struct pystr_words *p, const struct pystr_words *r)
{
    int common = 0;

    if (!p->n || !r->n) return p->n == r->n; // nothing asked, nothing said
    for (int i = 0; i < p->n; i++) common += seen(p, i) <= count(r, p->word[i]);
    return harmonic((double)common / p->n, (double)common / r->n);
}

static double token_f1(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return of_words(prediction, reference, squad_words, f1);
}

double metric_token_f1(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(token_f1, prediction, references, n, o);
}

/* ---- ROUGE-L: the longest common subsequence of words */

/* Lower case; what is no ASCII letter or digit parts words. */
static int rouge_words(struct pystr_words *w, const char *s)
{
    char *lower = pystr_lower(s);
    int rc;

    *w = (struct pystr_words){0};
    if (!lower) return -1;
    for (char *p = lower; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9')) *p = ' ';
    rc = pystr_split(w, lower);
    free(lower);
    return rc;
}

/* row[j]: of what was read of p and the first j words of r. */
static double rouge(const struct pystr_words *p, const struct pystr_words *r)
{
    int *row = calloc((size_t)r->n + 1, sizeof *row), common;

    if (!row) return NAN;
    for (int i = 0; i < p->n; i++) {
        int diagonal = 0;

        for (int j = 1; j <= r->n; j++) {
            int above = row[j];

            if (!strcmp(p->word[i], r->word[j - 1]))
                row[j] = diagonal + 1;
            else if (row[j - 1] > above)
                row[j] = row[j - 1];
            diagonal = above;
        }
    }
    common = row[r->n];
    free(row);
    return common ? harmonic((double)common / p->n, (double)common / r->n) : 0;
}

static double rouge_l(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return of_words(prediction, reference, rouge_words, rouge);
}

double metric_rouge_l(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(rouge_l, prediction, references, n, o);
}

/* ---- PathVQA's script: only ASCII letters and blanks are left before words are made */

static int path_words(struct pystr_words *w, const char *s)
{
    char *copy = strdup(s), *to = copy;
    int rc;

    *w = (struct pystr_words){0};
    if (!copy) return -1;
    for (const char *p = copy; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *to++ = (char)(*p - 'A' + 'a');
        else if ((*p >= 'a' && *p <= 'z') || *p == ' ')
            *to++ = *p;
    }
    *to = 0;
    rc = pystr_split(w, copy);
    free(copy);
    return rc;
}

/* Called exact match there: different words of the reference that were found, over the words said. */
static double word_em(const struct pystr_words *p, const struct pystr_words *r)
{
    int found = 0;

    for (int i = 0; i < r->n; i++) found += seen(r, i) == 1 && count(p, r->word[i]);
    return p->n ? (double)found / p->n : 0;
}

static double path_word_em(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return of_words(prediction, reference, path_words, word_em);
}

double metric_pathvqa_word_em(const char *prediction, const char *const *references, int n,
                              const struct metric_options *o)
{
    return metric_best(path_word_em, prediction, references, n, o);
}

/* Right and wrong count the words said, missed those of the reference: a word said twice is right twice. */
static double path_f1_of(const struct pystr_words *p, const struct pystr_words *r)
{
    int right = 0, missed = 0;

    for (int i = 0; i < p->n; i++) right += count(r, p->word[i]) > 0;
    for (int i = 0; i < r->n; i++) missed += !count(p, r->word[i]);
    return right ? harmonic((double)right / p->n, (double)right / (right + missed)) : 0;
}

static double path_f1(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return of_words(prediction, reference, path_words, path_f1_of);
}

double metric_pathvqa_f1(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(path_f1, prediction, references, n, o);
}
