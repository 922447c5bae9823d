/* pickle.c - the stack machine of a pickle, reduced to what builds plain data.
 *
 * Invariants: every byte is read at most once and every length is checked against what is left, so memory stays within a
 * constant times the size of the file; items are pointers, so a value that is used often exists once; an instruction that
 * is not in the table ends the reading.
 */
#include "io/pickle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"

static const size_t max_file = (size_t)1 << 30;
enum { BLOCK = 1 << 18 };

struct block {
    struct block *next;
    size_t used, room;
    _Alignas(16) char bytes[];
};

struct pickle {
    struct block *blocks;
    struct pickle_value *root;
};

struct machine {
    struct pickle *p;
    const unsigned char *at, *begin, *end;
    struct pickle_value **stack; // (depth); NULL stands for a mark
    size_t depth, room;
    struct pickle_value **memo; // (memos)
    size_t memos, stored;       // stored: the number that MEMOIZE gives next
    unsigned char op;
    const unsigned char *op_at;
};

/* ---- memory */

static void *arena(struct pickle *p, size_t n)
{
    struct block *b = p->blocks;

    n = (n + 15) & ~(size_t)15;
    if (!b || b->room - b->used < n) {
        size_t room = n > BLOCK ? n : BLOCK;

        b = malloc(sizeof *b + room);
        if (!b) return NULL;
        *b = (struct block){.next = p->blocks, .room = room};
        p->blocks = b;
    }
    b->used += n;
    return b->bytes + b->used - n;
}

