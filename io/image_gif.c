/* image_gif.c - the first frame of a GIF as RGB.
 *
 * The frame lies somewhere on the screen; as in Pillow the rest has the colour of the transparent index, else of index 0,
 * and a frame that sticks out enlarges the screen. Indices behind the end of the palette are black; without any palette an
 * index is a grey value.
 */
#include "io/image_kinds.h"

#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"

struct source {
    const uint8_t *p;
    size_t left;
};

static int read_bytes(GifFileType *g, GifByteType *to, int n)
{
    struct source *s = g->UserData;

    if (n < 0) return 0;
    if ((size_t)n > s->left) n = (int)s->left;
    memcpy(to, s->p, (size_t)n);
    s->p += n;
    s->left -= (size_t)n;
    return n;
}

/* Goes to the first picture; *background becomes the transparent index where one is set. */
static bool find_frame(GifFileType *g, int *background)
{
    GifRecordType record;

    while (DGifGetRecordType(g, &record) == GIF_OK && record != TERMINATE_RECORD_TYPE) {
        GifByteType *block;
        int code;

        if (record == IMAGE_DESC_RECORD_TYPE) return DGifGetImageDesc(g) == GIF_OK;
        if (record != EXTENSION_RECORD_TYPE || DGifGetExtension(g, &code, &block) != GIF_OK) return false;
        if (code == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && block[1] & 1) *background = block[4];
        while (block)
            if (DGifGetExtensionNext(g, &block) != GIF_OK) return false;
    }
    return false;
}

static void fill_colours(uint8_t colour[256][3], const ColorMapObject *map)
{
    memset(colour, 0, 256 * 3);
    for (int i = 0; i < 256 && !map; i++) memset(colour[i], i, 3);
    for (int i = 0; map && i < map->ColorCount && i < 256; i++)
        colour[i][0] = map->Colors[i].Red, colour[i][1] = map->Colors[i].Green, colour[i][2] = map->Colors[i].Blue;
}

static void fill_background(struct image *im, const uint8_t c[3])
{
    uint8_t *p = im->rgb;

    for (size_t i = (size_t)im->width * (size_t)im->height; i-- > 0; p += 3) p[0] = c[0], p[1] = c[1], p[2] = c[2];
}

/* Interlaced rows come as every 8th from 0, every 8th from 4, every 4th from 2, every 2nd from 1. */
static int read_rows(GifFileType *g, struct image *im, uint8_t colour[256][3], uint8_t *line)
{
    static const int first[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    const GifImageDesc *d = &g->Image;

    for (int pass = 0; pass < (d->Interlace ? 4 : 1); pass++)
        for (int y = d->Interlace ? first[pass] : 0; y < d->Height; y += d->Interlace ? step[pass] : 1) {
            uint8_t *to = im->rgb + ((size_t)(d->Top + y) * im->width + d->Left) * 3;

            if (DGifGetLine(g, line, d->Width) != GIF_OK) return CL_EFORMAT;
            for (int x = 0; x < d->Width; x++, to += 3) memcpy(to, colour[line[x]], 3);
        }
    return CL_OK;
}

int image_gif_decode(struct image *im, const struct image_bytes *b)
{
    struct source source = {b->p, b->n};
    uint8_t colour[256][3], *line = NULL;
    int fault = 0, background = 0, rc;
    GifFileType *g = DGifOpen(&source, read_bytes, &fault);
    const GifImageDesc *d;
    int64_t width, height;

    if (!g)
        FAIL(CL_EFORMAT, "%s: broken or truncated GIF file: %s; hint: fetch it again", b->name, GifErrorString(fault));
    if (!find_frame(g, &background)) FAIL(CL_EFORMAT, "%s: broken or truncated GIF file: no picture in it", b->name);
    d = &g->Image;
    if (d->Left < 0 || d->Top < 0 || d->Width < 1 || d->Height < 1)
        FAIL(CL_EFORMAT, "%s: GIF with an empty first frame", b->name);
    width = (int64_t)d->Left + d->Width > g->SWidth ? (int64_t)d->Left + d->Width : g->SWidth;
    height = (int64_t)d->Top + d->Height > g->SHeight ? (int64_t)d->Top + d->Height : g->SHeight;
    TRY(image_alloc(im, width, height, b->name));
    line = malloc((size_t)d->Width);
    if (!line) FAIL(CL_ENOMEM, "%s: out of memory for a row of %d pixels", b->name, d->Width);
    fill_colours(colour, d->ColorMap ? d->ColorMap : g->SColorMap);
    fill_background(im, colour[background]);
    if (read_rows(g, im, colour, line))
        FAIL(CL_EFORMAT, "%s: broken or truncated GIF file: its pixels end early; hint: fetch it again", b->name);
    rc = CL_OK;
done:
    free(line);
    if (g) DGifCloseFile(g, &fault);
    return rc;
}
