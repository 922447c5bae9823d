/* text.h - building text: a string that grows, numbers that read back, JSON strings, the nearest word.
 *
 * A failed allocation is remembered: everything after it does nothing, and the caller asks once, at the end (text_take).
 *
 *     struct text t = {0};
 *     text_add(&t, "{\"loss\": ");
 *     text_number(&t, 0.1);
 *     char *s = text_take(&t);    // NULL: out of memory
 */
#ifndef CLLAVA_IO_TEXT_H
#define CLLAVA_IO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *s;         // always ends in NUL; NULL while nothing was added
    size_t len, cap; // bytes without the NUL; bytes allocated
    bool failed;     // an allocation failed: s is what was there before
};

void text_free(struct text *t);
void text_clear(struct text *t); // empty again, memory kept, failed cleared
char *text_take(struct text *t); // malloc'ed, t is empty afterwards; NULL when an allocation failed

void text_add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_bytes(struct text *t, const char *s, size_t n);
/* The shortest decimal form that reads back to the same double, always with a point ("0.001", "2.0e-05", "1.0"), so that
 * JSON and YAML 1.1 readers see a float; NaN and infinity: null. */
void text_number(struct text *t, double v);
/* Quoted and escaped, all on one line; valid as JSON and as a double-quoted YAML scalar. Bytes that are not UTF-8 become
 * U+FFFD. */
void text_json(struct text *t, const char *s);

/* Text inside of XML or HTML: & < > and quotes escaped, control characters left out. */
void text_markup(struct text *t, const char *s);

/* The one of n words nearest to word by edit distance (ignoring case), or NULL when none is near enough to be meant. */
const char *text_nearest(const char *word, const char *const *words, size_t n);
/* Is word one of a list "a, b, c"? *nearest: what was probably meant, or an empty string (room >= 64). */
bool text_listed(const char *word, const char *list, char *nearest, size_t room);

#endif
