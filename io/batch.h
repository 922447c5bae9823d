/* batch.h - what the model sees: samples end to end, and nothing of where they came from.
 *
 * Tokens of several samples stand one after the other without padding; cu_seqlens (cu) tells where each begins. Answer
 * rows are the tokens whose successor is to be predicted. Picture positions hold image_token; their embeddings are the
 * projected features. Places of PROMPT_TOKEN get rows of learned prompts (model/adapters.h). Above this struct nobody knows padding, templates or tokenizers; below it nobody knows batches.
 */
#ifndef CLLAVA_IO_BATCH_H
#define CLLAVA_IO_BATCH_H

#include <stddef.h>
#include <stdint.h>

enum { PROMPT_TOKEN = -2 }; // no tokenizer's id

/* One sample as ids: io/sample.h makes it from a record, batch_add packs it. */
struct sample {
    int32_t *id;      // (n) token ids; `patches` times image_token where the picture stands
    int32_t *label;   // (n) the id itself where the loss counts it, else -100
    int64_t n;        // e.g. 672
    int64_t prompt_n; // tokens before the first answer: what generation starts from
    int64_t answers;  // labels != -100, of all turns, end tokens included
    int64_t picture;  // index of the first picture token, -1: no picture
};

struct feature; // model/lvlm.h

struct packed_batch {
    int samples;  // S
    int64_t n;    // tokens in all, cu[S]
    int64_t *cu;  // (S + 1)
    int32_t *id;  // (n)
    int32_t *pos; // (n) position within the sample, from 0

    int64_t rows;    // answer rows in all, cu_row[S]
    int64_t *cu_row; // (S + 1)
    int64_t *row;    // (rows) token index in the pack, ascending
    int32_t *target; // (rows) id that should follow

    int pictures;                   // samples that have one
    int64_t *picture_at;            // (pictures) token index of the first picture position
    const struct feature **feature; // (pictures) its vision features (lvlm_see), set by the caller
    int *picture_sample;            // (pictures) which sample of the pack it belongs to

    int room_samples; // capacities, fixed by batch_new
    int64_t room_n;
};

/* Room for up to `samples` samples of `tokens` tokens together. */
int batch_new(struct packed_batch *b, int samples, int64_t tokens);
void batch_free(struct packed_batch *b);
void batch_clear(struct packed_batch *b);

/* Appends a sample: the whole of it with its answer rows, or (prompt_only) its first prompt_n tokens whose last row is the
 * only answer row, with target -1. CL_EINTERNAL when it does not fit; allocates nothing. */
int batch_add(struct packed_batch *b, const struct sample *s, int prompt_only);
/* Appends sample s of `from` with another prompt in front of its first answer: the first prompt_n tokens of `prompt`, with its
 * picture. Answer rows and targets stay what they are. CL_EINTERNAL when it does not fit; allocates nothing. */
int batch_add_prompted(struct packed_batch *b, const struct packed_batch *from, int s, const struct sample *prompt);

#endif
