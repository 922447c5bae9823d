/* log.h - every event once, as one JSON line; progress, reports and status read that.
 *
 *     log_begin(l, "stage2"); log_int(l, "task", 0); log_num(l, "loss", 0.7); log_end(l);
 *
 * writes {"event":"stage2","time":1763836085.123,"task":0,"loss":0.7}. Numbers are written so that they read back to the
 * same double (%.17g shortest form); NaN and infinity become null. A line is written with one write(2), so that a killed
 * run ends with a whole line or nothing of it. A progress line goes to stderr: a bar with rate and time left on a terminal,
 * plain lines now and then in a file.
 */
#ifndef CLLAVA_IO_LOG_H
#define CLLAVA_IO_LOG_H

#include <stdbool.h>
#include <stdint.h>

struct log;

/* Appends to path; keep: bytes of an existing file that stay (a resumed run cuts off what came after its checkpoint),
 * -1: all whole lines of it. path NULL: no file, only progress. CL_EIO: cannot be opened; CL_EMISMATCH: shorter than keep,
 * or keep does not end a line. All functions below take a NULL log: they then only speak to the user. */
int log_open(struct log **l, const char *path, int64_t keep);
void log_close(struct log *l);
int64_t log_offset(struct log *l); // bytes written so far: where a resume cuts

void log_begin(struct log *l, const char *event);
void log_int(struct log *l, const char *key, int64_t v);
void log_num(struct log *l, const char *key, double v);
void log_str(struct log *l, const char *key, const char *v);
int log_end(struct log *l);  // CL_EIO when the line could not be written
int log_sync(struct log *l); // onto the disk: what a checkpoint counts on must not be lost before it

/* Progress of one phase, e.g. ("task 1/4 chart: stage 2", 75 steps; total 0: unknown). The rate counts from the first
 * progress_step, which a resumed phase gives what was done before. quiet runs print nothing. */
void progress_begin(struct log *l, const char *what, int64_t total, const char *unit);
void progress_step(struct log *l, int64_t done, const char *note); // note: "loss 0.712", may be NULL
void progress_end(struct log *l);
/* A line for the user on stderr, bar moved out of the way. */
void log_say(struct log *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_quiet(struct log *l, bool quiet);
/* Same as log_say with "cllava: warning: ", and never quiet. */
void log_warn(struct log *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