void pickle_close(struct pickle *p)
{
    if (!p) return;
    for (struct block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(p);
}

const struct pickle_value *pickle_root(const struct pickle *p)
{
    return p->root;
}

static int out_of_memory(void)
{
    return err_set(CL_ENOMEM, "out of memory for a pickle");
}

static int broken(const struct machine *m, const char *what)
{
    return err_set(CL_EFORMAT, "not a usable pickle: %s (at byte %zu); hint: fetch it again", what,
                   (size_t)(m->op_at - m->begin));
}

/* ---- bytes */

static int take(struct machine *m, size_t n, const unsigned char **bytes)
{
    *bytes = m->at;
    if ((size_t)(m->end - m->at) < n) return broken(m, "it ends early");
    m->at += n;
    return CL_OK;
}

/* An unsigned little-endian number of 1 to 8 bytes. */
static int take_number(struct machine *m, size_t bytes, uint64_t *v)
{
    const unsigned char *b;
    int rc = take(m, bytes, &b);

    *v = 0;
    for (size_t i = 0; !rc && i < bytes; i++) *v |= (uint64_t)b[i] << 8 * i;
    return rc;
}

/* Up to the end of a line, without it. */
static int take_line(struct machine *m, const char **line, size_t *n)
{
    const unsigned char *end = memchr(m->at, '\n', (size_t)(m->end - m->at));

    *line = (const char *)m->at;
    *n = end ? (size_t)(end - m->at) : 0;
    if (!end) return broken(m, "it ends early");
    m->at = end + 1;
    return CL_OK;
}

/* ---- the stack */

static int push(struct machine *m, struct pickle_value *v)
{
    if (m->depth == m->room) {
        size_t room = m->room ? 2 * m->room : 1024;
        struct pickle_value **more = realloc(m->stack, room * sizeof *more);

        if (!more) return out_of_memory();
        m->stack = more;
        m->room = room;
    }
    m->stack[m->depth++] = v;
    return CL_OK;
}

static int push_new(struct machine *m, struct pickle_value v)
{
    struct pickle_value *kept = arena(m->p, sizeof *kept);

    if (!kept) return out_of_memory();
    *kept = v;
    return push(m, kept);
}

static int push_integer(struct machine *m, int64_t v)
{
    return push_new(m, (struct pickle_value){.kind = PICKLE_INT, .integer = v});
}

static int push_text(struct machine *m, const char *s, size_t n)
{
    char *kept = arena(m->p, n + 1);

    if (!kept) return out_of_memory();
    memcpy(kept, s, n);
    kept[n] = 0;
    return push_new(m, (struct pickle_value){.kind = PICKLE_TEXT, .text = {kept, n}});
}

/* The value on top, which must be of a kind (-1: of any). */
static int top(struct machine *m, int kind, struct pickle_value **v)
{
    *v = m->depth ? m->stack[m->depth - 1] : NULL;
    if (!*v) return broken(m, "an instruction finds nothing to work on");
    if (kind >= 0 && (int)(*v)->kind != kind)
        return broken(m, "an instruction finds another kind of value than it works on");
    return CL_OK;
}

/* Takes the values above the last mark off, and the mark: they still lie at stack[depth + 1 ..]. */
static int pop_mark(struct machine *m, size_t *n)
{
    size_t i = m->depth;

    while (i && m->stack[i - 1]) i--;
    if (!i) return broken(m, "a mark is missing");
    *n = m->depth - i;
    m->depth = i - 1;
    return CL_OK;
}

static int add_items(struct machine *m, struct pickle_value *to, struct pickle_value **item, size_t n)
{
    if (to->list.room - to->list.n < n) {
        size_t room = to->list.room ? 2 * to->list.room : 4;
        struct pickle_value **more;

        if (room < to->list.n + n) room = to->list.n + n;
        more = arena(m->p, room * sizeof *more);
        if (!more) return out_of_memory();
        if (to->list.n) memcpy(more, to->list.item, to->list.n * sizeof *more);
        to->list.item = more;
        to->list.room = room;
    }
    if (n) memcpy(to->list.item + to->list.n, item, n * sizeof *item);
    to->list.n += n;
    return CL_OK;
}

/* The n values above stack[depth] become one list or dict. */
static int build(struct machine *m, enum pickle_kind kind, size_t from, size_t n)
{
    struct pickle_value v = {.kind = kind};
    int rc;

    if (kind == PICKLE_DICT && n % 2) return broken(m, "a key without a value");
    TRY(add_items(m, &v, m->stack + from, n));
    TRY(push_new(m, v));
done:
    return rc;
}

/* APPENDS, SETITEMS: what stands above the mark goes into what stands below it. */
static int extend(struct machine *m, enum pickle_kind kind)
{
    struct pickle_value *to;
    size_t n, from;
    int rc;

    TRY(pop_mark(m, &n));
    from = m->depth + 1;
    TRY(top(m, kind, &to));
    if (kind == PICKLE_DICT && n % 2) return broken(m, "a key without a value");
    TRY(add_items(m, to, m->stack + from, n));
done:
    return rc;
}

/* APPEND, SETITEM: the same for the last n values. */
static int extend_by(struct machine *m, enum pickle_kind kind, size_t n)
{
    struct pickle_value *v;
    int rc;

    for (size_t i = 1; i <= n; i++)
        if (m->depth < i || !m->stack[m->depth - i]) return broken(m, "an instruction finds nothing to work on");
    m->depth -= n;
    TRY(top(m, kind, &v));
    TRY(add_items(m, v, m->stack + m->depth, n));
done:
    return rc;
}

static int build_tuple(struct machine *m, size_t n)
{
    for (size_t i = 1; i <= n; i++)
        if (m->depth < i || !m->stack[m->depth - i]) return broken(m, "an instruction finds nothing to work on");
    m->depth -= n;
    return build(m, PICKLE_LIST, m->depth, n);
}

static int build_marked(struct machine *m, enum pickle_kind kind)
{
    size_t n;
    int rc = pop_mark(m, &n);

    return rc ? rc : build(m, kind, m->depth + 1, n);
}

/* ---- the memo */

static int memo_put(struct machine *m, uint64_t i)
{
    struct pickle_value *v;
    int rc;

    TRY(top(m, -1, &v));
    if (i > (uint64_t)(m->end - m->begin)) return broken(m, "a memo number beyond the size of the file");
    if (i >= m->memos) {
        size_t room = m->memos ? 2 * m->memos : 1024;
        struct pickle_value **more;

        if (room <= i) room = (size_t)i + 1;
        more = realloc(m->memo, room * sizeof *more);
        if (!more) return out_of_memory();
        memset(more + m->memos, 0, (room - m->memos) * sizeof *more);
        m->memo = more;
        m->memos = room;
    }
    m->stored += !m->memo[i];
    m->memo[i] = v;
    rc = CL_OK;
done:
    return rc;
}

static int memo_get(struct machine *m, uint64_t i)
{
    if (i >= m->memos || !m->memo[i]) return broken(m, "it recalls what it never stored");
    return push(m, m->memo[i]);
}

/* ---- numbers and texts in lines (protocol 0) */

static int parse_integer(struct machine *m, int64_t *v)
{
    char digits[32], *end;
    const char *line;
    size_t n;
    int rc;

    TRY(take_line(m, &line, &n));
    if (n && line[n - 1] == 'L') n--;
    if (!n || n >= sizeof digits) return broken(m, "an integer that is none or has more than 64 bits");
    memcpy(digits, line, n);
    digits[n] = 0;
    errno = 0;
    *v = strtoll(digits, &end, 10);
    if (end != digits + n || errno) return broken(m, "an integer that is none or has more than 64 bits");
    rc = CL_OK;
done:
    return rc;
}

/* I: integer, or 00 and 01 for bool. */
static int line_integer(struct machine *m)
{
    const unsigned char *line = m->at;
    int64_t v;
    int rc;

    TRY(parse_integer(m, &v));
    if (m->op == 'I' && m->at - line == 3 && line[0] == '0' && v >= 0 && v <= 1)
        return push_new(m, (struct pickle_value){.kind = PICKLE_BOOL, .truth = v == 1});
    TRY(push_integer(m, v));
done:
    return rc;
}

static int line_float(struct machine *m)
{
    char digits[64], *end;
    const char *line;
    size_t n;
    double v;
    int rc;

    TRY(take_line(m, &line, &n));
    if (!n || n >= sizeof digits) return broken(m, "a number that is none");
    memcpy(digits, line, n);
    digits[n] = 0;
    v = strtod(digits, &end);
    if (end != digits + n) return broken(m, "a number that is none");
    TRY(push_new(m, (struct pickle_value){.kind = PICKLE_FLOAT, .real = v}));
done:
    return rc;
}

static size_t put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) return to[0] = (char)c, 1;
    if (c < 0x800) return to[0] = (char)(0xc0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 63)), to[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18), to[1] = (char)(0x80 | (c >> 12 & 63));
    to[2] = (char)(0x80 | (c >> 6 & 63)), to[3] = (char)(0x80 | (c & 63));
    return 4;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* n hexadecimal digits at s; false where there are fewer. */
