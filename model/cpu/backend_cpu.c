/* backend_cpu.c - the CPU's table of operations: checks of shapes and indexes, then the loops.
 *
 * What is checked here is what would otherwise read or write outside of a buffer. A failed check is a fault of the
 * program (CL_EINTERNAL), but for indexes that come from data (token ids, targets: CL_ENUM).
 */
#include "model/backend.h"

#include <omp.h>
#include <string.h>

#include "io/err.h"
#include "model/cpu/gemm.h"
#include "model/cpu/isa.h"
#include "model/cpu/kernels.h"
#include "model/cpu/scratch.h"

/* ---- checks */

static bool is_matrix(struct tensor t)
{
    return (t.type == DT_F32 || t.type == DT_BF16) && t.rows >= 0 && t.cols >= 0 && t.ld >= t.cols &&
           (t.data || !t.rows || !t.cols);
}

static int check_matrix(const char *op, const char *name, struct tensor t)
{
    if (is_matrix(t)) return CL_OK;
    return err_set(CL_EINTERNAL, "%s: %s is %s %lld x %lld, rows %lld apart (expected f32 or bf16, rows that fit)", op,
                   name, dtype_name(t.type), (long long)t.rows, (long long)t.cols, (long long)t.ld);
}

static int check_shape(const char *op, const char *name, struct tensor t, int64_t rows, int64_t cols)
{
    int rc;

    TRY(check_matrix(op, name, t));
    if (t.rows != rows || t.cols != cols)
        FAIL(CL_EINTERNAL, "%s: %s is %lld x %lld (expected %lld x %lld)", op, name, (long long)t.rows,
             (long long)t.cols, (long long)rows, (long long)cols);
    rc = CL_OK;
done:
    return rc;
}

/* t has the shape of like, which is a matrix. */
static int check_like(const char *op, const char *name, struct tensor t, struct tensor like)
{
    int rc;

    TRY(check_matrix(op, "the first matrix", like));
    TRY(check_shape(op, name, t, like.rows, like.cols));
    rc = CL_OK;
done:
    return rc;
}

static int check_index(const char *op, const int64_t *row, int64_t n, int64_t rows)
{
    for (int64_t i = 0; i < n; i++)
        if (row[i] < 0 || row[i] >= rows)
            return err_set(CL_EINTERNAL, "%s: row %lld at place %lld (expected below %lld)", op, (long long)row[i],
                           (long long)i, (long long)rows);
    return CL_OK;
}

static int check_f32(const char *op, struct tensor t)
{
    if (is_matrix(t) && t.type == DT_F32) return CL_OK;
    return err_set(CL_EINTERNAL, "%s: logits are %s %lld x %lld, rows %lld apart (expected f32, rows that fit)", op,
                   dtype_name(t.type), (long long)t.rows, (long long)t.cols, (long long)t.ld);
}

/* Samples follow each other from first row to last. */
static int check_samples(const char *op, const int64_t *cu, int samples, int64_t rows)
{
    bool good = samples >= 0 && (samples ? cu[0] == 0 && cu[samples] == rows : rows == 0);

    for (int s = 0; good && s < samples; s++) good = cu[s] <= cu[s + 1];
    return good ? CL_OK
                : err_set(CL_EINTERNAL, "%s: %d samples do not cover %lld rows from 0 upwards", op, samples,
                          (long long)rows);
}

/* ---- memory */

static void *cpu_alloc(size_t bytes)
{
    return mem_new(bytes, 1);
}

static int cpu_copy_bytes(void *dst, const void *src, size_t bytes)
{
    if (bytes) memcpy(dst, src, bytes);
    return CL_OK;
}

static int cpu_zero(struct tensor t)
{
    int rc;

    TRY(check_matrix("zero", "t", t));
    cpu_kernels()->zero(t);
done:
    return rc;
}

static int cpu_copy(struct tensor dst, struct tensor src)
{
    int rc;

    TRY(check_like("copy", "dst", dst, src));
    cpu_kernels()->copy(dst, src);
done:
    return rc;
}

static int cpu_add(struct tensor dst, struct tensor src)
{
    int rc;

    TRY(check_like("add", "dst", dst, src));
    cpu_kernels()->add(dst, src);
done:
    return rc;
}

static int cpu_scale(struct tensor t, float factor)
{
    int rc;

    TRY(check_matrix("scale", "t", t));
    cpu_kernels()->scale(t, factor);
done:
    return rc;
}

