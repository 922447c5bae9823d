/* h5.h - checked HDF5 calls: what the files of checkpoint.h share.
 *
 * HDF5 keeps an error stack per thread and prints it unless told otherwise. h5_begin at the entry of every public function
 * silences that; H5TRY turns a failed call's stack into the text of io/err.h, with the file, the object and, where the
 * system said no, its reason and a hint:
 *
 *     H5TRY(c, name, set = H5Dopen2(c->file, name, H5P_DEFAULT));
 *     run.h5: /pool/A: H5Dread: data error detected by Fletcher32 checksum (checksum failure); hint: ..
 */
#ifndef CLLAVA_IO_H5_H
#define CLLAVA_IO_H5_H

#include <hdf5.h>
#include <stdbool.h>

#include "io/checkpoint.h"
#include "io/err.h"

enum { H5_MAX_NAME = 1024 };

/* Root attribute: (n, 3) int64 {offset, length, CRC-32} of every collection of the heap in which HDF5 keeps text. */
#define H5_HEAPS "text_heaps"

struct ckpt {
    hid_t file; // -1 when closed
    char *path; // name for messages, and the final name of a writer
    bool writing;
    char *folder;              // of a writer: where the file, its temporary form and its final name are
    char *temp;                // temporary path
    int fd;                    // of the file; a writer's is locked as long as it lives; -1
    struct deferred *deferred; // calls of a deferred writer, which has no file; NULL
};

/* Inside a function with `int rc` and a label `done`. expr is a call, or an assignment from one, that is < 0 on failure. */
#define H5TRY(c, name, expr)                                                                                           \
    do {                                                                                                               \
        rc = (expr) < 0 ? h5_fail(c, name, #expr) : CL_OK;                                                             \
        if (rc) goto done;                                                                                             \
    } while (0)

/* HDF5 is one thread's at a time: waits for the writer of a deferred checkpoint, unless it is the writer that calls. */
void h5_begin(void);
/* Text and code of the error stack of this thread. name: object inside the file or NULL; call: source text of the call. */
int h5_fail(const struct ckpt *c, const char *name, const char *call);
/* Closes an identifier of any kind; negative ones are ignored. */
void h5_close(hid_t id);

/* CRC-32 of length bytes of a file. */
int h5_crc(const struct ckpt *c, int64_t offset, int64_t length, int64_t *crc);

/* Path inside a file: "/" or "/a/b": no empty, "." or ".." parts, UTF-8, at most H5_MAX_NAME bytes. */
int h5_check_name(const char *path, const char *name);
/* Whether every part of a path is a hard link in the file. */
int h5_find(struct ckpt *c, const char *name, bool *found);
/* Valid UTF-8 without a NUL in between? */
bool h5_utf8(const char *text);

hid_t h5_stored(enum ckpt_type type); // little-endian type in the file; not to be closed
hid_t h5_memory(enum ckpt_type type); // native type; not to be closed
size_t h5_size(enum ckpt_type type);
/* Elements of `size` bytes in a shape; CL_EINTERNAL for what no caller should ask for. */
int h5_count(const struct ckpt *c, const char *name, size_t size, int dims, const int64_t *shape, int64_t *n);
/* Variable-length UTF-8 string type, to be closed; < 0 on failure. */
hid_t h5_string_type(void);
/* File access properties of every open, to be closed: no locks of HDF5's own (cluster file systems refuse them; a
 * reader only ever sees whole files), newest metadata format, with checksums. */
hid_t h5_access(void);

/* ---- reading, for checkpoint_read.c and checkpoint_text.c. Identifiers that come back are to be closed. CL_EFORMAT where the
 * file is not what it should be. */
int h5_open_object(struct ckpt *c, const char *name, hid_t *id);
/* A dataset whose data lies in this file. */
int h5_open_set(struct ckpt *c, const char *name, hid_t *set);
/* Shape of an open dataset, its numbers and their bytes held against what is stored. dims 0: a scalar. */
int h5_set_shape(struct ckpt *c, const char *name, hid_t set, int *dims, int64_t *shape, int64_t *count);
/* May numbers of the stored type id be read as `type`? */
int h5_check_class(struct ckpt *c, const char *name, hid_t id, enum ckpt_type type);
/* Numbers of an open dataset; memory, stored: dataspaces, or H5S_ALL. */
int h5_read_space(struct ckpt *c, const char *name, hid_t set, enum ckpt_type type, hid_t memory, hid_t stored,
                  void *data);
/* Rows [first, first + n) of an open dataset of this shape. */
int h5_read_rows(struct ckpt *c, const char *name, hid_t set, enum ckpt_type type, int dims, const int64_t *shape,
                 int64_t first, int64_t n, void *data);
/* The attribute H5_HEAPS; free. */
int h5_read_heaps(struct ckpt *c, int64_t (**heaps)[3], int64_t *n);

/* ---- a deferred writer's half of checkpoint.h: what the functions of the same names do there */
int deferred_group(struct ckpt *c, const char *name);
int deferred_write(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape,
                   const void *data, bool grows);
int deferred_strings(struct ckpt *c, const char *name, const char *const *text, int64_t n);
int deferred_i64(struct ckpt *c, const char *object, const char *name, int64_t value);
int deferred_f64(struct ckpt *c, const char *object, const char *name, double value);
int deferred_str(struct ckpt *c, const char *object, const char *name, const char *value);
int deferred_bytes(struct ckpt *c, const char *object, const char *name, const void *bytes, size_t n);
int deferred_commit(struct ckpt *c);
void deferred_abandon(struct ckpt *c);

#endif
