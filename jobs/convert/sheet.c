/* sheet.c - see sheet.h. */
#include "jobs/convert/sheet.h"

#include <stdlib.h>
#include <string.h>

#include "io/err.h"

static void paste(struct image *to, const struct image *from, int x, int y)
{
    for (int r = 0; r < from->height; r++)
        memcpy(to->rgb + 3 * ((size_t)(y + r) * (size_t)to->width + (size_t)x),
               from->rgb + 3 * (size_t)r * (size_t)from->width, 3 * (size_t)from->width);
}

int sheet_make(struct image *out, const struct image *upper, const struct image *row, int n)
{
    int64_t width = -SHEET_GAP, height = 0;
    int x = 0;

    *out = (struct image){0};
    for (int i = 0; i < n; i++) {
        width += row[i].width + SHEET_GAP;
        if (row[i].height > height) height = row[i].height;
    }
    height += upper->height + SHEET_GAP;
    if (upper->width > width) width = upper->width;
    if (width > SHEET_SIDE || height > SHEET_SIDE)
        return err_set(CL_EDATA, "a sheet of %lld x %lld pixels (expected at most %d)", (long long)width,
                       (long long)height, SHEET_SIDE);
    *out =
        (struct image){.width = (int)width, .height = (int)height, .rgb = malloc(3 * (size_t)width * (size_t)height)};
    if (!out->rgb) return err_set(CL_ENOMEM, "out of memory for a picture");
    memset(out->rgb, 255, 3 * (size_t)width * (size_t)height);
    paste(out, upper, 0, 0);
    for (int i = 0; i < n; i++) {
        paste(out, &row[i], x, upper->height + SHEET_GAP);
        x += row[i].width + SHEET_GAP;
    }
    return CL_OK;
}
