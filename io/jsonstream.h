/* jsonstream.h - the records of a JSON file that may be larger than memory, one after the other.
 *
 * Data sets are published as one of
 *
 *     [{..}, {..}]                an array
 *     {..}                        JSONL: one record per line
 *     {"17": {..}, "18": {..}}    an object keyed by id
 *     {"info": .., "data": [..]}  either of them as a member of an object; other members are passed over unread
 *
 * plain or gzipped, which shows in the first bytes. Only the record at hand is in memory. Where one ends is found by
 * counting braces outside of strings, so a broken record is reported by its number and the next one is found all the same.
 * The end of the file is checked: one that was cut off is never taken for a short one.
 */
#ifndef CLLAVA_IO_JSONSTREAM_H
#define CLLAVA_IO_JSONSTREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum jsonstream_form { JSONSTREAM_LIST, JSONSTREAM_KEYED }; // array or JSONL; object keyed by id

struct jsonstream;

/* member: name of the member of the top object that holds the records; NULL: the file's top itself.
 * CL_EIO: cannot be read; CL_EFORMAT: another form than asked for, no such member. Texts name the file. */
int jsonstream_open(struct jsonstream **out, const char *path, enum jsonstream_form form, const char *member);
void jsonstream_close(struct jsonstream *s); // NULL is fine

/* The next record: *record and, in a keyed form, *key (else NULL) belong to the stream until the next call. *more false:
 * that was all. CL_EDATA: this record is broken, the text says how (without file and number), the stream goes on. Anything
 * else ends it: CL_EIO, CL_EFORMAT (cut off; a missing quote or brace), CL_ENOMEM, with the file's name. */
int jsonstream_next(struct jsonstream *s, const char **key, json_t **record, bool *more);

int64_t jsonstream_number(const struct jsonstream *s);                   // of the record just given, from 1
void jsonstream_place(struct jsonstream *s, int64_t *at, int64_t *size); // bytes of the file read so far, and in all

#endif