/* ---- weights and products */

static int weight_new_f32(struct weight **w, const void *src, enum dtype src_type, int64_t out, int64_t in, int64_t ld,
                          unsigned uses, bool keep)
{
    return gemm_weight_new(w, src, src_type, out, in, ld, uses, keep, DT_F32);
}

static int weight_new_bf16(struct weight **w, const void *src, enum dtype src_type, int64_t out, int64_t in, int64_t ld,
                           unsigned uses, bool keep)
{
    return gemm_weight_new(w, src, src_type, out, in, ld, uses, keep, DT_BF16);
}

static int cpu_linear(struct tensor y, struct tensor x, const struct weight *w, const float *bias, bool accumulate)
{
    int rc;

    TRY(check_matrix("linear", "y", y));
    TRY(check_matrix("linear", "x", x));
    TRY(gemm_linear(y, x, w, bias, accumulate));
done:
    return rc;
}

static int cpu_linear_each(const struct linear *part, int n, struct tensor x)
{
    int rc;

    TRY(check_matrix("linear_each", "x", x));
    for (int i = 0; i < n; i++) TRY(check_matrix("linear_each", "y", part[i].y));
    TRY(gemm_linear_each(part, n, x));
done:
    return rc;
}

static int cpu_linear_back(struct tensor dx, struct tensor dy, const struct weight *w, bool accumulate)
{
    int rc;

    TRY(check_matrix("linear_back", "dx", dx));
    TRY(check_matrix("linear_back", "dy", dy));
    TRY(gemm_linear_back(dx, dy, w, accumulate));
done:
    return rc;
}

static int cpu_embed(struct tensor out, const struct weight *w, const int32_t *id)
{
    int rc;

    TRY(check_matrix("embed", "out", out));
    TRY(gemm_embed(out, w, id));
done:
    return rc;
}

static int cpu_gemm(struct tensor c, struct tensor a, bool a_transposed, struct tensor b, bool b_transposed,
                    bool accumulate)
{
    int rc;

    TRY(check_matrix("gemm", "c", c));
    TRY(check_matrix("gemm", "a", a));
    TRY(check_matrix("gemm", "b", b));
    TRY(gemm_gemm(c, a, a_transposed, b, b_transposed, accumulate));
done:
    return rc;
}

/* ---- norms and activations */

static int cpu_rmsnorm(struct tensor out, float *rstd, struct tensor x, const float *gain, float eps)
{
    int rc;

    TRY(check_like("rmsnorm", "out", out, x));
    cpu_kernels()->rmsnorm(out, rstd, x, gain, eps);
done:
    return rc;
}

static int cpu_rmsnorm_back(struct tensor dx, struct tensor dy, struct tensor x, const float *gain, const float *rstd)
{
    int rc;

    TRY(check_like("rmsnorm_back", "dx", dx, x));
    TRY(check_like("rmsnorm_back", "dy", dy, x));
    cpu_kernels()->rmsnorm_back(dx, dy, x, gain, rstd);
done:
    return rc;
}

static int cpu_layernorm(struct tensor out, struct tensor x, const float *gain, const float *bias, float eps)
{
    int rc;

    TRY(check_like("layernorm", "out", out, x));
    cpu_kernels()->layernorm(out, x, gain, bias, eps);
done:
    return rc;
}

static int cpu_activate(struct tensor x, enum activation kind)
{
    int rc;

    TRY(check_matrix("activate", "x", x));
    cpu_kernels()->activate(x, kind);
done:
    return rc;
}

static int cpu_glu(struct tensor out, struct tensor gate, struct tensor up, enum activation kind)
{
    int rc;

    TRY(check_like("glu", "out", out, gate));
    TRY(check_like("glu", "up", up, gate));
    cpu_kernels()->glu(out, gate, up, kind);
done:
    return rc;
}

static int cpu_glu_back(struct tensor gate, struct tensor up, struct tensor dout, enum activation kind)
{
    int rc;

    TRY(check_like("glu_back", "dout", dout, gate));
    TRY(check_like("glu_back", "up", up, gate));
    cpu_kernels()->glu_back(gate, up, dout, kind);
done:
    return rc;
}

/* ---- positions and attention */

