/* turn.c - a part of a packed matrix's transpose, packed too: a frozen weight is kept once and serves both directions.
 *
 * A tile is 32 rows and 16 columns of the matrix: 16 x 16 pairs of numbers, a pair being two rows of one column. Turned it is 8
 * x 32 pairs of two columns of one row. Tiles of a block are read one after another, and the block of the next columns, which
 * lies far away, is asked for meanwhile: the loop is bound by memory.
 */
#include "model/cpu/kernels/tile.h"

enum { TILE_COLS = 16 };

static int64_t blocks_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

#ifdef __AVX512BW__
INLINE void turn_tile(uint16_t *dst, const uint16_t *src)
{
    const __m512i count = _mm512_set_epi16(15, 15, 14, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 6, 6, 5, 5,
                                           4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    const __m512i low = _mm512_mask_add_epi16(count, 0xaaaaaaaa, count, _mm512_set1_epi16(32)); // 0 32 1 33 2 34 ..
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    __m512i row[16], col[16]; // pairs of rows; columns

    for (int i = 0; i < 16; i++) row[i] = _mm512_loadu_si512(src + i * PAIRS);
    transpose(col, row);
    for (int i = 0; i < 16; i += 2) {
        _mm512_storeu_si512(dst + i / 2 * PAIRS, _mm512_permutex2var_epi16(col[i], low, col[i + 1]));
        _mm512_storeu_si512(dst + i / 2 * PAIRS + 32, _mm512_permutex2var_epi16(col[i], high, col[i + 1]));
    }
}
#else
INLINE void turn_tile(uint16_t *dst, const uint16_t *src)
{
    for (int c = 0; c < TILE_COLS; c++)
        for (int r = 0; r < PACKED_ROWS; r++) dst[c / 2 * PAIRS + 2 * r + c % 2] = src[r / 2 * PAIRS + 2 * c + r % 2];
}
#endif

/* The columns of one column block of src, as far as they fill row blocks of dst. */
static void turn_columns(uint16_t *dst, const uint16_t *src, int64_t rows, int64_t cols, int64_t first, int64_t n,
                         int64_t block)
{
    const int64_t src_blocks = blocks_of(rows, PACKED_ROWS), dst_blocks = blocks_of(cols, PACKED_ROWS);
    const int64_t down = first / PACKED_ROWS, at = block * (PACKED_COLS / PACKED_ROWS);
    const int64_t tall = dst_blocks - at < 2 ? 1 : 2; // row blocks of dst

    // each b is 32 rows of src: half the columns of a block of dst
    for (int64_t b = 0; b < blocks_of(n, PACKED_COLS) * 2; b++) {
        const uint16_t *from = src + (block * src_blocks + down + b) * BLOCK;
        uint16_t *to = dst + (b / 2 * dst_blocks + at) * BLOCK + b % 2 * PAIRS / 2;
        for (int64_t tile = 0; tile < tall * 2; tile++) {
            uint16_t *place = to + tile / 2 * BLOCK + tile % 2 * (TILE_COLS / 2) * PAIRS;
            if (down + b < src_blocks) {
                for (int i = 0; i < 16; i++) // a quarter of the same rows' next columns, in the order of memory
                    __builtin_prefetch(from + src_blocks * BLOCK + (tile * 16 + i) * 32, 0, 2);
                turn_tile(place, from + tile * 2 * TILE_COLS);
            } else { // dst is wider than src is high
                for (int i = 0; i < TILE_COLS / 2; i++) memset(place + i * PAIRS, 0, PAIRS / 2 * sizeof *place);
            }
        }
    }
}

void KERNEL(turn)(uint16_t *dst, const uint16_t *src, int64_t rows, int64_t cols, int64_t first, int64_t n)
{
#pragma omp parallel for schedule(static) if (cols * n > PARALLEL_WORK)
    for (int64_t b = 0; b < blocks_of(cols, PACKED_COLS); b++) turn_columns(dst, src, rows, cols, first, n, b);
}
