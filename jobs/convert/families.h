/* families.h - the function of every kind; each stands in the file of its family. */
#ifndef CLLAVA_JOBS_CONVERT_FAMILIES_H
#define CLLAVA_JOBS_CONVERT_FAMILIES_H

#include "jobs/convert/convert.h"

int convert_chartqa(struct convert *c);
int convert_docvqa(struct convert *c);
int convert_iconqa(struct convert *c);
int convert_pathvqa(struct convert *c);
int convert_scienceqa(struct convert *c);
int convert_textvqa(struct convert *c); // vqa.c: sets with ten answers
int convert_vizwiz(struct convert *c);
int convert_vqav2(struct convert *c);
int convert_imagenet(struct convert *c);
int convert_gqa(struct convert *c);
int convert_refcoco(struct convert *c);
int convert_ocrvqa(struct convert *c);
int convert_instructions(struct convert *c); // instruct.c: files that are instructions already

#endif