static bool hex_number(const char *s, const char *end, int n, uint32_t *v)
{
    *v = 0;
    if (end - s < n) return false;
    for (int i = 0; i < n; i++) {
        if (hex(s[i]) < 0) return false;
        *v = *v << 4 | (uint32_t)hex(s[i]);
    }
    return true;
}

/* One \uXXXX or \UXXXXXXXX at s (behind the backslash); narrow builds of Python wrote surrogate pairs. */
static const char *unicode_escape(const char *s, const char *end, uint32_t *c)
{
    uint32_t low;

    if (s >= end || !hex_number(s + 1, end, *s == 'u' ? 4 : 8, c)) return NULL;
    s += *s == 'u' ? 5 : 9;
    if (*c >= 0xd800 && *c < 0xdc00 && end - s >= 6 && s[0] == '\\' && s[1] == 'u' && hex_number(s + 2, end, 4, &low) &&
        low >= 0xdc00 && low < 0xe000) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        s += 6;
    }
    return *c <= 0x10ffff ? s : NULL;
}

/* V: Latin-1 with \u escapes. At most twice as long in UTF-8. */
static int line_unicode(struct machine *m)
{
    const char *s, *end;
    char *text = NULL;
    size_t n, k = 0;
    int rc;

    TRY(take_line(m, &s, &n));
    if (!(text = malloc(2 * n + 1))) return out_of_memory();
    for (end = s + n; s < end;) {
        uint32_t c = (unsigned char)*s++;

        if (c == '\\' && s < end && (*s == 'u' || *s == 'U') && !(s = unicode_escape(s, end, &c))) {
            rc = broken(m, "a \\u escape that is none");
            goto done;
        }
        k += put_utf8(text + k, c);
    }
    TRY(push_text(m, text, k));
done:
    free(text);
    return rc;
}

