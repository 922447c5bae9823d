/* choices.h - answers that are one of several: IconQA and ScienceQA keep them alike, and splits in a file of ids. */
#ifndef CLLAVA_JOBS_CONVERT_CHOICES_H
#define CLLAVA_JOBS_CONVERT_CHOICES_H

#include "jobs/convert/convert.h"
#include "jobs/convert/index.h"

enum { CHOICES = 26 }; // letters

/* Texts of "choices": how many (1 to CHOICES), -1: another form. */
int choices_of(const json_t *o, const char *choice[CHOICES]);
/* "\nA. one\nB. two" */
void choices_add(struct text *t, const char *const *choice, int n);
/* The letter of "answer", an index below n; false: none. */
bool choice_letter(char letter[2], const json_t *o, int n);

/* Every record of problems.json, with the ids of c's split as `with` of each: a struct index of those keys of pid_splits.json
 * that end in the split, for splits that problems.json does not name itself (minitrain, trainval, ..), or NULL: the record's own
 * "split" decides (split_has). problems, splits: where the two files may lie in a release. */
int problems_each(struct convert *c, const char *const *problems, const char *const *splits, convert_one *each);
bool split_has(const struct convert *c, const struct index *ids, const char *id, const json_t *o);

#endif
