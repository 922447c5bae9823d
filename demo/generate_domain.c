/* generate_domain.c - the domain stream: each task asks about one kind of picture. */
#include <stdio.h>

#include "demo/generate_scenes.h"
#include "demo/generate_words.h"

void generate_chart_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_chart c;
    int at = 0;

    generate_chart(&item->canvas, &c, rng);
    item->deviation = 4;
    if (k == 2) {
        at = generate_rng_range(rng, 0, c.n - 1);
        snprintf(item->answer, sizeof item->answer, "%d0", c.height[at]);
    } else {
        for (int i = 1; i < c.n; i++)
            if (k == 0 ? c.height[i] > c.height[at] : c.height[i] < c.height[at]) at = i;
        snprintf(item->answer, sizeof item->answer, "%s", generate_colour_names[c.colour[at]]);
    }
    generate_ask(item, GENERATE_CHART, k, generate_colour_names[c.colour[at]], NULL, test, rng);
}

void generate_document_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_form f;
    int row;

    generate_form(&item->canvas, &f, rng);
    item->deviation = 4;
    row = k == 0 ? generate_rng_range(rng, 0, f.n - 1) : k == 1 ? 0 : f.n - 1;
    snprintf(item->answer, sizeof item->answer, "%d", f.value[row]);
    generate_ask(item, GENERATE_DOCUMENT, k, generate_keys[f.key[row]], NULL, test, rng);
}

void generate_icon_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_icons ic;
    int at = generate_rng_range(rng, 0, GENERATE_CELLS - 1);
    const char *shape, *colour;
    char about[32];

    generate_icons(&item->canvas, &ic, rng);
    item->deviation = 4;
    shape = generate_shape_names[ic.shape[at]];
    colour = generate_colour_names[ic.colour[at]];
    snprintf(about, sizeof about, "%s%s%s", k > 0 ? colour : "", k == 2 ? " " : "", k != 1 ? shape : "");
    snprintf(item->answer, sizeof item->answer, "%c", 'A' + at);
    generate_ask(item, GENERATE_ICON, k, about, NULL, test, rng);
}

void generate_medical_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_scan s;
    int side = generate_rng_range(rng, 0, 1), *c = s.lesions;

    do {
        c[0] = generate_lesions(rng);
        c[1] = generate_lesions(rng);
    } while (k == 1 && c[0] == c[1]);
    if (k == 0 && generate_rng_range(rng, 0, 1))
        c[side] = 0; // else two of three answers were yes
    else if (k == 0 && !c[side])
        c[side] = generate_rng_range(rng, 1, 3);
    if (k == 2) c[side] = generate_rng_range(rng, 0, 3);
    generate_scan(&item->canvas, &s, rng);
    item->deviation = 6;
    if (k == 0)
        snprintf(item->answer, sizeof item->answer, "%s", c[side] ? "yes" : "no");
    else if (k == 1)
        snprintf(item->answer, sizeof item->answer, "%s", generate_sides[c[1] > c[0]]);
    else
        snprintf(item->answer, sizeof item->answer, "%d", c[side]);
    generate_ask(item, GENERATE_MEDICAL, k, generate_sides[side], NULL, test, rng);
}
