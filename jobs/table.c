/* table.c - see table.h. */
#include "jobs/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/whole.h"

int table_new(struct table *t, int rows, int columns, int names)
{
    *t = (struct table){.rows = rows, .columns = columns, .names = names};
    t->cell = calloc((size_t)rows * (size_t)columns, sizeof *t->cell);
    return t->cell ? CL_OK : err_set(CL_ENOMEM, "no memory for a table");
}

void table_free(struct table *t)
{
    for (int i = 0; t->cell && i < t->rows * t->columns; i++) free(t->cell[i]);
    free(t->cell);
    *t = (struct table){0};
}

static const char *cell(const struct table *t, int row, int column)
{
    const char *s = t->cell[row * t->columns + column];

    return s ? s : "";
}

void table_put(struct table *t, int row, int column, const char *fmt, ...)
{
    char **at = &t->cell[row * t->columns + column], *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) s = NULL;
    va_end(ap);
    free(*at);
    *at = s;
    t->failed |= !s;
}

/* ---- terminal */

static int columns_of(const char *s)
{
    int n = 0;

    for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static int width_of(const struct table *t, int column)
{
    int width = 0;

    for (int r = 0; r < t->rows; r++) {
        int n = columns_of(cell(t, r, column));
        if (n > width) width = n;
    }
    return width;
}

void table_plain(struct text *out, const struct table *t)
{
    for (int r = 0; r < t->rows; r++) {
        for (int c = 0; c < t->columns; c++) {
            const char *s = cell(t, r, c);
            int pad = width_of(t, c) - columns_of(s);
            bool left = c < t->names;
            if (c) text_add(out, "  ");
            text_add(out, "%*s%s%*s", left ? 0 : pad, "", s, left && c + 1 < t->columns ? pad : 0, "");
        }
        text_add(out, "\n");
    }
}

/* ---- files */

void table_csv(struct text *out, const struct table *t)
{
    for (int r = 0; r < t->rows; r++)
        for (int c = 0; c < t->columns; c++) {
            const char *s = cell(t, r, c);
            bool quote = strpbrk(s, ",\"\r\n");
            if (quote) text_add(out, "\"");
            for (; *s; s++) text_add(out, quote && *s == '"' ? "\"\"" : "%c", *s);
            text_add(out, "%s%s", quote ? "\"" : "", c + 1 < t->columns ? "," : "\n");
        }
}

static bool is_plus_minus(const char *s)
{
    return !strncmp(s, "\xc2\xb1", 2);
}

static void latex_text(struct text *out, const char *s)
{
    for (; *s; s++) {
        if (is_plus_minus(s))
            text_add(out, "$\\pm$"), s++;
        else if (strchr("&%$#_{}", *s))
            text_add(out, "\\%c", *s);
        else if (*s == '\\' || *s == '~' || *s == '^')
            text_add(out, "\\%s{}", *s == '\\' ? "textbackslash" : *s == '~' ? "textasciitilde" : "textasciicircum");
        else if (*s == '<' || *s == '>')
            text_add(out, "$%c$", *s);
        else if ((unsigned char)*s >= 32)
            text_add(out, "%c", *s);
    }
}

void table_latex(struct text *out, const struct table *t)
{
    text_add(out, "\\begin{tabular}{");
    for (int c = 0; c < t->columns; c++) text_add(out, c < t->names ? "l" : "r");
    text_add(out, "}\n\\hline\n");
    for (int r = 0; r < t->rows; r++) {
        for (int c = 0; c < t->columns; c++) {
            latex_text(out, cell(t, r, c));
            text_add(out, c + 1 < t->columns ? " & " : " \\\\\n");
        }
        if (!r) text_add(out, "\\hline\n");
    }
    text_add(out, "\\hline\n\\end{tabular}\n");
}

void table_markdown(struct text *out, const struct table *t)
{
    for (int r = 0; r < t->rows; r++) {
        text_add(out, "|");
        for (int c = 0; c < t->columns; c++) {
            text_add(out, " ");
            for (const char *s = cell(t, r, c); *s; s++)
                if ((unsigned char)*s >= 32) text_add(out, strchr("|\\`*<>", *s) ? "\\%c" : "%c", *s);
            text_add(out, " |");
        }
        text_add(out, "\n");
        if (r) continue;
        text_add(out, "|");
        for (int c = 0; c < t->columns; c++) text_add(out, c < t->names ? "---|" : "---:|");
        text_add(out, "\n");
    }
}

void table_html_text(struct text *out, const char *s)
{
    for (; *s; s++) {
        if (strchr("&<>\"'", *s))
            text_add(out, "&#%d;", *s);
        else if ((unsigned char)*s >= 32)
            text_add(out, "%c", *s);
    }
}

void table_html(struct text *out, const struct table *t)
{
    text_add(out, "<table>\n");
    for (int r = 0; r < t->rows; r++) {
        text_add(out, "<tr>");
        for (int c = 0; c < t->columns; c++) {
            text_add(out, "<%s%s>", r ? "td" : "th", c < t->names ? " class=\"name\"" : "");
            table_html_text(out, cell(t, r, c));
            text_add(out, "</%s>", r ? "td" : "th");
        }
        text_add(out, "</tr>\n");
    }
    text_add(out, "</table>\n");
}

int table_write(const char *path, table_form *form, const struct table *t)
{
    int rc;
    struct text out = {0};

    if (!path) return CL_OK;
    form(&out, t);
    rc = out.failed || t->failed ? err_set(CL_ENOMEM, "no memory for a table") : whole_write_path(path, out.s, out.len);
    text_free(&out);
    return rc;
}
