/* err.c - the text of the last error, one per thread. */
#include "io/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text[ERR_ROOM];

int err_set(int code, const char *fmt, ...)
{
    char now[ERR_ROOM]; // arguments may point into text itself

    va_list ap;
    va_start(ap, fmt);
    vsnprintf(now, sizeof now, fmt, ap);
    va_end(ap);
    memcpy(text, now, sizeof text);
    return code;
}

int err_prefix(int code, const char *fmt, ...)
{
    char where[ERR_ROOM], now[2 * ERR_ROOM + 4];
    va_list ap;

    if (!code) return code;
    va_start(ap, fmt);
    vsnprintf(where, sizeof where, fmt, ap);
    va_end(ap);
    snprintf(now, sizeof now, "%s: %s", where, text);
    memcpy(text, now, sizeof text - 1);
    text[ERR_ROOM - 1] = 0;
    return code;
}

const char *err_text(void)
{
    return text;
}

int err_status(int code)
{
    static const int status[] = {
#define CL_STATUS(code, status, text) status,
        CL_CODES(CL_STATUS)
#undef CL_STATUS
    };
    return code >= 0 && code < (int)(sizeof status / sizeof *status) ? status[code] : 1;
}

const char *err_name(int code)
{
    static const char *const name[] = {
#define CL_NAME(code, status, text) #code,
        CL_CODES(CL_NAME)
#undef CL_NAME
    };
    return code >= 0 && code < (int)(sizeof name / sizeof *name) ? name[code] : "unknown code";
}
