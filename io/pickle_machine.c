/* pickle_machine.c - memory, bytes, stack and memo of a pickle's machine.
 *
 * Every byte is read at most once and every length is checked against what is left, so memory stays within a constant times
 * the size of the file; items are pointers, so a value that is used often exists once.
 */
#include "io/pickle_machine.h"

#include <stdlib.h>
#include <string.h>

#include "io/err.h"

enum { BLOCK = 1 << 18 };

struct pickle_block {
    struct pickle_block *next;
    size_t used, room;
    _Alignas(16) char bytes[];
};

/* ---- memory */

static void *arena(struct pickle *p, size_t n)
{
    struct pickle_block *b = p->blocks;

    n = (n + 15) & ~(size_t)15;
    if (!b || b->room - b->used < n) {
        size_t room = n > BLOCK ? n : BLOCK;

        b = malloc(sizeof *b + room);
        if (!b) return NULL;
        *b = (struct pickle_block){.next = p->blocks, .room = room};
        p->blocks = b;
    }
    b->used += n;
    return b->bytes + b->used - n;
}

void pickle_close(struct pickle *p)
{
    if (!p) return;
    for (struct pickle_block *b = p->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(p);
}

const struct pickle_value *pickle_root(const struct pickle *p)
{
    return p->root;
}

int machine_out_of_memory(void)
{
    return err_set(CL_ENOMEM, "out of memory for a pickle");
}

int machine_broken(const struct machine *m, const char *what)
{
    return err_set(CL_EFORMAT, "not a usable pickle: %s (at byte %zu); hint: fetch it again", what,
                   (size_t)(m->op_at - m->begin));
}

/* ---- bytes */

int machine_take(struct machine *m, size_t n, const unsigned char **bytes)
{
    *bytes = m->at;
    if ((size_t)(m->end - m->at) < n) return machine_broken(m, "it ends early");
    m->at += n;
    return CL_OK;
}

/* An unsigned little-endian number of 1 to 8 bytes. */
int machine_take_number(struct machine *m, size_t bytes, uint64_t *v)
{
    const unsigned char *b;
    int rc = machine_take(m, bytes, &b);

    *v = 0;
    for (size_t i = 0; !rc && i < bytes; i++) *v |= (uint64_t)b[i] << 8 * i;
    return rc;
}

/* Up to the end of a line, without it. */
int machine_take_line(struct machine *m, const char **line, size_t *n)
{
    const unsigned char *end = memchr(m->at, '\n', (size_t)(m->end - m->at));

    *line = (const char *)m->at;
    *n = end ? (size_t)(end - m->at) : 0;
    if (!end) return machine_broken(m, "it ends early");
    m->at = end + 1;
    return CL_OK;
}

/* ---- the stack */

int machine_push(struct machine *m, struct pickle_value *v)
{
    if (m->depth == m->room) {
        size_t room = m->room ? 2 * m->room : 1024;
        struct pickle_value **more = realloc(m->stack, room * sizeof *more);

        if (!more) return machine_out_of_memory();
        m->stack = more;
        m->room = room;
    }
    m->stack[m->depth++] = v;
    return CL_OK;
}

int machine_push_new(struct machine *m, struct pickle_value v)
{
    struct pickle_value *kept = arena(m->p, sizeof *kept);

    if (!kept) return machine_out_of_memory();
    *kept = v;
    return machine_push(m, kept);
}

int machine_push_integer(struct machine *m, int64_t v)
{
    return machine_push_new(m, (struct pickle_value){.kind = PICKLE_INT, .integer = v});
}

int machine_push_text(struct machine *m, const char *s, size_t n)
{
    char *kept = arena(m->p, n + 1);

    if (!kept) return machine_out_of_memory();
    memcpy(kept, s, n);
    kept[n] = 0;
    return machine_push_new(m, (struct pickle_value){.kind = PICKLE_TEXT, .text = {kept, n}});
}

/* The value on top, which must be of a kind (-1: of any). */
int machine_top(struct machine *m, int kind, struct pickle_value **v)
{
    *v = m->depth ? m->stack[m->depth - 1] : NULL;
    if (!*v) return machine_broken(m, "an instruction finds nothing to work on");
    if (kind >= 0 && (int)(*v)->kind != kind)
        return machine_broken(m, "an instruction finds another kind of value than it works on");
    return CL_OK;
}

/* Takes the values above the last mark off, and the mark: they still lie at stack[depth + 1 ..]. */
int machine_pop_mark(struct machine *m, size_t *n)
{
    size_t i = m->depth;

    while (i && m->stack[i - 1]) i--;
    if (!i) return machine_broken(m, "a mark is missing");
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
        if (!more) return machine_out_of_memory();
        if (to->list.n) memcpy(more, to->list.item, to->list.n * sizeof *more);
        to->list.item = more;
        to->list.room = room;
    }
    if (n) memcpy(to->list.item + to->list.n, item, n * sizeof *item);
    to->list.n += n;
    return CL_OK;
}