/* One escape of a Python string literal at s (behind the backslash). */
static const char *literal_escape(const char *s, const char *end, uint32_t *c)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *plain = memchr(from, *s, sizeof from - 1);

    if (plain) return *c = (unsigned char)to[plain - from], s + 1;
    if (*s == 'x') return hex_number(s + 1, end, 2, c) ? s + 3 : NULL;
    return *c = '\\', s; // unknown: the backslash stands for itself
}

static bool is_utf8(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t k = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;

        if (!k || n - i < k) return false;
        for (size_t j = 1; j < k; j++)
            if (((unsigned char)s[i + j] & 0xc0) != 0x80) return false;
        i += k;
    }
    return true;
}

/* Text of Python 2, whose encoding nobody wrote down. */
static int push_bytes(struct machine *m, const char *s, size_t n)
{
    char *text;
    size_t k = 0;
    int rc;

    if (is_utf8(s, n)) return push_text(m, s, n);
    if (!(text = malloc(2 * n + 1))) return out_of_memory();
    for (size_t i = 0; i < n; i++) k += put_utf8(text + k, (unsigned char)s[i]);
    rc = push_text(m, text, k);
    free(text);
    return rc;
}

/* S: a string literal as Python writes it. */
static int line_literal(struct machine *m)
{
    const char *s, *end;
    char *text = NULL;
    size_t n, k = 0;
    int rc;

    TRY(take_line(m, &s, &n));
    if (n < 2 || (*s != '\'' && *s != '"') || s[n - 1] != *s) return broken(m, "a string without quotes");
    if (!(text = malloc(n))) return out_of_memory();
    end = s + n - 1;
    for (s++; s < end;) {
        uint32_t c = (unsigned char)*s++;

        if (c == '\\' && (s == end || !(s = literal_escape(s, end, &c)))) {
            rc = broken(m, "an escape in a string that is none");
            goto done;
        }
        text[k++] = (char)c;
    }
    rc = push_bytes(m, text, k);
done:
    free(text);
    return rc;
}

/* ---- binary numbers and texts */

static int sized_text(struct machine *m, size_t size_bytes, bool bytes)
{
    const unsigned char *s;
    uint64_t n;
    int rc;

    TRY(take_number(m, size_bytes, &n));
    if (n > (uint64_t)(m->end - m->at)) return broken(m, "it ends early");
    TRY(take(m, (size_t)n, &s));
    TRY(bytes ? push_bytes(m, (const char *)s, (size_t)n) : push_text(m, (const char *)s, (size_t)n));
done:
    return rc;
}

/* LONG1, LONG4: two's complement of a given length. */
static int sized_integer(struct machine *m, size_t size_bytes)
{
    uint64_t n, v;
    int rc;

    TRY(take_number(m, size_bytes, &n));
    if (n > 8) return broken(m, "an integer of more than 64 bits");
    TRY(take_number(m, (size_t)n, &v));
    if (n && n < 8 && v >> (8 * n - 1)) v |= ~(uint64_t)0 << 8 * n;
    TRY(push_integer(m, (int64_t)v));
done:
    return rc;
}

static int binary_float(struct machine *m)
{
    const unsigned char *b;
    uint64_t bits = 0;
    double v;
    int rc;

    TRY(take(m, 8, &b));
    for (int i = 0; i < 8; i++) bits = bits << 8 | b[i];
    memcpy(&v, &bits, sizeof v);
    TRY(push_new(m, (struct pickle_value){.kind = PICKLE_FLOAT, .real = v}));
done:
    return rc;
}

static int binary_integer(struct machine *m, size_t bytes)
{
    uint64_t v;
    int rc = take_number(m, bytes, &v);

    return rc ? rc : push_integer(m, bytes == 4 ? (int32_t)(uint32_t)v : (int64_t)v);
}

