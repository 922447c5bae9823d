/* test_generate_streams.c - answers of the capability and data set streams, against pictures that are read anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "picture_reader.h"

enum { ITEMS = 80 };

static const char *const places[] = {"top left", "top right", "bottom left", "bottom right"};
static const char *const sides[] = {"left", "right"};

/* Lines of a form: "tax", "37". */
struct lines {
    int n;
    char key[4][4], value[4][3];
};

static void read_form(const struct generate_canvas *cv, struct lines *f)
{
    for (f->n = 0; f->n < 4 && read_line(cv, f->n, f->key[f->n], f->value[f->n]); f->n++)
        for (char *c = f->key[f->n]; *c; c++) *c = (char)(*c - 'A' + 'a');
    assert_in_range(f->n, 3, 4);
}

/* The line whose key the question names. */
static int line_of(const struct lines *f, const char *question)
{
    for (int i = 0; i < f->n; i++)
        if (spoken(question, (const char *[]){f->key[i]}, 1) == 0) return i;
    fail_msg("no key in: %s", question);
    return -1;
}

/* "red cross" at a place of a grid. */
static const char *icon_at(const struct generate_canvas *cv, int at)
{
    static char name[32];
    int colour, shape;

    read_icon(cv, at, &colour, &shape);
    assert_true(colour >= 0 && shape >= 0);
    snprintf(name, sizeof name, "%s %s", generate_colour_names[colour], generate_shape_names[shape]);
    return name;
}

/* The place of the icon that the question speaks of, by all that it says of it. */
static int place_of(const struct generate_canvas *cv, const char *question)
{
    int colour = spoken(question, generate_colour_names, GENERATE_COLOURS),
        shape = spoken(question, generate_shape_names, GENERATE_SHAPES), found = -1;

    assert_true(colour >= 0 || shape >= 0);
    for (int at = 0; at < 4; at++) {
        int c, s;
        read_icon(cv, at, &c, &s);
        if ((colour >= 0 && c != colour) || (shape >= 0 && s != shape)) continue;
        assert_int_equal(found, -1);
        found = at;
    }
    assert_true(found >= 0);
    return found;
}

static void answers(const struct generate_item *item, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void answers(const struct generate_item *item, const char *fmt, ...)
{
    char want[GENERATE_ANSWER];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(want, sizeof want, fmt, ap);
    va_end(ap);
    assert_string_equal(item->answer, want);
}

/* ---- capability */

static void conversation_answers_fit(void **state)
{
    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item item = draw(GENERATE_CONVERSATION, n % 2, n);
        int height[GENERATE_COLOURS], spots[2], best = 0;
        struct lines f;
        char next[GENERATE_ANSWER] = "";

        assert_true(*item.next_question);
        if (is_type(&item, "chart")) {
            snprintf(next, sizeof next, "%d bars", read_bars(&item.canvas, height));
            for (int c = 1; c < GENERATE_COLOURS; c++)
                if (height[c] > height[best]) best = c;
            answers(&item, "%s bar", generate_colour_names[best]);
        } else if (is_type(&item, "form")) {
            read_form(&item.canvas, &f);
            snprintf(next, sizeof next, "%d lines", f.n);
            answers(&item, "number %s", f.value[line_of(&f, item.question)]);
        } else if (is_type(&item, "icons")) {
            best = place_of(&item.canvas, item.question);
            snprintf(next, sizeof next, "colour %.*s", (int)strcspn(icon_at(&item.canvas, best), " "),
                     icon_at(&item.canvas, best));
            answers(&item, "at %s", places[best]);
        } else {
            read_spots(&item.canvas, spots);
            best = spoken(item.question, sides, 2);
            snprintf(next, sizeof next, "%d spots", spots[!best]);
            answers(&item, "%d spots", spots[best]);
        }
        assert_string_equal(item.next_answer, next);
    }
}

