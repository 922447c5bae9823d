/* log.c - JSON lines into a file, progress onto stderr.
 *
 * A line is built in memory and written whole. If the disk takes only a part of it, the file is cut back to where the line
 * began, so that readers never meet half a line; the caller gets CL_EIO. On a terminal the bar is the last line of the
 * screen and is drawn over at most ten times a second; messages take its place and it is drawn again below them.
 */
#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/err.h"
#include "io/text.h"

static const double redraw = 0.1, plain_line = 5.0; // seconds between two states of the progress

struct phase {
    bool on, drawn; // running; a bar stands on the screen
    char what[120], unit[24], note[120];
    int64_t total, done, first; // first: done at the first step call, -1 before it
    double begun, first_at, shown;
};

struct log {
    int fd; // -1: no file
    char *path;
    bool regular; // can be cut back
    int64_t offset;
    struct text line;
    bool quiet, terminal;
    struct phase phase;
};

/* ---- the file ---- */

/* Bytes of the first `size` that end in a newline: a last line that was torn by a crash is left out. */
static int whole_lines(int fd, int64_t size, int64_t *whole)
{
    char part[4096];

    for (*whole = size; *whole > 0;) {
        int64_t from = *whole > (int64_t)sizeof part ? *whole - (int64_t)sizeof part : 0;
        ssize_t n = pread(fd, part, (size_t)(*whole - from), from);
        if (n != *whole - from) return CL_EIO;
        const char *newline = memrchr(part, '\n', (size_t)n);
        *whole = newline ? from + (newline - part) + 1 : from;
        if (newline) break;
    }
    return CL_OK;
}

static int open_file(struct log *l, const char *path, int64_t keep)
{
    int rc = CL_OK;
    struct stat st;

    l->path = strdup(path);
    if (!l->path) FAIL(CL_ENOMEM, "out of memory");
    l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (l->fd < 0) l->fd = open(path, O_WRONLY | O_CLOEXEC); // a pipe or a device
    if (l->fd < 0 || fstat(l->fd, &st))
        FAIL(CL_EIO, "%s: %s (expected a log file to append to)", path, strerror(errno));
    l->regular = S_ISREG(st.st_mode);
    if (!l->regular) goto done;
    if (keep > st.st_size)
        FAIL(CL_EMISMATCH, "%s: shorter than the checkpoint says (got %jd bytes, expected %" PRId64 " or more)", path,
             (intmax_t)st.st_size, keep);
    if (whole_lines(l->fd, keep < 0 ? st.st_size : keep, &l->offset))
        FAIL(CL_EIO, "%s: cannot be read: %s", path, strerror(errno));
    if (keep >= 0 && l->offset != keep)
        FAIL(CL_EMISMATCH, "%s: byte %" PRId64 " of the log ends no line; hint: it belongs to another run", path, keep);
    if (ftruncate(l->fd, l->offset) || lseek(l->fd, l->offset, SEEK_SET) < 0)
        FAIL(CL_EIO, "%s: cannot be cut to %" PRId64 " bytes: %s", path, l->offset, strerror(errno));
done:
    return rc;
}

int log_open(struct log **out, const char *path, int64_t keep)
{
    int rc;
    struct log *l = calloc(1, sizeof *l);

    *out = NULL;
    if (!l) return err_set(CL_ENOMEM, "out of memory");
    l->fd = -1;
    l->terminal = isatty(STDERR_FILENO);
    text_add(&l->line, "%1024s", ""); // room for a usual line now: a training step allocates nothing
    if (l->line.failed) FAIL(CL_ENOMEM, "out of memory");
    text_clear(&l->line);
    if (path) TRY(open_file(l, path, keep));
    *out = l;
    rc = CL_OK;
done:
    if (rc) log_close(l);
    return rc;
}

void log_close(struct log *l)
{
    if (!l) return;
    progress_end(l);
    if (l->fd >= 0) close(l->fd);
    text_free(&l->line);
    free(l->path);
    free(l);
}

int64_t log_offset(struct log *l)
{
    return l ? l->offset : 0;
}

/* ---- events ---- */

void log_begin(struct log *l, const char *event)
{
    struct timespec now;

    if (!l) return;
    clock_gettime(CLOCK_REALTIME, &now);
    text_clear(&l->line);
    text_add(&l->line, "{\"event\":");
    text_json(&l->line, event);
    text_add(&l->line, ",\"time\":%jd.%03ld", (intmax_t)now.tv_sec, now.tv_nsec / 1000000);
}

