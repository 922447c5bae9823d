/* adapter.c - low-rank increments on o_proj: y += sum_m c_m B_m (A_m x).
 *
 * All slots of a set stand side by side, so an increment costs one product with all A, a scale by each sample's own
 * coefficients, one product with all B; the D x H increment is never built. Under tensor parallelism x and A are split by
 * columns and y is the rank's partial sum, so the term rides on o_proj's reduction and needs none of its own. dA is a
 * rank's own columns; dB is a partial sum, made whole once per step.
 *
 * What travels, per slot: A's columns to the rank that has them, B to all; back come dA's columns and the sum of dB, to the
 * leader alone.
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
    mem_free(k->packed), k->packed = NULL;
    k->room = k->slots = k->learned = 0;
    if (!(k->version = mem_new((size_t)slots, sizeof *k->version)) ||
        !(k->host = mem_new((size_t)(width * (m->D > H ? m->D : H)), sizeof *k->host)) ||
        !(k->stage = m->be->alloc((size_t)(rank * (m->D > H ? m->D : H)) * sizeof *k->stage)))
        FAIL(CL_ENOMEM, "no memory for %d increments of rank %d", slots, rank);
    if (is_shared(m) &&
        !(k->packed = mem_new((size_t)m->c.text.layers, (size_t)(rank * (m->D > H ? m->D : H)) * sizeof *k->packed)))
        FAIL(CL_ENOMEM, "no memory for an increment of rank %d", rank);
    TRY(comm_reserve(comm_of(m), m->D * width));
    TRY(tensors_new(m, &k->A, m->be->act, width, m->own.H));
    TRY(tensors_new(m, &k->B, m->be->act, m->D, width));
    if (m->train) {
        TRY(tensors_new(m, &k->dA, DT_F32, width, m->own.H));
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
    mem_free(k->packed);
    if (k->stage) m->be->free(k->stage);
    memset(k, 0, sizeof *k);
}

/* A host f32 block into its place among the others: dst is a view of the device tensor. */
static int put_block(struct lvlm *m, struct tensor dst, const float *host)
{
    int rc = m->be->upload(m->bank.stage, host, (size_t)(dst.rows * dst.cols) * sizeof *host);
    return rc ? rc : m->be->copy(dst, tensor_of(m->bank.stage, DT_F32, dst.rows, dst.cols));
}

/* Columns [col, col + n) of A (L, R, H), layer by layer. */
static void pack_columns(float *out, const float *A, int64_t rows, int64_t H, int64_t col, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) memcpy(out + r * n, A + r * H + col, (size_t)n * sizeof *out);
}

/* This rank's columns of A (L, R, its H) and B (L, D, R) of a slot into their place. */
static int place_A(struct lvlm *m, int place, const float *A, int64_t R)
{
    int rc = CL_OK;

    for (int l = 0; l < m->c.text.layers; l++)
        TRY(put_block(m, tensor_rows(m->bank.A[l], place * R, R), A + l * R * m->own.H));
done:
    return rc;
}

static int place_B(struct lvlm *m, int place, const float *B, int64_t R)
{
    int rc = CL_OK;

    for (int l = 0; l < m->c.text.layers; l++)
        TRY(put_block(m, tensor_block(m->bank.B[l], 0, m->D, place * R, R), B + l * m->D * R));
done:
    return rc;
}

/* H of another rank: its first column of A and their number. */
static void columns_of(const struct lvlm *m, int rank, int64_t *first, int64_t *n)
{
    struct share s;

    share_of(&s, &m->c, &(struct tp){.rank = rank, .size = m->tp->size}); // cannot fail: this rank has its share
    *first = (int64_t)s.head0 * m->c.text.head_dim, *n = s.H;
}

