/* safetensors.h - named arrays of a checkpoint, memory-mapped, never copied.
 *
 * A directory holds model.safetensors, or shards that model.safetensors.index.json names. Opening maps every shard and
 * checks header, types, shapes, offsets (inside the file, no overlap, size = shape x type) before anything is used.
 * Lookups go by canonical name: prefixes "model.", "language_model.", "base_model." are stripped repeatedly and
 * "vision_tower.vision_tower.", "vision_model." wrappers removed, so that all generations of LLaVA directories read alike
 * (two arrays with the same canonical name are an error; what a shard holds beyond the index is not seen):
 *
 *     embed_tokens.weight   layers.N.self_attn.q_proj.weight   norm.weight   lm_head.weight
 *     vision_tower.embeddings.class_embedding   vision_tower.encoder.layers.N.mlp.fc1.weight   vision_tower.pre_layrnorm.bias
 *     multi_modal_projector.linear_1.weight    (original LLaVA: mm_projector.0 -> multi_modal_projector.linear_1)
 */
#ifndef CLLAVA_IO_SAFETENSORS_H
#define CLLAVA_IO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "model/tensor.h"

enum { ST_MAX_DIMS = 8 };

struct st_array {
    const char *name; // as in the file
    enum dtype type;
    int dims;
    int64_t shape[ST_MAX_DIMS];
    const void *data; // into the map; alignment as the file has it
    const char *file; // path of its shard, for messages
};

struct safetensors;

/* Opens a directory, or one .safetensors file. CL_EIO / CL_EFORMAT name file and tensor; a shard named by the index and
 * absent is CL_EIO with both names. */
int safetensors_open(struct safetensors **st, const char *path);
/* A checkpoint that is none: has every array that safetensors_want asks for, in that shape and type, full of zeros that take no
 * memory. For what a model would take (model/backend_measuring.h); lists and hashes of it are empty. */
int safetensors_blank(struct safetensors **st, enum dtype type);
void safetensors_close(struct safetensors *st);
size_t safetensors_count(const struct safetensors *st);
const struct st_array *safetensors_at(const struct safetensors *st, size_t i);
/* By canonical name; NULL when absent. safetensors_find_exact: by the name in the file. */
const struct st_array *safetensors_find(const struct safetensors *st, const char *canonical);
const struct st_array *safetensors_find_exact(const struct safetensors *st, const char *name);
/* Canonical form of a name into out (room bytes). */
void safetensors_canonical(const char *name, char *out, size_t room);
/* Found, of a float type (f32, bf16, f16) and of this shape (dims sizes, each an int; -1 any), else CL_EMISMATCH that tells
 * got and expected.
 * A shape differing only by leading or trailing 1s or flattening (conv weights) is not accepted. */
int safetensors_want(const struct st_array **a, const struct safetensors *st, const char *canonical, int dims, ...);
/* Content hash of everything that makes the base what it is: canonical names, types, shapes, all data. A hash of samples
 * would miss changes, so all bytes are read once, in parallel; 13.5 GB take seconds. The same for any split into shards. */
uint64_t safetensors_hash(const struct safetensors *st);
uint64_t safetensors_hash_array(const struct st_array *a); // of one array, in parallel too
/* Of part `part` of `parts` of an array's blocks, in order: parts add up (modulo 2^64) to their array's hash, arrays to that of
 * their base. So whoever reads a base anyway can hash it on the way, and ranks can share the work. */
uint64_t safetensors_hash_part(const struct st_array *a, int part, int parts);
uint64_t safetensors_hash_bytes(uint64_t seed, const void *data, size_t n); // the hash itself, for what stands beside

/* The process lets go of an array's pages: they stay in the system's cache, not in the process's memory, and come back
 * when somebody looks. For what was copied elsewhere: a base would stand in memory twice. */
void safetensors_forget(const struct st_array *a);

/* Writer (PEFT export, test fixtures, demo): arrays in the given order and without gaps, as the format asks (so only the
 * first is sure to be aligned to 8 bytes), under a temporary name, then renamed. */
int safetensors_write(const char *path, const struct st_array *arrays, size_t n);
/* The same for arrays that are nowhere in memory: fill makes n bytes of an array from byte `at` on, piece by piece in the order
 * of the file. */
typedef void safetensors_fill(void *context, const struct st_array *a, size_t at, void *out, size_t n);
int safetensors_write_filled(const char *path, const struct st_array *arrays, size_t n, safetensors_fill *fill,
                             void *context);

#endif
