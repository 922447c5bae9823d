/* self_guide_filter.c - which of the texts that the model wrote are used: simple rules over one task's. */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "jobs/self_guide.h"

/* What a chat puts around an answer or in its place, what belongs to the template, what stands for bytes that are no text. Each
 * begins where no word does before. */
static const char *const noise[] = {
    "sorry",         "as an ai",   "as a language model", "i cannot",        "i can't",
    "happy to help", "of course!", "great question",      "good question",   "let me",
    "<image>",       "USER:",      "ASSISTANT:",          "the answer is: ", "###",
    "\xef\xbf\xbd",
};

static bool is_noise(const char *text)
{
    for (const char *s = text; *s; s++) {
        if (s > text && isalnum((unsigned char)s[-1])) continue;
        for (size_t i = 0; i < sizeof noise / sizeof *noise; i++)
            if (!strncasecmp(s, noise[i], strlen(noise[i]))) return true;
    }
    return false;
}

/* The question without its marker, whatever the case. */
static bool is_echo(const struct written *w)
{
    static const char marker[] = PICTURE_MARKER;
    const char *q = w->question, *at = q ? strstr(q, marker) : NULL;

    if (at == q && q) q += sizeof marker - 1 + (q[sizeof marker - 1] == '\n');
    return q && !strcasecmp(q, w->answer);
}

static enum written_fault fault_of(const struct written *w)
{
    return !w->answer || !*w->answer ? WRITTEN_EMPTY
           : !w->ended               ? WRITTEN_UNFINISHED
           : is_noise(w->answer)     ? WRITTEN_NOISE
           : is_echo(w)              ? WRITTEN_ECHO
                                     : WRITTEN_GOOD;
}

/* Sums over lengths become mean and deviation. */
static struct spread spread_of(double count, double sum, double squares)
{
    const double mean = count > 0 ? sum / count : 0, variance = count > 0 ? squares / count - mean * mean : 0;

    return (struct spread){mean, sqrt(fmax(variance, 0))};
}

struct spread written_spread(const char *const *text, int64_t n)
{
    double sum = 0, squares = 0;

    for (int64_t i = 0; i < n; i++) {
        const double length = (double)strlen(text[i]);
        sum += length, squares += length * length;
    }
    return spread_of((double)n, sum, squares);
}

void written_filter(struct written *w, int64_t n, const struct spread *examples)
{
    double sum = 0, squares = 0, count = 0;

    for (int64_t i = 0; i < n; i++) {
        if (w[i].fault || (w[i].fault = fault_of(&w[i]))) continue;
        const double length = (double)strlen(w[i].answer);
        sum += length, squares += length * length, count++;
    }
    const struct spread s = examples ? *examples : spread_of(count, sum, squares);
    const double most = fmax(2 * s.deviation, s.mean / 2);
    for (int64_t i = 0; i < n; i++)
        if (!w[i].fault && fabs((double)strlen(w[i].answer) - s.mean) > most) w[i].fault = WRITTEN_LENGTH;
}

void written_pair(int64_t k, int64_t pictures, int64_t seeds, int64_t *picture, int64_t *seed)
{
    *picture = k % pictures;
    *seed = (*picture + k / pictures) % seeds;
}
