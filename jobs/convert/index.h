/* index.h - small values by key, for joining two files of a release: keys and values one after the other in one block.
 *
 * A key may be added several times; its values come in the order they were added.
 */
#ifndef CLLAVA_JOBS_CONVERT_INDEX_H
#define CLLAVA_JOBS_CONVERT_INDEX_H

#include <stddef.h>

struct index;

int index_new(struct index **out);                                             // CL_ENOMEM
void index_free(struct index *ix);                                             // NULL is fine
int index_add(struct index *ix, const char *key, const void *value, size_t n); // CL_ENOMEM

/* The first value of a key and, with *at kept between calls (0 at first), the ones after it; NULL: no more. Borrowed until
 * the next index_add; aligned to 8. */
const void *index_find(const struct index *ix, const char *key, size_t *at);

#endif