static int numbered(struct machine *m, size_t bytes, int (*then)(struct machine *m, uint64_t i))
{
    uint64_t i;
    int rc = take_number(m, bytes, &i);

    return rc ? rc : then(m, i);
}

static int numbered_line(struct machine *m, int (*then)(struct machine *m, uint64_t i))
{
    int64_t i;
    int rc = parse_integer(m, &i);

    return rc ? rc : i < 0 ? broken(m, "a negative memo number") : then(m, (uint64_t)i);
}

/* ---- instructions */

static int drop_top(struct machine *m)
{
    if (!m->depth) return broken(m, "an instruction finds nothing to work on");
    m->depth--;
    return CL_OK;
}

static int drop_marked(struct machine *m)
{
    size_t n;

    return pop_mark(m, &n);
}

static int twice(struct machine *m)
{
    struct pickle_value *v;
    int rc = top(m, -1, &v);

    return rc ? rc : push(m, v);
}

static int skip(struct machine *m, size_t n)
{
    const unsigned char *b;

    return take(m, n, &b);
}

static int protocol(struct machine *m)
{
    uint64_t v;
    int rc = take_number(m, 1, &v);

    return rc ? rc : v > 5 ? broken(m, "protocol newer than 5") : CL_OK;
}

/* What is not plain data: names what the file asks for. */
static int refuse(struct machine *m)
{
    static const struct {
        unsigned char op;
        const char *name;
    } known[] = {
        {'c', "GLOBAL"},     {0x93, "STACK_GLOBAL"}, {'R', "REDUCE"},          {'b', "BUILD"},      {'i', "INST"},
        {'o', "OBJ"},        {0x81, "NEWOBJ"},       {0x92, "NEWOBJ_EX"},      {'P', "PERSID"},     {'Q', "BINPERSID"},
        {0x82, "EXT1"},      {0x83, "EXT2"},         {0x84, "EXT4"},           {0x8f, "EMPTY_SET"}, {0x90, "ADDITEMS"},
        {0x91, "FROZENSET"}, {0x97, "NEXT_BUFFER"},  {0x98, "READONLY_BUFFER"}};
    char asked[160] = "";
    const unsigned char *line = m->at, *end = m->end;

    if (m->op == 'c' || m->op == 'i')
        for (int k = 0; k < 2; k++) { // module and name, a line each
            const unsigned char *stop = memchr(line, '\n', (size_t)(end - line));
            size_t have = strlen(asked);

            if (!stop) break;
            snprintf(asked + have, sizeof asked - have, "%s%.*s", k ? "." : " of ",
                     (int)(stop - line > 60 ? 60 : stop - line), (const char *)line);
            line = stop + 1;
        }
    for (char *c = asked; *c; c++)
        if ((unsigned char)*c < 32 || (unsigned char)*c > 126) *c = '?';
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].op == m->op)
            return err_set(
                CL_EFORMAT,
                "holds more than plain data: instruction %s%s at byte %zu would create an object (expected "
                "numbers, texts, lists, dicts); hint: if you trust it, write it as JSON with Python's json.dump",
                known[i].name, asked, (size_t)(m->op_at - m->begin));
    return err_set(CL_EFORMAT, "not a pickle: unknown instruction 0x%02x at byte %zu; hint: is this the right file?",
                   m->op, (size_t)(m->op_at - m->begin));
}

static int constant(struct machine *m, enum pickle_kind kind, bool truth)
{
    return push_new(m, (struct pickle_value){.kind = kind, .truth = truth});
}

