/* generate_tasks.c - pictures of the four tasks, their facts, and the questions about them. */
#include "demo/generate_tasks.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { WORDINGS = 6, TYPES = 3, CELLS = 4, KEYS = 8, BARS = 5 };

const char *const generate_task_names[GENERATE_TASKS] = {"chart", "document", "icon", "medical"};

static const char *const keys[KEYS] = {"tax", "fee", "age", "day", "sum", "net", "tip", "qty"};
static const char *const sides[2] = {"left", "right"};

/* A question type with its wordings; the last one is held out of the training set. */
struct type {
    const char *name;
    int share; // how often the type is asked, relative to its task's other types
    const char *wordings[WORDINGS];
};

static const struct type types[GENERATE_TASKS][TYPES] = {
    [GENERATE_CHART] = {{"tallest",
                         1,
                         {"which bar[| of the chart] is [tallest|highest] ?",
                          "name the colour of the [tallest|highest] bar[| of the chart] .",
                          "what colour has the [tallest|highest] bar[| of the chart] ?",
                          "the [tallest|highest] bar[| of the chart] has which colour ?",
                          "which colour is the [tallest|highest] bar[| of the chart] ?"}},
                        {"shortest",
                         1,
                         {"which bar[| of the chart] is [shortest|lowest] ?",
                          "name the colour of the [shortest|lowest] bar[| of the chart] .",
                          "what colour has the [shortest|lowest] bar[| of the chart] ?",
                          "the [shortest|lowest] bar[| of the chart] has which colour ?",
                          "which colour is the [shortest|lowest] bar[| of the chart] ?"}},
                        {"value",
                         1,
                         {"what is the value of the {} bar[| of the chart] ?",
                          "how many percent does the {} bar[| of the chart] show ?",
                          "give the value of the {} bar[| of the chart] .",
                          "the {} bar[| of the chart] has which value ?",
                          "what value does the {} bar[| of the chart] have ?"}}},
    [GENERATE_DOCUMENT] = {{"field",
                            2,
                            {"what is the {}[| on this form] ?", "read the {} field[| on this form] .",
                             "what number is written for {}[| on this form] ?", "find the {} entry[| on this form] .",
                             "what number stands in the {} field[| on this form] ?"}},
                           {"first",
                            1,
                            {"what is the number in the [first|top] field[| on this form] ?",
                             "read the [first|top] number[| on this form] .",
                             "what number is written in the [first|top] entry[| on this form] ?",
                             "find the [first|top] entry[| on this form] .",
                             "what number stands in the [first|top] field[| on this form] ?"}},
                           {"last",
                            1,
                            {"what is the number in the [last|bottom] field[| on this form] ?",
                             "read the [last|bottom] number[| on this form] .",
                             "what number is written in the [last|bottom] entry[| on this form] ?",
                             "find the [last|bottom] entry[| on this form] .",
                             "what number stands in the [last|bottom] field[| on this form] ?"}}},
    [GENERATE_ICON] = {{"shape",
                        1,
                        {"where is the {} ? choose the letter .", "which option shows the {} ?",
                         "pick the option letter with the {} .", "choose A , B , C or D : the {} .",
                         "give the letter of the option with the {} ."}},
                       {"colour",
                        1,
                        {"where is the {} icon ? choose the letter .", "which option shows the {} icon ?",
                         "pick the option letter with the {} icon .", "choose A , B , C or D : the {} icon .",
                         "give the letter of the option with the {} icon ."}},
                       {"both",
                        1,
                        {"where is the {} ? choose the letter .", "which option shows the {} ?",
                         "pick the option letter with the {} .", "choose A , B , C or D : the {} .",
                         "give the letter of the option with the {} ."}}},
    [GENERATE_MEDICAL] = {{"lesion",
                           1,
                           {"is there a lesion in the {} lung[| of the patient] ?",
                            "does the scan show a nodule in the {} lung[| of the patient] ?",
                            "is the {} lung[| of the patient] abnormal ?",
                            "any lesion [in the {} lung|on the {} side][| of the patient] ?",
                            "do you find a lesion in the {} lung[| of the patient] ?"}},
                          {"side",
                           1,
                           {"which lung[| of the patient] has more lesions ?",
                            "on which side[| of the patient] are more nodules ?",
                            "are there more lesions in the left or the right lung[| of the patient] ?",
                            "in which lung[| of the patient] are more lesions ?"}},
                          {"count",
                           1,
                           {"how many lesions are in the {} lung[| of the patient] ?",
                            "number of nodules in the {} lung[| of the patient] ?",
                            "count the lesions in the {} lung[| of the patient] .",
                            "how many nodules does the {} lung[| of the patient] show ?",
                            "how many lesions has the {} lung[| of the patient] ?"}}},
};

const char *const *generate_wordings(int task, int k, const char **type, int *n)
{
    *n = 0;
    *type = NULL;
    if (task < 0 || task >= GENERATE_TASKS || k < 0 || k >= TYPES) return NULL;
    *type = types[task][k].name;
    while (*n < WORDINGS && types[task][k].wordings[*n]) ++*n;
    return types[task][k].wordings;
}

