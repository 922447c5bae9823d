/* tok_proto.c - is this file a SentencePiece model that the library can load without harm?
 *
 * ModelProto on the wire (protobuf): 1 pieces {1 text, 2 score, 3 type}, 2 trainer settings, 3 normalizer {2 character
 * rules, 3 add_dummy_prefix, 4 remove_extra_whitespaces}, 5 denormalizer (as 3). The character rules are
 *
 *     u32 bytes of the trie | trie: u32 units of a double array | NUL-terminated replacements
 *
 * and the library follows the trie without checks, so every unit it could reach is looked at here.
 */
#include "io/tok_sentencepiece.h"

#include "io/err.h"
#include "io/tok_vocab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

/* One member of a message. */
struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value; // VARINT, FIXED32
    const char *s;  // BYTES
    size_t n;
};

static bool read_varint(const char **s, const char *end, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64 && *s < end; shift += 7) {
        uint8_t b = (uint8_t) * (*s)++;

        *v |= (uint64_t)(b & 0x7F) << shift;
        if (b < 0x80) return true;
    }
    return false;
}

/* Takes the next member off s; false: broken. */
static bool read_field(const char **s, const char *end, struct field *f)
{
    uint64_t tag, n;
    uint32_t word;

    *f = (struct field){0};
    if (!read_varint(s, end, &tag) || tag >> 3 == 0 || tag > UINT32_MAX) return false;
    f->number = (uint32_t)(tag >> 3);
    f->wire = (enum wire)(tag & 7);
    n = f->wire == FIXED32 ? 4 : f->wire == FIXED64 ? 8 : 0;
    if (f->wire == VARINT) return read_varint(s, end, &f->value);
    if (f->wire == BYTES) {
        if (!read_varint(s, end, &n)) return false;
    } else if (!n) {
        return false;
    }
    if (n > (size_t)(end - *s)) return false;
    f->s = *s;
    f->n = (size_t)n;
    *s += n;
    if (f->wire != FIXED32) return true;
    memcpy(&word, f->s, 4);
    f->value = word;
    return true;
}

static bool is_text(const char *s, size_t n)
{
    size_t len;

    for (size_t i = 0; i < n; i += len)
        if (!s[i] || tok_utf8_next(s + i, n - i, &len) != TOK_UTF8_CHAR) return false;
    return true;
}

static int check_piece(const struct field *piece, size_t index)
{
    const char *s = piece->s, *end = s + piece->n;
    struct field f;
    float score;
    uint32_t bits;
    bool text = false;

    while (s < end) {
        if (!read_field(&s, end, &f)) return err_set(CL_EFORMAT, "piece %zu is broken", index);
        if (f.number == 1 && f.wire == BYTES) {
            if (!f.n || f.n > TOK_MAX_PIECE || !is_text(f.s, f.n))
                return err_set(CL_EFORMAT, "piece %zu is not UTF-8 text of 1 to %d bytes", index, TOK_MAX_PIECE);
            text = true;
        } else if (f.number == 2 && f.wire == FIXED32) {
            bits = (uint32_t)f.value;
            memcpy(&score, &bits, sizeof score);
            if (!isfinite(score)) return err_set(CL_EFORMAT, "the score of piece %zu is not a number", index);
        } else if (f.number == 3 && (f.wire != VARINT || f.value < 1 || f.value > 6)) {
            return err_set(CL_EFORMAT, "the type of piece %zu is %llu, expected 1 to 6", index,
                           (unsigned long long)f.value);
        }
    }
    return text ? CL_OK : err_set(CL_EFORMAT, "piece %zu has no text", index);
}

/* The trie as the library walks it: from a place, byte c leads to unit place ^ c if that one's label is c; the next place
 * is the unit's index ^ its offset, and if it has a leaf its value is the unit there. Branches are shared, loops are not. */
struct trie {
    uint32_t *unit;
    size_t n;
    size_t values;   // bytes of the replacements
    uint8_t *leaves; // (n) per place: most leaves on a way down from it
    uint8_t *state;  // (n) per place
};
enum { UNSEEN, OPEN, DONE };
enum { MAX_LEAVES = 32 }; // the library has room for so many on one way

struct visit {
    uint32_t place, byte; // next byte to follow
};

static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The place that byte c leads to; false: broken. *there: it leads somewhere. */
static bool follow(const struct trie *t, uint32_t place, uint32_t c, bool *there, uint32_t *to, bool *leaf)
{
    uint32_t at = place ^ c, unit = t->unit[at];

    *there = (unit & (0x80000000u | 0xFF)) == c;
    if (!*there) return true;
    *to = at ^ unit_offset(unit);
    *leaf = (unit >> 8) & 1;
    if ((*to | 0xFF) >= t->n) return false;
    return !*leaf || (t->unit[*to] & 0x7FFFFFFFu) < t->values;
}

