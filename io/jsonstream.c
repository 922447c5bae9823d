/* jsonstream.c - see jsonstream.h.
 *
 * Invariants: a container is left only at its own closing bracket; behind the outermost one only white space may come;
 * bytes of what is passed over are looked at, never kept.
 */
#include "io/jsonstream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "io/err.h"

enum { END = -1, FAILED = -2 };
static const size_t max_record = (size_t)64 << 20; // more means that a brace or quote is missing
static const size_t max_key = (size_t)64 << 10;

struct jsonstream {
    char *path;
    gzFile gz;
    int64_t size; // of the file, packed
    bool keyed, lines, member;
    char close; // of the container of records: ']' or '}'
    char last;  // what ended the last record: 0 before the first
    bool over;
    int64_t number;
    char *text; // (n) bytes of a record or key
    size_t n, room;
    json_t *key, *record;
    size_t at, have;
    int64_t before; // bytes in front of buf, unpacked
    unsigned char buf[1 << 16];
};

/* ---- bytes */

static int refill(struct jsonstream *s)
{
    int fault, got = gzread(s->gz, s->buf, sizeof s->buf);

    s->before += (int64_t)s->have;
    s->at = s->have = 0;
    gzerror(s->gz, &fault);
    if (got < 0 || (!got && fault != Z_OK)) return FAILED; // a packed file that ends early gives what it has first
    s->have = (size_t)got;
    return got ? 0 : END;
}

static inline int next_byte(struct jsonstream *s)
{
    int rc;

    if (s->at == s->have && (rc = refill(s)) < 0) return rc;
    return s->buf[s->at++];
}

static int next_solid(struct jsonstream *s)
{
    int c;

    do c = next_byte(s);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    return c;
}

static long long offset(const struct jsonstream *s)
{
    return (long long)(s->before + (int64_t)s->at);
}

/* Why next_byte gave no byte. */
static int no_byte(struct jsonstream *s, int c)
{
    int fault;
    const char *text = gzerror(s->gz, &fault);

    if (c == END)
        return err_set(CL_EFORMAT,
                       "ends early (at byte %lld): truncated, or a quote or brace is missing; hint: fetch it "
                       "again",
                       offset(s));
    if (fault == Z_ERRNO) return err_set(CL_EIO, "cannot be read: %s", strerror(errno));
    return err_set(CL_EFORMAT, "broken or truncated gzip file (%s); hint: fetch it again",
                   fault == Z_BUF_ERROR ? "it ends early" : text);
}

static int unexpected(struct jsonstream *s, int c, const char *expected)
{
    if (c < 0) return no_byte(s, c);
    return err_set(CL_EFORMAT, "byte %lld is '%c' (0x%02x), expected %s", offset(s) - 1, c >= 32 && c < 127 ? c : '?',
                   c, expected);
}

static int keep(struct jsonstream *s, int c, size_t most)
{
    if (s->n == s->room) {
        size_t room = s->room ? 2 * s->room : 4096;
        char *more = realloc(s->text, room);

        if (!more) return err_set(CL_ENOMEM, "out of memory for a record of %zu bytes", room);
        s->text = more;
        s->room = room;
    }
    if (s->n >= most)
        return err_set(CL_EFORMAT, "record %lld has no end within %zu KiB; hint: a quote or brace is missing in it",
                       (long long)s->number, most >> 10);
    s->text[s->n++] = (char)c;
    return CL_OK;
}

/* ---- values and keys */

/* A value whose first byte is c, up to the comma or closing bracket behind it (*end). kept: into text. */
static int take_value(struct jsonstream *s, int c, char close, bool kept, char *end)
{
    bool string = false, escape = false;
    int64_t depth = 0;
    int rc;

    s->n = 0;
    for (; c >= 0; c = next_byte(s)) {
        if (string) {
            string = escape || c != '"';
            escape = !escape && c == '\\';
        } else if (c == '"') {
            string = true;
        } else if (!depth && (c == ',' || c == close)) {
            *end = (char)c;
            return CL_OK;
        } else {
            depth += (c == '{' || c == '[') - ((c == '}' || c == ']') && depth);
        }
        if (kept) TRY(keep(s, c, max_record));
    }
    rc = no_byte(s, c);
done:
    return rc;
}

