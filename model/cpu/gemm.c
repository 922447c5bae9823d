/* gemm.c - frozen weights and plain products on the CPU. */
#include "model/cpu/gemm.h"

#include <omp.h>
#include <string.h>

#include "io/err.h"
#include "model/cpu/few.h"
#include "model/cpu/isa.h"
#include "model/cpu/kernels.h"
#include "model/cpu/product.h"
#include "model/cpu/scratch.h"
#include "model/cpu/weight.h"

enum { PACK_LEAST = 64 * 64 };  // numbers of a weight below which the plain order does as well
enum { PANEL_BYTES = 2 << 20 }; // about a core's cache: turned, and gone through once for every few rows

/* ---- products of tensors */

static struct tensor turned(struct tensor t, bool transposed)
{
    return transposed ? (struct tensor){t.data, t.type, t.cols, t.rows, t.ld} : t;
}

/* t as a side of a product, op(t) = t or its transpose. */
static struct side side_of(struct tensor t, bool transposed)
{
    return transposed ? (struct side){t.data, t.type, 1, t.ld} : (struct side){t.data, t.type, t.ld, 1};
}

/* t in rows without gaps and of the given type: itself, or a copy in scratch. oneDNN's fast loops take no gaps. */
static int dense(struct tensor *t, enum dtype type, enum scratch_use use)
{
    struct tensor copy = tensor_of(NULL, type, t->rows, t->cols);
    size_t bytes = (size_t)t->rows * (size_t)t->cols * dtype_size(type);

    if (t->rows == 1) t->ld = t->cols;
    if (t->type == type && t->ld == t->cols) return CL_OK;
    if (!(copy.data = scratch_take(use, bytes))) return err_set(CL_ENOMEM, "cannot have %zu bytes for a copy", bytes);
    cpu_kernels()->copy(copy, *t);
    *t = copy;
    return CL_OK;
}

/* c (+)= op(a) op(b), or a times a packed matrix instead of b, in the arithmetic given. */
struct job {
    struct tensor c, a, b;
    bool a_turned, b_turned, accumulate;
    const struct packed *stock; // or NULL
    const float *bias;          // or NULL
    enum dtype arithmetic;
};

/* oneDNN has no loops for this packed order at this shape: back to plain rows, in scratch. */
static int multiply_unpacked(struct product *p)
{
    int rc;
    enum dtype type = p->a.type;
    size_t bytes = (size_t)p->k * (size_t)p->n * dtype_size(type);

    p->b = (struct side){scratch_take(SCRATCH_B, bytes), type, p->n, 1};
    if (!p->b.data) FAIL(CL_ENOMEM, "cannot have %zu bytes for a weight", bytes);
    TRY(packed_unpack(p->stock, p->b.data));
    p->stock = NULL;
    TRY(product_run(p, NULL));
done:
    return rc;
}

static int multiply(const struct job *j)
{
    int rc;
    struct tensor a = j->a, b = j->b, c = j->c;
    bool through, slow = false; // through: c by way of scratch

    TRY(dense(&a, j->arithmetic, SCRATCH_A));
    if (!j->stock) TRY(dense(&b, j->arithmetic, SCRATCH_B));
    if (c.rows == 1) c.ld = c.cols;
    through = (j->arithmetic == DT_F32 && c.type != DT_F32) || c.ld != c.cols;
    if (through) {
        size_t bytes = (size_t)c.rows * (size_t)c.cols * sizeof(float);
        c = tensor_of(scratch_take(SCRATCH_C, bytes), DT_F32, c.rows, c.cols);
        if (!c.data) FAIL(CL_ENOMEM, "cannot have %zu bytes for a product", bytes);
    }
    struct product p = {.m = c.rows,
                        .n = c.cols,
                        .k = turned(a, j->a_turned).cols,
                        .a = side_of(a, j->a_turned),
                        .b = side_of(b, j->b_turned),
                        .stock = j->stock,
                        .c = side_of(c, false),
                        .bias = j->bias,
                        .accumulate = j->accumulate && !through};
    TRY(product_run(&p, j->stock ? &slow : NULL));
    if (slow) TRY(multiply_unpacked(&p));
    if (through && j->accumulate)
        cpu_kernels()->add(j->c, c);
    else if (through)
        cpu_kernels()->copy(j->c, c);
done:
    return rc;
}

