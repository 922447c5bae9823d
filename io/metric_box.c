/* metric_box.c - boxes x1, y1, x2, y2: overlap over union, and the grounding rules of lmms-eval and CoIN.
 *
 * Coordinates are continuous (no +1 pixel), neither clipped to the picture nor put in order. A text without a box is the box
 * 0, 0, 0, 0, which overlaps nothing.
 */
#include "io/metric_rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/metric_pattern.h"
#include "io/pystr.h"

enum { NONE = 0, FOUND = 1, NO_MEMORY = -1 };

/* Python's max and min: with NaN the first argument stays. */
static double greater(double a, double b)
{
    return b > a ? b : a;
}

static double smaller(double a, double b)
{
    return b < a ? b : a;
}

static double iou(const double *a, const double *b)
{
    double overlap =
        greater(0, smaller(a[2], b[2]) - greater(a[0], b[0])) * greater(0, smaller(a[3], b[3]) - greater(a[1], b[1]));
    double all = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap;

    return all > 0 && overlap / all > 0 ? overlap / all : 0; // inf / inf: nothing
}

int metric_numbers(const char *text, double *v, int room)
{
    char *copy = pystr_strip(text), *at = copy, *next;
    size_t length = copy ? strlen(copy) : 0;
    int n = 0;

    if (!copy) return -1;
    if (length > 1 && copy[0] == '[' && copy[length - 1] == ']') copy[length - 1] = 0, at++;
    for (; at; at = next) {
        double number;

        if ((next = strchr(at, ','))) *next++ = 0;
        if (!pystr_float(at, &number)) break;
        if (n < room) v[n] = number;
        n++;
    }
    n = at ? -1 : n;
    free(copy);
    return n;
}

/* The first bracketed group of four plain numbers in a text. */
static int first_group(const char *text, double *box)
{
    static const char regex[] =
        "\\[" PATTERN_SPACE "*(-?" PATTERN_DIGIT "+(?:\\." PATTERN_DIGIT "+)?)," PATTERN_SPACE "*(-?" PATTERN_DIGIT
        "+(?:\\." PATTERN_DIGIT "+)?)," PATTERN_SPACE "*(-?" PATTERN_DIGIT "+(?:\\." PATTERN_DIGIT "+)?)," PATTERN_SPACE
        "*(-?" PATTERN_DIGIT "+(?:\\." PATTERN_DIGIT "+)?)" PATTERN_SPACE "*\\]";
    struct pattern p;
    int found;

    if (pattern_open(&p, regex, text)) return NO_MEMORY;
    found = pattern_next(&p);
    for (int i = 0; i < 4 && found == FOUND; i++) {
        char *number = pattern_group(&p, i + 1);

        if (!number || !pystr_float(number, &box[i])) found = NO_MEMORY; // the pattern lets numbers through alone
        free(number);
    }
    pattern_close(&p);
    return found;
}

/* A text that is four numbers and nothing else, else the first group in it. */
static int box_of(const char *text, double *box)
{
    return metric_numbers(text, box, 4) == 4 ? FOUND : first_group(text, box);
}

static double overlap_of(const char *prediction, const char *reference, bool group_only)
{
    double p[4], r[4];
    int got = group_only ? first_group(prediction, p) : box_of(prediction, p), want = box_of(reference, r);

    if (got == NO_MEMORY || want == NO_MEMORY) return NAN;
    return got && want ? iou(p, r) : 0;
}

static double overlap(const char *prediction, const char *reference, const struct metric_options *o)
{
    (void)o;
    return overlap_of(prediction, reference, false);
}

double metric_iou(const char *prediction, const char *const *references, int n, const struct metric_options *o)
{
    return metric_best(overlap, prediction, references, n, o);
}

static double acc50(const char *prediction, const char *reference, const struct metric_options *o)
{
    double v = overlap_of(prediction, reference, true);

    (void)o;
    return isnan(v) ? v : v >= 0.5;
}

double metric_refcoco_acc50(const char *prediction, const char *const *references, int n,
                            const struct metric_options *o)
{
    return metric_best(acc50, prediction, references, n, o);
}

/* ---- CoIN: brackets out, then the first and last character cut, whatever they are */

/* What is left of a prediction; malloc'ed. */
static char *coin_cut(const char *s)
{
    char *out = malloc(strlen(s) + 1), *to = out, *body = NULL;
    size_t first, n, last = 0;

    if (!out) return NULL;
    if (*s == ' ') s++;
    for (; *s; s++)
        if (*s != '[' && *s != ']') *to++ = *s;
    *to = 0;
    pystr_at(out, &first);
    for (const char *p = out; *p; p += n) {
        pystr_at(p, &n);
        last = (size_t)(p - out);
    }
    body = last > first ? strndup(out + first, last - first) : strdup("");
    free(out);
    return body;
}

/* In pixels of the padded square, as there: IoU of the fractions would differ in the last bit. */
static double coin_grounding(const char *prediction, const char *reference, const struct metric_options *o)
{
    double side = o->width > o->height ? o->width : o->height, p[4], r[4];
    char *cut = coin_cut(prediction);
    int got = cut ? metric_numbers(cut, p, 4) : -1;

    if (!cut) return NAN;
    free(cut);
    if (got != 4 || metric_numbers(reference, r, 4) != 4) return 0;
    for (int i = 0; i < 4 && side > 0; i++) p[i] *= side, r[i] *= side;
    return iou(p, r) > 0.5;
}

double metric_coin_grounding(const char *prediction, const char *const *references, int n,
                             const struct metric_options *o)
{
    return metric_best(coin_grounding, prediction, references, n, o);
}

/* ---- a pixel box on the padded square */

int metric_pad_square_box(struct text *json, const char *prediction, const char *const *references, int n,
                          const struct metric_options *o)
{
    double b[4], size[2] = {o->width, o->height}, side, left, top;

    if (metric_numbers(prediction, b, 4) != 4)
        return err_set(CL_EDATA, "the prediction is no box (got %.60s, expected [x, y, width, height] in pixels)",
                       prediction);
    if (n && metric_numbers(references[0], size, 2) != 2)
        return err_set(CL_EDATA, "the reference is no size (got %.60s, expected [width, height])", references[0]);
    side = size[0] > size[1] ? size[0] : size[1];
    if (!(side > 0)) return err_set(CL_EDATA, "the picture has no size (got %g x %g)", size[0], size[1]);
    left = (side - size[0]) / 2, top = (side - size[1]) / 2;
    text_add(json, "[");
    text_number(json, (b[0] + left) / side);
    text_add(json, ", ");
    text_number(json, (b[1] + top) / side);
    text_add(json, ", ");
    text_number(json, (b[0] + b[2] + left) / side);
    text_add(json, ", ");
    text_number(json, (b[1] + b[3] + top) / side);
    text_add(json, "]");
    return CL_OK;
}
