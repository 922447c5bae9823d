/* vision.h - CLIP's vision tower and the projector, forward only (nothing below the decoder learns).
 *
 * A picture is cut into patches (a matrix product over unfolded pixels), gets a class token and positions, runs through
 * the encoder blocks up to the feature layer (-2: all but the last), loses the class token and is projected to the
 * decoder's width: linear, activation, linear.
 *
 * Ranks that share a model split the tower as they split the decoder: heads and MLP columns, with a sum over the ranks behind
 * out_proj and fc2; what is not split (patches, norms, projector) every rank has. The features come out whole on every rank.
 */
#ifndef CLLAVA_MODEL_VISION_H
#define CLLAVA_MODEL_VISION_H

#include "io/safetensors.h"
#include "model/share.h"

struct vision; // weights of tower and projector, and their scratch

/* tp is borrowed; NULL: one rank. Not collective. */
int vision_open(struct vision **v, const struct safetensors *st, const struct lvlm_config *c, const struct backend *be,
                const struct tp *tp);
void vision_close(struct vision *v);
size_t vision_weight_bytes(const struct vision *v);
int64_t vision_read_bytes(const struct vision *v); // of the files, by this rank
/* Scratch for towers over `pictures` pictures at once and projections of `projections` pictures at once; grows only. */
int vision_reserve(struct vision *v, int pictures, int projections);

/* out[i] (tokens, hidden) of the backend's activation type: the feature layer of picture i, from pixels (n, 3, size, size)
 * f32 host. Any n: works in chunks of what was reserved. Collective over tp. */
int vision_tower(struct vision *v, const struct tensor *out, const float *pixels, int n);
/* out (rows, text hidden) f32 or activation type := projector(features), any rows of what vision_tower gave. Not
 * collective. */
int vision_project(struct vision *v, struct tensor out, struct tensor features);

#endif
