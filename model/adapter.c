/* adapter.c - low-rank increments on o_proj: y += sum_m c_m B_m (A_m x).
 *
 * All slots of a set stand side by side, so an increment costs one product with all A, a scale by each sample's own
 * coefficients, one product with all B; the D x H increment is never built. Under tensor parallelism x and A are split by
 * columns and y is the rank's partial sum, so the term rides on o_proj's reduction and needs none of its own.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <string.h>

static int tensors_new(struct lvlm *m, struct tensor **t, enum dtype type, int64_t rows, int64_t cols)
{
    int L = m->c.text.layers;

    if (!*t && !(*t = mem_new((size_t)L, sizeof **t))) return err_set(CL_ENOMEM, "no memory for the increments");
    for (int l = 0; l < L; l++) {
        if ((*t)[l].data) m->be->free((*t)[l].data);
        (*t)[l] = tensor_of(m->be->alloc((size_t)(rows * cols) * dtype_size(type)), type, rows, cols);
        if (!(*t)[l].data)
            return err_set(CL_ENOMEM, "no memory for increments of %lld x %lld", (long long)rows, (long long)cols);
    }
    return CL_OK;
}

static void tensors_free(struct lvlm *m, struct tensor *t)
{
    for (int l = 0; t && l < m->c.text.layers; l++)
        if (t[l].data) m->be->free(t[l].data);
    mem_free(t);
}

int bank_reserve(struct lvlm *m, int slots, int rank)
{
    int rc;
    struct adapter_bank *k = &m->bank;
    int64_t width = (int64_t)slots * rank, H = (int64_t)m->c.text.heads * m->c.text.head_dim;

    if (slots <= k->room && rank == k->room_rank) return CL_OK;
    mem_free(k->version), k->version = NULL;
    mem_free(k->host), k->host = NULL;
    if (k->stage) m->be->free(k->stage);
    k->room = k->slots = k->learned = 0;
    if (!(k->version = mem_new((size_t)slots, sizeof *k->version)) ||
        !(k->host = mem_new((size_t)(width * (m->D > H ? m->D : H)), sizeof *k->host)) ||
        !(k->stage = m->be->alloc((size_t)(rank * (m->D > H ? m->D : H)) * sizeof *k->stage)))
        FAIL(CL_ENOMEM, "no memory for %d increments of rank %d", slots, rank);
    TRY(tensors_new(m, &k->A, m->be->act, width, m->H));
    TRY(tensors_new(m, &k->B, m->be->act, m->D, width));
    if (m->train) {
        TRY(tensors_new(m, &k->dA, DT_F32, width, m->H));
        TRY(tensors_new(m, &k->dB, DT_F32, m->D, width));
    }
    k->room = slots, k->room_rank = rank;
    rc = CL_OK;
done:
    return rc;
}

void bank_free(struct lvlm *m)
{
    struct adapter_bank *k = &m->bank;

    tensors_free(m, k->A), tensors_free(m, k->B), tensors_free(m, k->dA), tensors_free(m, k->dB);
    mem_free(k->version);
    mem_free(k->host);
    if (k->stage) m->be->free(k->stage);
    memset(k, 0, sizeof *k);
}

/* A host f32 block into its place among the others: dst is a view of the device tensor. */
static int put_block(struct lvlm *m, struct tensor dst, const float *host)
{
    int rc = m->be->upload(m->bank.stage, host, (size_t)(dst.rows * dst.cols) * sizeof *host);
    return rc ? rc : m->be->copy(dst, tensor_of(m->bank.stage, DT_F32, dst.rows, dst.cols));
}

static int load_slot(struct lvlm *m, int place, const struct adapter_slot *s, int rank)
{
    int rc = CL_OK;
    struct adapter_bank *k = &m->bank;
    int64_t H = (int64_t)m->c.text.heads * m->c.text.head_dim, h0 = m->head0 * m->c.text.head_dim, R = rank;

    for (int l = 0; l < m->c.text.layers; l++) {
        const float *A = s->A + l * R * H, *B = s->B + l * m->D * R;
        for (int64_t r = 0; r < R; r++) memcpy(k->host + r * m->H, A + r * H + h0, (size_t)m->H * sizeof *A);
        TRY(put_block(m, tensor_rows(k->A[l], place * R, R), k->host));
        TRY(put_block(m, tensor_block(k->B[l], 0, m->D, place * R, R), B));
    }
done:
    return rc;
}

