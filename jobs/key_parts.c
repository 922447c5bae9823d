/* key_parts.c - words, counted once for each question. */
#include "jobs/key_parts.h"

#include "io/dataset.h"
#include "io/err.h"
#include "io/text.h"
#include "model/tensor.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char marker[] = PICTURE_MARKER;
enum { MARKER = sizeof marker - 1 };

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* The next word from *at on, which moves behind it; NULL: there is none. */
static const char *next_word(const char **at, size_t *n)
{
    const char *s = *at, *word;

    while (*s && !in_word(*s)) s += strncmp(s, marker, MARKER) ? 1 : MARKER;
    word = s;
    while (in_word(*s)) s++;
    *at = s, *n = (size_t)(s - word);
    return *n ? word : NULL;
}

/* The word's number, -1: no memory. */
static int64_t number_of(struct key_words *k, const char *word, size_t n)
{
    char *low = strndup(word, n);

    if (!low) return -1;
    for (size_t i = 0; i < n; i++) low[i] = (char)tolower((unsigned char)low[i]);
    return distinct_add(&k->of, low);
}

static int64_t words_of(const char *question)
{
    int64_t words = 0;
    size_t n;

    while (next_word(&question, &n)) words++;
    return words;
}

int key_words_new(struct key_words *k, const char *const *question, int64_t n)
{
    int rc;
    int64_t room = 0, *last = NULL; // (room) question that had the word last, from 1

    *k = (struct key_words){.questions = n};
    for (int64_t i = 0; i < n; i++) room += words_of(question[i]);
    TRY(distinct_new(&k->of, room));
    k->count = mem_new((size_t)room, sizeof *k->count);
    last = mem_new((size_t)room, sizeof *last);
    if (!k->count || !last) FAIL(CL_ENOMEM, "no memory for the words of %lld questions", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        const char *at = question[i], *word;
        size_t bytes;
        while ((word = next_word(&at, &bytes))) {
            const int64_t w = number_of(k, word, bytes);
            if (w < 0) FAIL(CL_ENOMEM, "no memory for a word");
            k->count[w] += last[w] != i + 1;
            last[w] = i + 1;
        }
    }
done:
    mem_free(last);
    return rc;
}

void key_words_free(struct key_words *k)
{
    distinct_free(&k->of);
    mem_free(k->count);
    *k = (struct key_words){0};
}

/* Whether [word, word + n) touches one of the parts, wherever in the question they stand. */
static bool in_parts(const char *question, const char *word, size_t n, char *const *parts, int count)
{
    for (int i = 0; i < count; i++)
        for (const char *s = question; (s = strstr(s, parts[i])) && s < word + n; s++)
            if (s + strlen(parts[i]) > word) return true;
    return false;
}

int key_parts_mask(char **out, int *words, struct key_words *k, const char *question, char *const *parts, int count)
{
    int rc = CL_OK;
    struct text t = {0};
    const char *at = question, *done_to = question, *word;
    size_t n;

    *words = 0;
    text_add(&t, "%s", "");
    while ((word = next_word(&at, &n))) {
        const int64_t w = parts ? 0 : number_of(k, word, n);
        if (w < 0) FAIL(CL_ENOMEM, "no memory for a word");
        if (parts ? !in_parts(question, word, n, parts, count) : 2 * k->count[w] <= k->questions) continue;
        text_bytes(&t, done_to, (size_t)(word - done_to));
        text_add(&t, "_");
        done_to = at;
        ++*words;
    }
    text_add(&t, "%s", done_to);
    if (!(*out = text_take(&t))) FAIL(CL_ENOMEM, "no memory for a question");
done:
    text_free(&t);
    return rc;
}
