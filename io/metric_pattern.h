/* metric_pattern.h - regular expressions of published rules, as Python's re reads them: PCRE2 over UTF-8.
 *
 * Where the two read a letter otherwise the pattern says what Python means: PATTERN_SPACE for \s, PATTERN_DIGIT for \d.
 */
#ifndef CLLAVA_IO_METRIC_PATTERN_H
#define CLLAVA_IO_METRIC_PATTERN_H

#include <stddef.h>

#define PATTERN_SPACE                                                                                                  \
    "[\\x{09}-\\x{0d}\\x{1c}-\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"    \
    "\\x{3000}]"
#define PATTERN_DIGIT "\\p{Nd}"
#define PATTERN_WORD "[\\p{L}\\p{N}_]"

struct pattern {
    void *code, *match; // pcre2_code, pcre2_match_data
    const char *s;
    size_t n, from;
    size_t *span; // of the find: begin and end of the whole, then of each group
};

/* 0, -1: no memory. s must outlive the search; bytes of it that are no UTF-8 are found by nothing. */
int pattern_open(struct pattern *p, const char *regex, const char *s);
/* The next find, left to right, not overlapping: 1 and span, 0: no more, -1: no memory. */
int pattern_next(struct pattern *p);
void pattern_close(struct pattern *p);
/* Text of group i, malloc'ed; NULL without memory. The group must have taken part. */
char *pattern_group(const struct pattern *p, int i);

#endif