/* Goes on with the place on top of the stack until it is done or a new one lies on top; false: broken. */
static bool visit_next(const struct trie *t, struct visit *stack, size_t *n)
{
    struct visit *v = &stack[*n - 1];
    uint32_t to;
    bool there, leaf;

    for (; v->byte < 256; v->byte++) {
        if (!follow(t, v->place, v->byte, &there, &to, &leaf)) return false;
        if (!there) continue;
        if (t->state[to] == OPEN) return false; // a loop
        if (t->state[to] == UNSEEN) {
            t->state[to] = OPEN;
            stack[(*n)++] = (struct visit){to, 0};
            return true; // this byte is looked at again once `to` is done
        }
        if (t->leaves[to] + leaf > t->leaves[v->place]) t->leaves[v->place] = (uint8_t)(t->leaves[to] + leaf);
        if (t->leaves[v->place] > MAX_LEAVES) return false;
    }
    t->state[v->place] = DONE;
    --*n;
    return true;
}

static int check_trie(struct trie *t)
{
    int rc;
    struct visit *stack = malloc((t->n + 1) * sizeof *stack); // every place lies on it once at most
    size_t n = 0;

    t->leaves = calloc(t->n, 1);
    t->state = calloc(t->n, 1);
    if (!stack || !t->leaves || !t->state) FAIL(CL_ENOMEM, "no memory for %zu character rules", t->n);
    stack[n++] = (struct visit){unit_offset(t->unit[0]), 0};
    if ((stack[0].place | 0xFF) >= t->n) FAIL(CL_EFORMAT, "the table of character rules is broken");
    t->state[stack[0].place] = OPEN;
    while (n)
        if (!visit_next(t, stack, &n)) FAIL(CL_EFORMAT, "the table of character rules is broken");
    rc = CL_OK;
done:
    free(stack);
    free(t->leaves);
    free(t->state);
    return rc;
}

static int check_rules(const char *s, size_t n)
{
    int rc;
    struct trie t = {0};
    uint32_t bytes;

    if (!n) return CL_OK; // text is taken as it is
    if (n <= 4) FAIL(CL_EFORMAT, "the table of character rules has %zu bytes", n);
    memcpy(&bytes, s, 4);
    if (bytes < 1024 || bytes % 4 || bytes >= n - 4 || s[n - 1])
        FAIL(CL_EFORMAT, "the table of character rules is broken: trie of %u bytes in %zu", bytes, n);
    t.n = bytes / 4;
    t.values = n - 4 - bytes;
    t.unit = malloc(bytes); // aligned
    if (!t.unit) FAIL(CL_ENOMEM, "no memory for %zu character rules", t.n);
    memcpy(t.unit, s + 4, bytes);
    TRY(check_trie(&t));
    rc = CL_OK;
done:
    free(t.unit);
    return rc;
}

static int check_normalizer(struct tok_proto *p, const struct field *spec, bool counts)
{
    int rc;
    const char *s = spec->s, *end = s + spec->n;
    struct field f;

    while (s < end) {
        if (!read_field(&s, end, &f)) FAIL(CL_EFORMAT, "the normalizer settings are broken");
        if (f.number == 2 && f.wire == BYTES) TRY(check_rules(f.s, f.n));
        if (f.number == 3 && f.wire == VARINT && counts) p->dummy_prefix = f.value != 0;
        if (f.number == 4 && f.wire == VARINT && counts) p->strips = f.value != 0;
    }
    rc = CL_OK;
done:
    return rc;
}

int tok_proto_check(struct tok_proto *p, const char *bytes, size_t n)
{
    int rc;
    const char *s = bytes, *end = bytes + n;
    struct field f;

    *p = (struct tok_proto){.dummy_prefix = true, .strips = true}; // the format's defaults
    while (s < end) {
        if (!read_field(&s, end, &f))
            FAIL(CL_EFORMAT, "not a SentencePiece model, or cut off (byte %zu)", (size_t)(s - bytes));
        if (f.number <= 5 && f.wire != BYTES) FAIL(CL_EFORMAT, "not a SentencePiece model: member %u", f.number);
        if (f.number == 1) TRY(check_piece(&f, p->pieces++));
        if (f.number == 3 || f.number == 5) TRY(check_normalizer(p, &f, f.number == 3));
    }
    if (!p->pieces || p->pieces > TOK_MAX_ID)
        FAIL(CL_EFORMAT, "not a SentencePiece model: %zu pieces, expected 1 to %d", p->pieces, TOK_MAX_ID);
    rc = CL_OK;
done:
    return rc;
}