int bank_load(struct lvlm *m, const struct adapters *ad)
{
    int rc;
    struct adapter_bank *k = &m->bank;

    if (!ad || !ad->slots) {
        k->slots = k->learned = 0;
        return CL_OK;
    }
    if (ad->slots > k->room || ad->rank != k->room_rank)
        FAIL(CL_EINTERNAL, "adapter set of %d slots of rank %d (reserved: %d of rank %d)", ad->slots, ad->rank, k->room,
             k->room_rank);
    if (ad->slots != k->slots) { // B's leading dimension is the set's width, so places move
        memset(k->version, 0, (size_t)k->room * sizeof *k->version);
        for (int l = 0; l < m->c.text.layers; l++) {
            k->A[l].rows = (int64_t)ad->slots * ad->rank;
            k->B[l].cols = k->B[l].ld = (int64_t)ad->slots * ad->rank;
        }
        k->slots = ad->slots;
    }
    k->learned = ad->learned, k->rank = ad->rank;
    for (int i = 0; i < ad->slots; i++) {
        if (k->version[i] == ad->slot[i].version) continue;
        TRY(load_slot(m, i, &ad->slot[i], ad->rank));
        k->version[i] = ad->slot[i].version;
    }
    rc = CL_OK;
done:
    return rc;
}

int adapter_forward(struct lvlm *m, int l, struct tensor y, struct tensor u, struct tensor x, const struct adapters *ad,
                    const int64_t *cu, int samples, bool save)
{
    int rc;
    const struct backend *be = m->be;
    struct adapter_bank *k = &m->bank;
    size_t mark = arena_mark(&m->arena);
    struct tensor scaled = u;

    if (!ad || !ad->slots) return CL_OK;
    TRY(be->gemm(u, x, false, k->A[l], true, false));
    if (save) { // the backward pass needs u as it is
        scaled = arena_tensor(&m->arena, u.type, u.rows, u.cols);
        TRY(be->copy(scaled, u));
    }
    TRY(be->adapter_scale(scaled, ad->coef, cu, samples, k->slots, k->rank));
    TRY(be->gemm(y, scaled, false, k->B[l], true, true));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int adapter_backward(struct lvlm *m, int l, struct tensor dx, double *dcoef, struct tensor dy, struct tensor x,
                     struct tensor u, const struct adapters *ad, const int64_t *cu, int samples)
{
    int rc;
    const struct backend *be = m->be;
    struct adapter_bank *k = &m->bank;
    size_t mark = arena_mark(&m->arena);
    int64_t learned = (int64_t)k->learned * k->rank;
    struct tensor v, own_u, own_v;

    if (!ad || !ad->slots) return CL_OK;
    v = arena_tensor(&m->arena, be->act, u.rows, u.cols);
    TRY(be->gemm(v, dy, false, k->B[l], false, false));
    TRY(be->adapter_coef_back(dcoef, u, v, cu, samples, k->slots, k->rank)); // before either is scaled
    TRY(be->adapter_scale(u, ad->coef, cu, samples, k->slots, k->rank));     // routing is per sample
    TRY(be->adapter_scale(v, ad->coef, cu, samples, k->slots, k->rank));
    own_u = tensor_block(u, 0, u.rows, 0, learned);
    own_v = tensor_block(v, 0, v.rows, 0, learned);
    if (learned) {
        TRY(be->gemm(tensor_of(k->dB[l].data, DT_F32, m->D, learned), dy, true, own_u, false, true));
        TRY(be->gemm(tensor_of(k->dA[l].data, DT_F32, learned, m->H), own_v, true, x, false, true));
    }
    if (dx.data) TRY(be->gemm(dx, v, false, k->A[l], false, true));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int lvlm_grads_clear(struct lvlm *m)
{
    int rc = CL_OK;
    struct adapter_bank *k = &m->bank;

    if (!k->dA) return err_set(CL_EINTERNAL, "gradients of a model that was opened without train");
    for (int l = 0; l < m->c.text.layers; l++) {
        TRY(m->be->zero(k->dA[l]));
        TRY(m->be->zero(k->dB[l]));
    }
done:
    return rc;
}

int lvlm_grads_read(struct lvlm *m, float *dA, float *dB, int learned, int rank)
{
    int rc = CL_OK;
    struct adapter_bank *k = &m->bank;
    int64_t W = (int64_t)learned * rank, H = (int64_t)m->c.text.heads * m->c.text.head_dim, L = m->c.text.layers,
            R = rank;

    for (int64_t l = 0; l < L; l++) {
        TRY(m->be->download(k->host, k->dA[l].data, (size_t)(W * m->H) * sizeof(float)));
        for (int64_t s = 0; s < learned; s++)
            memcpy(dA + (s * L + l) * R * H, k->host + s * R * m->H, (size_t)(R * m->H) * sizeof *dA);
        TRY(m->be->download(k->host, k->dB[l].data, (size_t)(m->D * W) * sizeof(float)));
        for (int64_t s = 0; s < learned; s++)
            for (int64_t d = 0; d < m->D; d++)
                memcpy(dB + ((s * L + l) * m->D + d) * R, k->host + d * W + s * R, (size_t)R * sizeof *dB);
    }
done:
    return rc;
}
