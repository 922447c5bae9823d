/* generate_scenes.h - the four kinds of pictures of the embedded streams, drawn together with their facts.
 *
 * Every stream asks about these scenes. What a scene holds is what its task may ask: nothing is read back from pixels.
 */
#ifndef CLLAVA_DEMO_GENERATE_SCENES_H
#define CLLAVA_DEMO_GENERATE_SCENES_H

#include "demo/generate_draw.h"

enum { GENERATE_CELLS = 4, GENERATE_KEYS = 8, GENERATE_BARS = 5, GENERATE_HEIGHTS = 7 };

extern const char *const generate_keys[GENERATE_KEYS];    // "tax", .., the words of forms
extern const char *const generate_sides[2];               // "left", "right"
extern const char *const generate_places[GENERATE_CELLS]; // "top left", .., of an icon

/* 3 to 5 bars, different colours, different heights 1..7 (a grid line each), shown as 10 to 70 percent. */
struct generate_chart {
    int n, colour[GENERATE_COLOURS], height[GENERATE_HEIGHTS];
};

/* 3 or 4 lines, a key of three letters and a number of two digits. */
struct generate_form {
    int n, key[GENERATE_KEYS], value[GENERATE_CELLS];
};

/* A grid of 2 x 2, all shapes and all colours different, each place with its letter. */
struct generate_icons {
    int shape[GENERATE_SHAPES], colour[GENERATE_COLOURS];
};

/* A body with two lungs, 0 to 3 bright lesions each. */
struct generate_scan {
    int lesions[2];
};

void generate_chart(struct generate_canvas *cv, struct generate_chart *c, struct generate_rng *rng);
void generate_form(struct generate_canvas *cv, struct generate_form *f, struct generate_rng *rng);
void generate_icons(struct generate_canvas *cv, struct generate_icons *ic, struct generate_rng *rng);
/* s: given, so that a task can ask for what it needs. */
void generate_scan(struct generate_canvas *cv, const struct generate_scan *s, struct generate_rng *rng);
/* Lesions of a lung as they are drawn: none in 35 of 100, one in 30, two in 20, three in 15. */
int generate_lesions(struct generate_rng *rng);

#endif
