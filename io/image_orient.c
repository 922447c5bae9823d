/* image_orient.c - which way up a picture was taken: the EXIF or XMP orientation, and turning the picture by it.
 *
 * Orientation 1 is upright. 2 to 4 mirror or turn by half; 5 to 8 swap width and height. Metadata is untrusted: what cannot
 * be understood says nothing, it never fails a picture.
 */
#include "io/image_kinds.h"

#include <stdlib.h>
#include <string.h>

#include "io/err.h"

static uint32_t number(const uint8_t *p, int n, bool big)
{
    uint32_t v = 0;

    for (int i = 0; i < n; i++) v = v << 8 | p[big ? i : n - 1 - i];
    return v;
}

int image_exif_orientation(const uint8_t *p, size_t n)
{
    enum { TAG_ORIENTATION = 0x0112, ENTRY = 12 };
    bool big;
    size_t at, entries;

    while (n >= 6 && !memcmp(p, "Exif\0\0", 6)) p += 6, n -= 6;
    if (n < 8) return 0;
    if (!memcmp(p, "II*\0", 4))
        big = false;
    else if (!memcmp(p, "MM\0*", 4))
        big = true;
    else
        return 0;
    at = number(p + 4, 4, big);
    if (at > n - 2) return 0;
    entries = number(p + at, 2, big);
    at += 2;
    for (size_t i = 0; i < entries && n - at >= ENTRY; i++, at += ENTRY) {
        uint32_t v, type = number(p + at + 2, 2, big);

        if (number(p + at, 2, big) != TAG_ORIENTATION) continue;
        v = number(p + at + 8, type == 3 ? 2 : type == 1 ? 1 : 4, big); // SHORT by the standard; BYTE and LONG occur
        return v >= 1 && v <= 8 ? (int)v : 0;
    }
    return 0;
}

int image_xmp_orientation(const uint8_t *p, size_t n)
{
    static const char key[] = "tiff:Orientation";
    const size_t k = sizeof key - 1;
    const uint8_t *end = p + n, *q = p;

    while ((q = memmem(q, (size_t)(end - q), key, k))) {
        const uint8_t *v = q + k;
        size_t left = (size_t)(end - v);

        if (left >= 3 && !memcmp(v, "=\"", 2))
            v += 2;
        else if (left >= 2 && *v == '>')
            v += 1;
        else {
            q += k;
            continue;
        }
        if (*v >= '1' && *v <= '8') return *v - '0';
        q += k;
    }
    return 0;
}

int image_orient(struct image *im, int orientation)
{
    struct image out = {0};
    const bool swap = orientation >= 5;
    const int W = im->width, H = im->height;
    ptrdiff_t origin, step_x, step_y; // pixels of im: where the result begins, one to the right, one down
    int rc;

    switch (orientation) {
    case 2: origin = W - 1, step_x = -1, step_y = W; break;                             // mirrored left to right
    case 3: origin = (ptrdiff_t)W * H - 1, step_x = -1, step_y = -(ptrdiff_t)W; break;  // half a turn
    case 4: origin = (ptrdiff_t)W * (H - 1), step_x = 1, step_y = -(ptrdiff_t)W; break; // mirrored top to bottom
    case 5: origin = 0, step_x = W, step_y = 1; break;                                  // transposed
    case 6: origin = (ptrdiff_t)W * (H - 1), step_x = -(ptrdiff_t)W, step_y = 1; break; // a quarter clockwise
    case 7: origin = (ptrdiff_t)W * H - 1, step_x = -(ptrdiff_t)W, step_y = -1; break;  // across the other diagonal
    case 8: origin = W - 1, step_x = W, step_y = -1; break;                             // a quarter counter-clockwise
    default: return CL_OK;
    }
    rc = image_alloc(&out, swap ? H : W, swap ? W : H, "turned picture");
    if (rc) return rc;
    for (int y = 0; y < out.height; y++) {
        uint8_t *to = out.rgb + (size_t)y * out.width * 3;
        const uint8_t *from = im->rgb + 3 * (origin + y * step_y);

        for (int x = 0; x < out.width; x++, to += 3, from += 3 * step_x)
            to[0] = from[0], to[1] = from[1], to[2] = from[2];
    }
    image_free(im);
    *im = out;
    return CL_OK;
}
