/* dataset_scan.c - where one record ends and the next begins.
 *
 * In JSONL a record is a line. In an array it reaches to the comma or bracket that closes it: braces and brackets are
 * counted outside of strings, nothing else is understood here. What lies between is given to the JSON parser, so that a
 * broken record is reported by its own number and the next one is found all the same.
 */
#include "io/dataset_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"

enum { END = -1, FAILED = -2 };
static const size_t max_record = (size_t)64 << 20; // more means that a brace or quote is missing

static int refill(struct scan *s)
{
    ssize_t got;

    s->base += (int64_t)s->have;
    s->at = s->have = 0;
    do got = pread(s->fd, s->buf, sizeof s->buf, (off_t)s->base);
    while (got < 0 && errno == EINTR);
    if (got > 0) s->have = (size_t)got;
    return got > 0 ? 0 : got == 0 ? END : FAILED;
}

static inline int next_byte(struct scan *s)
{
    int rc;

    if (s->at == s->have && (rc = refill(s)) < 0) return rc;
    return (unsigned char)s->buf[s->at++];
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int next_solid(struct scan *s)
{
    int c;

    do c = next_byte(s);
    while (is_blank(c));
    return c;
}

static int64_t offset(const struct scan *s)
{
    return s->base + (int64_t)s->at;
}

static int read_failed(void)
{
    return err_set(CL_EIO, "cannot be read: %s", strerror(errno));
}

int scan_open(struct scan *s, int fd)
{
    int c, bom;

    memset(s, 0, sizeof *s);
    s->fd = fd;
    c = next_byte(s);
    if (c == 0xef) { // UTF-8 byte order mark
        bom = next_byte(s) == 0xbb && next_byte(s) == 0xbf;
        c = bom ? next_byte(s) : 0xef;
    }
    while (is_blank(c)) c = next_byte(s);
    if (c == FAILED) return read_failed();
    if (c == END)
        return err_set(CL_EFORMAT, "no records in it (expected a JSON array or JSONL); hint: is this the right file?");
    if (c == '[') {
        s->array = true;
        s->last = '[';
    } else if (c == '{') {
        s->at--;
    } else if (c == 0xff || c == 0xfe) {
        return err_set(CL_EFORMAT, "not UTF-8 (its first byte is 0x%02x, as in UTF-16); hint: convert it to UTF-8", c);
    } else {
        return err_set(CL_EFORMAT, "neither a JSON array nor JSONL (begins with byte 0x%02x, expected '[' or '{')", c);
    }
    return CL_OK;
}

void scan_close(struct scan *s)
{
    free(s->rec);
    s->rec = NULL;
}

static int keep(struct scan *s, int c)
{
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 4096;
        char *more;

        if (s->n >= max_record)
            return err_set(
                CL_EFORMAT,
                "record %lld (from byte %lld on) has no end within %zu MiB; hint: a quote or brace is missing in it",
                (long long)s->number, (long long)s->begin, max_record >> 20);
        more = realloc(s->rec, room);
        if (!more) return err_set(CL_ENOMEM, "out of memory for a record of %zu bytes", room);
        s->rec = more;
        s->room = room;
    }
    s->rec[s->n++] = (char)c;
    return CL_OK;
}

static int next_line(struct scan *s, bool *more)
{
    int c = next_solid(s), rc;

    s->number++;
    s->begin = offset(s) - 1;
    *more = c >= 0;
    while (c >= 0 && c != '\n') {
        TRY(keep(s, c));
        c = next_byte(s);
    }
    rc = c == FAILED ? read_failed() : CL_OK;
done:
    return rc;
}

/* Behind the array's end only white space may come: else a part of the file would be ignored. */
static int end_array(struct scan *s, bool *more)
{
    int c = next_solid(s);

    *more = false;
    if (c == FAILED) return read_failed();
    if (c != END)
        return err_set(CL_EFORMAT, "text behind the end of the array (at byte %lld); hint: several arrays in one file?",
                       (long long)offset(s) - 1);
    return CL_OK;
}

static int next_element(struct scan *s, bool *more)
{
    bool string = false, escape = false;
    int depth = 0, c, rc;

    if (s->last == ']') return end_array(s, more);
    c = next_solid(s);
    if (c == ']' && s->last == '[') {
        s->last = ']';
        return end_array(s, more);
    }
    s->number++;
    s->begin = offset(s) - 1;
    *more = true;
    for (; c >= 0; c = next_byte(s)) {
        if (string) {
            if (escape)
                escape = false;
            else if (c == '\\')
                escape = true;
            else if (c == '"')
                string = false;
        } else if (c == '"') {
            string = true;
        } else if (!depth && (c == ',' || c == ']')) {
            s->last = (char)c;
            return CL_OK;
        } else {
            depth += (c == '{' || c == '[') - ((c == '}' || c == ']') && depth);
        }
        TRY(keep(s, c));
    }
    if (c == FAILED) return read_failed();
    FAIL(CL_EFORMAT,
         "ends inside of record %lld (from byte %lld on): truncated, or a quote or brace is missing; hint: fetch it "
         "again",
         (long long)s->number, (long long)s->begin);
done:
    return rc;
}

int scan_next(struct scan *s, bool *more)
{
    s->n = 0;
    return s->array ? next_element(s, more) : next_line(s, more);
}