static void put_key(struct log *l, const char *key)
{
    text_add(&l->line, ",");
    text_json(&l->line, key);
    text_add(&l->line, ":");
}

void log_int(struct log *l, const char *key, int64_t v)
{
    if (!l) return;
    put_key(l, key);
    text_add(&l->line, "%" PRId64, v);
}

void log_num(struct log *l, const char *key, double v)
{
    if (!l) return;
    put_key(l, key);
    text_number(&l->line, v);
}

void log_str(struct log *l, const char *key, const char *v)
{
    if (!l) return;
    put_key(l, key);
    if (v)
        text_json(&l->line, v);
    else
        text_add(&l->line, "null");
}

int log_end(struct log *l)
{
    int rc;

    if (!l || l->fd < 0) return CL_OK;
    text_add(&l->line, "}\n");
    if (l->line.failed) return err_set(CL_ENOMEM, "out of memory for a log line");
    for (size_t done = 0; done < l->line.len;) {
        ssize_t n = write(l->fd, l->line.s + done, l->line.len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) FAIL(CL_EIO, "%s: cannot be written: %s", l->path, strerror(errno));
        done += (size_t)n;
    }
    l->offset += (int64_t)l->line.len;
    return CL_OK;
done:
    if (l->regular && (ftruncate(l->fd, l->offset) || lseek(l->fd, l->offset, SEEK_SET) < 0))
        err_prefix(rc, "%s may end in half a line", l->path);
    return rc;
}

int log_sync(struct log *l)
{
    if (!l || l->fd < 0 || !l->regular || !fdatasync(l->fd)) return CL_OK;
    return err_set(CL_EIO, "%s: cannot be written: %s", l->path, strerror(errno));
}

/* ---- stderr ---- */

