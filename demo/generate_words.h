/* generate_words.h - question types and their wordings.
 *
 * The wordings of a type are a list whose last entry is kept for the test set: half of the test questions use it (their type
 * ends in "-new"), so that routing and answers are judged on known and on unseen wording. In a wording, of [a|b] one
 * alternative is drawn, and {} stands for what is asked about (a second {} for a second thing).
 */
#ifndef CLLAVA_DEMO_GENERATE_WORDS_H
#define CLLAVA_DEMO_GENERATE_WORDS_H

#include <stdbool.h>

#include "demo/generate_tasks.h"

enum { GENERATE_WORDINGS = 6, GENERATE_TYPES = 4 };

struct generate_type {
    const char *name; // NULL: the task has no further type
    int share;        // how often the type is asked, relative to its task's other types
    const char *wordings[GENERATE_WORDINGS];
};

/* A task: how it is called, scored, worded, and the function that draws an item of type k. */
struct generate_topic {
    const char *name, *metric;
    struct generate_type type[GENERATE_TYPES];
    void (*make)(struct generate_item *item, int k, bool test, struct generate_rng *rng);
};

extern const struct generate_topic generate_topics[GENERATE_TASKS];

/* The type of the next item. */
int generate_pick_type(int task, struct generate_rng *rng);
/* Words the question about one thing, or (other not NULL) two, and notes the type. */
void generate_ask(struct generate_item *item, int task, int k, const char *about, const char *other, bool test,
                  struct generate_rng *rng);

/* What draws the items of each stream's tasks (generate_domain.c, generate_capability.c, generate_dataset.c). */
#define GENERATE_MAKE(name) void name(struct generate_item *item, int k, bool test, struct generate_rng *rng)
GENERATE_MAKE(generate_chart_item);
GENERATE_MAKE(generate_document_item);
GENERATE_MAKE(generate_icon_item);
GENERATE_MAKE(generate_medical_item);
GENERATE_MAKE(generate_conversation_item);
GENERATE_MAKE(generate_reasoning_item);
GENERATE_MAKE(generate_detail_item);
GENERATE_MAKE(generate_science_item);
GENERATE_MAKE(generate_text_item);
GENERATE_MAKE(generate_classify_item);
GENERATE_MAKE(generate_gqa_item);
GENERATE_MAKE(generate_vizwiz_item);
GENERATE_MAKE(generate_grounding_item);
GENERATE_MAKE(generate_vqa_item);
GENERATE_MAKE(generate_ocr_item);

#endif
