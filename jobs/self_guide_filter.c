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

static enum written_fault fault_of(const struct written *w)
{
    return !w->answer || !*w->answer ? WRITTEN_EMPTY
           : !w->ended               ? WRITTEN_UNFINISHED
           : is_noise(w->answer)     ? WRITTEN_NOISE
                                     : WRITTEN_GOOD;
}

void written_filter(struct written *w, int64_t n)
{
    double sum = 0, squares = 0, count = 0;

    for (int64_t i = 0; i < n; i++) {
        if (w[i].fault) continue;
        if ((w[i].fault = fault_of(&w[i]))) continue;
        sum += w[i].tokens, squares += (double)w[i].tokens * w[i].tokens, count++;
    }
    const double mean = count ? sum / count : 0, variance = count ? squares / count - mean * mean : 0;
    const double most = 2 * sqrt(fmax(variance, 0)) + 1e-6; // sums of whole numbers: this is for the root
    for (int64_t i = 0; i < n; i++)
        if (!w[i].fault && fabs(w[i].tokens - mean) > most) w[i].fault = WRITTEN_LENGTH;
}

void written_pair(int64_t k, int64_t pictures, int64_t seeds, int64_t *picture, int64_t *seed)
{
    *picture = k % pictures;
    *seed = (*picture + k / pictures) % seeds;
}