static int cpu_rope(struct tensor x, int heads, int head_dim, const int32_t *pos, const float *table_cos,
                    const float *table_sin, bool inverse)
{
    int rc;

    TRY(check_shape("rope", "x", x, x.rows, (int64_t)heads * head_dim));
    if (head_dim % 2) FAIL(CL_EINTERNAL, "rope: head_dim %d (expected even)", head_dim);
    for (int64_t r = 0; r < x.rows; r++)
        if (pos[r] < 0) FAIL(CL_EINTERNAL, "rope: position %d of row %lld", (int)pos[r], (long long)r);
    cpu_kernels()->rope(x, heads, head_dim, pos, table_cos, table_sin, inverse);
done:
    return rc;
}

/* Each query row sees at least one key, and only keys that exist. */
static int check_spans(const char *op, const struct attention_shape *s, int64_t k_rows)
{
    for (int b = 0; b < s->samples; b++) {
        int64_t first = s->k_start ? s->k_start[b] : s->cu_k[b], count = s->cu_k[b + 1] - s->cu_k[b];
        bool queries = s->cu_q[b + 1] > s->cu_q[b];
        if (first < 0 || count < 0 || first + count > k_rows || (queries && !count))
            return err_set(CL_EINTERNAL, "%s: sample %d has keys %lld + %lld of %lld", op, b, (long long)first,
                           (long long)count, (long long)k_rows);
        for (int64_t r = s->cu_q[b]; s->causal && r < s->cu_q[b + 1]; r++)
            if (s->q_pos[r] < 0 || s->q_pos[r] >= count)
                return err_set(CL_EINTERNAL, "%s: row %lld of sample %d has position %d (expected below %lld)", op,
                               (long long)r, b, (int)s->q_pos[r], (long long)count);
    }
    return CL_OK;
}

static int check_attention(const char *op, struct tensor o, struct tensor q, struct tensor k, struct tensor v,
                           const struct attention_shape *s)
{
    int rc;

    if (s->heads < 1 || s->kv_heads < 1 || s->heads % s->kv_heads || s->head_dim < 1 || s->head_dim > CPU_MAX_HEAD)
        FAIL(CL_EINTERNAL, "%s: %d heads, %d of keys, of %d numbers (expected a multiple, at most %d numbers)", op,
             s->heads, s->kv_heads, s->head_dim, CPU_MAX_HEAD);
    TRY(check_shape(op, "q", q, q.rows, (int64_t)s->heads * s->head_dim));
    TRY(check_like(op, "o", o, q));
    TRY(check_shape(op, "k", k, k.rows, (int64_t)s->kv_heads * s->head_dim));
    TRY(check_like(op, "v", v, k));
    TRY(check_samples(op, s->cu_q, s->samples, q.rows));
    TRY(check_spans(op, s, k.rows));
done:
    return rc;
}

static int cpu_attention(struct tensor o, float *lse, struct tensor q, struct tensor k, struct tensor v,
                         const struct attention_shape *s)
{
    int rc;
    size_t bytes;
    void *room;

    TRY(check_attention("attention", o, q, k, v, s));
    if (!(bytes = cpu_kernels()->attention_bytes(s))) {
        cpu_kernels()->attention(o, lse, q, k, v, s, NULL);
        return CL_OK;
    }
    scratch_lock();
    room = scratch_take(SCRATCH_ATTENTION, bytes);
    if (room) cpu_kernels()->attention(o, lse, q, k, v, s, room);
    scratch_unlock();
    if (!room) FAIL(CL_ENOMEM, "cannot have %zu bytes for attention", bytes);
done:
    return rc;
}

static int cpu_attention_back(struct tensor dq, struct tensor dk, struct tensor dv, struct tensor d_o, struct tensor o,
                              struct tensor q, struct tensor k, struct tensor v, const float *lse,
                              const struct attention_shape *s)
{
    int rc;
    size_t bytes;
    void *scratch;

    TRY(check_attention("attention_back", o, q, k, v, s));
    TRY(check_like("attention_back", "dq", dq, q));
    TRY(check_like("attention_back", "d_o", d_o, q));
    TRY(check_like("attention_back", "dk", dk, k));
    TRY(check_like("attention_back", "dv", dv, k));
    if (s->k_start) FAIL(CL_EINTERNAL, "attention_back: keys of a cache (expected k_start NULL)");
    TRY(check_samples("attention_back", s->cu_k, s->samples, k.rows));
    bytes = cpu_kernels()->attention_back_bytes(s) * (size_t)omp_get_max_threads();
    scratch_lock();
    scratch = scratch_take(SCRATCH_ATTENTION, bytes);
    if (scratch) cpu_kernels()->attention_back(dq, dk, dv, d_o, o, q, k, v, lse, s, scratch);
    scratch_unlock();
    if (!scratch) FAIL(CL_ENOMEM, "cannot have %zu bytes for gradients of attention", bytes);
done:
    return rc;
}

