/* pickle.h - plain data out of a Python pickle, without Python and without running anything.
 *
 * A pickle is a program for a stack machine, and some of its instructions import and call whatever they name. Some data sets
 * are published that way (RefCOCO's refs, PathVQA's questions). This reader knows the instructions that build plain data
 * (None, bool, int, float, str, bytes, list, tuple, dict, and the memo) of protocols 0 to 5 and refuses every other one, so
 * a hostile file can at worst be refused.
 *
 * Text of Python 2 (str) is taken as UTF-8, or as Latin-1 where it is not UTF-8. Integers have 64 bits. Values lie in
 * one arena that goes with the pickle.
 */
#ifndef CLLAVA_IO_PICKLE_H
#define CLLAVA_IO_PICKLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_LIST,
    PICKLE_DICT
}; // tuples are lists

struct pickle_value {
    enum pickle_kind kind;
    union {
        bool truth;
        int64_t integer;
        double real;
        struct {
            const char *s; // (n) bytes, NUL behind them
            size_t n;
        } text;
        struct {
            struct pickle_value **item; // (n); of a dict key, value, key, value, ..
            size_t n, room;
        } list;
    };
};

struct pickle;

/* Whole file, of at most 1 GiB. CL_EIO: cannot be read; CL_EFORMAT: not a pickle, cut off, or one that holds more than
 * plain data (the text names what it asks for). */
int pickle_open(struct pickle **out, const char *path);
/* The same from memory (n bytes, not kept); name is for messages. */
int pickle_read(struct pickle **out, const char *bytes, size_t n, const char *name);
void pickle_close(struct pickle *p); // NULL is fine
const struct pickle_value *pickle_root(const struct pickle *p);

/* A value as JSON, for one record at a time: new reference. CL_EDATA: it refers to itself, is deeper than 32 or has more
 * than a million parts; a text in it is not UTF-8 or holds NUL; a key of a dict is neither text nor integer. */
int pickle_json(json_t **out, const struct pickle_value *v);

#endif