/* ---- weights */

/* Plain rows of the arithmetic's type, in memory of the weight's own. */
static int own_rows(struct weight *w, const void *src, enum dtype src_type, int64_t ld)
{
    size_t step = (size_t)w->in * dtype_size(w->arithmetic), src_step = (size_t)ld * dtype_size(src_type);

    if (!(w->own = mem_raw((size_t)w->out, step)))
        return err_set(CL_ENOMEM, "cannot have %zu bytes for a weight of %lld x %lld", (size_t)w->out * step,
                       (long long)w->out, (long long)w->in);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < w->out; r++)
        cpu_kernels()->convert((char *)w->own + (size_t)r * step, w->arithmetic,
                               (const char *)src + (size_t)r * src_step, src_type, w->in);
    w->plain = w->own;
    w->plain_type = w->arithmetic;
    w->ld = w->in;
    return CL_OK;
}

static bool usable_in_place(const struct weight *w, const void *src, enum dtype src_type)
{
    if (!w->uses) return true; // a table: rows are converted when they are read
    return src_type == w->arithmetic && (uintptr_t)src % dtype_size(src_type) == 0;
}

/* Rows of another type are rounded, a few panels at a time: those are packed out of the cache. */
static int pack_rounded(const struct weight *w, const void *src, enum dtype src_type, int64_t ld)
{
    const int64_t step = (int64_t)omp_get_max_threads() * PACKED_COLS;
    const size_t src_row = (size_t)ld * dtype_size(src_type);
    uint16_t *room = mem_raw((size_t)step, (size_t)w->in * sizeof *room);

    if (!room)
        return err_set(CL_ENOMEM, "cannot have %zu bytes for rows of a weight", (size_t)(step * w->in) * sizeof *room);
    for (int64_t at = 0; at < w->out; at += step) {
        const int64_t n = w->out - at < step ? w->out - at : step;
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < n; r++)
            cpu_kernels()->convert(room + r * w->in, DT_BF16, (const char *)src + (size_t)(at + r) * src_row, src_type,
                                   w->in);
        packed_fill(&w->packed, at, n, room, w->in);
    }
    mem_free(room);
    return CL_OK;
}

/* Columns at a time of a packed weight that is turned: what is turned stays in the cache until it is multiplied. */
static int64_t panel_columns(int64_t out)
{
    const int64_t fit = PANEL_BYTES / (2 * out) / PACKED_COLS * PACKED_COLS;

    return fit < 2 * PACKED_COLS ? 2 * PACKED_COLS : fit;
}

/* Is the weight kept turned too? Turning takes the longer, compared with the product, the fewer rows there are; small weights
 * belong to small models, where twice the memory is little. */
static bool is_kept_turned(int64_t out, int64_t in, unsigned uses)
{
    return uses & WEIGHT_BACKWARD && out * in * 2 <= PANEL_BYTES && in <= panel_columns(out);
}

/* Packs the weight, unless oneDNN would rather have plain rows. */
static int pack(struct weight *w, const void *src, enum dtype src_type, int64_t ld)
{
    int rc;

    scratch_lock();
    TRY(packed_new(&w->packed, w->out, w->in));
    if (!w->packed.data) goto done;
    if (ld == w->in) mem_expect(src, (size_t)(w->out * w->in) * dtype_size(src_type)); // not what other ranks read
    if (usable_in_place(w, src, src_type))
        packed_fill(&w->packed, 0, w->out, src, ld);
    else
        TRY(pack_rounded(w, src, src_type, ld));
    if (is_kept_turned(w->out, w->in, w->uses)) TRY(packed_turned(&w->turned, &w->packed));
done:
    scratch_unlock();
    return rc;
}

