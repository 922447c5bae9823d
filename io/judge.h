/* judge.h - answers for a language model to judge, and what its replies say.
 *
 * An item is a question, a reference and a prediction. Its name is a hash of the three, so that a verdict belongs to what
 * was judged, not to a file or a run: the same answer after another task is not asked again. Requests are lines
 *
 *     {"id": "9f..", "question_id": "17", "question", "reference", "prediction", "messages": [{role, content}, ..]}
 *
 * and replies {"id", "content"}. A form says what the judge is told and how its reply is read. The layouts are those of the
 * papers, the rules are our own words (and may be replaced): scores are not comparable with published ones. Nothing here
 * touches the scores of rules.
 */
#ifndef CLLAVA_IO_JUDGE_H
#define CLLAVA_IO_JUDGE_H

#include <stdint.h>

#include "io/text.h"

struct judge_item {
    const char *question, *reference, *prediction;
};

enum { JUDGE_ID = 17 }; // 16 hexadecimal digits and the NUL
void judge_id(char id[JUDGE_ID], const struct judge_item *x);

struct judge_form {
    const char *name; // "llava_bench"
    const char *system, *rule;
};
/* NULL when there is none of that name. */
const struct judge_form *judge_form(const char *name);
#define JUDGE_FORMS "llava_bench, coin, yes_no"

/* One request line without its newline, appended to json. rule: NULL is the form's own. CL_ENOMEM. */
int judge_request(struct text *json, const struct judge_form *f, const char *rule, const struct judge_item *x,
                  const char *question_id);

/* Sums of many verdicts; begins all-zero. */
struct judge_sum {
    int64_t n, unreadable; // unreadable ones are left out of the score
    double got, of;        // points got; points to be had: the reference's own (llava_bench), 10 (coin), 1 (yes_no)
};
int judge_add(struct judge_sum *s, const struct judge_form *f, const char *content); // CL_ENOMEM
double judge_percent(const struct judge_sum *s);                                     // NaN without a readable verdict

#endif
