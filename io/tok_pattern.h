/* tok_pattern.h - what a tokenizer.json searches for: a fixed text, a regular expression or a class of characters.
 *
 * Regular expressions are written for Oniguruma; they are translated where PCRE2 reads the same letters otherwise (\s, \w, \h,
 * [:punct:] and their like). Character classes follow Unicode.
 */
#ifndef CLLAVA_IO_TOK_PATTERN_H
#define CLLAVA_IO_TOK_PATTERN_H

#include "io/tok_text.h"

struct tok_pattern {
    struct tok_buf literal;     // searched when neither of the others is set; empty: never found
    void *regex;                // pcre2_code, shared by threads
    bool (*is_class)(uint32_t); // each such character is a find of its own
};

/* Searches of one pattern through one text; holds the scratch that a thread needs. */
struct tok_search {
    const struct tok_pattern *p;
    const char *s; // valid UTF-8
    size_t n, from;
    void *match; // pcre2_match_data
};

int tok_pattern_regex(struct tok_pattern *p, const char *regex, size_t n); // CL_EFORMAT: does not compile
int tok_pattern_literal(struct tok_pattern *p, const char *s, size_t n);
void tok_pattern_free(struct tok_pattern *p);

int tok_search_start(struct tok_search *f, const struct tok_pattern *p, const char *s, size_t n);
/* The next find from left to right, not overlapping: *found, *at, *len (0 for a regular expression that fits nothing). */
int tok_search_next(struct tok_search *f, bool *found, size_t *at, size_t *len);
void tok_search_end(struct tok_search *f);
/* Appends s to b, every find replaced by `by`. */
int tok_replace(struct tok_buf *b, const struct tok_pattern *p, const char *s, size_t n, const char *by, size_t n_by);

#endif
