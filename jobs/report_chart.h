/* report_chart.h - lines over an axis of whole numbers as an SVG picture: forgetting and loss curves. */
#ifndef CLLAVA_JOBS_REPORT_CHART_H
#define CLLAVA_JOBS_REPORT_CHART_H

#include "io/text.h"

struct chart_line {
    const char *name;    // in the legend
    const double *x, *y; // (n); NaN breaks the line
    int n;
};

struct chart {
    const char *title;
    double x0, x1, y0, y1;    // ends of the axes
    const char *const *ticks; // names at 0, 1, .. of x, NULL: numbers at both ends
    int nticks;
    bool points; // a dot at each value
};

void report_chart(struct text *t, const struct chart *c, const struct chart_line *line, int n);

#endif
