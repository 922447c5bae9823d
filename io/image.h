/* image.h - a picture file becomes the normalised square that the vision tower sees.
 *
 * Decode (PNG, JPEG, WebP, GIF's first frame) to 8-bit RGB as Pillow's convert("RGB") gives it, pad to a square or cut
 * one out, resize as Pillow does (bicubic with antialiasing, 8-bit result), scale and normalise. The numbers agree with
 * CLIPImageProcessor within 1/255 before normalisation.
 */
#ifndef CLLAVA_IO_IMAGE_H
#define CLLAVA_IO_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image {
    int width, height; // pixels, e.g. 336 x 336
    uint8_t *rgb;      // (height, width, 3), owned
};

/* Decoding refuses more pixels than this, before it allocates (a "picture bomb"). */
enum { IMAGE_MAX_PIXELS = 178956970 }; // Pillow's DecompressionBombError limit, 2 x 89478485

/* What preprocessor_config.json and the configuration say. */
struct image_spec {
    int size;                 // side of the square, e.g. 336
    int shortest_edge;        // resize target of the shorter edge before the centre crop; mostly equal to size
    int stretch_w, stretch_h; // > 0: resize to exactly this instead, whatever the shape (`size` was {height, width})
    bool pad;     // pad to a square with the mean colour first (LLaVA-1.5); else resize shortest edge + centre crop
    bool exif;    // apply the EXIF orientation of JPEG / PNG / WebP files
    int resample; // Pillow's number: 0 nearest, 2 bilinear, 3 bicubic, 1 lanczos
    bool do_resize, do_center_crop, do_rescale, do_normalize;
    double rescale_factor;  // 1/255
    double mean[3], std[3]; // of RGB in 0..1
};

/* Reads preprocessor_config.json of a base directory (all forms: size as number, {shortest_edge}, {height,width}); where
 * the file is absent CLIP's defaults for image_size hold. aspect: "pad", "crop" or NULL (what the file's
 * image_aspect_ratio says, else pad). CL_EFORMAT when a value cannot be. */
int image_spec_read(struct image_spec *spec, const char *base_dir, int image_size, const char *aspect);

/* Decodes a file. CL_EIO: cannot be read; CL_EFORMAT: not a picture of these kinds, broken or truncated, or too large.
 * The text names the file. */
int image_load(struct image *im, const char *path, bool exif);
/* The same from memory; name is for messages. */
int image_decode(struct image *im, const void *bytes, size_t n, const char *name, bool exif);
/* Only the header: are the bytes a picture, and of which size? Cheap: used to check a data set before work starts. */
int image_probe(const char *path, int *width, int *height);
void image_free(struct image *im);

/* out (3, size, size) float: the normalised pixels. */
int image_prepare(float *out, const struct image *im, const struct image_spec *spec);

/* Pillow's resize of an 8-bit RGB picture (whole picture as box). */
int image_resize(struct image *out, const struct image *in, int width, int height, int resample);

/* Writes an 8-bit RGB PNG (demo streams, reports): temporary name, fsync, rename. */
int image_write_png(const char *path, const struct image *im);

#endif
