/* tile.h - what loops that make or turn packed matrices (product.h) have in common. */
#ifndef CLLAVA_MODEL_CPU_TILE_H
#define CLLAVA_MODEL_CPU_TILE_H

#include "model/cpu/kernels/kernel.h"
#include "model/cpu/product.h"

enum {
    PAIRS = 2 * PACKED_COLS,           // numbers from one pair of rows to the next
    BLOCK = PACKED_ROWS * PACKED_COLS, // numbers of a block
};

#ifdef __AVX512BW__
/* t[j] := column j of the 16 x 16 double words of r. */
INLINE void transpose(__m512i *t, __m512i *r)
{
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16;
         i += 4) { // r[4 g + c]: in each quarter q of the register column 4 q + c of rows 4 g .. 4 g + 3
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int c = 0; c < 4; c++) { // quarters 0, 2 and 1, 3 of the upper, then of the lower rows
        const __m512i even = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88),
                      odd = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        const __m512i even2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88),
                      odd2 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(even, even2, 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(even, even2, 0xdd);
        t[12 + c] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
    }
}
#endif

#endif
