/* vision.h - CLIP's vision tower and the projector, forward only (nothing below the decoder learns).
 *
 * A picture is cut into patches (a matrix product over unfolded pixels), gets a class token and positions, runs through
 * the encoder blocks up to the feature layer (-2: all but the last), loses the class token and is projected to the
 * decoder's width: linear, activation, linear.
 */
#ifndef CLLAVA_MODEL_VISION_H
#define CLLAVA_MODEL_VISION_H

#include "io/safetensors.h"
#include "model/lvlm_config.h"

struct vision; // weights of tower and projector, and their scratch

int vision_open(struct vision **v, const struct safetensors *st, const struct lvlm_config *c, const struct backend *be);
void vision_close(struct vision *v);
size_t vision_weight_bytes(const struct vision *v);
/* Scratch for towers over `pictures` pictures at once and projections of `projections` pictures at once; grows only. */
int vision_reserve(struct vision *v, int pictures, int projections);

/* out (n * tokens, hidden) of the backend's activation type: the feature layer, from pixels (n, 3, size, size) f32 host.
 * Any n: works in chunks of what was reserved. */
int vision_tower(struct vision *v, struct tensor out, const float *pixels, int n);
/* out (n * tokens, text hidden) f32 or activation type := projector(features), features as vision_tower gave them. */
int vision_project(struct vision *v, struct tensor out, struct tensor features);

#endif
