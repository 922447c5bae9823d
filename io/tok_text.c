/* tok_text.c - buffers, UTF-8 and classes of characters for the tokenizers. */
#include "io/tok_text.h"

#include "io/err.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int tok_buf_add(struct tok_buf *b, const char *s, size_t n)
{
    if (n >= b->room - b->n || !b->s) {
        size_t room = b->room < 32 ? 64 : b->room * 2;
        char *more;

        if (n > SIZE_MAX / 4 - b->n) return err_set(CL_ENOMEM, "text of %zu bytes is too long", n);
        if (room < b->n + n + 1) room = b->n + n + 1;
        more = realloc(b->s, room);
        if (!more) return err_set(CL_ENOMEM, "no memory for %zu bytes of text", room);
        b->s = more;
        b->room = room;
    }
    if (n) memcpy(b->s + b->n, s, n);
    b->n += n;
    b->s[b->n] = 0;
    return CL_OK;
}

int tok_buf_add_char(struct tok_buf *b, uint32_t c)
{
    char s[4];

    return tok_buf_add(b, s, tok_char_put(s, c));
}

void tok_buf_free(struct tok_buf *b)
{
    free(b->s);
    *b = (struct tok_buf){0};
}

/* Bounds of the second byte depend on the first (no overlong forms, no surrogates, nothing above U+10FFFF); every later
 * byte is 80..BF. The longest broken part is what fits these bounds so far. */
enum tok_utf8 tok_utf8_next(const char *s, size_t n, size_t *len)
{
    const uint8_t *u = (const uint8_t *)s;
    size_t want = u[0] < 0x80 ? 1 : u[0] < 0xC2 ? 0 : u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : u[0] < 0xF5 ? 4 : 0;
    uint8_t low = u[0] == 0xE0 ? 0xA0 : u[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = u[0] == 0xED ? 0x9F : u[0] == 0xF4 ? 0x8F : 0xBF;

    *len = 1;
    if (!want) return TOK_UTF8_BROKEN;
    for (size_t i = 1; i < want; i++, low = 0x80, high = 0xBF) {
        *len = i;
        if (i >= n) return TOK_UTF8_PART;
        if (u[i] < low || u[i] > high) return TOK_UTF8_BROKEN;
    }
    *len = want;
    return TOK_UTF8_CHAR;
}

uint32_t tok_char(const char *s, size_t *len)
{
    const uint8_t *u = (const uint8_t *)s;

    if (u[0] < 0x80) {
        *len = 1;
        return u[0];
    }
    if (u[0] < 0xE0) {
        *len = 2;
        return (u[0] & 0x1Fu) << 6 | (u[1] & 0x3Fu);
    }
    if (u[0] < 0xF0) {
        *len = 3;
        return (u[0] & 0xFu) << 12 | (u[1] & 0x3Fu) << 6 | (u[2] & 0x3Fu);
    }
    *len = 4;
    return (u[0] & 7u) << 18 | (u[1] & 0x3Fu) << 12 | (u[2] & 0x3Fu) << 6 | (u[3] & 0x3Fu);
}

size_t tok_char_put(char s[4], uint32_t c)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)s);
}

int tok_text_valid(struct tok_buf *b, const char *s, size_t n, const char **out, size_t *out_n)
{
    int rc;
    size_t len;

    *out = s;
    *out_n = n;
    for (size_t i = 0; i < n; i += len) {
        bool good = tok_utf8_next(s + i, n - i, &len) == TOK_UTF8_CHAR;

        if (good && *out == s) continue; // no copy before the first broken part
        if (*out == s) {
            TRY(tok_buf_add(b, s, i));
            *out = b->s;
        }
        TRY(good ? tok_buf_add(b, s + i, len) : tok_buf_add_char(b, 0xFFFD));
    }
    if (*out != s) {
        *out = b->s;
        *out_n = b->n;
    }
    rc = CL_OK;
done:
    return rc;
}

bool tok_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool tok_is_number(uint32_t c)
{
    utf8proc_category_t k = category(c);

    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

bool tok_is_punct(uint32_t c)
{
    utf8proc_category_t k;

    if (c < 0x80) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    k = category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool tok_is_mark(uint32_t c)
{
    utf8proc_category_t k = category(c);

    return k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME;
}

bool tok_is_accent(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_MN;
}

bool tok_is_word(uint32_t c)
{
    utf8proc_category_t k = category(c);

    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC || c == 0x200C ||
           c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189); // circled letters count as alphabetic
}

bool tok_is_control(uint32_t c)
{
    return category(c) >= UTF8PROC_CATEGORY_CC;
}

int tok_add_lower(struct tok_buf *b, uint32_t c)
{
    if (c == 0x130) return tok_buf_add(b, "i\xCC\x87", 3); // I with dot: the only one that becomes two
    return tok_buf_add_char(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

static bool byte_prints(uint32_t b)
{
    return (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
}

/* Bytes that print stand for themselves; the others, in order, for U+0100 and on: 0..32, then 127..160, then 173. */
uint32_t tok_byte_char(uint8_t b)
{
    if (byte_prints(b)) return b;
    return 0x100u + (b <= 32 ? b : b < 0xAD ? b - 127u + 33u : 67u);
}

int tok_char_byte(uint32_t c)
{
    if (c < 0x100) return byte_prints(c) ? (int)c : -1;
    if (c > 0x143) return -1;
    c -= 0x100;
    return (int)(c <= 32 ? c : c < 67 ? c - 33 + 127 : 0xAD);
}
