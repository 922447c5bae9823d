/* metric_ngram.c - BLEU without smoothing on lower-cased words, of a sentence and of a corpus.
 *
 * An n-gram of the prediction matches as often as the reference that has it most often. Precisions of the orders 1 .. N are
 * averaged as logarithms; a prediction shorter than the reference nearest in length pays for it. A sentence without one
 * match of some order scores 0.
 */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/pystr.h"

static int lower_words(struct pystr_words *w, const char *s)
{
    char *lower = pystr_lower(s);
    int rc = lower ? pystr_split(w, lower) : -1;

    free(lower);
    return rc;
}

static bool same_gram(char *const *a, char *const *b, int order)
{
    for (int k = 0; k < order; k++)
        if (strcmp(a[k], b[k])) return false;
    return true;
}

static int count_gram(const struct pystr_words *w, char *const *gram, int order)
{
    int count = 0;

    for (int i = 0; i + order <= w->n; i++) count += same_gram(w->word + i, gram, order);
    return count;
}

static int most_in(const struct pystr_words *refs, int n, char *const *gram, int order)
{
    int most = 0;

    for (int r = 0; r < n; r++) {
        int count = count_gram(&refs[r], gram, order);
        if (count > most) most = count;
    }
    return most;
}

/* Matches of one order: the k-th copy of an n-gram counts while a reference has k of them. */
static void add_order(struct metric_parts *p, const struct pystr_words *c, const struct pystr_words *refs, int n,
                      int order)
{
    for (int i = 0; i + order <= c->n; i++) {
        int seen = 1;

        for (int k = 0; k < i; k++) seen += same_gram(c->word + k, c->word + i, order);
        p->match[order - 1] += seen <= most_in(refs, n, c->word + i, order);
        p->total[order - 1]++;
    }
}

/* Of the reference nearest in length, the shorter of two. */
static int nearest_length(const struct pystr_words *refs, int n, int words)
{
    int best = refs[0].n;

    for (int r = 1; r < n; r++) {
        int off = abs(refs[r].n - words) - abs(best - words);
        if (off < 0 || (!off && refs[r].n < best)) best = refs[r].n;
    }
    return best;
}

static int add_parts(struct metric_parts *p, const char *prediction, const char *const *references, int n, int orders)
{
    int rc = CL_OK;
    struct pystr_words c = {0}, *refs = calloc((size_t)n + 1, sizeof *refs);

    p->orders = orders;
    if (!refs || lower_words(&c, prediction)) FAIL(CL_ENOMEM, "no memory for words");
    for (int r = 0; r < n; r++)
        if (lower_words(&refs[r], references[r])) FAIL(CL_ENOMEM, "no memory for words");
    for (int order = 1; order <= orders; order++) add_order(p, &c, refs, n, order);
    p->words += c.n;
    if (n) p->references += nearest_length(refs, n, c.n);
done:
    for (int r = 0; refs && r < n; r++) pystr_words_free(&refs[r]);
    pystr_words_free(&c);
    free(refs);
    return rc;
}

double metric_corpus(const struct metric_parts *p)
{
    double sum = 0;

    for (int k = 0; k < p->orders; k++) {
        if (!p->match[k]) return 0;
        sum += log((double)p->match[k] / (double)p->total[k]);
    }
    if (!p->orders || !p->words) return 0;
    sum /= (double)p->orders;
    if (p->words < p->references) sum += 1 - (double)p->references / (double)p->words;
    return exp(sum);
}

static double sentence(const char *prediction, const char *const *references, int n, int orders)
{
    struct metric_parts p = {0};

    return add_parts(&p, prediction, references, n, orders) ? NAN : metric_corpus(&p);
}

#define BLEU(N)                                                                                                        \
    double metric_bleu##N(const char *prediction, const char *const *references, int n,                                \
                          const struct metric_options *o)                                                              \
    {                                                                                                                  \
        (void)o;                                                                                                       \
        return sentence(prediction, references, n, N);                                                                 \
    }                                                                                                                  \
    int metric_bleu##N##_parts(struct metric_parts *p, const char *prediction, const char *const *references, int n)   \
    {                                                                                                                  \
        return add_parts(p, prediction, references, n, N);                                                             \
    }
BLEU(1)
BLEU(2)
BLEU(3)
BLEU(4)
