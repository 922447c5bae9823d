/* sample.h - a conversation becomes token ids and labels.
 *
 * BOS, then prompt and answer are tokenised apart; the text before and after <image> is tokenised apart and the image
 * token stands P times between; every answer is followed by EOS; a later human turn is encoded apart too. Loss on every
 * answer, its EOS included. Places for learned prompts stand behind BOS, in front of all that the sample says: BOS keeps the
 * first position, on which pretrained decoders lean, and all that follows can look at the prompts. An answer follows the template after one blank: a tokenizer that puts a blank in front by
 * itself gets the bare answer, the others get " answer".
 */
#ifndef CLLAVA_IO_SAMPLE_H
#define CLLAVA_IO_SAMPLE_H

#include <stdbool.h>

#include "io/batch.h"
#include "io/dataset.h"
#include "io/tokenizer.h"

/* How a conversation is written down. */
struct prompt {
    char *system;  // before the first turn, ends as it should (a blank); "" for none
    char *turn;    // with {question}, e.g. "USER: {question} ASSISTANT:"
    bool legacy;   // later turns get SentencePiece's dummy prefix (ids of `legacy: true`)
    bool bos, eos; // both true for every template but special ones
    enum instruction_place { INSTRUCTION_AS_IS, INSTRUCTION_BEFORE, INSTRUCTION_AFTER } instruction; // of the picture
};

/* template: vicuna_v1 (system prompt of Vicuna, "USER: {question} ASSISTANT:"), llava_hf ("USER: {question} ASSISTANT:"
 * without system), plain ("{question}"), or a string with {question}. system: NULL for the template's own.
 * CL_ECONFIG: unknown name without {question} in it (valid names in the text). The instruction stands as the file has it. */
int prompt_make(struct prompt *p, const char *template_, const char *system, bool legacy);
void prompt_free(struct prompt *p);
/* By prompt.instruction's word; an unknown one is as_is. */
enum instruction_place prompt_instruction(const char *word);

/* What samples are made with; all borrowed. */
struct sampler {
    const struct tokenizer *tok;
    const struct prompt *prompt;
    int32_t bos, eos, image_token; // ids; bos -1: none
    int patches;                   // picture positions of one picture, e.g. 576
    int64_t max_length;            // tokens of a sample, e.g. 2048; picture positions and prompt rows count
    int prompt_rows;               // places of PROMPT_TOKEN, 0: none
};

/* The whole conversation. CL_EDATA: no answer token, longer than max_length (text names both numbers), picture marker
 * without picture or the reverse. The caller prefixes file and record. sample_free releases. */
int sample_make(struct sample *s, const struct sampler *how, const struct record *r);
/* Only what generation needs: the first human turn. */
int sample_make_prompt(struct sample *s, const struct sampler *how, const struct record *r);
/* The sample as it is without its places for prompts: what the base alone gets. */
void sample_drop_prompts(struct sample *s);
void sample_free(struct sample *s);

#endif