/* A key whose opening quote was read, and the colon: s->key. */
static int take_key(struct jsonstream *s)
{
    bool escape = false;
    json_error_t e;
    int c, rc;

    s->n = 0;
    TRY(keep(s, '"', max_key));
    for (;;) {
        if ((c = next_byte(s)) < 0) TRY(no_byte(s, c));
        TRY(keep(s, c, max_key));
        if (c == '"' && !escape) break;
        escape = !escape && c == '\\';
    }
    json_decref(s->key);
    s->key = json_loadb(s->text, s->n, JSON_DECODE_ANY, &e);
    if (!s->key) FAIL(CL_EFORMAT, "the key before byte %lld is not a JSON string: %s", offset(s), e.text);
    if ((c = next_solid(s)) != ':') TRY(unexpected(s, c, "':' behind a key"));
    rc = CL_OK;
done:
    return rc;
}

/* The next key of an object, or its end. last: what ended the member before, 0 for the first. */
static int next_key(struct jsonstream *s, char last, bool *more)
{
    int c = next_solid(s);

    *more = c != '}' || last;
    if (!*more) return CL_OK;
    return c == '"' ? take_key(s) : unexpected(s, c, "'\"' of a key");
}

/* ---- opening */

/* Passes over members of the top object up to the one asked for, and over the opening bracket of that. */
static int enter_member(struct jsonstream *s, const char *member)
{
    char last = 0;
    bool more;
    int c, rc;

    for (;;) {
        if (last != '}') TRY(next_key(s, last, &more));
        if (last == '}' || !more)
            FAIL(CL_EFORMAT, "has no \"%s\" (expected an object with that member); hint: is this the right file?",
                 member);
        c = next_solid(s);
        if (!strcmp(json_string_value(s->key), member)) break;
        TRY(take_value(s, c, '}', false, &last));
    }
    if (c != (s->keyed ? '{' : '[')) TRY(unexpected(s, c, s->keyed ? "'{' of an object" : "'[' of an array"));
    s->member = true;
    rc = CL_OK;
done:
    return rc;
}

static int enter(struct jsonstream *s, const char *member)
{
    int c = next_byte(s);

    if (c == 0xef && next_byte(s) == 0xbb && next_byte(s) == 0xbf) c = next_byte(s); // UTF-8 byte order mark
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') c = next_solid(s);
    if (c == END) return err_set(CL_EFORMAT, "is empty (expected JSON)");
    s->close = s->keyed ? '}' : ']';
    if (member) return c == '{' ? enter_member(s, member) : unexpected(s, c, "'{' of an object");
    if (s->keyed) return c == '{' ? CL_OK : unexpected(s, c, "'{' of an object keyed by id");
    s->lines = c == '{';
    if (s->lines) s->at--;
    return c == '[' || c == '{' ? CL_OK : unexpected(s, c, "'[' of an array or '{' of JSONL");
}

static int open_file(struct jsonstream *s)
{
    struct stat st;
    int rc, fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st)) FAIL(CL_EIO, "cannot be opened: %s; hint: check the path", strerror(errno));
    if (!S_ISREG(st.st_mode))
        FAIL(CL_EIO, "is %s (expected a JSON file)", S_ISDIR(st.st_mode) ? "a folder" : "no regular file");
    s->size = st.st_size;
    s->gz = gzdopen(fd, "rb");
    if (!s->gz || gzbuffer(s->gz, 1 << 17)) FAIL(CL_ENOMEM, "out of memory to read it");
    fd = -1;
    rc = CL_OK;
done:
    if (fd >= 0 && !s->gz) close(fd);
    return rc;
}

