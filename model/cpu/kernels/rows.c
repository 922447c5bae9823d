/* rows.c - moving and adding rows: what is bound by memory alone. */
#include "model/cpu/kernels/kernel.h"

static int64_t work(struct tensor t)
{
    return t.rows * t.cols;
}

static void copy_row(struct row dst, struct row src, int64_t n)
{
    if (dst.bf16 == src.bf16) {
        memmove(dst.p, src.p, (size_t)n * (dst.bf16 ? 2 : 4));
        return;
    }
    for (int64_t c = 0; c < n; c += VW) vf_put(dst, c, width(n - c), vf_get(src, c, width(n - c)));
}

static void add_row(struct row dst, struct row src, int64_t n)
{
    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf_put(dst, c, w, vf_get(dst, c, w) + vf_get(src, c, w));
    }
}

static void from_f16(struct row dst, const uint16_t *src, int64_t n)
{
    for (int64_t c = 0; c < n; c += VW) {
        int w = width(n - c);
        vf x;
#ifdef __AVX512F__
        x = (vf)_mm512_cvtph_ps((__m256i)vh_load_part(src + c, w));
#elif defined(__F16C__)
        x = (vf)_mm256_cvtph_ps((__m128i)vh_load_part(src + c, w));
#else
        vh h = vh_load_part(src + c, w);
        for (int i = 0; i < VW; i++) x[i] = f16_to_f32(h[i]);
#endif
        vf_put(dst, c, w, x);
    }
}

void KERNEL(convert)(void *dst, enum dtype dst_type, const void *src, enum dtype src_type, int64_t n)
{
    struct row to = {dst, dst_type == DT_BF16};

    if (src_type == DT_F16)
        from_f16(to, src, n);
    else
        copy_row(to, (struct row){(void *)src, src_type == DT_BF16}, n);
}

void KERNEL(zero)(struct tensor t)
{
    size_t bytes = (size_t)t.cols * dtype_size(t.type), step = (size_t)t.ld * dtype_size(t.type);

#pragma omp parallel for schedule(static) if (work(t) > PARALLEL_WORK)
    for (int64_t r = 0; r < t.rows; r++) memset((char *)t.data + (size_t)r * step, 0, bytes);
}

void KERNEL(copy)(struct tensor dst, struct tensor src)
{
#pragma omp parallel for schedule(static) if (work(dst) > PARALLEL_WORK)
    for (int64_t r = 0; r < dst.rows; r++) copy_row(row_of(dst, r), row_of(src, r), dst.cols);
}

void KERNEL(add)(struct tensor dst, struct tensor src)
{
#pragma omp parallel for schedule(static) if (work(dst) > PARALLEL_WORK)
    for (int64_t r = 0; r < dst.rows; r++) add_row(row_of(dst, r), row_of(src, r), dst.cols);
}

void KERNEL(scale)(struct tensor t, float factor)
{
#pragma omp parallel for schedule(static) if (work(t) > PARALLEL_WORK)
    for (int64_t r = 0; r < t.rows; r++) {
        struct row x = row_of(t, r);
        for (int64_t c = 0; c < t.cols; c += VW)
            vf_put(x, c, width(t.cols - c), vf_get(x, c, width(t.cols - c)) * factor);
    }
}

void KERNEL(gather)(struct tensor out, struct tensor in, const int64_t *row)
{
#pragma omp parallel for schedule(static) if (work(out) > PARALLEL_WORK)
    for (int64_t r = 0; r < out.rows; r++) copy_row(row_of(out, r), row_of(in, row[r]), out.cols);
}

void KERNEL(scatter)(struct tensor out, struct tensor in, const int64_t *row)
{
#pragma omp parallel for schedule(static) if (work(in) > PARALLEL_WORK)
    for (int64_t r = 0; r < in.rows; r++) copy_row(row_of(out, row[r]), row_of(in, r), in.cols);
}

void KERNEL(scatter_add)(struct tensor out, struct tensor in, const int64_t *row)
{
#pragma omp parallel for schedule(static) if (work(in) > PARALLEL_WORK)
    for (int64_t r = 0; r < in.rows; r++) add_row(row_of(out, row[r]), row_of(in, r), in.cols);
}
