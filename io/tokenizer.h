/* tokenizer.h - text to token ids and back, for every tokenizer a LLaVA base or a sentence encoder comes with.
 *
 * A directory in Hugging Face form holds one of: tokenizer.model (SentencePiece), tokenizer.json (byte-level BPE as GPT-2,
 * RoBERTa and LLaMA-3; SentencePiece-like BPE with Metaspace and byte fallback; WordPiece with BERT normalisation), or
 * vocab.txt (WordPiece), or vocab.json + merges.txt (byte-level BPE). tokenizer_open looks for them in that order of worth
 * and hides which one it found.
 *
 * tokenizer.model goes before tokenizer.json: where both stand (LLaMA, Vicuna, LLaVA) the second was converted from the
 * first and has the same ids, but only the first is what LLaVA was trained with (the slow tokenizer): text without its
 * marks, <image> in a question as plain text. Added tokens (ids above the model's) are read from the files beside it:
 * tokenizer.json, tokenizer_config.json, added_tokens.json. A tokenizer.model that is a tiktoken list (LLaMA-3) is no
 * SentencePiece model and gives way to the tokenizer.json.
 *
 * Checked against the tokenizers library 0.23 and SentencePiece 0.2: differences are characters newer than the Unicode
 * version of one of the two sides, and U+FFFD in broken runs of byte pieces (tok_decode.h).
 *
 * Encoding never adds BOS or EOS: tokenizer_encode gives the plain pieces; tokenizer_encode_special adds what the
 * post-processor asks for ([CLS] .. [SEP], <s> .. </s>), which is what sentence encoders need.
 */
#ifndef CLLAVA_IO_TOKENIZER_H
#define CLLAVA_IO_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer; // read only after opening: may be used from several threads

/* Grows as needed; zero-initialise before first use; ids_free at the end. */
struct ids {
    int32_t *id;
    size_t n, room;
};
int ids_push(struct ids *v, int32_t id); // CL_ENOMEM
void ids_free(struct ids *v);

/* Opens the tokenizer of a directory. CL_EIO: nothing there that could be one (the message names the files looked for);
 * CL_EFORMAT: broken or of a kind that is not supported (the message says which field). */
int tokenizer_open(struct tokenizer **out, const char *dir);
void tokenizer_close(struct tokenizer *t);

/* Number of ids, added tokens included: every id that encode returns is below it. */
int32_t tokenizer_size(const struct tokenizer *t);

/* Appends the ids of text (n bytes, UTF-8; no BOS, no EOS). Added tokens in the text (such as <image>) become their ids
 * where the file says so; SentencePiece models treat them as plain text. Every call is a text of its own: SentencePiece
 * puts its dummy prefix in front. Not valid UTF-8: bytes are replaced as the reference implementation does (U+FFFD). */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, struct ids *out);

/* As a continuation of text that came before: no dummy prefix (SentencePiece `legacy: false` after a special token).
 * The same as tokenizer_encode for tokenizers without one. */
int tokenizer_encode_continued(const struct tokenizer *t, const char *text, size_t n, struct ids *out);

/* With what the post-processor adds around one sentence; at most max ids as the tokenizers library truncates (the special
 * ids at the end are kept); max 0: no limit. CL_EUSAGE: max is less than what the post-processor adds alone. */
int tokenizer_encode_special(const struct tokenizer *t, const char *text, size_t n, size_t max, struct ids *out);

/* Does the tokenizer put a blank in front of a text by itself (SentencePiece dummy prefix, Metaspace prepend)?
 * If not, an answer is encoded with the blank that the template puts in front of it. */
bool tokenizer_adds_prefix(const struct tokenizer *t);

/* Id of a piece or added token ("</s>"), -1 if there is none; the piece of an id, NULL if the id has none. */
int32_t tokenizer_id(const struct tokenizer *t, const char *piece);
const char *tokenizer_piece(const struct tokenizer *t, int32_t id);
/* Special (control, added special) tokens are left out of decoded text. */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

/* Whole text of n ids, special ids left out, as the reference decodes (SentencePiece: leading blank of the text removed,
 * byte pieces joined). malloc'ed, NUL-terminated; caller frees. Invalid UTF-8 left over becomes U+FFFD. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *id, size_t n, char **text);

/* Streaming decode: feeds one id, gives the bytes that are now certain (may be empty while a character is incomplete).
 * What the stream gives in all equals tokenizer_decode of all ids; stream_end gives the rest. */
struct token_stream {
    const struct tokenizer *t;
    char held[64]; // bytes of an incomplete character
    size_t n_held;
    bool begun;
};
void token_stream_init(struct token_stream *s, const struct tokenizer *t);
int token_stream_push(struct token_stream *s, int32_t id, char *out, size_t room, size_t *n); // room >= 4096
int token_stream_end(struct token_stream *s, char *out, size_t room, size_t *n);

/* Hash of the vocabulary (ids and pieces), to tell that two directories hold the same tokenizer. */
uint64_t tokenizer_hash(const struct tokenizer *t);

#endif
