/* checkpoint.h - named arrays into an HDF5 file and out of it, whole or not at all.
 *
 * Invariants of a checkpoint (layout version 1):
 *  1. A file under its final name is whole: it was written under a temporary name in the same folder, flushed, closed,
 *     fsynced, renamed, and the folder fsynced. Its root carries complete=1, set last.
 *  2. Root attributes: format="cllava-checkpoint", version=1, complete, cllava_version, created, base_hash, encoder_hash,
 *     config (resolved YAML as JSON text). Opening refuses another format, a newer version, an incomplete file.
 *  3. Every dataset with more than 0 numbers is chunked (one slot = first index per chunk), shuffle + deflate 1 +
 *     fletcher32: a flipped byte is an error when it is read. Datasets that grow have an unlimited first dimension.
 *  4. Numbers are little-endian IEEE or two's complement as the layout names them (float32, float64, int32, int64).
 *  5. Reading never trusts a size: the caller says the shape that it expects, or asks for it and checks it first. A
 *    shape that the stored bytes cannot fill is refused.
 *  6. Only hard links and data inside the file are followed: no external files, no filter plugins.
 *  7. Equal content gives equal bytes: nothing but `created` depends on time, place or process.
 *
 * The layout itself (which names exist) is in docs/checkpoint.md and pool/, jobs/ write their own groups through this
 * interface. Not collective: one rank writes.
 */
#ifndef CLLAVA_IO_CHECKPOINT_H
#define CLLAVA_IO_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ckpt_type { CKPT_F32, CKPT_F64, CKPT_I32, CKPT_I64, CKPT_U8 };
enum { CKPT_MAX_DIMS = 4 };

struct ckpt;

/* ---- writing. Names are paths ("/pool/A"); groups on the way are created. Attributes go to an object that exists, or to
 * a group that is then created; writing one again replaces it. */
int ckpt_create(struct ckpt **c, const char *path); // writes to .NAME.tmp-HOST-PID-I in the same folder
int ckpt_group(struct ckpt *c, const char *name);
int ckpt_write(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, const void *data,
               bool grows);
/* UTF-8, variable length; at most 4000. */
int ckpt_write_strings(struct ckpt *c, const char *name, const char *const *text, int64_t n);
int ckpt_attr_i64(struct ckpt *c, const char *object, const char *name, int64_t value);
int ckpt_attr_f64(struct ckpt *c, const char *object, const char *name, double value);
int ckpt_attr_str(struct ckpt *c, const char *object, const char *name, const char *value);
int ckpt_attr_bytes(struct ckpt *c, const char *object, const char *name, const void *bytes, size_t n);
/* Sets complete=1, closes, fsyncs, renames. On any error the temporary file is removed and the final name untouched. c is
 * freed in either case. */
int ckpt_commit(struct ckpt *c);
void ckpt_abandon(struct ckpt *c); // NULL is fine

/* A checkpoint that is written while the caller goes on: the functions above copy what they are given, ckpt_commit hands
 * the copies to a thread that makes the same calls on the real file and then the thread ends. So the file, its safety and
 * its errors are those of a direct write, only later: from ckpt_wait, or from the next ckpt_create_deferred or commit of
 * a deferred one, which wait for the write before. Every other function here waits for it too, as HDF5 is for one thread
 * at a time: all calls must come from one thread. Nothing can be read from c.
 * Memory: all that is handed in once more, until it is written. */
int ckpt_create_deferred(struct ckpt **c, const char *path);
bool ckpt_writing(void); // whether a write is still going on
/* Waits for the write that was committed last and gives its result, once; CL_OK when there is none. Before the end of the
 * process at the latest. */
int ckpt_wait(void);

/* Removes temporary files of writers that died from a folder; how many in removed (may be NULL). A file is left alone
 * while its writer lives (it holds a lock), and where the writer was on another host until an hour after its last byte. */
int ckpt_clean_temporaries(const char *dir, int *removed);

/* ---- reading. The file is checked on opening (invariants 1, 2). A file that only has /stream, /pool and
 * /context with the root attributes format, version, complete (a golden init.h5) opens too. */
int ckpt_open(struct ckpt **c, const char *path);
/* Any HDF5 file for reading, without the root's attributes (test data, files of other tools). */
int ckpt_open_any(struct ckpt **c, const char *path);
void ckpt_close(struct ckpt *c);
const char *ckpt_path(const struct ckpt *c);
bool ckpt_has(struct ckpt *c, const char *name); // dataset or group
/* Shape of a dataset of numbers or strings: dims (0 for a scalar, at most CKPT_MAX_DIMS) into shape. CL_EFORMAT when
 * absent. */
int ckpt_shape(struct ckpt *c, const char *name, int *dims, int64_t *shape);
/* Reads a whole dataset of exactly this shape (-1 in shape: any), converting the stored number type to `type`: integers to
 * any width that holds them and to floats, floats to floats.
 * CL_EFORMAT: absent, other shape (got, expected), checksum failure; the text names file and dataset. */
int ckpt_read(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, void *data);
/* Rows [first, first + n) of the first dimension. */
int ckpt_read_rows(struct ckpt *c, const char *name, enum ckpt_type type, int dims, const int64_t *shape, int64_t first,
                   int64_t n, void *data);
/* malloc'ed array of malloc'ed strings (ckpt_strings_free) of a dataset of 0 or 1 dimensions. */
int ckpt_read_strings(struct ckpt *c, const char *name, char ***text, int64_t *n);
void ckpt_strings_free(char **text, int64_t n);
bool ckpt_has_attr(struct ckpt *c, const char *object, const char *name);
int ckpt_get_i64(struct ckpt *c, const char *object, const char *name, int64_t *value); // integers of any width
int ckpt_get_f64(struct ckpt *c, const char *object, const char *name, double *value);  // integers too
int ckpt_get_str(struct ckpt *c, const char *object, const char *name,
                 char **value); // malloc'ed; fixed or variable length
int ckpt_get_bytes(struct ckpt *c, const char *object, const char *name, void **bytes, size_t *n);
/* Names of the links of a group, sorted; ckpt_strings_free. */
int ckpt_list(struct ckpt *c, const char *group, char ***names, int64_t *n);
/* Reads every dataset once, so that every checksum is verified. */
int ckpt_verify(struct ckpt *c);

#endif