static void reasoning_answers_fit(void **state)
{
    int yes = 0;

    (void)state;
    for (int n = 0; n < 2 * ITEMS; n++) {
        struct generate_item item = draw(GENERATE_REASONING, n % 2, n);
        int height[GENERATE_COLOURS], spots[2], v = 0, than = 0;
        struct lines f;

        yes += strstr(item.answer, "yes") != NULL;
        if (is_type(&item, "icons")) {
            v = place_of(&item.canvas, item.question);
            answers(&item, "%s , %s", places[v],
                    (v >= 2) == (spoken(item.question, (const char *[]){"bottom"}, 1) == 0) ? "yes" : "no");
            continue;
        }
        if (is_type(&item, "chart")) {
            read_bars(&item.canvas, height);
            v = height[spoken(item.question, generate_colour_names, GENERATE_COLOURS)], than = 3;
            assert_int_equal(spoken(item.question, (const char *[]){"3"}, 1), 0);
        } else if (is_type(&item, "form")) {
            read_form(&item.canvas, &f);
            v = atoi(f.value[line_of(&f, item.question)]), than = 54;
            assert_int_equal(spoken(item.question, (const char *[]){"54"}, 1), 0);
        } else {
            read_spots(&item.canvas, spots);
            v = spots[spoken(item.question, sides, 2)], than = 1;
            assert_int_equal(spoken(item.question, (const char *[]){"one"}, 1), 0);
        }
        answers(&item, "%d , %s", v, v > than ? "yes" : "no");
    }
    assert_in_range(yes, 2 * ITEMS * 2 / 5, 2 * ITEMS * 3 / 5);
}

static void detail_answers_fit(void **state)
{
    static const char *const counts[] = {"no spots", "one spot", "two spots", "three spots"};

    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item item = draw(GENERATE_DETAIL, n % 2, n);
        int height[GENERATE_COLOURS], spots[2], c, last = -1;
        struct lines f;
        char want[GENERATE_ANSWER];
        size_t len = 0;

        if (is_type(&item, "chart")) {
            len = (size_t)sprintf(want, "a chart :");
            read_bars(&item.canvas, height);
            for (int x = 0; x < GENERATE_SIDE; x++, last = c) // bars from left to right along their feet
                if ((c = colour_at(&item.canvas, x, 56)) >= 0 && c != last)
                    len += (size_t)sprintf(want + len, "%s %s %d", want[len - 1] == ':' ? "" : " ,",
                                           generate_colour_names[c], height[c]);
        } else if (is_type(&item, "form")) {
            len = (size_t)sprintf(want, "a form :");
            read_form(&item.canvas, &f);
            for (int i = 0; i < f.n; i++)
                len += (size_t)sprintf(want + len, "%s %s %s", i ? " ," : "", f.key[i], f.value[i]);
        } else if (is_type(&item, "icons")) {
            len = (size_t)sprintf(want, "icons :");
            for (int i = 0; i < 4; i++)
                len += (size_t)sprintf(want + len, "%s %s", i ? " ," : "", icon_at(&item.canvas, i));
        } else {
            read_spots(&item.canvas, spots);
            sprintf(want, "a scan : %s in the left lung , %s in the right lung", counts[spots[0]], counts[spots[1]]);
        }
        assert_string_equal(item.answer, want);
        assert_false(*item.next_question);
    }
}

/* ---- data sets */

static void science_answers_fit(void **state)
{
    int letters[4] = {0};

    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item item = draw(GENERATE_SCIENCE, n % 2, n);
        int spots[2];
        const char *options = strstr(item.question, " A ");

        assert_non_null(options);
        read_spots(&item.canvas, spots);
        if (is_type(&item, "side")) { // where does the side with more stand among the options?
            bool swapped = !strcmp(options, " A right B left");
            assert_true(swapped || !strcmp(options, " A left B right"));
            assert_int_not_equal(spots[0], spots[1]);
            answers(&item, "%c", 'A' + ((spots[1] > spots[0]) != swapped));
        } else if (is_type(&item, "lesion")) {
            answers(&item, "%c", spots[spoken(item.question, sides, 2)] ? 'A' : 'B');
        } else {
            answers(&item, "%c", 'A' + spots[spoken(item.question, sides, 2)]);
        }
        letters[item.answer[0] - 'A']++;
    }
    for (int i = 0; i < 4; i++) assert_true(letters[i] > ITEMS / 40);
}

/* Of the printed words, and of the lines that are taken for title and author. */
static void words_are_the_printed_ones(void **state)
{
    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item text = draw(GENERATE_TEXT, n % 2, n), ocr = draw(GENERATE_OCR, n % 2, n);
        struct lines f;
        int at = -1;

        read_form(&text.canvas, &f);
        for (int i = 0; i < f.n && is_type(&text, "word"); i++)
            if (spoken(text.question, (const char *[]){f.value[i]}, 1) == 0) {
                assert_int_equal(at, -1); // a number stands once
                at = i;
            }
        if (!is_type(&text, "word")) at = is_type(&text, "first") ? 0 : f.n - 1;
        answers(&text, "%s", f.key[at]);
        read_form(&ocr.canvas, &f);
        at = is_type(&ocr, "title") ? 0 : f.n - 1;
        answers(&ocr, "%s %s", f.key[at], f.value[at]);
    }
}

