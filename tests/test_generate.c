/* test_generate.c - the embedded stream: equal bytes for equal seeds, answers that the pictures confirm, wording that the
 * training set never uses. Answers are checked by reading the picture anew (colours counted, glyphs matched, shapes
 * drawn again, bright spots joined), not by asking the generator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <jansson.h>
#include <limits.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "demo/generate.h"
#include "demo/generate_tasks.h"
#include "io/err.h"
#include "io/image.h"

enum { ITEMS = 300, SIDE = GENERATE_SIDE, DOMAIN = 4 }; // tasks of the domain stream

/* ---- small helpers */

static char root[PATH_MAX]; // a folder of this run

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int group_setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/test_generate.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in_root(const char *name)
{
    static char path[2 * PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void make_one(const char *name, const char *stream, int train, int test, uint64_t seed)
{
    struct generate_options o = {.dir = in_root(name), .stream = stream, .train = train, .test = test, .seed = seed};

    if (generate_stream(&o)) fail_msg("%s", err_text());
}

static void make_stream(const char *name, int train, int test, uint64_t seed)
{
    make_one(name, "domain", train, test, seed);
}

static char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *bytes = malloc(1 << 20);

    assert_non_null(f);
    assert_non_null(bytes);
    *n = fread(bytes, 1, 1 << 20, f);
    assert_true(*n < 1 << 20);
    fclose(f);
    return bytes;
}

static bool same_file(const char *a, const char *b, const char *file)
{
    char path[3 * PATH_MAX];
    size_t na, nb;
    char *ba, *bb;
    bool same;

    snprintf(path, sizeof path, "%s/%s/%s", root, a, file);
    ba = slurp(path, &na);
    snprintf(path, sizeof path, "%s/%s/%s", root, b, file);
    bb = slurp(path, &nb);
    same = na == nb && memcmp(ba, bb, na) == 0;
    free(ba);
    free(bb);
    return same;
}

static struct generate_item draw(int task, bool test, int i)
{
    struct generate_rng rng = {.state = 99};
    struct generate_item item;

    generate_rng_mix(&rng, (uint64_t)task * 2 + test);
    generate_rng_mix(&rng, (uint64_t)i);
    generate_item(&item, task, test, &rng);
    return item;
}

static bool is_type(const struct generate_item *item, const char *type)
{
    size_t n = strlen(type);

    return strncmp(item->type, type, n) == 0 && (!item->type[n] || strcmp(item->type + n, "-new") == 0);
}

/* Index of the name that the question speaks of, or -1. */
static int spoken(const char *question, const char *const *names, int n)
{
    for (int i = 0; i < n; i++) {
        const char *at = strstr(question, names[i]);
        size_t len = strlen(names[i]);

        if (at && (at == question || at[-1] == ' ') && (at[len] == ' ' || !at[len])) return i;
    }
    return -1;
}

/* Nearest palette colour, or -1 for a grey pixel. */
static int colour_at(const struct generate_canvas *cv, int x, int y)
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

/* ---- answers against pictures */

static void chart_answers_fit(void **state)
{
    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item item = draw(GENERATE_CHART, n % 2, n);
        int pixels[GENERATE_COLOURS] = {0}, high = -1, low = -1, c;
        char want[GENERATE_ANSWER];

        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                if ((c = colour_at(&item.canvas, x, y)) >= 0) pixels[c]++;
        for (c = 0; c < GENERATE_COLOURS; c++) {
            assert_int_equal(pixels[c] % 80, 0); // 10 wide, 8 per step
            if (!pixels[c]) continue;
            if (high < 0 || pixels[c] > pixels[high]) high = c;
            if (low < 0 || pixels[c] < pixels[low]) low = c;
        }
        if (is_type(&item, "tallest"))
            strcpy(want, generate_colour_names[high]);
        else if (is_type(&item, "shortest"))
            strcpy(want, generate_colour_names[low]);
        else {
            assert_true(is_type(&item, "value"));
            c = spoken(item.question, generate_colour_names, GENERATE_COLOURS);
            assert_true(c >= 0);
            snprintf(want, sizeof want, "%d", pixels[c] / 8);
        }
        assert_string_equal(item.answer, want);
    }
}

