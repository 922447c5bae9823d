/* pickle.c - a pickle's instructions, reduced to what builds plain data: one that is not in the table ends the reading. */
#include "io/pickle_machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"

static const size_t max_file = (size_t)1 << 30;

/* ---- binary numbers and texts */

static int sized_text(struct machine *m, size_t size_bytes, bool bytes)
{
    const unsigned char *s;
    uint64_t n;
    int rc;

    TRY(machine_take_number(m, size_bytes, &n));
    if (n > (uint64_t)(m->end - m->at)) return machine_broken(m, "it ends early");
    TRY(machine_take(m, (size_t)n, &s));
    TRY(bytes ? machine_push_bytes(m, (const char *)s, (size_t)n) : machine_push_text(m, (const char *)s, (size_t)n));
done:
    return rc;
}

/* LONG1, LONG4: two's complement of a given length. */
static int sized_integer(struct machine *m, size_t size_bytes)
{
    uint64_t n, v;
    int rc;

    TRY(machine_take_number(m, size_bytes, &n));
    if (n > 8) return machine_broken(m, "an integer of more than 64 bits");
    TRY(machine_take_number(m, (size_t)n, &v));
    if (n && n < 8 && v >> (8 * n - 1)) v |= ~(uint64_t)0 << 8 * n;
    TRY(machine_push_integer(m, (int64_t)v));
done:
    return rc;
}

static int binary_float(struct machine *m)
{
    const unsigned char *b;
    uint64_t bits = 0;
    double v;
    int rc;

    TRY(machine_take(m, 8, &b));
    for (int i = 0; i < 8; i++) bits = bits << 8 | b[i];
    memcpy(&v, &bits, sizeof v);
    TRY(machine_push_new(m, (struct pickle_value){.kind = PICKLE_FLOAT, .real = v}));
done:
    return rc;
}

static int binary_integer(struct machine *m, size_t bytes)
{
    uint64_t v;
    int rc = machine_take_number(m, bytes, &v);

    return rc ? rc : machine_push_integer(m, bytes == 4 ? (int32_t)(uint32_t)v : (int64_t)v);
}

static int numbered(struct machine *m, size_t bytes, int (*then)(struct machine *m, uint64_t i))
{
    uint64_t i;
    int rc = machine_take_number(m, bytes, &i);

    return rc ? rc : then(m, i);
}

static int numbered_line(struct machine *m, int (*then)(struct machine *m, uint64_t i))
{
    int64_t i;
    int rc = machine_parse_integer(m, &i);

    return rc ? rc : i < 0 ? machine_broken(m, "a negative memo number") : then(m, (uint64_t)i);
}

/* ---- instructions */

static int drop_top(struct machine *m)
{
    if (!m->depth) return machine_broken(m, "an instruction finds nothing to work on");
    m->depth--;
    return CL_OK;
}

static int drop_marked(struct machine *m)
{
    size_t n;

    return machine_pop_mark(m, &n);
}

static int twice(struct machine *m)
{
    struct pickle_value *v;
    int rc = machine_top(m, -1, &v);

    return rc ? rc : machine_push(m, v);
}

static int skip(struct machine *m, size_t n)
{
    const unsigned char *b;

    return machine_take(m, n, &b);
}

static int protocol(struct machine *m)
{
    uint64_t v;
    int rc = machine_take_number(m, 1, &v);

    return rc ? rc : v > 5 ? machine_broken(m, "protocol newer than 5") : CL_OK;
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
    return machine_push_new(m, (struct pickle_value){.kind = kind, .truth = truth});
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
    case 'L': return machine_line_integer(m);
    case 'J': return binary_integer(m, 4);
    case 'K': return binary_integer(m, 1);
    case 'M': return binary_integer(m, 2);
    case 0x8a: return sized_integer(m, 1);
    case 0x8b: return sized_integer(m, 4);
    case 'F': return machine_line_float(m);
    case 'G': return binary_float(m);
    case 'S': return machine_line_literal(m);
    case 'V': return machine_line_unicode(m);
    case 'U': return sized_text(m, 1, true); // str of Python 2
    case 'T': return sized_text(m, 4, true);
    case 'C': return sized_text(m, 1, true); // bytes
    case 'B': return sized_text(m, 4, true);
    case 0x8e: return sized_text(m, 8, true);
    case 0x96: return sized_text(m, 8, true); // bytearray
    case 0x8c: return sized_text(m, 1, false);
    case 'X': return sized_text(m, 4, false);
    case 0x8d: return sized_text(m, 8, false);
    case '(': return machine_push(m, NULL);
    case '0': return drop_top(m);
    case '1': return drop_marked(m);
    case '2': return twice(m);
    case ']':
    case ')': return machine_build(m, PICKLE_LIST, m->depth, 0);
    case '}': return machine_build(m, PICKLE_DICT, m->depth, 0);
    case 'l':
    case 't': return machine_build_marked(m, PICKLE_LIST);
    case 'd': return machine_build_marked(m, PICKLE_DICT);
    case 0x85: return machine_build_tuple(m, 1);
    case 0x86: return machine_build_tuple(m, 2);
    case 0x87: return machine_build_tuple(m, 3);
    case 'a': return machine_extend_by(m, PICKLE_LIST, 1);
    case 's': return machine_extend_by(m, PICKLE_DICT, 2);
    case 'e': return machine_extend(m, PICKLE_LIST);
    case 'u': return machine_extend(m, PICKLE_DICT);
    case 'p': return numbered_line(m, machine_memo_put);
    case 'q': return numbered(m, 1, machine_memo_put);
    case 'r': return numbered(m, 4, machine_memo_put);
    case 0x94: return machine_memo_put(m, m->stored);
    case 'g': return numbered_line(m, machine_memo_get);
    case 'h': return numbered(m, 1, machine_memo_get);
    case 'j': return numbered(m, 4, machine_memo_get);
    default: return refuse(m);
    }
}

static int run(struct machine *m)
{
    struct pickle_value *root;
    int rc;

    for (;;) {
        m->op_at = m->at;
        if (m->at == m->end) return machine_broken(m, "it ends early");
        m->op = *m->at++;
        if (m->op == '.') break;
        TRY(step(m));
    }
    TRY(machine_top(m, -1, &root));
    if (m->depth != 1) return machine_broken(m, "values are left over at its end");
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