/* The leader hands a slot out; alone it keeps what there is. */
static int load_slot(struct lvlm *m, int place, const struct adapter_slot *s, int64_t R)
{
    int rc;
    struct comm *c = comm_of(m);
    const int64_t L = m->c.text.layers, H = (int64_t)m->c.text.heads * m->c.text.head_dim;
    float *packed = m->bank.packed;
    int64_t first, n;

    for (int l = 0; l < L; l++) {
        pack_columns(m->bank.host, s->A + l * R * H, R, H, (int64_t)m->own.head0 * m->c.text.head_dim, m->own.H);
        TRY(put_block(m, tensor_rows(m->bank.A[l], place * R, R), m->bank.host));
    }
    for (int r = 1; r < comm_size(c); r++) {
        columns_of(m, r, &first, &n);
        pack_columns(packed, s->A, L * R, H, first, n);
        TRY(comm_send(c, packed, (size_t)(L * R * n) * sizeof *packed, r));
    }
    TRY(comm_broadcast(c, (void *)s->B, (size_t)(L * m->D * R) * sizeof *s->B, 0));
    TRY(place_B(m, place, s->B, R));
    rc = CL_OK;
done:
    return rc;
}

static int receive_slot(struct lvlm *m, int place, int64_t R)
{
    int rc;
    const int64_t L = m->c.text.layers;
    float *packed = m->bank.packed;

    TRY(comm_receive(comm_of(m), packed, (size_t)(L * R * m->own.H) * sizeof *packed, 0));
    TRY(place_A(m, place, packed, R));
    TRY(comm_broadcast(comm_of(m), packed, (size_t)(L * m->D * R) * sizeof *packed, 0));
    TRY(place_B(m, place, packed, R));
done:
    return rc;
}

int bank_check(const struct lvlm *m, const struct adapters *ad)
{
    const struct adapter_bank *k = &m->bank;

    if (!ad || !ad->slots) return CL_OK;
    if (has_prompts(ad)) return prompts_check(m, ad);
    if (ad->slots > k->room || ad->rank != k->room_rank)
        return err_set(CL_EINTERNAL, "adapter set of %d slots of rank %d (reserved: %d of rank %d)", ad->slots,
                       ad->rank, k->room, k->room_rank);
    for (int i = 0; i < ad->slots && !is_member(m); i++) {
        const uint64_t loaded = ad->slots == k->slots ? k->version[i] : 0; // another width: nothing is in place
        if (loaded != ad->slot[i].version && (!ad->slot[i].A || !ad->slot[i].B))
            return err_set(CL_EINTERNAL, "slot %d of a set of %d has no values, and none of this version are loaded", i,
                           ad->slots);
    }
    return CL_OK;
}

