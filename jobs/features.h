/* features.h - vision features of pictures, computed once per distinct picture while memory allows.
 *
 * The tower is frozen, so a picture's features never change: they are kept by path, least recently used ones leave when the
 * budget (image.cache_mib) is full. Kept before the projector: less than what the projector makes of them.
 */
#ifndef CLLAVA_JOBS_FEATURES_H
#define CLLAVA_JOBS_FEATURES_H

#include "io/image.h"
#include "model/lvlm.h"

struct features;

/* lvlm, spec are borrowed. */
int features_new(struct features **f, struct lvlm *m, const struct image_spec *spec, size_t budget);
void features_free(struct features *f);

/* out[i] := features of picture path[i] (a path may stand several times). Valid until the next call. CL_EDATA / CL_EIO name
 * the picture. Not inside a step. */
int features_get(struct features *f, const char *const *path, int n, const struct feature **out);
/* The same for one picture that is already decoded (nothing is kept). */
int features_of_image(struct features *f, const struct image *im, const struct feature **out);

struct features_stats {
    int64_t asked, computed; // pictures asked for, run through the tower
};
struct features_stats features_get_stats(const struct features *f);

#endif