int gemm_weight_new(struct weight **out_w, const void *src, enum dtype src_type, int64_t out, int64_t in, int64_t ld,
                    unsigned uses, bool keep, enum dtype arithmetic)
{
    int rc;
    struct weight *w = NULL;

    *out_w = NULL;
    if (out < 1 || in < 1 || ld < in || (src_type != DT_F32 && src_type != DT_BF16 && src_type != DT_F16))
        FAIL(CL_EINTERNAL, "weight of %lld x %lld %s, rows %lld apart (expected f32, bf16 or f16, rows that fit)",
             (long long)out, (long long)in, dtype_name(src_type), (long long)ld);
    if (!(w = mem_new(1, sizeof *w))) FAIL(CL_ENOMEM, "cannot have memory for a weight");
    *w = (struct weight){.out = out, .in = in, .arithmetic = arithmetic, .uses = uses};
    if (uses && arithmetic == DT_BF16 && out * in >= PACK_LEAST) TRY(pack(w, src, src_type, ld));
    if (w->packed.data) {
        // it needs nothing else
    } else if (keep && usable_in_place(w, src, src_type)) {
        w->plain = src;
        w->plain_type = src_type;
        w->ld = ld;
    } else {
        TRY(own_rows(w, src, src_type, ld));
    }
    *out_w = w;
    w = NULL;
    rc = CL_OK;
done:
    gemm_weight_free(w);
    return rc;
}

void gemm_weight_free(struct weight *w)
{
    if (!w) return;
    packed_free(&w->packed), packed_free(&w->turned);
    mem_free(w->own);
    mem_free(w->rounded), mem_free(w->scale), mem_free(w->total);
    mem_free(w);
}

size_t gemm_weight_bytes(const struct weight *w)
{
    size_t own = w->own ? (size_t)w->out * (size_t)w->in * dtype_size(w->arithmetic) : 0;
    return own + w->packed.bytes + w->turned.bytes + (w->rounded ? gemm_rounded_size(w->out, w->in) : 0);
}

size_t gemm_weight_size(enum dtype src_type, int64_t out, int64_t in, unsigned uses, bool keep, enum dtype arithmetic)
{
    if (uses && arithmetic == DT_BF16 && out * in >= PACK_LEAST)
        return packed_bytes(in, out) + (is_kept_turned(out, in, uses) ? packed_bytes(out, in) : 0);
    if (keep && (!uses || src_type == arithmetic)) return 0;
    return (size_t)out * (size_t)in * dtype_size(arithmetic);
}

static int check_use(const struct weight *w, enum weight_use use)
{
    if (w->uses & use) return CL_OK;
    return err_set(CL_EINTERNAL, "a weight of %lld x %lld was made without the %s use", (long long)w->out,
                   (long long)w->in, use == WEIGHT_FORWARD ? "forward" : "backward");
}

/* dx (+)= dy W of a packed weight: its order serves y = x W^T, so that it is turned, a panel of columns after another. */
static int multiply_turned(const struct job *j, const struct weight *w)
{
    int rc;
    struct job part = *j;
    struct packed panel;
    const int64_t step = panel_columns(w->out);

    if (w->turned.data) {
        part.stock = &w->turned;
        return multiply(&part);
    }
    TRY(dense(&part.a, j->arithmetic, SCRATCH_A)); // once for all panels
    for (int64_t c = 0; c < w->in; c += step) {
        const int64_t n = w->in - c < step ? w->in - c : step;
        TRY(packed_turn(&panel, &w->packed, c, n));
        part.stock = &panel;
        part.c = tensor_block(j->c, 0, j->c.rows, c, n);
        TRY(multiply(&part));
    }
done:
    return rc;
}

/* ---- any number of rows */

/* Are these the sizes of a product with w? */
static int check_product(struct tensor y, struct tensor x, const struct weight *w, enum weight_use use)
{
    int rc;
    const bool forward = use == WEIGHT_FORWARD;

    TRY(check_use(w, use));
    if (y.rows != x.rows || y.cols != (forward ? w->out : w->in) || x.cols != (forward ? w->in : w->out))
        FAIL(CL_EINTERNAL, "%s: weight %lld x %lld, input %lld x %lld, output %lld x %lld",
             forward ? "linear" : "linear_back", (long long)w->out, (long long)w->in, (long long)x.rows,
             (long long)x.cols, (long long)y.rows, (long long)y.cols);
done:
    return rc;
}