/* What stderr does not take is nobody's loss. */
static void say(const char *s, size_t n)
{
    while (n) {
        ssize_t done = write(STDERR_FILENO, s, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return;
        s += done;
        n -= (size_t)done;
    }
}

/* A piece of a line: adds to s (room bytes, len used), never beyond. */
__attribute__((format(printf, 4, 5))) static void piece(char *s, size_t room, size_t *len, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(s + *len, room - *len, fmt, ap);
    va_end(ap);
    if (n > 0) *len += (size_t)n < room - *len ? (size_t)n : room - *len - 1;
}

static void piece_time(char *s, size_t room, size_t *len, double seconds)
{
    long t = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;

    if (t >= 3600)
        piece(s, room, len, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        piece(s, room, len, "%ld:%02ld", t / 60, t % 60);
}

/* ", 3.1 steps/s", or seconds per step where steps are slow; returns the rate, 0: not known yet. */
static double piece_rate(char *s, size_t room, size_t *len, const struct phase *p, double at)
{
    double rate =
        p->first >= 0 && p->done > p->first && at > p->first_at ? (double)(p->done - p->first) / (at - p->first_at) : 0;

    if (rate >= 0.5)
        piece(s, room, len, ", %.*f %s/s", rate < 10 ? 2 : rate < 100 ? 1 : 0, rate, p->unit);
    else if (rate > 0)
        piece(s, room, len, ", %.1f s each", 1 / rate);
    return rate;
}

/* "45/75 steps, 3.1 steps/s, 0:09 left, loss 0.712" */
static size_t describe(const struct phase *p, double at, char *s, size_t room)
{
    size_t len = 0;

    piece(s, room, &len, "%" PRId64, p->done);
    if (p->total > 0) piece(s, room, &len, "/%" PRId64, p->total);
    piece(s, room, &len, " %s", p->unit);
    double rate = piece_rate(s, room, &len, p, at);
    if (rate > 0 && p->total > p->done) {
        piece(s, room, &len, ", ");
        piece_time(s, room, &len, (double)(p->total - p->done) / rate);
        piece(s, room, &len, " left");
    }
    if (p->note[0]) piece(s, room, &len, ", %s", p->note);
    return len;
}

static size_t columns(void)
{
    struct winsize w;

    return !ioctl(STDERR_FILENO, TIOCGWINSZ, &w) && w.ws_col ? w.ws_col : 80;
}

/* "what [####....] 45/75 steps, .." over the last line of the screen, cut to its width between characters. */
static void draw(struct log *l, double at)
{
    enum { WIDEST = 30, LEAST = 6 };
    struct phase *p = &l->phase;
    char state[400], s[600];
    size_t len = 0, width = columns(), n = describe(p, at, state, sizeof state), used = strlen(p->what) + n + 5;

    piece(s, sizeof s, &len, "\r\033[K");
    size_t start = len;
    piece(s, sizeof s, &len, "%s ", p->what);
    if (p->total > 0 && used + LEAST < width) {
        int cells = width - used < WIDEST ? (int)(width - used) : WIDEST;
        int full = p->done >= p->total ? cells : (int)(p->done * cells / p->total);
        piece(s, sizeof s, &len, "[%.*s%.*s] ", full, "##############################", cells - full,
              "..............................");
    }
    piece(s, sizeof s, &len, "%s", state);
    if (len - start >= width) len = start + width - 1;
    while (len > start && ((unsigned char)s[len] & 0xc0) == 0x80) len--;
    say(s, len);
    p->drawn = true;
}

static void plain(struct log *l, double at)
{
    char state[400], s[600];
    size_t len = 0;

    describe(&l->phase, at, state, sizeof state);
    piece(s, sizeof s, &len, "%s: %s\n", l->phase.what, state);
    say(s, len);
}

void progress_begin(struct log *l, const char *what, int64_t total, const char *unit)
{
    if (!l) return;
    progress_end(l);
    struct phase *p = &l->phase;
    *p = (struct phase){.on = true, .total = total, .first = -1, .begun = clock_seconds()};
    p->shown = p->begun;
    snprintf(p->what, sizeof p->what, "%s", what);
    snprintf(p->unit, sizeof p->unit, "%s", unit);
    if (l->terminal && !l->quiet) draw(l, p->begun);
}

void progress_step(struct log *l, int64_t done, const char *note)
{
    if (!l || !l->phase.on) return;
    struct phase *p = &l->phase;
    double at = clock_seconds();
    p->done = done;
    snprintf(p->note, sizeof p->note, "%s", note ? note : "");
    if (p->first < 0) {
        p->first = done;
        p->first_at = at;
    }
    if (l->quiet || at - p->shown < (l->terminal ? redraw : plain_line)) return;
    p->shown = at;
    if (l->terminal)
        draw(l, at);
    else
        plain(l, at);
}

/* Leaves one line of the phase behind, in a file as on a screen: "what: 75 steps in 0:24, 3.1 steps/s, loss 0.7". */
void progress_end(struct log *l)
{
    char s[600];
    size_t len = 0;

    if (!l || !l->phase.on) return;
    struct phase *p = &l->phase;
    double at = clock_seconds();
    if (p->drawn) piece(s, sizeof s, &len, "\r\033[K");
    piece(s, sizeof s, &len, "%s: %" PRId64 " %s in ", p->what, p->done, p->unit);
    piece_time(s, sizeof s, &len, at - p->begun);
    piece_rate(s, sizeof s, &len, p, at);
    if (p->note[0]) piece(s, sizeof s, &len, ", %s", p->note);
    piece(s, sizeof s, &len, "\n");
    if (!l->quiet) say(s, len);
    p->on = p->drawn = false;
}

static void message(struct log *l, const char *before, const char *fmt, va_list ap)
{
    char s[2400];
    size_t len = 0;
    bool bar = l && l->phase.drawn;

    if (bar) piece(s, sizeof s - 1, &len, "\r\033[K");
    piece(s, sizeof s - 1, &len, "%s", before);
    int n = vsnprintf(s + len, sizeof s - 1 - len, fmt, ap);
    if (n > 0) len += (size_t)n < sizeof s - 1 - len ? (size_t)n : sizeof s - 2 - len;
    s[len++] = '\n'; // the byte kept free above
    say(s, len);
    if (bar) draw(l, clock_seconds());
}

void log_say(struct log *l, const char *fmt, ...)
{
    va_list ap;

    if (l && l->quiet) return;
    va_start(ap, fmt);
    message(l, "", fmt, ap);
    va_end(ap);
}

void log_warn(struct log *l, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    message(l, "cllava: warning: ", fmt, ap);
    va_end(ap);
}

void log_quiet(struct log *l, bool quiet)
{
    if (l) l->quiet = quiet;
}
