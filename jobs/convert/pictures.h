/* pictures.h - finding the pictures that records name, and copying them where that is asked for.
 *
 * A picture is looked for below one or more roots (SOURCE, or every --images) by the patterns of the kind. Records name it
 * relative to the deepest folder that all roots share: that is the stream's `images`. Names come out of files that others
 * wrote, so one that is absolute, has ".." in it or holds control characters is refused.
 */
#ifndef CLLAVA_JOBS_CONVERT_PICTURES_H
#define CLLAVA_JOBS_CONVERT_PICTURES_H

#include "jobs/convert/convert.h"

/* source: file or folder. CL_EIO: a root is not there. */
int pictures_open(struct pictures **out, const struct convert_options *how, const char *source, const char *dest);
void pictures_close(struct pictures *p);

/* What `images` says: an absolute path, or "images" for copies. */
const char *pictures_base(const struct pictures *p);
int64_t pictures_copied(const struct pictures *p);

/* May the name be used at all? */
bool picture_name_safe(const char *name);
/* Looks for a picture: true with its path relative to the base in out. */
bool pictures_find(struct pictures *p, char out[PATH_ROOM], const char *split, const char *const *patterns,
                   const char *name);
/* Where a picture found lies. CL_EIO: too long a path. */
int pictures_path(const struct pictures *p, char out[PATH_ROOM], const char *relative);
/* Copies the picture found last to DEST/images, if asked for and not yet done. CL_EIO. */
int pictures_copy(struct pictures *p, const char *relative);

/* A pattern with its places filled in; false: too long. name may be NULL. */
bool pattern_expand(char out[PATH_ROOM], const char *pattern, const char *split, const char *name);

#endif
