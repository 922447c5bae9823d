/* generate_draw.c - the primitives. A shape is the set of pixels that fulfil an inequality in whole numbers. */
#include "demo/generate_draw.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *const generate_colour_names[GENERATE_COLOURS] = {"red", "green", "blue", "yellow", "purple", "orange"};
const char *const generate_shape_names[GENERATE_SHAPES] = {"circle", "square", "triangle", "cross", "diamond", "ring"};

static const struct generate_colour palette[GENERATE_COLOURS] = {{{205, 40, 40}},  {{40, 160, 60}},  {{45, 75, 205}},
                                                                 {{225, 205, 45}}, {{140, 50, 165}}, {{235, 130, 35}}};

static const struct {
    char c;
    uint8_t rows[GENERATE_GLYPH_HEIGHT];
} font[] = {
    {'A', {14, 17, 17, 31, 17, 17, 17}}, {'B', {30, 17, 17, 30, 17, 17, 30}}, {'C', {14, 17, 16, 16, 16, 17, 14}},
    {'D', {30, 17, 17, 17, 17, 17, 30}}, {'E', {31, 16, 16, 30, 16, 16, 31}}, {'F', {31, 16, 16, 30, 16, 16, 16}},
    {'G', {14, 17, 16, 23, 17, 17, 14}}, {'H', {17, 17, 17, 31, 17, 17, 17}}, {'I', {14, 4, 4, 4, 4, 4, 14}},
    {'M', {17, 27, 21, 21, 17, 17, 17}}, {'N', {17, 25, 21, 19, 17, 17, 17}}, {'P', {30, 17, 17, 30, 16, 16, 16}},
    {'Q', {14, 17, 17, 17, 21, 18, 13}}, {'S', {15, 16, 16, 14, 1, 1, 30}},   {'T', {31, 4, 4, 4, 4, 4, 4}},
    {'U', {17, 17, 17, 17, 17, 17, 14}}, {'X', {17, 17, 10, 4, 10, 17, 17}},  {'Y', {17, 17, 10, 4, 4, 4, 4}},
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},      {'2', {14, 17, 1, 2, 4, 8, 31}},
    {'3', {30, 1, 1, 14, 1, 1, 30}},     {'4', {2, 6, 10, 18, 31, 2, 2}},     {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},       {'8', {14, 17, 17, 14, 17, 17, 14}},
    {'9', {14, 17, 17, 15, 1, 2, 12}},
};

struct generate_colour generate_grey(int level)
{
    return (struct generate_colour){{level, level, level}};
}

struct generate_colour generate_jitter(struct generate_rng *rng, struct generate_colour c, int by)
{
    for (int i = 0; i < 3; i++) {
        int v = c.rgb[i] + generate_rng_range(rng, -by, by);

        c.rgb[i] = v < 0 ? 0 : v > 255 ? 255 : v;
    }
    return c;
}

struct generate_colour generate_colour_jitter(struct generate_rng *rng, int c)
{
    return generate_jitter(rng, palette[c], 15);
}

static void set_pixel(struct generate_canvas *cv, int x, int y, struct generate_colour c)
{
    if (x < 0 || y < 0 || x >= GENERATE_SIDE || y >= GENERATE_SIDE) return;
    for (int i = 0; i < 3; i++) cv->px[y][x][i] = (int16_t)c.rgb[i];
}

void generate_rect(struct generate_canvas *cv, int x, int y, int width, int height, struct generate_colour c)
{
    for (int v = y; v < y + height; v++)
        for (int u = x; u < x + width; u++) set_pixel(cv, u, v, c);
}

void generate_fill(struct generate_canvas *cv, struct generate_colour c)
{
    generate_rect(cv, 0, 0, GENERATE_SIDE, GENERATE_SIDE, c);
}

void generate_ellipse(struct generate_canvas *cv, int cx, int cy, int rx, int ry, struct generate_colour c)
{
    for (int y = cy - ry; y <= cy + ry; y++)
        for (int x = cx - rx; x <= cx + rx; x++) {
            int dx = (x - cx) * ry, dy = (y - cy) * rx;

            if (dx * dx + dy * dy <= rx * rx * ry * ry) set_pixel(cv, x, y, c);
        }
}

void generate_disc(struct generate_canvas *cv, int cx, int cy, int radius_squared, struct generate_colour c)
{
    for (int y = 0; y < GENERATE_SIDE; y++)
        for (int x = 0; x < GENERATE_SIDE; x++)
            if ((x - cx) * (x - cx) + (y - cy) * (y - cy) <= radius_squared) set_pixel(cv, x, y, c);
}

/* Is (dx, dy), seen from the centre, inside the shape of radius r? */
static bool inside(int shape, int dx, int dy, int r)
{
    int ax = abs(dx), ay = abs(dy), d2 = dx * dx + dy * dy;

    switch (shape) {
    case 0: return d2 <= r * r;
    case 1: return 20 * ax <= 17 * r && 20 * ay <= 17 * r;
    case 2: return 5 * dy <= 4 * r && dy >= -r && 20 * ax <= 11 * (dy + r);
    case 3: return (10 * ax <= 3 * r && ay <= r) || (10 * ay <= 3 * r && ax <= r);
    case 4: return 5 * ax + 4 * ay <= 4 * r;
    default: return d2 <= r * r && 400 * d2 >= 121 * r * r; // ring: inner radius 0.55 r
    }
}

void generate_shape(struct generate_canvas *cv, int shape, int cx, int cy, int radius, struct generate_colour c)
{
    for (int dy = -radius; dy <= radius; dy++)
        for (int dx = -radius; dx <= radius; dx++)
            if (inside(shape, dx, dy, radius)) set_pixel(cv, cx + dx, cy + dy, c);
}

const uint8_t *generate_glyph_rows(char c)
{
    for (size_t i = 0; i < sizeof font / sizeof *font; i++)
        if (font[i].c == c) return font[i].rows;
    return NULL;
}

void generate_text(struct generate_canvas *cv, const char *text, int x, int y, struct generate_colour c)
{
    for (; *text; text++, x += 8) {
        const uint8_t *rows = generate_glyph_rows(*text);

        for (int v = 0; rows && v < GENERATE_GLYPH_HEIGHT; v++)
            for (int u = 0; u < GENERATE_GLYPH_WIDTH; u++)
                if (rows[v] >> (GENERATE_GLYPH_WIDTH - 1 - u) & 1) set_pixel(cv, x + u, y + v, c);
    }
}

/* The sum of the 8 bytes of one draw is nearly normal: mean 1020, standard deviation 209. */
void generate_noise(uint8_t *rgb, const struct generate_canvas *cv, struct generate_rng *rng, int deviation)
{
    for (int y = 0; y < GENERATE_SIDE; y++)
        for (int x = 0; x < GENERATE_SIDE; x++)
            for (int i = 0; i < 3; i++) {
                uint64_t draw = generate_rng_next(rng);
                int sum = -1020, v;

                for (int b = 0; b < 64; b += 8) sum += (int)(draw >> b & 255);
                v = cv->px[y][x][i] * 209 + sum * deviation;
                *rgb++ = (uint8_t)(v < 0 ? 0 : v / 209 > 255 ? 255 : v / 209);
            }
}
