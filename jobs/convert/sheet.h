/* sheet.h - several pictures as one: a large one above, a row of others below it, on white. */
#ifndef CLLAVA_JOBS_CONVERT_SHEET_H
#define CLLAVA_JOBS_CONVERT_SHEET_H

#include "io/image.h"

enum { SHEET_GAP = 16, SHEET_SIDE = 8192 }; // pixels between pictures; the longest side of a sheet

/* out: upper above row (n), all as large as they are. CL_EDATA: larger than SHEET_SIDE; CL_ENOMEM. */
int sheet_make(struct image *out, const struct image *upper, const struct image *row, int n);

#endif
