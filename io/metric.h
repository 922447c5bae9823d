/* metric.h - scoring one answer: a table of rules by name.
 *
 * A rule looks at a prediction as the model gave it and at the references of its record, and returns a score, in most rules
 * 0 or 1 (best reference counts). The mean over records, in percent, is what the accuracy matrix holds. Rules differ in what
 * they forgive; nothing is trimmed or lower-cased before a rule sees it. docs/metrics.md says where each comes from.
 *
 *     const struct metric *m = metric_find("exact");
 *     double score = metric_score(m, " B ", references, 1, NULL); // 1
 *
 * Everything is text: a box is "[0.1, 0.2, 0.5, 0.6]", the answer of a multiple-choice record is its letter, a matrix is
 * JSON. metric_record.h brings the shapes of JSON files to it.
 *
 * The table also has what is no rule for a task: points on another scale, and forms (a normalised text, a box, a dictionary),
 * which give JSON. The configuration takes rules alone.
 */
#ifndef CLLAVA_IO_METRIC_H
#define CLLAVA_IO_METRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/text.h"

/* What some rules need beside texts; zero where a record does not say. NULL stands for all zero. */
struct metric_options {
    const char *question_type; // of the record, or NULL
    int choices;               // how many answers a multiple-choice record offers
    double width, height;      // of the picture in pixels
};

/* What a rule takes for references, where a file's JSON has more than texts. */
enum metric_takes {
    METRIC_TEXTS,  // one or several texts
    METRIC_CHOICE, // the letter of the right choice; in JSON {choices, answer: its index}
    METRIC_BOXES,  // lists of numbers
    METRIC_MATRIX, // rows of numbers
    METRIC_ALONE   // none
};

/* A corpus score is no mean of its records': it is made of their sums. */
struct metric_parts {
    int64_t match[4], total[4];        // n-grams of 1 .. 4 words: clipped matches, all of the prediction's
    int64_t words, references, orders; // lengths; how many orders count
};

typedef double metric_score_fn(const char *prediction, const char *const *references, int n,
                               const struct metric_options *o);
typedef int metric_form_fn(struct text *json, const char *prediction, const char *const *references, int n,
                           const struct metric_options *o);
typedef int metric_parts_fn(struct metric_parts *p, const char *prediction, const char *const *references, int n);

struct metric {
    const char *name; // "exact", as in the configuration
    const char *help; // one line
    enum metric_takes takes;
    bool rule;              // 0 to 1, may score a task
    metric_score_fn *score; // NULL: a form
    metric_form_fn *form;   // NULL: a score
    metric_parts_fn *parts; // of a corpus score; or NULL
};

/* NULL when unknown: CL_EUSAGE text with the nearest and all names is then set. */
const struct metric *metric_find(const char *name);
/* The i-th of all metrics in the order of help, NULL behind the last. */
const struct metric *metric_at(size_t i);
const char *metric_names(void); // of the rules, "exact, first_word": for messages and the configuration

/* Score of a prediction against n references (0 of them: 0). NaN: no memory. Not for forms. */
double metric_score(const struct metric *m, const char *prediction, const char *const *references, int n,
                    const struct metric_options *o);
/* What a form makes of them, JSON appended to json. CL_EDATA: references of another form. */
int metric_form(const struct metric *m, struct text *json, const char *prediction, const char *const *references, int n,
                const struct metric_options *o);
/* The n-grams of one record are added to p, which begins all-zero; CL_ENOMEM. From the sums: the corpus score, 0 to 1. */
int metric_add_parts(const struct metric *m, struct metric_parts *p, const char *prediction,
                     const char *const *references, int n);
double metric_corpus(const struct metric_parts *p);

/* The first content word of a text as first_word compares it: case folded, articles, auxiliaries and the like passed over
 * unless there is nothing else; "" where there is no letter or digit. "The answer is 1,200." -> "1200". */
void metric_content_word(char *word, size_t room, const char *text);

/* "[a, b, ..]", with or without brackets: its numbers into v. Returns how many there are (more than room: only room are
 * stored), -1 when one of them is none. */
int metric_numbers(const char *text, double *v, int room);

#endif
