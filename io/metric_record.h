/* metric_record.h - a line of JSON becomes what a rule takes: texts.
 *
 *     {"id": "7", "prediction": "B", "references": {"choices": ["w", "x"], "answer": 1}, "question_type": "closed"}
 *
 *   prediction      a text, a number or a list of numbers (a box); null is an empty text
 *   references      or reference, answers, answer: one or a list of texts or numbers; for boxes a list of numbers, or of
 *                   such lists; for choices {choices, answer: index or letter}; for a matrix its rows
 *   question_type   or answer_type; choices: a list or a number; size: [width, height]; all optional
 */
#ifndef CLLAVA_IO_METRIC_RECORD_H
#define CLLAVA_IO_METRIC_RECORD_H

#include <jansson.h>

#include "io/metric.h"

struct metric_record {
    json_t *object, *id; // id: borrowed from the object, or NULL
    char *prediction;    // text form
    char **references;   // (n)
    int n;
    struct metric_options options; // its text is borrowed from the object
};

/* CL_EDATA without file and line; r then holds nothing. */
int metric_record_read(struct metric_record *r, const struct metric *m, const char *line);
void metric_record_free(struct metric_record *r); // an all-zero one is fine

/* {"id": .., "score": ..} of a record, appended to json; a corpus metric's line also has its sums (matches, totals, words,
 * reference_words), which are added to p. *score: the number, NaN for a form. */
int metric_record_score(const struct metric_record *r, const struct metric *m, struct text *json, double *score,
                        struct metric_parts *p);

#endif
