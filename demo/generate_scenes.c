/* generate_scenes.c - the pictures: what is drawn where, from the facts and the random numbers of an item. */
#include "demo/generate_scenes.h"

#include <stdio.h>

const char *const generate_keys[GENERATE_KEYS] = {"tax", "fee", "age", "day", "sum", "net", "tip", "qty"};
const char *const generate_sides[2] = {"left", "right"};
const char *const generate_places[GENERATE_CELLS] = {"top left", "top right", "bottom left", "bottom right"};

void generate_chart(struct generate_canvas *cv, struct generate_chart *c, struct generate_rng *rng)
{
    int ground = generate_rng_range(rng, 235, 255), x0;

    generate_fill(cv, generate_grey(ground));
    for (int k = 1; k < 8; k++) generate_rect(cv, 0, 60 - 8 * k, GENERATE_SIDE, 1, generate_grey(ground - 25));
    c->n = generate_rng_range(rng, 3, GENERATE_BARS);
    generate_rng_permute(rng, c->colour, GENERATE_COLOURS);
    generate_rng_permute(rng, c->height, 7);
    x0 = generate_rng_range(rng, 1, 2 + 12 * (GENERATE_BARS - c->n));
    for (int i = 0; i < c->n; i++) {
        c->height[i]++;
        generate_rect(cv, x0 + 12 * i, 60 - 8 * c->height[i], 10, 8 * c->height[i],
                      generate_colour_jitter(rng, c->colour[i]));
    }
    generate_rect(cv, 0, 60, GENERATE_SIDE, 1, generate_grey(40));
}

void generate_form(struct generate_canvas *cv, struct generate_form *f, struct generate_rng *rng)
{
    int paper = generate_rng_range(rng, 225, 249);
    struct generate_colour ground = {{paper, paper - 2, paper - 12}}, line = {{paper - 30, paper - 32, paper - 42}};
    struct generate_colour ink = generate_jitter(rng, (struct generate_colour){{35, 35, 60}}, 25);
    int x = generate_rng_range(rng, 0, 2), y = generate_rng_range(rng, 0, 1), column = generate_rng_range(rng, 4, 5);

    generate_fill(cv, ground);
    f->n = generate_rng_range(rng, 3, GENERATE_CELLS);
    generate_rng_permute(rng, f->key, GENERATE_KEYS);
    for (int r = 0; r < f->n; r++) {
        char key[4] = "", value[12];

        for (int i = 0; i < 3; i++) key[i] = (char)(generate_keys[f->key[r]][i] - 'a' + 'A');
        f->value[r] = generate_rng_range(rng, 10, 99);
        snprintf(value, sizeof value, "%d", f->value[r]);
        generate_text(cv, key, x, y + 16 * r, ink);
        generate_text(cv, value, x + 8 * column, y + 16 * r, ink);
        generate_rect(cv, 0, 16 * r + 11, GENERATE_SIDE, 1, line);
    }
}

void generate_icons(struct generate_canvas *cv, struct generate_icons *ic, struct generate_rng *rng)
{
    int ground = generate_rng_range(rng, 200, 255);

    generate_fill(cv, generate_grey(ground));
    generate_rng_permute(rng, ic->shape, GENERATE_SHAPES);
    generate_rng_permute(rng, ic->colour, GENERATE_COLOURS);
    for (int i = 0; i < GENERATE_CELLS; i++) {
        int x = 32 * (i % 2), y = 32 * (i / 2);
        int cx = x + 18 + generate_rng_range(rng, -2, 2), cy = y + 18 + generate_rng_range(rng, -2, 2);
        int radius = generate_rng_range(rng, 9, 11);

        generate_shape(cv, ic->shape[i], cx, cy, radius, generate_colour_jitter(rng, ic->colour[i]));
        generate_text(cv, (char[2]){(char)('A' + i), 0}, x + 1, y + 1, generate_grey(ground - 170));
    }
    generate_rect(cv, 31, 0, 1, GENERATE_SIDE, generate_grey(ground - 80));
    generate_rect(cv, 0, 31, GENERATE_SIDE, 1, generate_grey(ground - 80));
}

int generate_lesions(struct generate_rng *rng)
{
    int u = generate_rng_range(rng, 0, 99);

    return (u >= 35) + (u >= 65) + (u >= 85);
}

void generate_scan(struct generate_canvas *cv, const struct generate_scan *s, struct generate_rng *rng)
{
    int body, lung, dy;

    generate_fill(cv, generate_grey(generate_rng_range(rng, 5, 24)));
    body = generate_rng_range(rng, 105, 134);
    lung = generate_rng_range(rng, 35, 54);
    dy = generate_rng_range(rng, -2, 2);
    generate_ellipse(cv, 32, 34, 30, 32, generate_grey(body));
    for (int i = 0; i < 2; i++) generate_ellipse(cv, 17 + 30 * i, 32 + dy, 11, 22, generate_grey(lung));
    generate_rect(cv, 30, 4, 4, 58, generate_grey(body + 40));
    for (int i = 0; i < 2; i++) {
        int place[3];

        generate_rng_permute(rng, place, 3);
        for (int l = 0; l < s->lesions[i]; l++) {
            int cx = 17 + 30 * i + generate_rng_range(rng, -3, 3);
            int cy = 19 + 13 * place[l] + dy + generate_rng_range(rng, -2, 2);

            generate_disc(cv, cx, cy, 11, generate_grey(generate_rng_range(rng, 215, 244)));
        }
    }
}