/* The n values above stack[depth] become one list or dict. */
int machine_build(struct machine *m, enum pickle_kind kind, size_t from, size_t n)
{
    struct pickle_value v = {.kind = kind};
    int rc;

    if (kind == PICKLE_DICT && n % 2) return machine_broken(m, "a key without a value");
    TRY(add_items(m, &v, m->stack + from, n));
    TRY(machine_push_new(m, v));
done:
    return rc;
}

/* APPENDS, SETITEMS: what stands above the mark goes into what stands below it. */
int machine_extend(struct machine *m, enum pickle_kind kind)
{
    struct pickle_value *to;
    size_t n, from;
    int rc;

    TRY(machine_pop_mark(m, &n));
    from = m->depth + 1;
    TRY(machine_top(m, kind, &to));
    if (kind == PICKLE_DICT && n % 2) return machine_broken(m, "a key without a value");
    TRY(add_items(m, to, m->stack + from, n));
done:
    return rc;
}

/* APPEND, SETITEM: the same for the last n values. */
int machine_extend_by(struct machine *m, enum pickle_kind kind, size_t n)
{
    struct pickle_value *v;
    int rc;

    for (size_t i = 1; i <= n; i++)
        if (m->depth < i || !m->stack[m->depth - i])
            return machine_broken(m, "an instruction finds nothing to work on");
    m->depth -= n;
    TRY(machine_top(m, kind, &v));
    TRY(add_items(m, v, m->stack + m->depth, n));
done:
    return rc;
}

int machine_build_tuple(struct machine *m, size_t n)
{
    for (size_t i = 1; i <= n; i++)
        if (m->depth < i || !m->stack[m->depth - i])
            return machine_broken(m, "an instruction finds nothing to work on");
    m->depth -= n;
    return machine_build(m, PICKLE_LIST, m->depth, n);
}

int machine_build_marked(struct machine *m, enum pickle_kind kind)
{
    size_t n;
    int rc = machine_pop_mark(m, &n);

    return rc ? rc : machine_build(m, kind, m->depth + 1, n);
}

/* ---- the memo */

int machine_memo_put(struct machine *m, uint64_t i)
{
    struct pickle_value *v;
    int rc;

    TRY(machine_top(m, -1, &v));
    if (i > (uint64_t)(m->end - m->begin)) return machine_broken(m, "a memo number beyond the size of the file");
    if (i >= m->memos) {
        size_t room = m->memos ? 2 * m->memos : 1024;
        struct pickle_value **more;

        if (room <= i) room = (size_t)i + 1;
        more = realloc(m->memo, room * sizeof *more);
        if (!more) return machine_out_of_memory();
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

int machine_memo_get(struct machine *m, uint64_t i)
{
    if (i >= m->memos || !m->memo[i]) return machine_broken(m, "it recalls what it never stored");
    return machine_push(m, m->memo[i]);
}