/* ---- rows by index */

static int cpu_gather(struct tensor out, struct tensor in, const int64_t *row)
{
    int rc;

    TRY(check_matrix("gather", "in", in));
    TRY(check_shape("gather", "out", out, out.rows, in.cols));
    TRY(check_index("gather", row, out.rows, in.rows));
    cpu_kernels()->gather(out, in, row);
done:
    return rc;
}

static int check_scatter(const char *op, struct tensor out, struct tensor in, const int64_t *row)
{
    int rc;

    TRY(check_matrix(op, "in", in));
    TRY(check_shape(op, "out", out, out.rows, in.cols));
    TRY(check_index(op, row, in.rows, out.rows));
done:
    return rc;
}

static int cpu_scatter(struct tensor out, struct tensor in, const int64_t *row)
{
    int rc;

    TRY(check_scatter("scatter", out, in, row));
    cpu_kernels()->scatter(out, in, row);
done:
    return rc;
}

static int cpu_scatter_add(struct tensor out, struct tensor in, const int64_t *row)
{
    int rc;

    TRY(check_scatter("scatter_add", out, in, row));
    cpu_kernels()->scatter_add(out, in, row);
done:
    return rc;
}

/* ---- loss */

static int cpu_cross_entropy(float *nll, struct tensor logits, const int32_t *target, float grad_scale)
{
    int rc;

    TRY(check_f32("cross_entropy", logits));
    for (int64_t r = 0; r < logits.rows; r++)
        if (target[r] < 0 || target[r] >= logits.cols)
            FAIL(CL_ENUM, "target %d of answer row %lld is not below the %lld logits; hint: tokenizer and model differ",
                 (int)target[r], (long long)r, (long long)logits.cols);
    cpu_kernels()->cross_entropy(nll, logits, target, grad_scale);
done:
    return rc;
}

static int cpu_softmax_part(struct softmax_part *part, struct tensor logits, const int32_t *target, int64_t first)
{
    int rc;

    TRY(check_f32("softmax_part", logits));
    cpu_kernels()->softmax_part(part, logits, target, first);
done:
    return rc;
}

static int cpu_softmax_grad(struct tensor logits, const struct softmax_part *whole, const int32_t *target,
                            int64_t first, float grad_scale)
{
    int rc;

    TRY(check_f32("softmax_grad", logits));
    cpu_kernels()->softmax_grad(logits, whole, target, first, grad_scale);
done:
    return rc;
}

static int check_pair(const char *op, struct tensor a, struct tensor b)
{
    int rc;

    TRY(check_f32(op, a));
    TRY(check_f32(op, b));
    if (a.rows != b.rows || a.cols != b.cols)
        FAIL(CL_EINTERNAL, "%s: logits of %lld x %lld and %lld x %lld", op, (long long)a.rows, (long long)a.cols,
             (long long)b.rows, (long long)b.cols);
done:
    return rc;
}

static int cpu_soft_part(struct soft_part *part, struct tensor logits, struct tensor other, float temperature)
{
    int rc;

    TRY(check_pair("soft_part", logits, other));
    cpu_kernels()->soft_part(part, logits, other, temperature);
done:
    return rc;
}

static int cpu_soft_grad(struct tensor other, struct tensor logits, const struct soft_part *whole, float temperature,
                         float factor)
{
    int rc;

    TRY(check_pair("soft_grad", logits, other));
    cpu_kernels()->soft_grad(other, logits, whole, temperature, factor);
done:
    return rc;
}

static int cpu_jsd_part(struct jsd_part *part, struct tensor logits, struct tensor other, const struct soft_part *whole)
{
    int rc;

    TRY(check_pair("jsd_part", logits, other));
    cpu_kernels()->jsd_part(part, logits, other, whole);
done:
    return rc;
}

