/* tok_text.h - what every step of a tokenizer does with text: a growing buffer, walking over UTF-8, classes of characters.
 *
 * Text that enters a tokenizer is made valid once (tok_text_valid); behind that point every step may take a character's
 * length from its first byte. Classes follow the Unicode version of utf8proc.
 */
#ifndef CLLAVA_IO_TOK_TEXT_H
#define CLLAVA_IO_TOK_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes; zero-initialise before first use. Once anything was added, s[n] is a NUL that n does not count. */
struct tok_buf {
    char *s;
    size_t n, room;
};
int tok_buf_add(struct tok_buf *b, const char *s, size_t n); // CL_ENOMEM
int tok_buf_add_char(struct tok_buf *b, uint32_t c);
void tok_buf_free(struct tok_buf *b);

/* What stands at s (n > 0 bytes): a whole character, a part that can never become one (the longest such part, as Python's
 * errors="replace" counts them), or the begin of a character whose rest is missing. *len: its bytes. */
enum tok_utf8 { TOK_UTF8_CHAR, TOK_UTF8_BROKEN, TOK_UTF8_PART };
enum tok_utf8 tok_utf8_next(const char *s, size_t n, size_t *len);

/* Character at s of valid UTF-8; *len: its bytes (1..4). */
uint32_t tok_char(const char *s, size_t *len);
/* Bytes of c written to s (4 at most). */
size_t tok_char_put(char s[4], uint32_t c);

/* *out, *out_n := the text itself if it is valid UTF-8, else a copy in b with U+FFFD for each broken part. */
int tok_text_valid(struct tok_buf *b, const char *s, size_t n, const char **out, size_t *out_n);

bool tok_is_space(uint32_t c);                    // Unicode White_Space
bool tok_is_number(uint32_t c);                   // categories N*
bool tok_is_punct(uint32_t c);                    // categories P*, and all ASCII punctuation ($ + < ..)
bool tok_is_word(uint32_t c);                     // \w: letters, marks, decimal digits, connectors
bool tok_is_mark(uint32_t c);                     // categories M*
bool tok_is_accent(uint32_t c);                   // category Mn
bool tok_is_control(uint32_t c);                  // categories Cc, Cf, Co, Cs
int tok_add_lower(struct tok_buf *b, uint32_t c); // adds c in lower case (one or two characters)

/* GPT-2's alphabet: every byte as a printable character, so that any text is a text of the vocabulary. */
uint32_t tok_byte_char(uint8_t byte);
int tok_char_byte(uint32_t c); // -1: c stands for no byte

#endif