static int pick_type(int task, struct generate_rng *rng)
{
    int sum = 0, k = 0, at;

    for (int i = 0; i < TYPES; i++) sum += types[task][i].share;
    at = generate_rng_range(rng, 0, sum - 1);
    while (at >= types[task][k].share) at -= types[task][k++].share;
    return k;
}

/* Words a question: of [a|b|c] one alternative is drawn, `about` takes the place of {}. Cut off at the size of out. */
static void word(char *out, size_t size, const char *pattern, const char *about, struct generate_rng *rng)
{
    size_t n = 0;
    int skip = 0; // alternatives still to be passed over, -1 behind the one that was taken

    for (const char *p = pattern; *p; p++) {
        if (*p == '[') {
            const char *end = strchr(p, ']');
            int bars = 0;

            for (const char *q = p; q < end; q++) bars += *q == '|';
            skip = generate_rng_range(rng, 0, bars);
        } else if (*p == '|')
            skip--;
        else if (*p == ']')
            skip = 0;
        else if (skip)
            continue;
        else if (*p == '{')
            for (const char *q = about; *q && n + 1 < size; q++) out[n++] = *q;
        else if (*p != '}' && n + 1 < size)
            out[n++] = *p;
    }
    out[n] = 0;
}

static void ask(struct generate_item *item, int task, int k, const char *about, bool test, struct generate_rng *rng)
{
    const char *type;
    int n;
    const char *const *wordings = generate_wordings(task, k, &type, &n);
    bool fresh = test && generate_rng_range(rng, 0, 1);
    int which = fresh ? n - 1 : generate_rng_range(rng, 0, n - 2);

    word(item->question, sizeof item->question, wordings[which], about, rng);
    snprintf(item->type, sizeof item->type, "%s%s", type, fresh ? "-new" : "");
}

/* ---- charts: 3 to 5 bars, different colours, different heights 1..7 (a grid line each), shown as 10 to 70 percent */

struct chart {
    int n, colour[GENERATE_COLOURS], height[7];
};

static void draw_chart(struct generate_canvas *cv, struct chart *c, struct generate_rng *rng)
{
    int ground = generate_rng_range(rng, 235, 255), x0;

    generate_fill(cv, generate_grey(ground));
    for (int k = 1; k < 8; k++) generate_rect(cv, 0, 60 - 8 * k, GENERATE_SIDE, 1, generate_grey(ground - 25));
    c->n = generate_rng_range(rng, 3, BARS);
    generate_rng_permute(rng, c->colour, GENERATE_COLOURS);
    generate_rng_permute(rng, c->height, 7);
    x0 = generate_rng_range(rng, 1, 2 + 12 * (BARS - c->n));
    for (int i = 0; i < c->n; i++) {
        c->height[i]++;
        generate_rect(cv, x0 + 12 * i, 60 - 8 * c->height[i], 10, 8 * c->height[i],
                      generate_colour_jitter(rng, c->colour[i]));
    }
    generate_rect(cv, 0, 60, GENERATE_SIDE, 1, generate_grey(40));
}

static void chart_item(struct generate_item *item, bool test, struct generate_rng *rng)
{
    struct chart c;
    int k = pick_type(GENERATE_CHART, rng), at = 0;

    draw_chart(&item->canvas, &c, rng);
    item->deviation = 4;
    if (k == 2) {
        at = generate_rng_range(rng, 0, c.n - 1);
        snprintf(item->answer, sizeof item->answer, "%d0", c.height[at]);
    } else {
        for (int i = 1; i < c.n; i++)
            if (k == 0 ? c.height[i] > c.height[at] : c.height[i] < c.height[at]) at = i;
        snprintf(item->answer, sizeof item->answer, "%s", generate_colour_names[c.colour[at]]);
    }
    ask(item, GENERATE_CHART, k, generate_colour_names[c.colour[at]], test, rng);
}

/* ---- forms: 3 or 4 lines, a key of three letters and a number of two digits */

struct form {
    int n, key[KEYS], value[CELLS];
};

static void draw_form(struct generate_canvas *cv, struct form *f, struct generate_rng *rng)
{
    int paper = generate_rng_range(rng, 225, 249);
    struct generate_colour ground = {{paper, paper - 2, paper - 12}}, line = {{paper - 30, paper - 32, paper - 42}};
    struct generate_colour ink = generate_jitter(rng, (struct generate_colour){{35, 35, 60}}, 25);
    int x = generate_rng_range(rng, 0, 2), y = generate_rng_range(rng, 0, 1), column = generate_rng_range(rng, 4, 5);

    generate_fill(cv, ground);
    f->n = generate_rng_range(rng, 3, CELLS);
    generate_rng_permute(rng, f->key, KEYS);
    for (int r = 0; r < f->n; r++) {
        char key[4] = "", value[12];

        for (int i = 0; i < 3; i++) key[i] = (char)(keys[f->key[r]][i] - 'a' + 'A');
        f->value[r] = generate_rng_range(rng, 10, 99);
        snprintf(value, sizeof value, "%d", f->value[r]);
        generate_text(cv, key, x, y + 16 * r, ink);
        generate_text(cv, value, x + 8 * column, y + 16 * r, ink);
        generate_rect(cv, 0, 16 * r + 11, GENERATE_SIDE, 1, line);
    }
}

