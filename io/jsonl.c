/* jsonl.c - see jsonl.h. */
#include "io/jsonl.h"

#include "io/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int jsonl_each(FILE *f, const char *path, jsonl_fn *each, void *context)
{
    int rc = CL_OK;
    char *line = NULL;
    size_t room = 0;

    for (long number = 1; getline(&line, &room, f) > 0; number++) {
        if (!line[strspn(line, " \t\r\n")]) continue;
        if ((rc = each(context, line))) {
            err_prefix(rc, "%s: record %ld", path, number);
            goto done;
        }
    }
    if (ferror(f)) FAIL(CL_EIO, "cannot read %s: %s", path, strerror(errno));
done:
    free(line);
    return rc;
}

int jsonl_each_of(const char *path, jsonl_fn *each, void *context)
{
    int rc;
    FILE *f = fopen(path, "r");

    if (!f) return err_set(CL_EIO, "cannot read %s: %s", path, strerror(errno));
    rc = jsonl_each(f, path, each, context);
    fclose(f);
    return rc;
}
