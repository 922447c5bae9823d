/* generate_capability.c - the capability stream: the same four kinds of pictures in every task, another way of answering.
 *
 * Type k is the kind of picture. Conversation answers in a phrase and has a second turn; reasoning states the fact
 * that it concludes from; detail describes everything.
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

static void draw(struct generate_item *item, struct scene *s, int k, struct generate_rng *rng)
{
    item->deviation = k == SCAN ? 6 : 4;
    if (k == CHART) generate_chart(&item->canvas, &s->chart, rng);
    if (k == FORM) generate_form(&item->canvas, &s->form, rng);
    if (k == ICONS) generate_icons(&item->canvas, &s->icons, rng);
    if (k != SCAN) return;
    for (int i = 0; i < 2; i++) s->scan.lesions[i] = generate_rng_range(rng, 0, 3);
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
        say(item->answer, "%d spots", lesions[at]);
        say(item->next_answer, "%d spots", lesions[!at]);
        return "and in the other lung ?";
    }
}

void generate_conversation_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct scene s;
    char about[32] = "";

    draw(item, &s, k, rng);
    snprintf(item->next_question, sizeof item->next_question, "%s", conversation_answers(item, &s, k, about, rng));
    generate_ask(item, GENERATE_CONVERSATION, k, about, NULL, test, rng);
}

/* ---- reasoning: a fact, and what follows from it */

void generate_reasoning_item(struct generate_item *item, int k, bool test, struct generate_rng *rng)
{
    struct scene s;
    char about[32], than[16];
    int at, value;

    draw(item, &s, k, rng);
    at = generate_rng_range(rng, 0, k == CHART ? s.chart.n - 1 : k == FORM ? s.form.n - 1 : k == ICONS ? 3 : 1);
    if (k == ICONS) {
        int half = generate_rng_range(rng, 0, 1);

        icon_name(about, &s.icons, at);
        snprintf(than, sizeof than, "%s", half ? "bottom" : "top");
        say(item->answer, "%s , %s", generate_places[at], at / 2 == half ? "yes" : "no");
    } else {
        static const int middle[] = {[CHART] = 3, [FORM] = 54, [SCAN] = 1}; // about half of the answers are yes

        value = k == CHART ? s.chart.height[at] : k == FORM ? s.form.value[at] : s.scan.lesions[at];
        snprintf(about, sizeof about, "%s",
                 k == CHART  ? generate_colour_names[s.chart.colour[at]]
                 : k == FORM ? generate_keys[s.form.key[at]]
                             : generate_sides[at]);
        snprintf(than, sizeof than, "%s", k == CHART ? "3" : k == FORM ? "54" : "one");
        say(item->answer, "%d , %s", value, value > middle[k] ? "yes" : "no");
    }
    generate_ask(item, GENERATE_REASONING, k, about, than, test, rng);
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
    static const char *const spots[] = {"no spots", "one spot", "two spots", "three spots"};
    struct scene s;
    char *out = item->answer, name[32];

    draw(item, &s, k, rng);
    if (k == CHART) say(out, "a chart :");
    for (int i = 0; k == CHART && i < s.chart.n; i++)
        add(out, "%s %s %d", i ? " ," : "", generate_colour_names[s.chart.colour[i]], s.chart.height[i]);
    if (k == FORM) say(out, "a form :");
    for (int i = 0; k == FORM && i < s.form.n; i++)
        add(out, "%s %s %d", i ? " ," : "", generate_keys[s.form.key[i]], s.form.value[i]);
    if (k == ICONS) say(out, "icons :");
    for (int i = 0; k == ICONS && i < GENERATE_CELLS; i++) {
        icon_name(name, &s.icons, i);
        add(out, "%s %s", i ? " ," : "", name);
    }
    if (k == SCAN)
        say(out, "a scan : %s in the left lung , %s in the right lung", spots[s.scan.lesions[0]],
            spots[s.scan.lesions[1]]);
    generate_ask(item, GENERATE_DETAIL, k, "", NULL, test, rng);
}
