/* dataset_parts.h - the two halves under dataset.c (private to io/dataset*.c): bytes to records' bytes, those to records. */
#ifndef CLLAVA_IO_DATASET_PARTS_H
#define CLLAVA_IO_DATASET_PARTS_H

#include <stddef.h>

#include "io/dataset.h"

/* Goes through a file from its begin and gives the bytes of one record after the other. */
struct scan {
    int fd;
    bool array;     // else JSONL
    char last;      // array: what ended the last record: '[' in front of the first, ',' or ']'
    int64_t number; // of the record just given, from 1
    int64_t begin;  // its offset in the file
    char *rec;      // (n) its bytes, valid until the next call
    size_t n, room;
    int64_t base; // offset of buf[0]
    size_t at, have;
    char buf[1 << 16];
};
/* Texts do not name the file: the caller prefixes it. */
int scan_open(struct scan *s, int fd);
int scan_next(struct scan *s, bool *more);
void scan_close(struct scan *s);

/* The bytes of a record become a record, which is checked but for its picture's existence. CL_EDATA without file and
 * number, CL_ENOMEM. r holds nothing on failure. */
int record_parse(struct record *r, const char *bytes, size_t n, int64_t number, const struct dataset_options *how);

#endif
