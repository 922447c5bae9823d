/* key_parts.h - the parts of a question that say what a task wants, and the question without them.
 *
 * Where a record names them (key_parts of the task file), they are these. Else they are the words that more than half of the
 * task's questions have: what is asked for, in which form, is said again and again, what it is asked of changes.
 *
 * A word is a run of letters, digits and bytes beyond ASCII; it counts once for a question, whatever its case. The picture's
 * marker is none. Without its key parts a question has "_" in the place of each of their words, and all else as it was:
 *
 *     "<image>\nWhat colour is the cube? Answer in one word."  ->  "<image>\n_ _ _ _ cube? _ _ _ _."
 */
#ifndef CLLAVA_JOBS_KEY_PARTS_H
#define CLLAVA_JOBS_KEY_PARTS_H

#include "jobs/distinct.h"

struct key_words {
    struct distinct of; // the words of the questions, in lower case
    int64_t *count;     // (of.n) questions that have it
    int64_t questions;
};

/* Counts the words of n questions (first turns of records, markers in them). CL_ENOMEM. */
int key_words_new(struct key_words *k, const char *const *question, int64_t n);
void key_words_free(struct key_words *k);

/* *out := one of these questions without its key parts, malloc'ed: parts (n), or the words of most questions where parts is
 * NULL. *words: how many are left out. CL_ENOMEM. */
int key_parts_mask(char **out, int *words, struct key_words *k, const char *question, char *const *parts, int n);

#endif
