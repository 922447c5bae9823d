/* err.h - one way to fail.
 *
 * A function that can fail returns an enum cl_code; 0 is success. Whoever notices the fault writes the text with err_set
 * and returns its code; callers pass the code up with TRY and may put where they were in front of the text with
 * err_prefix. Only main() prints the text, in the form
 *
 *     cllava: error: WHAT (got .., expected ..); hint: ..
 *
 * Library code never prints an error, never exits. The text is per thread.
 *
 *     int rc;
 *     FILE *f = fopen(path, "rb");
 *     if (!f) FAIL(CL_EIO, "cannot open %s: %s; hint: check the path", path, strerror(errno));
 *     TRY(read_header(f));            // jumps to done with rc set when it fails
 *     rc = CL_OK;
 * done:
 *     if (f) fclose(f);
 *     return rc;
 */
#ifndef CLLAVA_IO_ERR_H
#define CLLAVA_IO_ERR_H

#include <stddef.h>

/* code, exit status of the program, what it stands for */
#define CL_CODES(X)                                                                                                    \
    X(CL_OK, 0, "success")                                                                                             \
    X(CL_EUSAGE, 2, "wrong usage of a command")                                                                        \
    X(CL_ECONFIG, 2, "wrong configuration")                                                                            \
    X(CL_ENOMEM, 1, "out of memory")                                                                                   \
    X(CL_EIO, 1, "file cannot be read or written")                                                                     \
    X(CL_EFORMAT, 1, "file is not what it should be")                                                                  \
    X(CL_EDATA, 1, "a record of a data set is broken")                                                                 \
    X(CL_EMISMATCH, 1, "parts do not belong together")                                                                 \
    X(CL_ENUM, 1, "not a number, infinite or out of range")                                                            \
    X(CL_ELIB, 1, "a library call failed")                                                                             \
    X(CL_EMPI, 1, "communication failed")                                                                              \
    X(CL_EDEVICE, 1, "no usable device")                                                                               \
    X(CL_ESTOP, 75, "stopped at a checkpoint on request")                                                              \
    X(CL_EINTERNAL, 1, "a fault of the program itself")

enum cl_code {
#define CL_ENUM(code, status, text) code,
    CL_CODES(CL_ENUM)
#undef CL_ENUM
};

enum { ERR_ROOM = 2048 }; // bytes of an error text, with its end

/* Sets this thread's error text (truncated to ERR_ROOM) and returns code, so that a caller can write return err_set(..). */
int err_set(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "fmt: " in front of the current text (where it happened: file, record, rank) and returns code unchanged. */
int err_prefix(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The current text; "" when nothing failed. Valid until the next err_set of this thread. */
const char *err_text(void);

/* Exit status of the program for a code: 0, 2, 75 or 1. */
int err_status(int code);

/* Name of a code ("CL_EIO") for logs. */
const char *err_name(int code);

/* Inside a function with `int rc` and a label `done`. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        if ((rc = (call)) != 0) goto done;                                                                             \
    } while (0)
#define FAIL(...)                                                                                                      \
    do {                                                                                                               \
        rc = err_set(__VA_ARGS__);                                                                                     \
        goto done;                                                                                                     \
    } while (0)

#endif
