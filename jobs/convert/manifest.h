/* manifest.h - DEST/convert.json: what a folder that convert made holds. `convert stream` reads it.
 *
 *     {"format": "cllava-convert", "version": 1, "kind": "docvqa", "metric": "anls", "source": "/data/docvqa",
 *      "images": "/data/docvqa/spdocvqa_images",
 *      "files": {"test": {"file": "test.jsonl", "split": "val", "samples": 5349, "with_picture": 5349,
 *                         "left_out": {"picture missing": {"count": 2, "first": ["FILE: record 17: documents/x.png", ..]}}}}}
 *
 * It is there only when the files that it describes are: it is taken away before they are put under their names and comes
 * back after them, so an interruption in between shows. images is absolute, or relative to DEST. A later conversion of another split into the same folder adds its file.
 */
#ifndef CLLAVA_JOBS_CONVERT_MANIFEST_H
#define CLLAVA_JOBS_CONVERT_MANIFEST_H

#include <jansson.h>

#include "jobs/convert/output.h"

/* CL_EMISMATCH: DEST holds another kind, or pictures elsewhere. *old NULL: there is none yet. */
int manifest_check(json_t **old, const struct convert *c, const char *dest, const char *images);
/* Takes it away, if there is one. CL_EIO. */
int manifest_remove(const char *dest);
/* Adds n files to old (NULL: none) and writes it. CL_EIO, CL_ENOMEM. */
int manifest_write(const json_t *old, const struct convert *c, const char *dest, const char *images,
                   const struct output *file, int n);
/* CL_EIO: there is none; CL_EFORMAT: another file, or one of another version. Text fields are there and texts. */
int manifest_read(json_t **m, const char *dest);

#endif
