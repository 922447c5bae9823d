/* image_kinds.h - what the decoders of the picture kinds share (private to io/image*.c).
 *
 * A decoder gets the whole file in memory and fills an image. It checks the size with image_alloc before it allocates,
 * and leaves im->rgb to its caller on failure. orientation is NULL when nobody asks for it; else it is set to what the
 * file's EXIF or XMP says, 1 to 8, where it says something.
 */
#ifndef CLLAVA_IO_IMAGE_KINDS_H
#define CLLAVA_IO_IMAGE_KINDS_H

#include "io/image.h"

struct image_bytes {
    const uint8_t *p;
    size_t n;
    const char *name; // for messages
};

enum image_kind { IMAGE_NONE, IMAGE_PNG, IMAGE_JPEG, IMAGE_WEBP, IMAGE_GIF };

int image_png_decode(struct image *im, const struct image_bytes *b, int *orientation);
int image_jpeg_decode(struct image *im, const struct image_bytes *b, int *orientation);
int image_webp_decode(struct image *im, const struct image_bytes *b, int *orientation);
int image_gif_decode(struct image *im, const struct image_bytes *b);

/* Refuses sizes that are empty or above the limit, then allocates rgb (not cleared). */
int image_alloc(struct image *im, int64_t width, int64_t height, const char *name);
/* Only the check. */
int image_check_size(int64_t width, int64_t height, const char *name);

/* Where a header is looked for: memory, or a file through a small window. */
struct image_window {
    const uint8_t *mem; // NULL: read fd
    size_t n;           // bytes in all
    int fd;
    size_t base, have; // what of the file is in buf
    uint8_t buf[4096];
};
/* Kind by the first bytes and size by the header; CL_EFORMAT: no such kind, or the header is broken. */
int image_header(struct image_window *w, const char *name, enum image_kind *kind, int *width, int *height);

/* Orientation (1..8) of an EXIF block ("Exif\0\0" in front or not) or an XMP packet; 0: it says nothing. */
int image_exif_orientation(const uint8_t *p, size_t n);
int image_xmp_orientation(const uint8_t *p, size_t n);
/* Turns or mirrors the picture so that orientation becomes 1. */
int image_orient(struct image *im, int orientation);

/* Pillow's resize of in to width x height, of which only the w x h pixels from (x, y) on are made. Sizes above int are
 * allowed for what is not made. */
struct image_part {
    int64_t width, height; // of the whole result
    int64_t x, y;
    int w, h;
};
int image_resize_part(struct image *out, const struct image *in, const struct image_part *part, int resample);

#endif
