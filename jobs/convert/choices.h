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

/* Splits that problems.json does not name itself (minitrain, trainval, ..): ids of pid_splits.json under those of its keys
 * that end in the split. *ids NULL: the record's own "split" decides. */
int split_ids(struct convert *c, struct index **ids, const char *const *files);
bool split_has(const struct convert *c, const struct index *ids, const char *id, const json_t *o);

#endif
