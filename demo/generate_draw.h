/* generate_draw.h - a 64 x 64 canvas and the few primitives of which all demo pictures consist.
 *
 * Filled rectangles, ellipses, six shapes given by inequalities, a 5 x 7 font and noise, all in whole numbers. The same
 * primitives, with the same proportions, were drawn for the pre-training of the demo base (demo/pretrain/gen.py).
 */
#ifndef CLLAVA_DEMO_GENERATE_DRAW_H
#define CLLAVA_DEMO_GENERATE_DRAW_H

#include <stdint.h>

#include "demo/generate_rng.h"

enum {
    GENERATE_SIDE = 64,
    GENERATE_COLOURS = 6,
    GENERATE_SHAPES = 6,
    GENERATE_GLYPH_WIDTH = 5,
    GENERATE_GLYPH_HEIGHT = 7,
};

struct generate_colour {
    int rgb[3]; // 0..255
};

struct generate_canvas {
    int16_t px[GENERATE_SIDE][GENERATE_SIDE][3]; // (y, x, channel), 0..255
};

extern const char *const generate_colour_names[GENERATE_COLOURS]; // "red", ..
extern const char *const generate_shape_names[GENERATE_SHAPES];   // "circle", ..

struct generate_colour generate_grey(int level);
/* Palette colour c, each channel moved by up to 15. */
struct generate_colour generate_colour_jitter(struct generate_rng *rng, int c);
/* Any colour, each channel moved by up to `by`. */
struct generate_colour generate_jitter(struct generate_rng *rng, struct generate_colour c, int by);

void generate_fill(struct generate_canvas *cv, struct generate_colour c);
/* What lies outside the canvas is cut off, here and below. */
void generate_rect(struct generate_canvas *cv, int x, int y, int width, int height, struct generate_colour c);
void generate_ellipse(struct generate_canvas *cv, int cx, int cy, int rx, int ry, struct generate_colour c);
/* A disc by the square of its radius: radii that are not whole numbers. */
void generate_disc(struct generate_canvas *cv, int cx, int cy, int radius_squared, struct generate_colour c);
void generate_shape(struct generate_canvas *cv, int shape, int cx, int cy, int radius, struct generate_colour c);

/* Rows of a glyph, top first, bit 4 = leftmost pixel; NULL for a character the font lacks (it has A-I M-U X Y 0-9). */
const uint8_t *generate_glyph_rows(char c);
/* Characters stand 8 pixels apart: each falls into one patch of the demo base. */
void generate_text(struct generate_canvas *cv, const char *text, int x, int y, struct generate_colour c);

/* Adds nearly normal noise of this standard deviation (in levels) to every value, clips, writes rgb (64, 64, 3). */
void generate_noise(uint8_t *rgb, const struct generate_canvas *cv, struct generate_rng *rng, int deviation);

#endif
