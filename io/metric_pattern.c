/* metric_pattern.c - see metric_pattern.h. */
#include "io/metric_pattern.h"

#include <assert.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

int pattern_open(struct pattern *p, const char *regex, const char *s)
{
    int fault;
    PCRE2_SIZE at;

    *p = (struct pattern){.s = s, .n = strlen(s)};
    p->code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF,
                            &fault, &at, NULL);
    assert(p->code || fault == PCRE2_ERROR_NOMEMORY || fault == PCRE2_ERROR_HEAP_FAILED); // the patterns are our own
    if (p->code) p->match = pcre2_match_data_create_from_pattern(p->code, NULL);
    if (p->match) return 0;
    pattern_close(p);
    return -1;
}

int pattern_next(struct pattern *p)
{
    int got =
        p->from > p->n ? PCRE2_ERROR_NOMATCH : pcre2_match(p->code, (PCRE2_SPTR)p->s, p->n, p->from, 0, p->match, NULL);

    if (got == PCRE2_ERROR_NOMATCH) return 0;
    if (got < 0) return -1;
    p->span = pcre2_get_ovector_pointer(p->match);
    p->from = p->span[1];
    assert(p->span[1] > p->span[0]); // none of our patterns fits nothing
    return 1;
}

void pattern_close(struct pattern *p)
{
    pcre2_match_data_free(p->match);
    pcre2_code_free(p->code);
    *p = (struct pattern){0};
}

char *pattern_group(const struct pattern *p, int i)
{
    return strndup(p->s + p->span[2 * i], p->span[2 * i + 1] - p->span[2 * i]);
}
