/* metric.h - scoring one answer: a table of rules by name.
 *
 * A rule looks at a prediction as the model gave it and at the references of its record, and returns a score, in most rules
 * 0 or 1 (best reference counts). The mean over records, in percent, is what the accuracy matrix holds. Rules differ in what
 * they forgive; nothing is trimmed or lower-cased before a rule sees it.
 *
 *     const struct metric *m = metric_find("exact");
 *     double score = metric_score(m, " B ", references, 1, NULL); // 1
 */
#ifndef CLLAVA_IO_METRIC_H
#define CLLAVA_IO_METRIC_H

#include <stddef.h>

/* What some rules need beside texts; zero where a record does not say. NULL stands for all zero. */
struct metric_options {
    const char *question_type; // of the record, or NULL
    int choices;               // how many answers a multiple-choice record offers
    double width, height;      // of the picture in pixels
};

struct metric {
    const char *name; // "exact", as in the configuration
    const char *help; // one line
    double (*score)(const char *prediction, const char *const *references, int n, const struct metric_options *o);
};

/* NULL when unknown: CL_EUSAGE text with the nearest and all names is then set. */
const struct metric *metric_find(const char *name);
/* The i-th of all metrics in the order of help, NULL behind the last. */
const struct metric *metric_at(size_t i);
const char *metric_names(void); // "exact, first_word": for messages

/* Score of a prediction against n references (0: scores 0). */
double metric_score(const struct metric *m, const char *prediction, const char *const *references, int n,
                    const struct metric_options *o);

/* The first content word of a text as first_word compares it: case folded, articles, auxiliaries and the like passed over
 * unless there is nothing else; "" where there is no letter or digit. "The answer is 1,200." -> "1200". */
void metric_content_word(char *word, size_t room, const char *text);

#endif
