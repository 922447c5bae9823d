/* path.c - a path that fits, or an error. */
#include "io/path.h"

#include "io/err.h"

#include <stdarg.h>
#include <stdio.h>

int path_print(char out[PATH_ROOM], const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(out, PATH_ROOM, fmt, ap);
    va_end(ap);
    if (n < 0 || n >= PATH_ROOM)
        return err_set(CL_EIO, "path of %d bytes (expected at most %d): %.200s..", n, PATH_ROOM - 1, out);
    return CL_OK;
}