/* The character whose glyph stands at (x, y), or 0. */
static char read_glyph(const struct generate_canvas *cv, int x, int y)
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
static bool read_line(const struct generate_canvas *cv, int r, char key[4], char value[3])
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

static void document_answers_fit(void **state)
{
    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item item = draw(GENERATE_DOCUMENT, n % 2, n);
        char key[4], value[3], want[3] = "", lower[4] = "";
        int lines = 0;

        for (int r = 0; r < 4 && read_line(&item.canvas, r, key, value); r++, lines++) {
            for (int i = 0; i < 3; i++) lower[i] = (char)(key[i] - 'A' + 'a');
            if (is_type(&item, "field") ? spoken(item.question, (const char *[]){lower}, 1) == 0
                                        : is_type(&item, "last") || r == 0)
                strcpy(want, value);
        }
        assert_in_range(lines, 3, 4);
        assert_string_equal(item.answer, want);
    }
}

static bool same_quadrant(const struct generate_canvas *a, const struct generate_canvas *b, int x0, int y0)
{
    for (int y = y0; y < y0 + 31; y++)
        for (int x = x0; x < x0 + 31; x++)
            if ((colour_at(a, x, y) >= 0) != (colour_at(b, x, y) >= 0)) return false;
    return true;
}

/* Which shape, drawn again at some centre and size, gives the coloured pixels of the quadrant? */
static int shape_in(const struct generate_canvas *cv, int x0, int y0)
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

static void icon_answers_fit(void **state)
{
    (void)state;
    for (int n = 0; n < 40; n++) {
        struct generate_item item = draw(GENERATE_ICON, n % 2, n);
        int colour = spoken(item.question, generate_colour_names, GENERATE_COLOURS);
        int shape = spoken(item.question, generate_shape_names, GENERATE_SHAPES), fits = 0;

        assert_true(colour >= 0 || shape >= 0);
        assert_int_equal(is_type(&item, "both"), colour >= 0 && shape >= 0);
        for (int i = 0; i < 4; i++) {
            int x0 = 32 * (i % 2), y0 = 32 * (i / 2), inner = -1;

            for (int x = x0; x < x0 + 31 && inner < 0; x++) inner = colour_at(&item.canvas, x, y0 + 18);
            assert_int_equal(read_glyph(&item.canvas, x0 + 1, y0 + 1), 'A' + i);
            if (colour >= 0 && inner != colour) continue;
            if (shape >= 0 && shape_in(&item.canvas, x0, y0) != shape) continue;
            assert_int_equal(item.answer[0], 'A' + i);
            fits++;
        }
        assert_int_equal(fits, 1);
    }
}

/* Takes a spot of bright pixels off the canvas. */
static void erase(struct generate_canvas *cv, int x, int y)
{
    if (x < 0 || y < 0 || x >= SIDE || y >= SIDE || cv->px[y][x][0] < 200) return;
    cv->px[y][x][0] = 0;
    for (int d = -1; d <= 1; d += 2) {
        erase(cv, x + d, y);
        erase(cv, x, y + d);
    }
}

static void medical_answers_fit(void **state)
{
    (void)state;
    for (int n = 0; n < ITEMS; n++) {
        struct generate_item item = draw(GENERATE_MEDICAL, n % 2, n);
        int spots[2] = {0}, side = spoken(item.question, (const char *[]){"left", "right"}, 2);
        char want[GENERATE_ANSWER];

        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                if (item.canvas.px[y][x][0] >= 200) {
                    spots[x >= 32]++;
                    erase(&item.canvas, x, y);
                }
        if (is_type(&item, "side"))
            strcpy(want, spots[0] > spots[1] ? "left" : "right");
        else if (is_type(&item, "lesion"))
            strcpy(want, spots[side] ? "yes" : "no");
        else
            snprintf(want, sizeof want, "%d", spots[side]);
        assert_string_equal(item.answer, want);
        if (is_type(&item, "side")) assert_int_not_equal(spots[0], spots[1]);
    }
}

/* ---- wording and balance */

