/* jsonfile.h - typed reading of configuration files in JSON that other programs wrote.
 *
 * A place is an object of a file, known by the file's path and its own key, so that every error names both. Readers leave
 * the value alone where the key is missing or null (the caller has put the default there) and refuse a value of the wrong
 * type or out of range with CL_EFORMAT: "DIR/config.json: text_config.hidden_size is \"x\", expected ..".
 */
#ifndef CLLAVA_IO_JSONFILE_H
#define CLLAVA_IO_JSONFILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct jsonfile_at {
    const char *path;     // of the file, borrowed
    const char *section;  // key of the object, NULL at the top
    const json_t *object; // NULL: the section is missing, every key of it too
};

/* Whole file; the caller decrefs. CL_EIO: not there or not readable; CL_EFORMAT: not JSON, or a key twice. */
int jsonfile_open(json_t **root, const char *path);
/* The same for a file that must hold an object: at borrows path and root. */
int jsonfile_open_object(json_t **root, struct jsonfile_at *at, const char *path);
/* "dir/file", malloc'ed; NULL when memory is out. */
char *jsonfile_path(const char *dir, const char *file);

bool jsonfile_has(const struct jsonfile_at *at, const char *key); // there and not null
int jsonfile_int(int *v, const struct jsonfile_at *at, const char *key, int min, int max);
int jsonfile_real(double *v, const struct jsonfile_at *at, const char *key, double min, double max);
int jsonfile_bool(bool *v, const struct jsonfile_at *at, const char *key);
int jsonfile_text(const char **v, const struct jsonfile_at *at, const char *key); // borrowed from the root
/* sub: the object under key; its object is NULL when there is none. */
int jsonfile_section(struct jsonfile_at *sub, const struct jsonfile_at *at, const char *key);

/* CL_EFORMAT with file, key and what stands there: "FILE: KEY is VALUE, expected ..". */
int jsonfile_refuse(const struct jsonfile_at *at, const char *key, const char *expected, ...)
    __attribute__((format(printf, 3, 4)));

#endif
