/* picture_reader.h - reads the pictures of the embedded streams anew, for tests of their answers: colours counted, glyphs
 * matched, shapes drawn again, bright spots joined. Nothing is asked of the generator but its primitives.
 */
#ifndef CLLAVA_TESTS_PICTURE_READER_H
#define CLLAVA_TESTS_PICTURE_READER_H

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "demo/generate_tasks.h"

static inline struct generate_item draw(int task, bool test, int i)
{
    struct generate_rng rng = {.state = 99};
    struct generate_item item;

    generate_rng_mix(&rng, (uint64_t)task * 2 + test);
    generate_rng_mix(&rng, (uint64_t)i);
    generate_item(&item, task, test, &rng);
    return item;
}

static inline bool is_type(const struct generate_item *item, const char *type)
{
    size_t n = strlen(type);

    return strncmp(item->type, type, n) == 0 && (!item->type[n] || strcmp(item->type + n, "-new") == 0);
}

/* Index of the name that the question speaks of, or -1. */
static inline int spoken(const char *question, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        const char *at = strstr(question, names[i]);
        size_t len = strlen(names[i]);

        if (at && (at == question || at[-1] == ' ') && (at[len] == ' ' || !at[len])) return i;
    }
    return -1;
}

/* Nearest palette colour, or -1 for a grey pixel. */
static inline int colour_at(const struct generate_canvas *cv, int x, int y)
{
    static const int palette[GENERATE_COLOURS][3] = {{205, 40, 40},  {40, 160, 60},  {45, 75, 205},
                                                     {225, 205, 45}, {140, 50, 165}, {235, 130, 35}};
    const int16_t *p = cv->px[y][x];
    int low = p[0], high = p[0], best = -1, distance = INT_MAX;

    for (int i = 1; i < 3; i++) {
        if (p[i] < low) low = p[i];
        if (p[i] > high) high = p[i];
    }
    if (high - low < 60) return -1;
    for (int c = 0; c < GENERATE_COLOURS; c++) {
        int d = 0;

        for (int i = 0; i < 3; i++) d += (p[i] - palette[c][i]) * (p[i] - palette[c][i]);
        if (d < distance) {
            distance = d;
            best = c;
        }
    }
    return best;
}

/* The character whose glyph stands at (x, y), or 0. */
static inline char read_glyph(const struct generate_canvas *cv, int x, int y)
{
    for (const char *c = "ABCDEFGHIMNPQSTUXY0123456789"; *c; c++) {
        const uint8_t *rows = generate_glyph_rows(*c);
        bool same = true;

        for (int v = 0; v < GENERATE_GLYPH_HEIGHT && same; v++)
            for (int u = 0; u < GENERATE_GLYPH_WIDTH; u++)
                same = same && (cv->px[y + v][x + u][0] < 120) == (rows[v] >> (4 - u) & 1);
        if (same) return *c;
    }
    return 0;
}

/* Reads "TAX 37" from line r, wherever the form's margins are. */
static inline bool read_line(const struct generate_canvas *cv, int r, char key[4], char value[3])
{
    for (int at = 0; at < 12; at++) {
        int x = at % 3, y = 16 * r + at / 3 % 2, column = 4 + at / 6;
        bool whole = true;

        for (int i = 0; i < 3; i++) whole = (key[i] = read_glyph(cv, x + 8 * i, y)) && whole;
        for (int i = 0; i < 2; i++) whole = (value[i] = read_glyph(cv, x + 8 * (column + i), y)) && whole;
        key[3] = value[2] = 0;
        if (whole) return true;
    }
    return false;
}

static inline bool same_quadrant(const struct generate_canvas *a, const struct generate_canvas *b, int x0, int y0)
{
    for (int y = y0; y < y0 + 31; y++)
        for (int x = x0; x < x0 + 31; x++)
            if ((colour_at(a, x, y) >= 0) != (colour_at(b, x, y) >= 0)) return false;
    return true;
}

/* Which shape, drawn again at some centre and size, gives the coloured pixels of the quadrant? */
static inline int shape_in(const struct generate_canvas *cv, int x0, int y0)
{
    struct generate_rng rng = {.state = 0};

    for (int at = 0; at < GENERATE_SHAPES * 75; at++) {
        struct generate_canvas again;

        generate_fill(&again, generate_grey(220));
        generate_shape(&again, at / 75, x0 + 16 + at % 5, y0 + 16 + at / 5 % 5, 9 + at / 25 % 3,
                       generate_colour_jitter(&rng, 0));
        if (same_quadrant(cv, &again, x0, y0)) return at / 75;
    }
    return -1;
}

/* Takes a spot of bright pixels off the canvas. */
static inline void erase(struct generate_canvas *cv, int x, int y)
{
    if (x < 0 || y < 0 || x >= GENERATE_SIDE || y >= GENERATE_SIDE || cv->px[y][x][0] < 200) return;
    cv->px[y][x][0] = 0;
    for (int d = -1; d <= 1; d += 2) {
        erase(cv, x + d, y);
        erase(cv, x, y + d);
    }
}

/* Height in grid steps of the bar of each colour, 0 where there is none; returns how many bars. */
static inline int read_bars(const struct generate_canvas *cv, int height[GENERATE_COLOURS])
{
    int n = 0, c;

    for (c = 0; c < GENERATE_COLOURS; c++) height[c] = 0;
    for (int y = 0; y < GENERATE_SIDE; y++)
        for (int x = 0; x < GENERATE_SIDE; x++)
            if ((c = colour_at(cv, x, y)) >= 0) height[c]++;
    for (c = 0; c < GENERATE_COLOURS; c++) n += height[c] > 0, height[c] /= 80; // 10 wide, 8 per step
    return n;
}

/* Bright spots left and right; takes them off the canvas. */
static inline void read_spots(struct generate_canvas *cv, int spots[2])
{
    spots[0] = spots[1] = 0;
    for (int y = 0; y < GENERATE_SIDE; y++)
        for (int x = 0; x < GENERATE_SIDE; x++)
            if (cv->px[y][x][0] >= 200) {
                spots[x >= 32]++;
                erase(cv, x, y);
            }
}

/* Colour and shape in a quarter of a grid of icons. */
static inline void read_icon(const struct generate_canvas *cv, int at, int *colour, int *shape)
{
    int x0 = 32 * (at % 2), y0 = 32 * (at / 2);

    *colour = -1;
    for (int x = x0; x < x0 + 31 && *colour < 0; x++) *colour = colour_at(cv, x, y0 + 18);
    *shape = shape_in(cv, x0, y0);
}

#endif