/* Is the question an instance of the wording? [a|b] becomes (a|b), {} any words. */
static bool is_worded(const char *question, const char *wording)
{
    char pattern[512];
    size_t n = 0;
    regex_t re;
    bool match;

    pattern[n++] = '^';
    for (const char *p = wording; *p; p++) {
        assert_true(n + 4 < sizeof pattern);
        if (*p == '{')
            pattern[n++] = '.';
        else if (*p == '}')
            pattern[n++] = '+';
        else if (*p == '[')
            pattern[n++] = '(';
        else if (*p == ']')
            pattern[n++] = ')';
        else {
            if (*p == '?' || *p == '.') pattern[n++] = '\\';
            pattern[n++] = *p;
        }
    }
    pattern[n++] = '$';
    pattern[n] = 0;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    match = regexec(&re, question, 0, NULL, 0) == 0;
    regfree(&re);
    return match;
}

/* Is it worded like the last, held-out wording of any type of its task? */
static bool is_heldout(const char *question, int task)
{
    const char *type, *const *words;
    int n;

    for (int k = 0; (words = generate_wordings(task, k, &type, &n)); k++) {
        assert_true(n >= 3);
        if (is_worded(question, words[n - 1])) return true;
    }
    return false;
}

static void heldout_wording_is_for_tests(void **state)
{
    (void)state;
    for (int task = 0; task < GENERATE_TASKS; task++) {
        int fresh = 0;

        for (int i = 0; i < ITEMS; i++) {
            struct generate_item test = draw(task, true, i), train = draw(task, false, i);
            bool marked = strstr(test.type, "-new") != NULL;

            fresh += marked;
            assert_int_equal(is_heldout(test.question, task), marked);
            assert_false(is_heldout(train.question, task));
            assert_null(strstr(train.type, "-new"));
            assert_null(strpbrk(train.question, "[]{}|"));
            assert_null(strstr(train.question, "  "));
        }
        assert_in_range(fresh, ITEMS * 2 / 5, ITEMS * 3 / 5);
    }
}

static bool types_share_wordings(int task)
{
    return task == GENERATE_ICON || task == GENERATE_DETAIL || task == GENERATE_GROUNDING;
}

static void wordings_are_distinct(void **state)
{
    const char *all[256], *type, *const *words;
    int count = 0, n;

    (void)state;
    for (int task = 0; task < GENERATE_TASKS; task++)
        for (int k = 0; (words = generate_wordings(task, k, &type, &n)); k++)
            for (int i = 0; i < n && !types_share_wordings(task); i++) all[count++] = words[i];
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(all[i], all[j]);
    assert_null(generate_wordings(GENERATE_TASKS, 0, &type, &n));
    assert_null(generate_wordings(-1, 0, &type, &n));
}

/* No constant answer per question type gets far: half for two answers, about a quarter for four. */
static void answers_are_balanced(void **state)
{
    static const struct {
        int task;
        const char *type;
        double most;
    } cases[] = {{GENERATE_CHART, "tallest", .25}, {GENERATE_CHART, "value", .22},  {GENERATE_DOCUMENT, "field", .05},
                 {GENERATE_ICON, "both", .32},     {GENERATE_ICON, "shape", .32},   {GENERATE_MEDICAL, "lesion", .57},
                 {GENERATE_MEDICAL, "side", .57},  {GENERATE_MEDICAL, "count", .32}};

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char seen[128][GENERATE_ANSWER];
        int count[128] = {0}, kinds = 0, n = 0, most = 0;

        for (int i = 0; i < 4000; i++) {
            struct generate_item item = draw(cases[c].task, false, i);
            int k = 0;

            if (!is_type(&item, cases[c].type)) continue;
            while (k < kinds && strcmp(seen[k], item.answer) != 0) k++;
            if (k == kinds) strcpy(seen[kinds++], item.answer);
            if (++count[k] > most) most = count[k];
            n++;
        }
        assert_true(n > 400);
        assert_true(most < cases[c].most * n);
    }
}

/* ---- files */

