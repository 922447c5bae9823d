/* jsonl.h - files of one record per line: lines without anything are passed over, a failure says which record it was. */
#ifndef CLLAVA_IO_JSONL_H
#define CLLAVA_IO_JSONL_H

#include <stdio.h>

/* One line, its end included. */
typedef int jsonl_fn(void *context, const char *line);

/* Calls each for every line of f that holds something. Stops at its first failure and returns it, with "PATH: record N"
 * (counted from 1, empty lines too) in front of its text. CL_EIO: cannot be read. */
int jsonl_each(FILE *f, const char *path, jsonl_fn *each, void *context);
/* The same for the file of that name. */
int jsonl_each_of(const char *path, jsonl_fn *each, void *context);

#endif
