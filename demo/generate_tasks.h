/* generate_tasks.h - the tasks of the embedded streams: a picture with its facts, a question about it, the answer.
 *
 * Three streams ask about the same kinds of pictures (bar charts, forms, icon grids, chest-like scans):
 *
 *     domain      like COAST-domain: a task is a kind of picture
 *     capability  like COAST-capability: a task is a way of answering (phrase, reasoned, full description), pictures mixed
 *     dataset     like COAST-dataset: eight tasks with the answer formats of eight data sets
 *
 * Each task has its own wording and its own answer format. Answers are made so that no constant answer goes far: types and
 * answers are drawn evenly where the picture allows.
 */
#ifndef CLLAVA_DEMO_GENERATE_TASKS_H
#define CLLAVA_DEMO_GENERATE_TASKS_H

#include <stdbool.h>

#include "demo/generate_draw.h"

enum { GENERATE_TYPE = 24, GENERATE_QUESTION = 128, GENERATE_ANSWER = 192 };

/* The numbers seed the items: they stay what they are. */
enum {
    GENERATE_CHART, // domain
    GENERATE_DOCUMENT,
    GENERATE_ICON,
    GENERATE_MEDICAL,
    GENERATE_CONVERSATION, // capability
    GENERATE_REASONING,
    GENERATE_DETAIL,
    GENERATE_SCIENCE, // dataset
    GENERATE_TEXT,
    GENERATE_CLASSIFY,
    GENERATE_GQA,
    GENERATE_VIZWIZ,
    GENERATE_GROUNDING,
    GENERATE_VQA,
    GENERATE_OCR,
    GENERATE_TASKS
};

struct generate_item {
    struct generate_canvas canvas;    // before noise
    int deviation;                    // of the noise still to be added
    char type[GENERATE_TYPE];         // "tallest"; with "-new" behind it: the wording of the test set
    char question[GENERATE_QUESTION]; // without the <image> mark
    char answer[GENERATE_ANSWER];
    char next_question[GENERATE_QUESTION], next_answer[GENERATE_ANSWER]; // a second turn; "": there is none
};

/* Draws the next item of a task (0 .. GENERATE_TASKS - 1). */
void generate_item(struct generate_item *item, int task, bool test, struct generate_rng *rng);

const char *generate_task_name(int task);   // "chart"
const char *generate_task_metric(int task); // "exact"

/* Wordings of a question type of a task, in order of the types: *type its name, *n how many. NULL behind the last type. The
 * last wording is the held-out one (generate_words.h). */
const char *const *generate_wordings(int task, int k, const char **type, int *n);

#endif