int jsonstream_open(struct jsonstream **out, const char *path, enum jsonstream_form form, const char *member)
{
    struct jsonstream *s = calloc(1, sizeof *s);
    int rc;

    *out = NULL;
    if (!s || !(s->path = strdup(path))) FAIL(CL_ENOMEM, "out of memory");
    s->keyed = form == JSONSTREAM_KEYED;
    TRY(open_file(s));
    TRY(enter(s, member));
    *out = s;
    return CL_OK;
done:
    err_prefix(rc, "%s", path);
    jsonstream_close(s);
    return rc;
}

void jsonstream_close(struct jsonstream *s)
{
    if (!s) return;
    if (s->gz) gzclose(s->gz);
    json_decref(s->key);
    json_decref(s->record);
    free(s->text);
    free(s->path);
    free(s);
}

/* ---- records */

/* Behind the records: the other members of the top object, then nothing but white space, else part of it would be lost. */
static int finish(struct jsonstream *s)
{
    char last = ',';
    bool more = true;
    int c, rc;

    s->over = true;
    if (s->member) {
        if ((c = next_solid(s)) != ',' && c != '}') TRY(unexpected(s, c, "',' or '}' behind the records"));
        for (last = (char)c; last != '}';) {
            TRY(next_key(s, last, &more));
            TRY(take_value(s, next_solid(s), '}', false, &last));
        }
    }
    if ((c = next_solid(s)) != END)
        TRY(unexpected(s, c, "the end of the file; hint: several arrays or objects in one file?"));
    rc = CL_OK;
done:
    return rc;
}

static int take_line(struct jsonstream *s, bool *more)
{
    int c = next_solid(s), rc;

    s->n = 0;
    s->number++;
    for (; c >= 0 && c != '\n'; c = next_byte(s)) TRY(keep(s, c, max_record));
    *more = s->n > 0;
    s->over = !*more;
    rc = c == FAILED ? no_byte(s, c) : CL_OK;
done:
    return rc;
}

/* The bytes of the next record into s->text. */
static int take_record(struct jsonstream *s, bool *more)
{
    int c, rc;

    *more = false;
    if (s->lines) return take_line(s, more);
    if (s->last == s->close) return finish(s);
    if (s->keyed) {
        TRY(next_key(s, s->last, more));
        if (!*more) return finish(s);
        c = next_solid(s);
    } else {
        c = next_solid(s);
        if (c == ']' && !s->last) return finish(s);
    }
    *more = true;
    s->number++;
    TRY(take_value(s, c, s->close, true, &s->last));
done:
    return rc;
}

/* jansson's text, with a word on what Python's json writes and JSON does not know. */
static int parse(struct jsonstream *s)
{
    json_error_t e;
    const char *hint = "";

    s->record = json_loadb(s->text, s->n, JSON_DECODE_ANY, &e);
    if (s->record) return CL_OK;
    if (!s->n) return err_set(CL_EDATA, "nothing there: a comma too many");
    if (json_error_code(&e) == json_error_invalid_utf8) return err_set(CL_EDATA, "not UTF-8: %s", e.text);
    if (memmem(s->text, s->n, "NaN", 3) || memmem(s->text, s->n, "Infinity", 8))
        hint = "; hint: NaN and Infinity are not JSON, write null";
    return err_set(CL_EDATA, "not JSON: %s (at character %d)%s", e.text, e.position, hint);
}

int jsonstream_next(struct jsonstream *s, const char **key, json_t **record, bool *more)
{
    int rc;

    json_decref(s->record);
    *record = s->record = NULL;
    *key = NULL;
    *more = false;
    if (s->over) return CL_OK;
    rc = take_record(s, more);
    if (rc) return s->over = true, *more = false, err_prefix(rc, "%s", s->path);
    if (!*more) return CL_OK;
    if (s->keyed) *key = json_string_value(s->key);
    rc = parse(s);
    *record = s->record;
    return rc;
}

int64_t jsonstream_number(const struct jsonstream *s)
{
    return s->number;
}

void jsonstream_place(struct jsonstream *s, int64_t *at, int64_t *size)
{
    *at = gzoffset(s->gz);
    *size = s->size;
}
