/* generate_dataset.c - the data set stream: eight tasks with the answer formats of the data sets that COAST-dataset and CoIN
 * use (letters of options, words read, classes, short answers, "unanswerable", boxes, numbers, titles).
 */
#include <stdio.h>
#include <string.h>

#include "demo/generate_scenes.h"
#include "demo/generate_words.h"

/* A question about an icon by its colour and shape, or by one of them. */
static void icon_about(char out[32], const struct generate_icons *ic, int at, bool colour, bool shape)
{
    snprintf(out, 32, "%s%s%s", colour ? generate_colour_names[ic->colour[at]] : "", colour && shape ? " " : "",
             shape ? generate_shape_names[ic->shape[at]] : "");
}

/* Scans; the letter of an option. The options of `side` change places. */
void generate_science_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_scan s;
    int side = generate_rng_range(rng, 0, 1), *c = s.lesions, letter;

    do
        for (int i = 0; i < 2; i++) c[i] = generate_rng_range(rng, 0, 3);
    while (k == 0 && c[0] == c[1]);
    if (k == 1 && generate_rng_range(rng, 0, 1)) c[side] = 0; // else three of four answers were yes
    generate_scan(&item->canvas, &s, rng);
    item->deviation = 6;
    letter = k == 0 ? (c[1] > c[0]) != side : k == 1 ? !c[side] : c[side];
    snprintf(item->answer, sizeof item->answer, "%c", 'A' + letter);
    generate_ask(item, GENERATE_SCIENCE, k, generate_sides[side], generate_sides[!side], test, rng);
}

static bool repeats(const struct generate_form *f)
{
    for (int i = 0; i < f->n; i++)
        for (int j = 0; j < i; j++)
            if (f->value[i] == f->value[j]) return true;
    return false;
}

/* Forms; the printed word. */
void generate_text_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_form f;
    int row;
    char about[12];

    do generate_form(&item->canvas, &f, rng);
    while (repeats(&f)); // a number with two words has no single answer
    item->deviation = 4;
    row = k == 0 ? generate_rng_range(rng, 0, f.n - 1) : k == 1 ? 0 : f.n - 1;
    snprintf(about, sizeof about, "%d", f.value[row]);
    snprintf(item->answer, sizeof item->answer, "%s", generate_keys[f.key[row]]);
    generate_ask(item, GENERATE_TEXT, k, about, NULL, test, rng);
}

/* One shape somewhere; its class is colour and shape. */
void generate_classify_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    int shape = generate_rng_range(rng, 0, GENERATE_SHAPES - 1),
        colour = generate_rng_range(rng, 0, GENERATE_COLOURS - 1);
    int x = generate_rng_range(rng, 0, 2), y = generate_rng_range(rng, 0, 2), radius = generate_rng_range(rng, 7, 9);

    generate_fill(&item->canvas, generate_grey(generate_rng_range(rng, 190, 255)));
    generate_shape(&item->canvas, shape, 11 + 21 * x, 11 + 21 * y, radius, generate_colour_jitter(rng, colour));
    item->deviation = 4;
    snprintf(item->answer, sizeof item->answer, "%s %s", generate_colour_names[colour], generate_shape_names[shape]);
    generate_ask(item, GENERATE_CLASSIFY, k, "", NULL, test, rng);
}

/* Icons; a place, an object, a colour. */
void generate_gqa_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_icons ic;
    int at = generate_rng_range(rng, 0, GENERATE_CELLS - 1);
    char name[32], about[32];

    generate_icons(&item->canvas, &ic, rng);
    item->deviation = 4;
    icon_about(name, &ic, at, true, true);
    icon_about(about, &ic, at, k == 0, true);
    snprintf(item->answer, sizeof item->answer, "%s",
             k == 0   ? generate_places[at]
             : k == 1 ? name
                      : generate_colour_names[ic.colour[at]]);
    generate_ask(item, GENERATE_GQA, k, k == 1 ? generate_places[at] : about, NULL, test, rng);
}

/* Charts of which a third cannot be seen: too dark, and grainy. */
void generate_vizwiz_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    static const char *const which[] = {"first", "second", "third"};
    struct generate_chart c;
    int at = generate_rng_range(rng, 0, 2);
    bool spoilt = generate_rng_range(rng, 0, 2) == 0;

    generate_chart(&item->canvas, &c, rng);
    item->deviation = spoilt ? 40 : 4;
    if (spoilt) generate_fill(&item->canvas, generate_grey(generate_rng_range(rng, 20, 60)));
    if (spoilt)
        snprintf(item->answer, sizeof item->answer, "unanswerable");
    else if (k == 0)
        snprintf(item->answer, sizeof item->answer, "%d", c.n);
    else
        snprintf(item->answer, sizeof item->answer, "%s", generate_colour_names[c.colour[at]]);
    generate_ask(item, GENERATE_VIZWIZ, k, which[at], NULL, test, rng);
}

/* Icons; the quarter of the picture that holds one, as x1, y1, x2, y2. */
void generate_grounding_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    static const char *const boxes[GENERATE_CELLS] = {"[0.0,0.0,0.5,0.5]", "[0.5,0.0,1.0,0.5]", "[0.0,0.5,0.5,1.0]",
                                                      "[0.5,0.5,1.0,1.0]"};
    struct generate_icons ic;
    int at = generate_rng_range(rng, 0, GENERATE_CELLS - 1);
    char about[32];

    generate_icons(&item->canvas, &ic, rng);
    item->deviation = 4;
    icon_about(about, &ic, at, k == 0, true);
    snprintf(item->answer, sizeof item->answer, "%s", boxes[at]);
    generate_ask(item, GENERATE_GROUNDING, k, about, NULL, test, rng);
}

/* Forms, charts, icons; a number, yes or no, a shape. */
void generate_vqa_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_form f;
    struct generate_chart c;
    struct generate_icons ic;
    int at = generate_rng_range(rng, 0, GENERATE_CELLS - 1);
    bool there = generate_rng_range(rng, 0, 1);
    const char *about = "";

    item->deviation = 4;
    if (k == 0) {
        generate_form(&item->canvas, &f, rng);
        snprintf(item->answer, sizeof item->answer, "%d", f.n);
    } else if (k == 1) {
        generate_chart(&item->canvas, &c, rng); // the colours behind the n-th are those that no bar has
        about = generate_colour_names[c.colour[there ? generate_rng_range(rng, 0, c.n - 1)
                                                     : generate_rng_range(rng, c.n, GENERATE_COLOURS - 1)]];
        snprintf(item->answer, sizeof item->answer, "%s", there ? "yes" : "no");
    } else {
        generate_icons(&item->canvas, &ic, rng);
        about = generate_colour_names[ic.colour[at]];
        snprintf(item->answer, sizeof item->answer, "%s", generate_shape_names[ic.shape[at]]);
    }
    generate_ask(item, GENERATE_VQA, k, about, NULL, test, rng);
}

/* Forms taken for covers: the first line is the title, the last the author. */
void generate_ocr_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct generate_form f;

    generate_form(&item->canvas, &f, rng);
    item->deviation = 4;
    int row = k == 0 ? 0 : f.n - 1;
    snprintf(item->answer, sizeof item->answer, "%s %d", generate_keys[f.key[row]], f.value[row]);
    generate_ask(item, GENERATE_OCR, k, "", NULL, test, rng);
}