static void classes_are_what_is_drawn(void **state)
{
    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item item = draw(GENERATE_CLASSIFY, n % 2, n);
        struct generate_rng rng = {.state = 0};
        int colour = -1, same = 0;

        for (int y = 0; y < GENERATE_SIDE && colour < 0; y++)
            for (int x = 0; x < GENERATE_SIDE && colour < 0; x++) colour = colour_at(&item.canvas, x, y);
        for (int i = 0; i < GENERATE_SHAPES * 27 && !same; i++) { // 9 places, 3 sizes
            struct generate_canvas again;
            int x = i / 6 % 3, y = i / 18 % 3, radius = 7 + i / 54;
            same = 1;
            generate_fill(&again, generate_grey(220));
            generate_shape(&again, i % 6, 11 + 21 * x, 11 + 21 * y, radius, generate_colour_jitter(&rng, 0));
            for (int v = 0; v < GENERATE_SIDE && same; v++)
                for (int u = 0; u < GENERATE_SIDE && same; u++)
                    same = (colour_at(&again, u, v) >= 0) == (colour_at(&item.canvas, u, v) >= 0);
            if (same) answers(&item, "%s %s", generate_colour_names[colour], generate_shape_names[i % 6]);
        }
        assert_true(same);
    }
}

static void icons_are_where_they_are_said_to_be(void **state)
{
    static const char *const boxes[] = {"0 , 0 , 4 , 4", "4 , 0 , 8 , 4", "0 , 4 , 4 , 8", "4 , 4 , 8 , 8"};

    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item gqa = draw(GENERATE_GQA, n % 2, n), box = draw(GENERATE_GROUNDING, n % 2, n);

        int quarter = place_of(&box.canvas, box.question);

        answers(&box, "%s : %s", places[quarter], boxes[quarter]);
        if (is_type(&gqa, "object")) {
            int at = spoken(gqa.question, places, 4);
            assert_true(at >= 0);
            answers(&gqa, "%s", icon_at(&gqa.canvas, at));
        } else {
            int at = place_of(&gqa.canvas, gqa.question);
            const char *name = icon_at(&gqa.canvas, at);
            if (is_type(&gqa, "place"))
                answers(&gqa, "%s", places[at]);
            else
                answers(&gqa, "%.*s", (int)strcspn(name, " "), name);
        }
    }
}

static void counts_and_colours_fit(void **state)
{
    static const char *const which[] = {"first", "second", "third"};
    int refused = 0;

    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item viz = draw(GENERATE_VIZWIZ, n % 2, n), vqa = draw(GENERATE_VQA, n % 2, n);
        int height[GENERATE_COLOURS], bars = read_bars(&viz.canvas, height), at = 0, last = -1, c = -1;
        struct lines f;

        refused += !bars;
        if (!bars) {
            answers(&viz, "no picture");
        } else if (is_type(&viz, "count")) {
            answers(&viz, "%d", bars);
        } else {
            for (int x = 0; x < GENERATE_SIDE && at <= spoken(viz.question, which, 3); x++, last = c)
                if ((c = colour_at(&viz.canvas, x, 56)) >= 0 && c != last) at++;
            answers(&viz, "%s", generate_colour_names[last]);
        }
        if (is_type(&vqa, "lines")) {
            read_form(&vqa.canvas, &f);
            answers(&vqa, "%d", f.n);
        } else if (is_type(&vqa, "bars")) {
            answers(&vqa, "%d", read_bars(&vqa.canvas, height));
        } else {
            int spots[2];
            read_spots(&vqa.canvas, spots);
            answers(&vqa, "%d", spots[spoken(vqa.question, sides, 2)]);
        }
    }
    assert_in_range(refused, ITEMS / 5, ITEMS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversation_answers_fit),
        cmocka_unit_test(reasoning_answers_fit),
        cmocka_unit_test(detail_answers_fit),
        cmocka_unit_test(science_answers_fit),
        cmocka_unit_test(words_are_the_printed_ones),
        cmocka_unit_test(classes_are_what_is_drawn),
        cmocka_unit_test(icons_are_where_they_are_said_to_be),
        cmocka_unit_test(counts_and_colours_fit),
    };

    return cmocka_run_group_tests_name("generate_streams", tests, NULL, NULL);
}
