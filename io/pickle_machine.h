/* pickle_machine.h - the stack machine behind pickle.c: its memory, its bytes, its stack and memo, and the texts of protocol 0.
 *
 * Every function returns 0, CL_ENOMEM, or CL_EFORMAT with the byte of the instruction that cannot be.
 */
#ifndef CLLAVA_IO_PICKLE_MACHINE_H
#define CLLAVA_IO_PICKLE_MACHINE_H

#include "io/pickle.h"

struct pickle {
    struct pickle_block *blocks; // all values
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

/* ---- errors */
int machine_out_of_memory(void);
int machine_broken(const struct machine *m, const char *what);

/* ---- bytes of the file */
int machine_take(struct machine *m, size_t n, const unsigned char **bytes);
int machine_take_number(struct machine *m, size_t bytes, uint64_t *v);  // unsigned, little-endian, 1 to 8 bytes
int machine_take_line(struct machine *m, const char **line, size_t *n); // up to the end of a line, without it

/* ---- stack */
int machine_push(struct machine *m, struct pickle_value *v); // NULL: a mark
int machine_push_new(struct machine *m, struct pickle_value v);
int machine_push_integer(struct machine *m, int64_t v);
int machine_push_text(struct machine *m, const char *s, size_t n);
int machine_push_bytes(struct machine *m, const char *s,
                       size_t n); // text of Python 2, whose encoding nobody wrote down
int machine_top(struct machine *m, int kind, struct pickle_value **v); // must be of a kind (-1: of any)
/* Takes the values above the last mark off, and the mark: they still lie at stack[depth + 1 ..]. */
int machine_pop_mark(struct machine *m, size_t *n);
int machine_build(struct machine *m, enum pickle_kind kind, size_t from, size_t n); // one list or dict of n values
int machine_build_tuple(struct machine *m, size_t n);
int machine_build_marked(struct machine *m, enum pickle_kind kind);
int machine_extend(struct machine *m, enum pickle_kind kind); // APPENDS, SETITEMS: what stands above the mark
int machine_extend_by(struct machine *m, enum pickle_kind kind, size_t n); // APPEND, SETITEM: the last n values

/* ---- memo */
int machine_memo_put(struct machine *m, uint64_t i);
int machine_memo_get(struct machine *m, uint64_t i);

/* ---- numbers and texts in lines (protocol 0; pickle_text.c) */
int machine_parse_integer(struct machine *m, int64_t *v);
int machine_line_integer(struct machine *m);
int machine_line_float(struct machine *m);
int machine_line_unicode(struct machine *m);
int machine_line_literal(struct machine *m);

#endif