static void equal_seeds_give_equal_bytes(void **state)
{
    (void)state;
    make_stream("a", 6, 5, 1);
    make_stream("b", 6, 5, 1);
    make_stream("c", 6, 5, 2);
    for (int task = 0; task < DOMAIN; task++) {
        static const char *const files[] = {"train.json", "test.json", "images/train-00005.png",
                                            "images/test-00000.png"};
        char file[64];

        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            snprintf(file, sizeof file, "%s/%s", generate_task_name(task), files[i]);
            assert_true(same_file("a", "b", file));
            assert_false(same_file("a", "c", file));
        }
    }
}

static void items_do_not_depend_on_how_many(void **state)
{
    (void)state;
    make_stream("few", 2, 1, 5);
    make_stream("more", 7, 3, 5);
    for (int task = 0; task < DOMAIN; task++) {
        char file[64];

        snprintf(file, sizeof file, "%s/images/train-00001.png", generate_task_name(task));
        assert_true(same_file("few", "more", file));
        snprintf(file, sizeof file, "%s/images/test-00000.png", generate_task_name(task));
        assert_true(same_file("few", "more", file));
    }
}

/* Every record has a picture of its own, and the test set is not the training set. */
static void pictures_differ(void **state)
{
    static const char *const names[] = {"train-00000.png", "train-00001.png", "train-00002.png", "test-00000.png",
                                        "test-00001.png"};
    char *bytes[5];
    size_t n[5];

    (void)state;
    make_stream("differ", 3, 2, 4);
    for (int task = 0; task < DOMAIN; task++) {
        for (int i = 0; i < 5; i++) {
            char path[3 * PATH_MAX];

            snprintf(path, sizeof path, "%s/differ/%s/images/%s", root, generate_task_name(task), names[i]);
            bytes[i] = slurp(path, &n[i]);
            for (int j = 0; j < i; j++) assert_false(n[i] == n[j] && memcmp(bytes[i], bytes[j], n[i]) == 0);
        }
        for (int i = 0; i < 5; i++) free(bytes[i]);
    }
}

/* The pixels of the first items, hashed (FNV-1a): another machine, compiler or optimisation must give the same. */
static void pixels_are_the_known_ones(void **state)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    (void)state;
    for (int task = 0; task < DOMAIN; task++)
        for (int i = 0; i < 20; i++) {
            struct generate_item item = draw(task, i % 2, i);
            struct generate_rng rng = {.state = (uint64_t)i};
            uint8_t rgb[SIDE * SIDE * 3];

            generate_noise(rgb, &item.canvas, &rng, item.deviation);
            for (size_t b = 0; b < sizeof rgb; b++) hash = (hash ^ rgb[b]) * UINT64_C(1099511628211);
        }
    assert_int_equal(hash, UINT64_C(0x32f1349d54490580));
}

static void noise_has_its_deviation(void **state)
{
    struct generate_canvas cv;
    struct generate_rng rng = {.state = 3};
    uint8_t rgb[SIDE * SIDE * 3];
    double sum = 0, square = 0, n = sizeof rgb;

    (void)state;
    generate_fill(&cv, generate_grey(128));
    generate_noise(rgb, &cv, &rng, 6);
    for (size_t i = 0; i < sizeof rgb; i++) {
        sum += rgb[i];
        square += (double)rgb[i] * rgb[i];
    }
    assert_true(sum / n > 127.2 && sum / n < 127.8); // cut to whole levels: half a level below 128
    assert_true(square / n - sum / n * sum / n > 33 && square / n - sum / n * sum / n < 39);
}

static const char *text_of(const json_t *record, const char *key)
{
    return json_string_value(json_object_get(record, key));
}

