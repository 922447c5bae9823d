/* few.c - products of a few rows: the rows in the form that the loops take, a kind of weight to its loop. */
#include "model/cpu/few.h"

#include <string.h>

#include "io/err.h"
#include "model/cpu/gemm.h"
#include "model/cpu/isa.h"
#include "model/cpu/kernels.h"
#include "model/cpu/scratch.h"
#include "model/cpu/weight.h"

/* x with rows `in` numbers apart, filled up with 0, of the given type, in scratch. */
static int filled_rows(const void **rows, struct tensor x, enum dtype type, int64_t in)
{
    const size_t size = dtype_size(type), row = (size_t)in * size;
    char *p = scratch_take(SCRATCH_A, (size_t)x.rows * row);

    *rows = p;
    if (!p) return err_set(CL_ENOMEM, "cannot have memory for %lld rows", (long long)x.rows);
    cpu_kernels()->copy((struct tensor){p, type, x.rows, x.cols, in}, x);
    for (int64_t r = 0; r < x.rows; r++)
        memset(p + (size_t)r * row + (size_t)x.cols * size, 0, (size_t)(in - x.cols) * size);
    return CL_OK;
}

static bool is_plain(const struct weight *w)
{
    return !w->packed.data && !w->rounded;
}

bool few_serves(const struct weight *w, int64_t rows)
{
    if (w->rounded) return true;
    return w->uses & WEIGHT_FEW && rows <= FEW_ROWS && (w->packed.data || w->plain_type == DT_F32);
}

int few_plain(struct tensor y, struct tensor x, struct tensor w, const float *bias, bool accumulate)
{
    int rc;
    const void *rows;

    TRY(filled_rows(&rows, x, DT_F32, x.cols));
    cpu_kernels()->gemv_plain(y, rows, x.cols, w, bias, accumulate);
done:
    return rc;
}

static int packed(struct gemv *g, struct tensor x)
{
    int rc;

    g->in = (x.cols + PACKED_ROWS - 1) / PACKED_ROWS * PACKED_ROWS;
    g->fast = cpu_has_pairs();
    TRY(filled_rows(&g->x, x, DT_BF16, g->in));
    cpu_kernels()->gemv_packed(g);
done:
    return rc;
}

/* Of any number of rows, GEMV_ROWS at a time. */
static int rounded(struct gemv *g, struct gemv_part *part, struct tensor x)
{
    int rc = CL_OK;
    const int64_t most = x.rows < GEMV_ROWS ? x.rows : GEMV_ROWS;
    struct tensor y[FEW_PARTS];

    g->in = gemm_rounded_inputs(x.cols);
    g->fast = cpu_has_quads();
    g->room = scratch_take(SCRATCH_B, (size_t)(2 * most * g->in));
    if (!g->room) FAIL(CL_ENOMEM, "cannot have memory for %lld rows", (long long)most);
    for (int i = 0; i < g->parts; i++) y[i] = part[i].y;
    for (int64_t r = 0; r < x.rows; r += most) {
        g->rows = x.rows - r < most ? x.rows - r : most;
        for (int i = 0; i < g->parts; i++) part[i].y = tensor_rows(y[i], r, g->rows);
        TRY(filled_rows(&g->x, tensor_rows(x, r, g->rows), DT_F32, g->in));
        cpu_kernels()->gemv_bytes(g);
    }
done:
    return rc;
}

int few_linear(const struct linear *part, int parts, struct tensor x, bool accumulate)
{
    const struct weight *first = part->w;
    struct gemv_part p[FEW_PARTS];
    struct gemv g = {.part = p, .parts = parts, .rows = x.rows, .accumulate = accumulate};

    if (is_plain(first))
        return few_plain(part->y, x, (struct tensor){(void *)first->plain, DT_F32, first->out, first->in, first->ld},
                         part->bias, accumulate);
    for (int i = 0; i < parts; i++) {
        const struct weight *w = part[i].w;
        p[i] = (struct gemv_part){.y = part[i].y, .w = w->packed.data, .bias = part[i].bias};
        if (w->rounded) p[i].w = w->rounded, p[i].scale = w->scale, p[i].total = w->total;
    }
    return first->rounded ? rounded(&g, p, x) : packed(&g, x);
}