static int cpu_jsd_grad(struct tensor other, struct tensor logits, const struct soft_part *whole,
                        const struct jsd_part *jsd, const float *factor)
{
    int rc;

    TRY(check_pair("jsd_grad", logits, other));
    cpu_kernels()->jsd_grad(other, logits, whole, jsd, factor);
done:
    return rc;
}

static int cpu_argmax(int32_t *id, float *top, struct tensor logits, const uint8_t *allowed)
{
    int rc;

    TRY(check_f32("argmax", logits));
    cpu_kernels()->argmax(id, top, logits, allowed);
    for (int64_t r = 0; !top && r < logits.rows; r++) {
        if (id[r] == -1) FAIL(CL_EINTERNAL, "argmax: none of %lld columns is allowed", (long long)logits.cols);
        if (id[r] < 0) FAIL(CL_ENUM, "row %lld of the logits holds NaN; hint: check the weights", (long long)r);
    }
done:
    return rc;
}

/* ---- low-rank increments */

static int cpu_adapter_scale(struct tensor u, const float *coef, const int64_t *cu, int samples, int slots, int rank)
{
    int rc;

    TRY(check_shape("adapter_scale", "u", u, u.rows, (int64_t)slots * rank));
    TRY(check_samples("adapter_scale", cu, samples, u.rows));
    cpu_kernels()->adapter_scale(u, coef, cu, samples, slots, rank);
done:
    return rc;
}

static int cpu_adapter_coef_back(double *dcoef, struct tensor u, struct tensor v, const int64_t *cu, int samples,
                                 int slots, int rank)
{
    int rc;

    TRY(check_shape("adapter_coef_back", "u", u, u.rows, (int64_t)slots * rank));
    TRY(check_like("adapter_coef_back", "v", v, u));
    TRY(check_samples("adapter_coef_back", cu, samples, u.rows));
    cpu_kernels()->adapter_coef_back(dcoef, u, v, cu, samples, slots, rank);
done:
    return rc;
}

#define TABLE(type, new_weight)                                                                                        \
    {                                                                                                                  \
        .name = "cpu", .act = type, .alloc = cpu_alloc, .free = mem_free, .upload = cpu_copy_bytes,                    \
        .download = cpu_copy_bytes, .zero = cpu_zero, .copy = cpu_copy, .add = cpu_add, .scale = cpu_scale,            \
        .weight_new = new_weight, .weight_free = gemm_weight_free, .weight_bytes = gemm_weight_bytes,                  \
        .weight_tops = gemm_weight_tops, .weight_rounded = gemm_weight_rounded, .linear = cpu_linear,                  \
        .linear_each = cpu_linear_each, .linear_back = cpu_linear_back, .embed = cpu_embed, .gemm = cpu_gemm,          \
        .rmsnorm = cpu_rmsnorm, .rmsnorm_back = cpu_rmsnorm_back, .layernorm = cpu_layernorm,                          \
        .activate = cpu_activate, .glu = cpu_glu, .glu_back = cpu_glu_back, .rope = cpu_rope,                          \
        .attention = cpu_attention, .attention_back = cpu_attention_back, .gather = cpu_gather,                        \
        .scatter = cpu_scatter, .scatter_add = cpu_scatter_add, .cross_entropy = cpu_cross_entropy,                    \
        .softmax_part = cpu_softmax_part, .softmax_grad = cpu_softmax_grad, .soft_part = cpu_soft_part,                \
        .soft_grad = cpu_soft_grad, .jsd_part = cpu_jsd_part, .jsd_grad = cpu_jsd_grad, .argmax = cpu_argmax,          \
        .adapter_scale = cpu_adapter_scale, .adapter_coef_back = cpu_adapter_coef_back                                 \
    }

int backend_cpu(const struct backend **be, enum dtype precision)
{
    static const struct backend f32 = TABLE(DT_F32, weight_new_f32), bf16 = TABLE(DT_BF16, weight_new_bf16);
    int rc;

    *be = NULL;
    if (precision != DT_F32 && precision != DT_BF16)
        FAIL(CL_ECONFIG, "precision %s (expected f32 or bf16)", dtype_name(precision));
    if (precision == DT_BF16 && !cpu_has_bf16())
        FAIL(CL_EDEVICE, "this processor (%s) has no AVX-512, which bf16 products need; hint: set the precision to f32",
             backend_cpu_isa());
    cpu_choose();
    *be = precision == DT_F32 ? &f32 : &bf16;
    rc = CL_OK;
done:
    return rc;
}