int bank_load(struct lvlm *m, const struct adapters *ad)
{
    int rc;
    struct adapter_bank *k = &m->bank;

    if (!ad || !ad->slots || has_prompts(ad)) k->slots = k->learned = 0;
    if (!has_prompts(ad)) prompts_forget(m);
    if (!ad || !ad->slots) return CL_OK;
    if (has_prompts(ad)) return prompts_load(m, ad);
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
        TRY(is_member(m) ? receive_slot(m, i, ad->rank) : load_slot(m, i, &ad->slot[i], ad->rank));
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
    OP(be->gemm(u, x, false, k->A[l], true, false));
    if (save) { // the backward pass needs u as it is
        scaled = arena_tensor(&m->arena, u.type, u.rows, u.cols);
        OP(be->copy(scaled, u));
    }
    OP(be->adapter_scale(scaled, ad->coef, cu, samples, k->slots, k->rank));
    OP(be->gemm(y, scaled, false, k->B[l], true, true));
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
    OP(be->gemm(v, dy, false, k->B[l], false, false));
    OP(be->adapter_coef_back(dcoef, u, v, cu, samples, k->slots, k->rank)); // before either is scaled
    OP(be->adapter_scale(u, ad->coef, cu, samples, k->slots, k->rank));     // routing is per sample
    OP(be->adapter_scale(v, ad->coef, cu, samples, k->slots, k->rank));
    own_u = tensor_block(u, 0, u.rows, 0, learned);
    own_v = tensor_block(v, 0, v.rows, 0, learned);
    if (learned) {
        OP(be->gemm(tensor_of(k->dB[l].data, DT_F32, m->D, learned), dy, true, own_u, false, true));
        OP(be->gemm(tensor_of(k->dA[l].data, DT_F32, learned, m->own.H), own_v, true, x, false, true));
    }
    if (dx.data) OP(be->gemm(dx, v, false, k->A[l], false, true));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int lvlm_grads_clear(struct lvlm *m)
{
    int rc;
    struct adapter_bank *k = &m->bank;

    if (!m->train) return err_set(CL_EINTERNAL, "gradients of a model that was opened without train");
    TRY(follow_grads_clear(m));
    TRY(prompts_grads_clear(m));
    for (int l = 0; k->dA && l < m->c.text.layers; l++) {
        TRY(m->be->zero(k->dA[l]));
        TRY(m->be->zero(k->dB[l]));
    }
    TRY(residual_clear(m));
    m->n_dcoef = 0;
    rc = CL_OK;
done:
    return follow_done(m, rc);
}

/* dA of layer l: every rank's columns to the leader. k->host holds one rank's (learned * R, n). */
static int collect_dA(struct lvlm *m, float *dA, int64_t l, int64_t learned, int64_t R)
{
    int rc;
    struct comm *c = comm_of(m);
    float *host = m->bank.host;
    const int64_t L = m->c.text.layers, H = (int64_t)m->c.text.heads * m->c.text.head_dim, W = learned * R;
    int64_t first = (int64_t)m->own.head0 * m->c.text.head_dim, n = m->own.H;

    TRY(m->be->download(host, m->bank.dA[l].data, (size_t)(W * n) * sizeof *host));
    if (comm_rank(c)) return comm_send(c, host, (size_t)(W * n) * sizeof *host, 0);
    for (int r = 0; r < comm_size(c); r++) {
        if (r) {
            columns_of(m, r, &first, &n);
            TRY(comm_receive(c, host, (size_t)(W * n) * sizeof *host, r));
        }
        for (int64_t w = 0; w < W; w++)
            memcpy(dA + ((w / R * L + l) * R + w % R) * H + first, host + w * n, (size_t)n * sizeof *dA);
    }
    rc = CL_OK;
done:
    return rc;
}

/* dB of layer l: summed over the ranks, to the leader. */
static int collect_dB(struct lvlm *m, float *dB, int64_t l, int64_t learned, int64_t R)
{
    int rc;
    struct comm *c = comm_of(m);
    float *host = m->bank.host;
    const int64_t L = m->c.text.layers, W = learned * R;

    TRY(m->be->download(host, m->bank.dB[l].data, (size_t)(m->D * W) * sizeof *host));
    TRY(comm_sum_to_root(c, host, m->D * W, 0));
    for (int64_t s = 0; !comm_rank(c) && s < learned; s++)
        for (int64_t d = 0; d < m->D; d++)
            memcpy(dB + ((s * L + l) * m->D + d) * R, host + d * W + s * R, (size_t)R * sizeof *dB);
    rc = CL_OK;
done:
    return rc;
}

int lvlm_grads_read(struct lvlm *m, float *dA, float *dB, int learned, int rank)
{
    int rc;

    if (prompt_rows(rank)) return prompts_grads_read(m, dA, learned, rank);
    if (!m->bank.dA || learned > m->bank.room || rank != m->bank.room_rank)
        FAIL(CL_EINTERNAL, "gradients of %d slots of rank %d (reserved: %d of rank %d)", learned, rank, m->bank.room,
             m->bank.room_rank);
    TRY(follow_grads_read(m, learned, rank));
    for (int64_t l = 0; l < m->c.text.layers; l++) {
        TRY(collect_dA(m, dA, l, learned, rank));
        TRY(collect_dB(m, dB, l, learned, rank));
    }
    rc = CL_OK;
done:
    return follow_done(m, rc);
}

int lvlm_coef_reduce(struct lvlm *m, double *dcoef, int64_t n)
{
    int rc;

    if (n != m->n_dcoef)
        FAIL(CL_EINTERNAL, "gradients of %lld coefficients were asked for, %lld were made", (long long)n,
             (long long)m->n_dcoef);
    TRY(follow_coef_reduce(m));
    TRY(comm_sum_double(comm_of(m), m->dcoef, n));
    if (dcoef && n) memcpy(dcoef, m->dcoef, (size_t)n * sizeof *dcoef);
    rc = CL_OK;
done:
    return follow_done(m, rc);
}
