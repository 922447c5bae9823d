/* pack.c - a frozen weight from the order of its file into the order that products like (product.h).
 *
 * The file has 64 outputs one after another, each with all its inputs; packed they are as many bytes, pairs of inputs of 64
 * outputs side by side. So 64 outputs are a piece of work of their own. Their 64 rows are too many streams for the processor to
 * see what comes next: meanwhile the next 64 are asked for in the order of memory. What is written is not read soon and goes
 * past the caches.
 */
#include "model/cpu/kernels/tile.h"

enum { TILE_ROWS = 16 };

struct source {
    const uint16_t *at; // (rows, inputs), rows ld numbers apart
    int64_t rows, inputs, ld;
};

#ifdef __AVX512BW__
/* Pairs of up to 32 inputs of up to 16 rows; 0 beyond them. */
INLINE void pack_tile(uint16_t *dst, struct source s)
{
    const __mmask32 inputs = s.inputs < PACKED_ROWS ? (__mmask32)((1u << s.inputs) - 1) : ~0u;
    __m512i row[TILE_ROWS], pair[TILE_ROWS];

    for (int i = 0; i < TILE_ROWS; i++)
        row[i] = _mm512_maskz_loadu_epi16(i < s.rows ? inputs : 0, s.at + (i < s.rows ? i * s.ld : 0));
    transpose(pair, row);
    for (int i = 0; i < TILE_ROWS; i++) _mm512_stream_si512((__m512i *)(void *)(dst + i * PAIRS), pair[i]);
}
#else
INLINE void pack_tile(uint16_t *dst, struct source s)
{
    for (int i = 0; i < PACKED_ROWS; i++)
        for (int r = 0; r < TILE_ROWS; r++)
            dst[i / 2 * PAIRS + 2 * r + i % 2] = r < s.rows && i < s.inputs ? s.at[r * s.ld + i] : 0;
}
#endif

/* Walks through rows line by line, asking for each. */
struct ahead {
    const uint16_t *row;
    int64_t rows, inputs, ld, at;
};

INLINE void ask(struct ahead *a, int lines)
{
    for (; a->rows > 0 && lines > 0; lines--) {
        __builtin_prefetch(a->row + a->at, 0, 2);
        if ((a->at += 32) < a->inputs) continue;
        a->at = 0, a->row += a->ld, a->rows--;
    }
}

/* Up to 64 outputs; `next` of them follow, which another call packs. */
static void pack_outputs(uint16_t *dst, struct source s, int64_t next)
{
    struct ahead ahead = {s.at + s.rows * s.ld, next, s.inputs, s.ld, 0};

    for (int64_t k = 0; k < s.inputs; k += PACKED_ROWS, dst += BLOCK)
        for (int64_t r = 0; r < PACKED_COLS; r += TILE_ROWS) {
            ask(&ahead, TILE_ROWS);
            pack_tile(dst + 2 * r, r < s.rows ? (struct source){s.at + r * s.ld + k, s.rows - r, s.inputs - k, s.ld}
                                              : (struct source){s.at, 0, 0, 0});
        }
}

void KERNEL(pack)(uint16_t *dst, const uint16_t *src, int64_t out, int64_t in, int64_t ld)
{
    const int64_t blocks = (out + PACKED_COLS - 1) / PACKED_COLS,
                  size = (in + PACKED_ROWS - 1) / PACKED_ROWS * BLOCK; // numbers of a block of outputs

#pragma omp parallel for schedule(static) if (out * in > PARALLEL_WORK)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t left = out - b * PACKED_COLS, rows = left < PACKED_COLS ? left : PACKED_COLS;
        const int64_t next = left - rows < PACKED_COLS ? left - rows : PACKED_COLS;
        pack_outputs(dst + b * size, (struct source){src + b * PACKED_COLS * ld, rows, in, ld}, next);
#ifdef __AVX512BW__
        _mm_sfence(); // whoever reads it next, on whatever core
#endif
    }
}
