/* image.c - from a file to RGB: reads the bytes, looks at the header, calls the decoder of the kind.
 *
 * The header is looked at first, so that a picture bomb or a saved error page is refused before anything is decoded.
 */
#include "io/image_kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"

/* The largest file of the pixel limit: 16-bit RGBA, not compressed. */
static const int64_t max_file_bytes = (int64_t)IMAGE_MAX_PIXELS * 8 + (1 << 20);

int image_check_size(int64_t width, int64_t height, const char *name)
{
    if (width < 1 || height < 1)
        return err_set(CL_EFORMAT, "%s: picture without pixels (%lld x %lld)", name, (long long)width,
                       (long long)height);
    if (width > INT_MAX / 16 || height > INT_MAX / 16 || width > IMAGE_MAX_PIXELS / height)
        return err_set(CL_EFORMAT, "%s: picture too large (got %lld x %lld, at most %d pixels); hint: scale it down",
                       name, (long long)width, (long long)height, IMAGE_MAX_PIXELS);
    return CL_OK;
}

int image_alloc(struct image *im, int64_t width, int64_t height, const char *name)
{
    int rc = image_check_size(width, height, name);

    if (rc) return rc;
    *im = (struct image){.width = (int)width, .height = (int)height};
    im->rgb = malloc((size_t)width * (size_t)height * 3);
    if (!im->rgb)
        return err_set(CL_ENOMEM, "%s: out of memory for %lld x %lld pixels", name, (long long)width,
                       (long long)height);
    return CL_OK;
}

void image_free(struct image *im)
{
    free(im->rgb);
    *im = (struct image){0};
}

int image_decode(struct image *im, const void *bytes, size_t n, const char *name, bool exif)
{
    const struct image_bytes b = {bytes, n, name};
    struct image_window w = {.mem = bytes, .n = n, .fd = -1};
    int rc, width, height, orientation = 1, *wanted = exif ? &orientation : NULL;
    enum image_kind kind;

    *im = (struct image){0};
    TRY(image_header(&w, name, &kind, &width, &height));
    switch (kind) {
    case IMAGE_PNG: rc = image_png_decode(im, &b, wanted); break;
    case IMAGE_JPEG: rc = image_jpeg_decode(im, &b, wanted); break;
    case IMAGE_WEBP: rc = image_webp_decode(im, &b, wanted); break;
    case IMAGE_GIF: rc = image_gif_decode(im, &b); break;
    case IMAGE_NONE: rc = err_set(CL_EINTERNAL, "%s: no kind", name); break;
    }
    if (!rc) rc = image_orient(im, orientation);
done:
    if (rc) image_free(im);
    return rc;
}

/* A regular file, opened, with its size. Anything else (a folder, a pipe) would block or give nonsense. */
static int open_file(int *fd, size_t *n, const char *path)
{
    struct stat st;
    int rc;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) FAIL(CL_EIO, "cannot open %s: %s; hint: check the path", path, strerror(errno));
    if (fstat(*fd, &st)) FAIL(CL_EIO, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        FAIL(CL_EIO, "%s is %s (expected a picture file); hint: check the path", path,
             S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
    if (st.st_size > max_file_bytes)
        FAIL(CL_EFORMAT, "%s: file too large for a picture (%lld bytes)", path, (long long)st.st_size);
    *n = (size_t)st.st_size;
    return CL_OK;
done:
    if (*fd >= 0) close(*fd);
    *fd = -1;
    return rc;
}

int image_load(struct image *im, const char *path, bool exif)
{
    uint8_t *bytes = NULL;
    int fd = -1, rc;
    size_t n, at = 0;

    *im = (struct image){0};
    TRY(open_file(&fd, &n, path));
    bytes = malloc(n ? n : 1);
    if (!bytes) FAIL(CL_ENOMEM, "%s: out of memory for %zu bytes", path, n);
    while (at < n) {
        ssize_t got = read(fd, bytes + at, n - at);

        if (got < 0 && errno == EINTR) continue;
        if (got < 0) FAIL(CL_EIO, "cannot read %s: %s", path, strerror(errno));
        if (!got) break; // became shorter meanwhile: the decoder will notice
        at += (size_t)got;
    }
    TRY(image_decode(im, bytes, at, path, exif));
done:
    free(bytes);
    if (fd >= 0) close(fd);
    return rc;
}

int image_probe(const char *path, int *width, int *height)
{
    struct image_window w = {.fd = -1};
    enum image_kind kind;
    int rc;

    TRY(open_file(&w.fd, &w.n, path));
    TRY(image_header(&w, path, &kind, width, height));
done:
    if (w.fd >= 0) close(w.fd);
    return rc;
}
