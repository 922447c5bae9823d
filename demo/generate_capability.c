/* generate_capability.c - the capability stream: the same four kinds of pictures in every task, another way of answering.
 *
 * Type k is the kind of picture. Conversation answers in a phrase and has a second turn; reasoning states what it compares
 * before it concludes; detail describes everything.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "demo/generate_scenes.h"
#include "demo/generate_words.h"

enum { CHART, FORM, ICONS, SCAN };

/* The facts of an item of any kind. */
struct scene {
    struct generate_chart chart;
    struct generate_form form;
    struct generate_icons icons;
    struct generate_scan scan;
};

/* unequal: the two lungs differ. */
static void draw(struct generate_item *item, struct scene *s, int k, bool unequal, struct generate_rng *rng)
{
    item->deviation = k == SCAN ? 6 : 4;
    if (k == CHART) generate_chart(&item->canvas, &s->chart, rng);
    if (k == FORM) generate_form(&item->canvas, &s->form, rng);
    if (k == ICONS) generate_icons(&item->canvas, &s->icons, rng);
    if (k != SCAN) return;
    do
        for (int i = 0; i < 2; i++) s->scan.lesions[i] = generate_rng_range(rng, 0, 3);
    while (unequal && s->scan.lesions[0] == s->scan.lesions[1]);
    generate_scan(&item->canvas, &s->scan, rng);
}

/* "red cross": what stands at a place. */
static void icon_name(char out[32], const struct generate_icons *ic, int at)
{
    snprintf(out, 32, "%s %s", generate_colour_names[ic->colour[at]], generate_shape_names[ic->shape[at]]);
}

static void say(char out[GENERATE_ANSWER], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(char out[GENERATE_ANSWER], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out, GENERATE_ANSWER, fmt, ap);
    va_end(ap);
}

/* ---- conversation: a phrase, then a second question about the same picture */

static const char *conversation_answers(struct generate_item *item, const struct scene *s, int k, char about[32],
                                        struct generate_rng *rng)
{
    int at = 0, n = k == CHART ? s->chart.n : k == FORM ? s->form.n : k == ICONS ? GENERATE_CELLS : 2;
    const int *lesions = s->scan.lesions;

    if (k != CHART) at = generate_rng_range(rng, 0, n - 1);
    switch (k) {
    case CHART:
        for (int i = 1; i < n; i++)
            if (s->chart.height[i] > s->chart.height[at]) at = i;
        say(item->answer, "%s bar", generate_colour_names[s->chart.colour[at]]);
        say(item->next_answer, "%d bars", n);
        return "and how many bars are there ?";
    case FORM:
        snprintf(about, 32, "%s", generate_keys[s->form.key[at]]);
        say(item->answer, "number %d", s->form.value[at]);
        say(item->next_answer, "%d lines", n);
        return "and how many lines are there ?";
    case ICONS:
        snprintf(about, 32, "%s", generate_shape_names[s->icons.shape[at]]);
        say(item->answer, "at %s", generate_places[at]);
        say(item->next_answer, "colour %s", generate_colour_names[s->icons.colour[at]]);
        return "and what colour has it ?";
    default:
        snprintf(about, 32, "%s", generate_sides[at]);
        say(item->answer, "%d lesions", lesions[at]);
        say(item->next_answer, "%d lesions", lesions[!at]);
        return "and in the other lung ?";
    }
}

void generate_conversation_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct scene s;
    char about[32] = "";

    draw(item, &s, k, false, rng);
    snprintf(item->next_question, sizeof item->next_question, "%s", conversation_answers(item, &s, k, about, rng));
    generate_ask(item, GENERATE_CONVERSATION, k, about, NULL, test, rng);
}

/* ---- reasoning: what is compared, then the conclusion */

/* Two different places of n. */
static void two_of(int at[2], int n, struct generate_rng *rng)
{
    at[0] = generate_rng_range(rng, 0, n - 1);
    at[1] = (at[0] + generate_rng_range(rng, 1, n - 1)) % n;
}