static int step(struct machine *m)
{
    switch (m->op) {
    case 0x80: return protocol(m);
    case 0x95: return skip(m, 8); // FRAME: how much may be read ahead
    case 'N': return constant(m, PICKLE_NONE, false);
    case 0x88: return constant(m, PICKLE_BOOL, true);
    case 0x89: return constant(m, PICKLE_BOOL, false);
    case 'I':
    case 'L': return line_integer(m);
    case 'J': return binary_integer(m, 4);
    case 'K': return binary_integer(m, 1);
    case 'M': return binary_integer(m, 2);
    case 0x8a: return sized_integer(m, 1);
    case 0x8b: return sized_integer(m, 4);
    case 'F': return line_float(m);
    case 'G': return binary_float(m);
    case 'S': return line_literal(m);
    case 'V': return line_unicode(m);
    case 'U': return sized_text(m, 1, true); // str of Python 2
    case 'T': return sized_text(m, 4, true);
    case 'C': return sized_text(m, 1, true); // bytes
    case 'B': return sized_text(m, 4, true);
    case 0x8e: return sized_text(m, 8, true);
    case 0x96: return sized_text(m, 8, true); // bytearray
    case 0x8c: return sized_text(m, 1, false);
    case 'X': return sized_text(m, 4, false);
    case 0x8d: return sized_text(m, 8, false);
    case '(': return push(m, NULL);
    case '0': return drop_top(m);
    case '1': return drop_marked(m);
    case '2': return twice(m);
    case ']':
    case ')': return build(m, PICKLE_LIST, m->depth, 0);
    case '}': return build(m, PICKLE_DICT, m->depth, 0);
    case 'l':
    case 't': return build_marked(m, PICKLE_LIST);
    case 'd': return build_marked(m, PICKLE_DICT);
    case 0x85: return build_tuple(m, 1);
    case 0x86: return build_tuple(m, 2);
    case 0x87: return build_tuple(m, 3);
    case 'a': return extend_by(m, PICKLE_LIST, 1);
    case 's': return extend_by(m, PICKLE_DICT, 2);
    case 'e': return extend(m, PICKLE_LIST);
    case 'u': return extend(m, PICKLE_DICT);
    case 'p': return numbered_line(m, memo_put);
    case 'q': return numbered(m, 1, memo_put);
    case 'r': return numbered(m, 4, memo_put);
    case 0x94: return memo_put(m, m->stored);
    case 'g': return numbered_line(m, memo_get);
    case 'h': return numbered(m, 1, memo_get);
    case 'j': return numbered(m, 4, memo_get);
    default: return refuse(m);
    }
}

static int run(struct machine *m)
{
    struct pickle_value *root;
    int rc;

    for (;;) {
        m->op_at = m->at;
        if (m->at == m->end) return broken(m, "it ends early");
        m->op = *m->at++;
        if (m->op == '.') break;
        TRY(step(m));
    }
    TRY(top(m, -1, &root));
    if (m->depth != 1) return broken(m, "values are left over at its end");
    m->p->root = root;
    rc = CL_OK;
done:
    return rc;
}

int pickle_read(struct pickle **out, const char *bytes, size_t n, const char *name)
{
    struct machine m = {.at = (const unsigned char *)bytes};
    int rc;

    *out = NULL;
    m.begin = m.at;
    m.end = m.at + n;
    m.p = calloc(1, sizeof *m.p);
    if (!m.p) FAIL(CL_ENOMEM, "out of memory");
    TRY(run(&m));
    *out = m.p;
done:
    if (rc) {
        err_prefix(rc, "%s", name);
        pickle_close(m.p);
    }
    free(m.stack);
    free(m.memo);
    return rc;
}

int pickle_open(struct pickle **out, const char *path)
{
    struct stat st;
    char *bytes = NULL;
    FILE *f = fopen(path, "rbe");
    int rc;

    *out = NULL;
    if (!f || fstat(fileno(f), &st))
        FAIL(CL_EIO, "%s: cannot be opened: %s; hint: check the path", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) FAIL(CL_EIO, "%s: is no regular file", path);
    if (st.st_size < 1 || (uint64_t)st.st_size > max_file)
        FAIL(CL_EFORMAT, "%s: %lld bytes (expected a pickle of 1 byte to %zu MiB)", path, (long long)st.st_size,
             max_file >> 20);
    bytes = malloc((size_t)st.st_size);
    if (!bytes) FAIL(CL_ENOMEM, "%s: out of memory for %lld bytes", path, (long long)st.st_size);
    if (fread(bytes, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        FAIL(CL_EIO, "%s: cannot be read: %s", path, ferror(f) ? strerror(errno) : "it became shorter");
    TRY(pickle_read(out, bytes, (size_t)st.st_size, path));
done:
    if (f) fclose(f);
    free(bytes);
    return rc;
}