static void document_item(struct generate_item *item, bool test, struct generate_rng *rng)
{
    struct form f;
    int k = pick_type(GENERATE_DOCUMENT, rng), row;

    draw_form(&item->canvas, &f, rng);
    item->deviation = 4;
    row = k == 0 ? generate_rng_range(rng, 0, f.n - 1) : k == 1 ? 0 : f.n - 1;
    snprintf(item->answer, sizeof item->answer, "%d", f.value[row]);
    ask(item, GENERATE_DOCUMENT, k, keys[f.key[row]], test, rng);
}

/* ---- icon grids: 2 x 2, all shapes and all colours different, each place with its letter */

struct icons {
    int shape[GENERATE_SHAPES], colour[GENERATE_COLOURS];
};

static void draw_icons(struct generate_canvas *cv, struct icons *ic, struct generate_rng *rng)
{
    int ground = generate_rng_range(rng, 200, 255);

    generate_fill(cv, generate_grey(ground));
    generate_rng_permute(rng, ic->shape, GENERATE_SHAPES);
    generate_rng_permute(rng, ic->colour, GENERATE_COLOURS);
    for (int i = 0; i < CELLS; i++) {
        int x = 32 * (i % 2), y = 32 * (i / 2);
        int cx = x + 18 + generate_rng_range(rng, -2, 2), cy = y + 18 + generate_rng_range(rng, -2, 2);
        int radius = generate_rng_range(rng, 9, 11);

        generate_shape(cv, ic->shape[i], cx, cy, radius, generate_colour_jitter(rng, ic->colour[i]));
        generate_text(cv, (char[2]){(char)('A' + i), 0}, x + 1, y + 1, generate_grey(ground - 170));
    }
    generate_rect(cv, 31, 0, 1, GENERATE_SIDE, generate_grey(ground - 80));
    generate_rect(cv, 0, 31, GENERATE_SIDE, 1, generate_grey(ground - 80));
}

static void icon_item(struct generate_item *item, bool test, struct generate_rng *rng)
{
    struct icons ic;
    int k = pick_type(GENERATE_ICON, rng), at = generate_rng_range(rng, 0, CELLS - 1);
    const char *shape, *colour;
    char about[32];

    draw_icons(&item->canvas, &ic, rng);
    item->deviation = 4;
    shape = generate_shape_names[ic.shape[at]];
    colour = generate_colour_names[ic.colour[at]];
    snprintf(about, sizeof about, "%s%s%s", k > 0 ? colour : "", k == 2 ? " " : "", k != 1 ? shape : "");
    snprintf(item->answer, sizeof item->answer, "%c", 'A' + at);
    ask(item, GENERATE_ICON, k, about, test, rng);
}

/* ---- scans: a body with two lungs, 0 to 3 bright lesions each */

struct scan {
    int lesions[2];
};

static int draw_count(struct generate_rng *rng)
{
    int u = generate_rng_range(rng, 0, 99);

    return (u >= 35) + (u >= 65) + (u >= 85);
}

static void draw_scan(struct generate_canvas *cv, struct scan *s, struct generate_rng *rng)
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

static void medical_item(struct generate_item *item, bool test, struct generate_rng *rng)
{
    struct scan s;
    int k = pick_type(GENERATE_MEDICAL, rng), side = generate_rng_range(rng, 0, 1), *c = s.lesions;

    do {
        c[0] = draw_count(rng);
        c[1] = draw_count(rng);
    } while (k == 1 && c[0] == c[1]);
    if (k == 0 && generate_rng_range(rng, 0, 1))
        c[side] = 0; // else two of three answers were yes
    else if (k == 0 && !c[side])
        c[side] = generate_rng_range(rng, 1, 3);
    if (k == 2) c[side] = generate_rng_range(rng, 0, 3);
    draw_scan(&item->canvas, &s, rng);
    item->deviation = 6;
    if (k == 0)
        snprintf(item->answer, sizeof item->answer, "%s", c[side] ? "yes" : "no");
    else if (k == 1)
        snprintf(item->answer, sizeof item->answer, "%s", sides[c[1] > c[0]]);
    else
        snprintf(item->answer, sizeof item->answer, "%d", c[side]);
    ask(item, GENERATE_MEDICAL, k, sides[side], test, rng);
}

void generate_item(struct generate_item *item, int task, bool test, struct generate_rng *rng)
{
    static void (*const make[GENERATE_TASKS])(struct generate_item *, bool, struct generate_rng *) = {
        [GENERATE_CHART] = chart_item,
        [GENERATE_DOCUMENT] = document_item,
        [GENERATE_ICON] = icon_item,
        [GENERATE_MEDICAL] = medical_item,
    };

    make[task](item, test, rng);
}