static void check_record(const json_t *record, const char *images, bool test, size_t turns_of)
{
    json_t *turns = json_object_get(record, "conversations"), *answers = json_object_get(record, "answers");
    const char *picture = text_of(record, "image"), *answer = text_of(json_array_get(turns, 1), "value");
    char path[4 * PATH_MAX];
    struct image im;

    assert_non_null(text_of(record, "id"));
    assert_non_null(picture);
    assert_int_equal(json_array_size(turns), turns_of);
    assert_string_equal(text_of(json_array_get(turns, 0), "from"), "human");
    assert_string_equal(text_of(json_array_get(turns, 1), "from"), "gpt");
    assert_memory_equal(text_of(json_array_get(turns, 0), "value"), "<image>\n", 8);
    assert_true(*answer);
    if (test) assert_string_equal(json_string_value(json_array_get(answers, 0)), answer);
    assert_int_equal(text_of(record, "question_type") != NULL, test);
    snprintf(path, sizeof path, "%s/%s", images, picture);
    if (image_load(&im, path, false)) fail_msg("%s", err_text());
    assert_int_equal(im.width, SIDE);
    assert_int_equal(im.height, SIDE);
    image_free(&im);
}

/* The records of both splits of a stream's tasks, each scored by the metric it should have. */
static void check_stream(const char *stream, const char *const *metrics, int n)
{
    struct generate_task tasks[GENERATE_MOST_TASKS];

    assert_int_equal(generate_stream_tasks(stream, tasks), n);
    make_one(stream, stream, 12, 9, 8);
    for (int i = 0; i < 2 * n; i++) {
        bool test = i % 2;
        char path[3 * PATH_MAX], images[3 * PATH_MAX];
        json_t *list;

        snprintf(path, sizeof path, "%s/%s/%s/%s.json", root, stream, tasks[i / 2].name, test ? "test" : "train");
        snprintf(images, sizeof images, "%s/%s/%s/images", root, stream, tasks[i / 2].name);
        list = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(list);
        assert_int_equal(json_array_size(list), test ? 9 : 12);
        for (size_t r = 0; r < json_array_size(list); r++)
            check_record(json_array_get(list, r), images, test, strcmp(tasks[i / 2].name, "conversation") ? 2 : 4);
        json_decref(list);
        assert_string_equal(tasks[i / 2].metric, metrics[i / 2]);
    }
}

static void records_are_conversations(void **state)
{
    (void)state;
    check_stream("domain", (const char *[]){"exact", "exact", "exact", "exact"}, 4);
    check_stream("capability", (const char *[]){"token_f1", "exact", "rouge_l"}, 3);
    check_stream(
        "dataset",
        (const char *[]){"scienceqa_llava", "exact", "imagenet", "gqa", "exact", "refcoco_acc50", "exact", "ocrvqa"},
        8);
}

static void bad_options_are_refused(void **state)
{
    struct generate_options o = {.dir = in_root("bad"), .stream = "nosuch", .train = 1, .test = 1};
    FILE *f;

    (void)state;
    assert_int_equal(generate_stream(&o), CL_EUSAGE);
    assert_non_null(strstr(err_text(), "nosuch"));
    o.stream = "domain";
    o.train = 0;
    assert_int_equal(generate_stream(&o), CL_EUSAGE);
    o.train = 1;
    o.test = 100000;
    assert_int_equal(generate_stream(&o), CL_EUSAGE);
    o.test = 1;
    o.dir = in_root("missing/below");
    assert_int_equal(generate_stream(&o), CL_EIO);
    assert_non_null(strstr(err_text(), "missing/below"));
    f = fopen(in_root("file"), "w");
    assert_non_null(f);
    fclose(f);
    o.dir = in_root("file/below");
    assert_int_equal(generate_stream(&o), CL_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chart_answers_fit),
        cmocka_unit_test(document_answers_fit),
        cmocka_unit_test(icon_answers_fit),
        cmocka_unit_test(medical_answers_fit),
        cmocka_unit_test(heldout_wording_is_for_tests),
        cmocka_unit_test(wordings_are_distinct),
        cmocka_unit_test(answers_are_balanced),
        cmocka_unit_test(equal_seeds_give_equal_bytes),
        cmocka_unit_test(items_do_not_depend_on_how_many),
        cmocka_unit_test(pictures_differ),
        cmocka_unit_test(pixels_are_the_known_ones),
        cmocka_unit_test(noise_has_its_deviation),
        cmocka_unit_test(records_are_conversations),
        cmocka_unit_test(bad_options_are_refused),
    };

    return cmocka_run_group_tests_name("generate", tests, group_setup, group_teardown);
}
