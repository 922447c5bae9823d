/* report_html.h - a report of runs side by side: one HTML file that needs nothing else, its tables also as CSV and LaTeX. */
#ifndef CLLAVA_JOBS_REPORT_HTML_H
#define CLLAVA_JOBS_REPORT_HTML_H

struct report_files {
    const char *html, *csv, *latex; // paths; NULL: not wanted
};

/* Reads the folders of n runs and writes the files. CL_EIO, CL_EFORMAT: a folder that holds no finished run; a file that cannot be
 * written. */
int report_runs(const char *const *dirs, int n, const struct report_files *files);

#endif
