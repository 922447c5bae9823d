/* report_chart.c - see report_chart.h. */
#include "jobs/report_chart.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 460, HEIGHT = 260, LEFT = 52, TOP = 30, BOTTOM = 40, LEGEND = 18, COLOURS = 8, GRID = 4 };

static const char *const colours[COLOURS] = {"#08519c", "#d62728", "#2ca02c", "#ff7f0e",
                                             "#9467bd", "#8c564b", "#17becf", "#7f7f7f"};

static double at_x(const struct chart *c, double x)
{
    return LEFT + (WIDTH - LEFT - 10) * (c->x1 > c->x0 ? (x - c->x0) / (c->x1 - c->x0) : 0.5);
}

static double at_y(const struct chart *c, double y)
{
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (c->y1 > c->y0 ? (y - c->y0) / (c->y1 - c->y0) : 0.5);
}

static void label(struct text *t, double x, double y, const char *anchor, const char *s)
{
    text_add(t, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    text_markup(t, s);
    text_add(t, "</text>\n");
}

static void axes(struct text *t, const struct chart *c)
{
    char number[32];

    for (int i = 0; i <= GRID; i++) {
        double v = c->y0 + (c->y1 - c->y0) * i / GRID, y = at_y(c, v);
        text_add(t, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT, WIDTH - 10, y, y);
        snprintf(number, sizeof number, "%.3g", v);
        label(t, LEFT - 6, y + 4, "end", number);
    }
    for (int i = 0; i < c->nticks; i++) // the outer ones stay inside; neighbours of a long row stand at two heights
        label(t, at_x(c, i), HEIGHT - BOTTOM + (c->nticks > 5 && i % 2 ? 30 : 17),
              i == 0               ? "start"
              : i == c->nticks - 1 ? "end"
                                   : "middle",
              c->ticks[i]);
    if (c->nticks) return;
    snprintf(number, sizeof number, "%.6g", c->x0);
    label(t, at_x(c, c->x0), HEIGHT - BOTTOM + 18, "start", number);
    snprintf(number, sizeof number, "%.6g", c->x1);
    label(t, at_x(c, c->x1), HEIGHT - BOTTOM + 18, "end", number);
}

static void draw_line(struct text *t, const struct chart *c, const struct chart_line *l, const char *colour)
{
    bool open = false;

    text_add(t, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" d=\"", colour);
    for (int i = 0; i < l->n; i++) {
        if (isfinite(l->y[i])) text_add(t, "%c%.1f %.1f", open ? 'L' : 'M', at_x(c, l->x[i]), at_y(c, l->y[i]));
        open = isfinite(l->y[i]);
    }
    text_add(t, "\"/>\n");
    for (int i = 0; c->points && i < l->n; i++)
        if (isfinite(l->y[i]))
            text_add(t, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", at_x(c, l->x[i]), at_y(c, l->y[i]),
                     colour);
}

/* Names of the legend that fit into a row. */
static int per_row(const struct chart_line *line, int n)
{
    size_t longest = 0;

    for (int i = 0; i < n; i++)
        if (strlen(line[i].name) > longest) longest = strlen(line[i].name);
    return longest <= 16 ? 3 : 1;
}

void report_chart(struct text *t, const struct chart *c, const struct chart_line *line, int n)
{
    int row = per_row(line, n), height = HEIGHT + LEGEND * ((n + row - 1) / row);

    text_add(t,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
             "font-family=\"sans-serif\" font-size=\"11\" fill=\"#222\">\n",
             WIDTH, height, WIDTH, height);
    text_add(t, "<g font-weight=\"bold\" font-size=\"13\">");
    label(t, WIDTH / 2, 18, "middle", c->title);
    text_add(t, "</g>\n");
    axes(t, c);
    for (int i = 0; i < n; i++) {
        double x = LEFT + i % row * ((WIDTH - LEFT) / row), y = HEIGHT + LEGEND * (i / row);
        draw_line(t, c, &line[i], colours[i % COLOURS]);
        text_add(t, "<rect x=\"%.0f\" y=\"%.0f\" width=\"14\" height=\"4\" fill=\"%s\"/>\n", x, y - 2,
                 colours[i % COLOURS]);
        label(t, x + 20, y + 4, "start", line[i].name);
    }
    text_add(t, "</svg>\n");
}