static int times_weight(struct tensor y, struct tensor x, const struct weight *w, enum weight_use use,
                        const float *bias, bool accumulate)
{
    int rc;
    const bool forward = use == WEIGHT_FORWARD;

    TRY(check_product(y, x, w, use));
    if (!y.rows) return CL_OK;
    struct job j = {.c = y,
                    .a = x,
                    .b = {(void *)w->plain, w->arithmetic, w->out, w->in, w->ld},
                    .b_turned = forward,
                    .accumulate = accumulate,
                    .stock = w->packed.data ? &w->packed : NULL,
                    .bias = bias,
                    .arithmetic = w->arithmetic};
    scratch_lock();
    if (forward && few_serves(w, x.rows))
        rc = few_linear(&(struct linear){y, w, bias}, 1, x, accumulate);
    else
        rc = j.stock && !forward ? multiply_turned(&j, w) : multiply(&j);
    scratch_unlock();
done:
    return rc;
}

/* Can the weights be gone through as one? */
static bool is_one(const struct linear *part, int n, int64_t rows)
{
    bool one = n <= FEW_PARTS;

    for (int i = 0; one && i < n; i++)
        one = few_serves(part[i].w, rows) && !part[i].w->plain && !part[i].w->rounded == !part->w->rounded;
    return one;
}

int gemm_linear_each(const struct linear *part, int n, struct tensor x)
{
    int rc = CL_OK;

    if (is_one(part, n, x.rows)) {
        for (int i = 0; i < n; i++) TRY(check_product(part[i].y, x, part[i].w, WEIGHT_FORWARD));
        if (!n || !x.rows) return CL_OK;
        scratch_lock();
        rc = few_linear(part, n, x, false);
        scratch_unlock();
    } else {
        for (int i = 0; i < n; i++) TRY(gemm_linear(part[i].y, x, part[i].w, part[i].bias, false));
    }
done:
    return rc;
}

int gemm_linear(struct tensor y, struct tensor x, const struct weight *w, const float *bias, bool accumulate)
{
    return times_weight(y, x, w, WEIGHT_FORWARD, bias, accumulate);
}

int gemm_linear_back(struct tensor dx, struct tensor dy, const struct weight *w, bool accumulate)
{
    return times_weight(dx, dy, w, WEIGHT_BACKWARD, NULL, accumulate);
}

/* Rows of a packed weight: numbers lie apart, at places that are sums of a row's and a column's offset. */
static int embed_packed(struct tensor out, const struct weight *w, const int32_t *id)
{
    const struct packed *p = &w->packed;
    int64_t *at = scratch_take(SCRATCH_A, (size_t)w->in * sizeof *at);

    if (!at) return err_set(CL_ENOMEM, "cannot have memory for a row of a table");
    for (int64_t c = 0; c < w->in; c++) at[c] = packed_offset(p, c, 0);
#pragma omp parallel for schedule(static) if (out.rows > 8)
    for (int64_t i = 0; i < out.rows; i++) {
        const uint16_t *src = (const uint16_t *)p->data + packed_offset(p, 0, id[i]);
        char *row = (char *)out.data + (size_t)(i * out.ld) * dtype_size(out.type);
        for (int64_t c = 0; c < w->in; c++)
            if (out.type == DT_F32)
                ((float *)row)[c] = bf16_to_f32(src[at[c]]);
            else
                ((uint16_t *)row)[c] = src[at[c]];
    }
    return CL_OK;
}

/* A mapped table of another type than the arithmetic's is rounded to that first, as products would see it. */
static int embed_plain(struct tensor out, const struct weight *w, const int32_t *id)
{
    const struct cpu_kernels *k = cpu_kernels();
    bool direct = w->plain_type == w->arithmetic || w->arithmetic == DT_F32;
    void *rounded = direct ? NULL : scratch_take(SCRATCH_A, (size_t)w->in * sizeof(uint16_t));

    if (!direct && !rounded) return err_set(CL_ENOMEM, "cannot have memory for a row of a table");
    for (int64_t i = 0; i < out.rows; i++) {
        const void *src = (const char *)w->plain + (size_t)(id[i] * w->ld) * dtype_size(w->plain_type);
        char *row = (char *)out.data + (size_t)(i * out.ld) * dtype_size(out.type);
        if (!direct) k->convert(rounded, DT_BF16, src, w->plain_type, w->in);
        k->convert(row, out.type, direct ? src : rounded, direct ? w->plain_type : DT_BF16, w->in);
    }
    return CL_OK;
}