static void compare_forms(struct generate_item *item, const struct generate_form *f, const int at[2], char about[2][32])
{
    for (int i = 0; i < 2; i++) snprintf(about[i], 32, "%s", generate_keys[f->key[at[i]]]);
    say(item->answer, "%s %d , %s %d , so %s", about[0], f->value[at[0]], about[1], f->value[at[1]],
        f->value[at[0]] == f->value[at[1]] ? "equal" : about[f->value[at[1]] > f->value[at[0]]]);
}

static void compare_icons(struct generate_item *item, const struct generate_icons *ic, const int at[2],
                          char about[2][32])
{
    for (int i = 0; i < 2; i++) icon_name(about[i], ic, at[i]);
    say(item->answer, "%s , %s , so %s", generate_places[at[0]], generate_places[at[1]],
        at[0] / 2 < at[1] / 2 ? "yes" : "no");
}

void generate_reasoning_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct scene s;
    int at[2];
    char about[2][32];

    draw(item, &s, k, true, rng);
    two_of(at, k == CHART ? s.chart.n : k == FORM ? s.form.n : 2, rng);
    if (k == ICONS) // one of each row: no constant answer is right more often than not
        for (int i = 0; i < 2; i++) at[i] = 2 * at[i] + generate_rng_range(rng, 0, 1);
    if (k == CHART) {
        for (int i = 0; i < 2; i++) snprintf(about[i], 32, "%s", generate_colour_names[s.chart.colour[at[i]]]);
        say(item->answer, "%s %d , %s %d , so %s", about[0], s.chart.height[at[0]], about[1], s.chart.height[at[1]],
            about[s.chart.height[at[1]] > s.chart.height[at[0]]]);
    } else if (k == FORM) {
        compare_forms(item, &s.form, at, about);
    } else if (k == ICONS) {
        compare_icons(item, &s.icons, at, about);
    } else {
        for (int i = 0; i < 2; i++) snprintf(about[i], 32, "%s", generate_sides[at[i]]);
        say(item->answer, "%s %d , %s %d , so %s", about[0], s.scan.lesions[at[0]], about[1], s.scan.lesions[at[1]],
            s.scan.lesions[at[0]] > s.scan.lesions[at[1]] ? "yes" : "no");
    }
    generate_ask(item, GENERATE_REASONING, k, about[0], about[1], test, rng);
}

/* ---- detail: everything, in order */

static void add(char out[GENERATE_ANSWER], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(char out[GENERATE_ANSWER], const char *fmt, ...)
{
    size_t n = strlen(out);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out + n, GENERATE_ANSWER - n, fmt, ap);
    va_end(ap);
}

void generate_detail_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct scene s;
    char *out = item->answer;

    draw(item, &s, k, false, rng);
    if (k == CHART) say(out, "a chart of %d bars", s.chart.n);
    for (int i = 0; k == CHART && i < s.chart.n; i++)
        add(out, " , %s to %d0", generate_colour_names[s.chart.colour[i]], s.chart.height[i]);
    if (k == FORM) say(out, "a form of %d lines", s.form.n);
    for (int i = 0; k == FORM && i < s.form.n; i++)
        add(out, " , %s with %d", generate_keys[s.form.key[i]], s.form.value[i]);
    if (k == ICONS) say(out, "a grid of 4 icons");
    for (int i = 0; k == ICONS && i < GENERATE_CELLS; i++)
        add(out, " , %s %s at %c", generate_colour_names[s.icons.colour[i]], generate_shape_names[s.icons.shape[i]],
            'A' + i);
    if (k == SCAN)
        say(out, "a scan of 2 lungs , %d lesions in the left , %d lesions in the right", s.scan.lesions[0],
            s.scan.lesions[1]);
    generate_ask(item, GENERATE_DETAIL, k, "", NULL, test, rng);
}
