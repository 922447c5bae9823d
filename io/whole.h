/* whole.h - small files that are written whole or not at all.
 *
 * Temporary name in the same folder, write, fsync, rename, fsync of the folder: under its final name a file is either the
 * old one or the new one, after a power cut too. (Checkpoints, safetensors and pictures are streamed and have their own.)
 */
#ifndef CLLAVA_IO_WHOLE_H
#define CLLAVA_IO_WHOLE_H

#include <stddef.h>

/* dir/name := n bytes. CL_EIO: the old file is as it was and no temporary is left. CL_ENOMEM. */
int whole_write(const char *dir, const char *name, const char *bytes, size_t n);
/* The same by a path that a user gave. */
int whole_write_path(const char *path, const char *bytes, size_t n);

#endif