int gemm_embed(struct tensor out, const struct weight *w, const int32_t *id)
{
    int rc;

    if (out.cols != w->in)
        FAIL(CL_EINTERNAL, "embed: %lld columns, a table of %lld", (long long)out.cols, (long long)w->in);
    for (int64_t i = 0; i < out.rows; i++)
        if (id[i] < 0 || id[i] >= w->out)
            FAIL(CL_ENUM,
                 "token id %d at place %lld is not below the table's %lld rows; hint: tokenizer and model differ",
                 (int)id[i], (long long)i, (long long)w->out);
    scratch_lock();
    rc = w->plain ? embed_plain(out, w, id) : embed_packed(out, w, id);
    scratch_unlock();
done:
    return rc;
}

/* ---- plain products */

enum { LONG_SUM = 1024 }; // rows of a transposed product at a time: from 2048 on oneDNN shares a sum among its threads

/* c (+)= a^T op(b), a long sum, as a chain of shorter ones: the order does not depend on the number of threads. */
static int multiply_long(const struct job *j)
{
    int rc;
    struct job part = *j;

    if (j->c.type != DT_F32) { // round once, at the end
        size_t bytes = (size_t)j->c.rows * (size_t)j->c.cols * sizeof(float);
        part.c = tensor_of(scratch_take(SCRATCH_SUM, bytes), DT_F32, j->c.rows, j->c.cols);
        if (!part.c.data) FAIL(CL_ENOMEM, "cannot have %zu bytes for a product", bytes);
        if (j->accumulate) cpu_kernels()->copy(part.c, j->c);
    }
    for (int64_t k = 0; k < j->a.rows; k += LONG_SUM) {
        int64_t n = j->a.rows - k < LONG_SUM ? j->a.rows - k : LONG_SUM;
        part.a = tensor_rows(j->a, k, n);
        part.b = j->b_turned ? tensor_block(j->b, 0, j->b.rows, k, n) : tensor_rows(j->b, k, n);
        TRY(multiply(&part));
        part.accumulate = true;
    }
    if (j->c.type != DT_F32) cpu_kernels()->copy(j->c, part.c);
    rc = CL_OK;
done:
    return rc;
}

enum { LONG_DOT = 256 }; // numbers of a sum that pay for adding up lanes

int gemm_gemm(struct tensor c, struct tensor a, bool a_transposed, struct tensor b, bool b_transposed, bool accumulate)
{
    int rc;
    struct tensor l = turned(a, a_transposed), r = turned(b, b_transposed);
    bool bf16 = a.type == DT_BF16 && b.type == DT_BF16 && cpu_has_bf16();
    struct job j = {.c = c,
                    .a = a,
                    .b = b,
                    .a_turned = a_transposed,
                    .b_turned = b_transposed,
                    .accumulate = accumulate,
                    .arithmetic = bf16 ? DT_BF16 : DT_F32};

    if (l.rows != c.rows || r.cols != c.cols || l.cols != r.rows)
        FAIL(CL_EINTERNAL, "gemm: %lld x %lld times %lld x %lld into %lld x %lld", (long long)l.rows, (long long)l.cols,
             (long long)r.rows, (long long)r.cols, (long long)c.rows, (long long)c.cols);
    if (!c.rows || !c.cols) return CL_OK;
    if (!l.cols) {
        if (!accumulate) cpu_kernels()->zero(c);
        return CL_OK;
    }
    scratch_lock();
    if (b_transposed && !a_transposed && c.rows <= FEW_ROWS && l.cols >= LONG_DOT)
        rc = few_plain(c, a, b, NULL, accumulate);
    else
        rc = a_transposed && l.cols > LONG_SUM ? multiply_long(&j) : multiply(&j);
    scratch_unlock();
done:
    return rc;
}
