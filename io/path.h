/* path.h - paths in buffers of fixed size, never cut short. */
#ifndef CLLAVA_IO_PATH_H
#define CLLAVA_IO_PATH_H

#include <limits.h>
#include <stddef.h>

enum { PATH_ROOM = PATH_MAX };

/* Prints a path into out; CL_EIO when it does not fit (what the kernel would refuse too). */
int path_print(char out[PATH_ROOM], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
