/* generate_tasks.h - the four tasks of the embedded stream: a picture with its facts, a question about it, the answer.
 *
 * Modelled on COAST-domain: bar charts, forms, icon grids, chest-like scans. Each task has its own wording and its own
 * answer format. The wordings of a question type are a list whose last entry is kept for the test set: half of the test
 * questions use it (their type ends in "-new"), so that routing and answers are judged on known and on unseen wording.
 * Answers are made so that no constant answer goes far: types and answers are drawn evenly where the picture allows.
 */
#ifndef CLLAVA_DEMO_GENERATE_TASKS_H
#define CLLAVA_DEMO_GENERATE_TASKS_H

#include <stdbool.h>

#include "demo/generate_draw.h"

enum { GENERATE_TASKS = 4, GENERATE_TYPE = 16, GENERATE_QUESTION = 128, GENERATE_ANSWER = 16 };

enum { GENERATE_CHART, GENERATE_DOCUMENT, GENERATE_ICON, GENERATE_MEDICAL };

struct generate_item {
    struct generate_canvas canvas;    // before noise
    int deviation;                    // of the noise still to be added
    char type[GENERATE_TYPE];         // "tallest"; with "-new" behind it: the wording of the test set
    char question[GENERATE_QUESTION]; // without the <image> mark
    char answer[GENERATE_ANSWER];
};

extern const char *const generate_task_names[GENERATE_TASKS]; // "chart", ..

/* Draws the next item of a task (0 .. GENERATE_TASKS - 1). */
void generate_item(struct generate_item *item, int task, bool test, struct generate_rng *rng);

/* Wordings of a question type of a task, in order of the types: *type its name, *n how many; of [a|b] one
 * alternative is used, {} stands for what is asked about. NULL behind the last type. The last wording is the held-out one. */
const char *const *generate_wordings(int task, int k, const char **type, int *n);

#endif
