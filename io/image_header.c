/* image_header.c - what kind of picture the bytes are and how large, from the header alone.
 *
 * All reading goes through byte_at, which answers -1 behind the end, so that no offset in a broken header can lead
 * outside. A JPEG's size stands behind its metadata, at an offset that only walking the markers tells.
 */
#include "io/image_kinds.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"

static int byte_at(struct image_window *w, size_t at)
{
    if (at >= w->n) return -1;
    if (w->mem) return w->mem[at];
    if (at < w->base || at >= w->base + w->have) {
        ssize_t got = pread(w->fd, w->buf, sizeof w->buf, (off_t)at);

        w->base = at;
        w->have = got > 0 ? (size_t)got : 0;
        if (!w->have) return -1;
    }
    return w->buf[at - w->base];
}

/* Number of n bytes at an offset, -1 behind the end. */
static int64_t big(struct image_window *w, size_t at, int n)
{
    int64_t v = 0;

    for (int i = 0; i < n; i++) {
        int b = byte_at(w, at + i);
        if (b < 0) return -1;
        v = v << 8 | b;
    }
    return v;
}

static int64_t little(struct image_window *w, size_t at, int n)
{
    int64_t v = 0;

    for (int i = n; i-- > 0;) {
        int b = byte_at(w, at + i);
        if (b < 0) return -1;
        v = v << 8 | b;
    }
    return v;
}

static bool starts(struct image_window *w, size_t at, const char *with, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (byte_at(w, at + i) != (uint8_t)with[i]) return false;
    return true;
}

static enum image_kind kind_of(struct image_window *w)
{
    if (starts(w, 0, "\x89PNG\r\n\x1a\n", 8)) return IMAGE_PNG;
    if (starts(w, 0, "\xff\xd8\xff", 3)) return IMAGE_JPEG;
    if (starts(w, 0, "GIF87a", 6) || starts(w, 0, "GIF89a", 6)) return IMAGE_GIF;
    if (starts(w, 0, "RIFF", 4) && starts(w, 8, "WEBP", 4)) return IMAGE_WEBP;
    return IMAGE_NONE;
}

/* The frame header is the first marker C0..CF that is not a table (C4, CC) or reserved (C8). */
static void jpeg_size(struct image_window *w, int64_t size[2])
{
    size_t at = 2;

    for (;;) {
        int m;
        int64_t n;

        while ((m = byte_at(w, at)) >= 0 && m != 0xff) at++;
        while ((m = byte_at(w, at)) == 0xff) at++;
        at++;
        if (m < 0 || m == 0xd9 || m == 0xda) return;
        if (m == 0 || m == 1 || (m >= 0xd0 && m <= 0xd8)) continue;
        if ((n = big(w, at, 2)) < 2) return;
        if (m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc) {
            size[1] = big(w, at + 3, 2);
            size[0] = big(w, at + 5, 2);
            return;
        }
        at += (size_t)n;
    }
}

static void webp_size(struct image_window *w, int64_t size[2])
{
    if (starts(w, 12, "VP8 ", 4) && starts(w, 23, "\x9d\x01\x2a", 3)) {
        size[0] = little(w, 26, 2);
        size[1] = little(w, 28, 2);
        if (size[0] >= 0) size[0] &= 0x3fff;
        if (size[1] >= 0) size[1] &= 0x3fff;
    } else if (starts(w, 12, "VP8L", 4) && byte_at(w, 20) == 0x2f) {
        int64_t bits = little(w, 21, 4);

        if (bits < 0) return;
        size[0] = (bits & 0x3fff) + 1;
        size[1] = (bits >> 14 & 0x3fff) + 1;
    } else if (starts(w, 12, "VP8X", 4)) {
        int64_t x = little(w, 24, 3), y = little(w, 27, 3);

        size[0] = x < 0 ? -1 : x + 1;
        size[1] = y < 0 ? -1 : y + 1;
    }
}

/* Says what the file begins with: saved error pages and other kinds of pictures are told apart at a glance. */
static int refuse_kind(struct image_window *w, const char *name)
{
    char begin[64] = "";
    size_t at = 0;

    if (!w->n) return err_set(CL_EFORMAT, "%s: empty file (expected a PNG, JPEG, WebP or GIF picture)", name);
    for (int i = 0; i < 12; i++) {
        int b = byte_at(w, i);

        if (b < 0) break;
        at += (size_t)snprintf(begin + at, sizeof begin - at, b >= 32 && b < 127 ? "%c" : "\\x%02x", b);
    }
    return err_set(
        CL_EFORMAT,
        "%s: not a picture that can be read (got a file that begins with \"%s\", expected PNG, JPEG, WebP or "
        "GIF); hint: convert it to one of these",
        name, begin);
}

int image_header(struct image_window *w, const char *name, enum image_kind *kind, int *width, int *height)
{
    static const char *const names[] = {"", "PNG", "JPEG", "WebP", "GIF"};
    int64_t size[2] = {-1, -1};
    int rc;

    *kind = kind_of(w);
    switch (*kind) {
    case IMAGE_NONE: return refuse_kind(w, name);
    case IMAGE_PNG:
        if (starts(w, 12, "IHDR", 4)) size[0] = big(w, 16, 4), size[1] = big(w, 20, 4);
        break;
    case IMAGE_JPEG: jpeg_size(w, size); break;
    case IMAGE_WEBP: webp_size(w, size); break;
    case IMAGE_GIF: size[0] = little(w, 6, 2), size[1] = little(w, 8, 2); break;
    }
    if (size[0] < 0 || size[1] < 0)
        return err_set(CL_EFORMAT, "%s: broken or truncated %s file: no size in its header; hint: fetch it again", name,
                       names[*kind]);
    rc = image_check_size(size[0], size[1], name);
    if (rc) return rc;
    *width = (int)size[0];
    *height = (int)size[1];
    return CL_OK;
}
