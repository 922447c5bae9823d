/* evaluate.h - one cell of the accuracy matrix: the model as it is, on the test side of one task. */
#ifndef CLLAVA_JOBS_EVALUATE_H
#define CLLAVA_JOBS_EVALUATE_H

#include "jobs/task_data.h"

struct cell_result {
    int64_t n;          // records
    double score;       // percent, the task's metric
    double low, high;   // percent, 95 % of the score's bootstrap
    double format_free; // percent, first content word, number or letter against the references
    double routed;      // percent of samples whose largest coefficient belongs to a slot of this task; NaN: no routing
    int64_t tokens;     // generated
    double seconds;
};

/* eval.routing's words: "free", "oracle", "random", "mean_key" (checked by the option table; anything else is free). */
enum route_mode evaluate_mode(const char *word);

/* Asks every question of d (a test side) and scores the answers. mode: any but ROUTE_TRAIN; adapters
 * false: the base alone (zero-shot). predictions: file to write ({id, question, prediction, tokens, answers, score,
 * selected, weights}, in record order; whole or not at all), NULL: none. Collective. */
int evaluate_task(struct cell_result *out, struct job *j, struct task_data *d, enum route_mode mode, bool adapters,
                  const char *predictions);
#endif
