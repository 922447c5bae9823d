/* table.h - a table of texts in the forms that people want it: for a terminal, CSV, LaTeX, Markdown, HTML.
 *
 * Row 0 is the head. Texts may hold anything: each form escapes what is special to it. ± becomes \pm in LaTeX.
 */
#ifndef CLLAVA_JOBS_TABLE_H
#define CLLAVA_JOBS_TABLE_H

#include "io/text.h"

struct table {
    int rows, columns;
    char **cell; // (rows, columns), NULL: empty
    int names;   // columns that begin with text: set left, the others right
    bool failed; // memory ended
};

int table_new(struct table *t, int rows, int columns, int names);
void table_free(struct table *t);
void table_put(struct table *t, int row, int column, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

void table_plain(struct text *out, const struct table *t);
void table_csv(struct text *out, const struct table *t);
void table_latex(struct text *out, const struct table *t);
void table_markdown(struct text *out, const struct table *t);
void table_html(struct text *out, const struct table *t);
/* Text inside of HTML: < > & and quotes escaped, control characters left out. */
void table_html_text(struct text *out, const char *s);

typedef void table_form(struct text *out, const struct table *t);
/* path := the table in that form; NULL path: nothing. CL_EIO, CL_ENOMEM. */
int table_write(const char *path, table_form *form, const struct table *t);

#endif
