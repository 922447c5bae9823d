/* image_webp.c - WebP (lossy, lossless, with alpha, first frame of an animation) to RGB; alpha is dropped, not blended.
 *
 * The demuxer gives the canvas and the first frame on it. A still picture is the case of one frame as large as the canvas;
 * what an animation's first frame leaves uncovered is black.
 */
#include "io/image_kinds.h"

#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include "io/err.h"

static int find_orientation(const WebPDemuxer *d)
{
    WebPChunkIterator chunk;
    int o = 0;

    if (WebPDemuxGetChunk(d, "EXIF", 1, &chunk)) {
        o = image_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    if (!o && WebPDemuxGetChunk(d, "XMP ", 1, &chunk)) {
        o = image_xmp_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return o;
}

int image_webp_decode(struct image *im, const struct image_bytes *b, int *orientation)
{
    const WebPData data = {b->p, b->n};
    WebPDemuxer *d = WebPDemux(&data);
    WebPIterator frame = {0};
    size_t stride, bytes, at;
    int rc, o;

    if (!d) FAIL(CL_EFORMAT, "%s: broken or truncated WebP file; hint: fetch it again", b->name);
    if (!WebPDemuxGetFrame(d, 1, &frame)) FAIL(CL_EFORMAT, "%s: WebP file without a picture in it", b->name);
    TRY(image_alloc(im, WebPDemuxGetI(d, WEBP_FF_CANVAS_WIDTH), WebPDemuxGetI(d, WEBP_FF_CANVAS_HEIGHT), b->name));
    if (frame.x_offset < 0 || frame.y_offset < 0 || frame.width < 1 || frame.height < 1 ||
        frame.width > im->width - frame.x_offset || frame.height > im->height - frame.y_offset)
        FAIL(CL_EFORMAT, "%s: WebP frame outside of its canvas", b->name);
    stride = (size_t)im->width * 3;
    bytes = stride * (size_t)im->height;
    at = (size_t)frame.y_offset * stride + (size_t)frame.x_offset * 3;
    if (frame.width < im->width || frame.height < im->height) memset(im->rgb, 0, bytes);
    if (!WebPDecodeRGBInto(frame.fragment.bytes, frame.fragment.size, im->rgb + at, bytes - at, (int)stride))
        FAIL(CL_EFORMAT, "%s: broken WebP file; hint: fetch it again", b->name);
    if (orientation && (o = find_orientation(d))) *orientation = o;
    rc = CL_OK;
done:
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(d);
    return rc;
}
