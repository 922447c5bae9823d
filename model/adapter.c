/* adapter.c - low-rank increments on linear maps of the layers: y += sum_m c_m B_m (A_m x).
 *
 * All slots of a set stand side by side, so an increment costs one product with all A, a scale by each sample's own
 * coefficients, one product with all B; the increment itself, as large as the map, is never built. A slot's A and B hold the
 * numbers of all maps (model/projections.h); on the device each map has matrices of its own.
 *
 * Under tensor parallelism every map has a side that ranks split and one that they have whole, and so has its increment:
 *
 *     o, down           x and A are split by columns; y is the rank's partial sum, so the term rides on the map's own reduction.
 *                       dA is a rank's own columns, dB a partial sum
 *     q, k, v, gate, up x and A are whole, B is split by rows; the term's part of dx is a partial sum, as the map's is, and rides
 *                       on the same reduction. dA is a partial sum, dB a rank's own rows
 *
 * What travels, per slot: its own part of the split sides to each rank, the whole sides to all; back come the split sides'
 * gradients of each rank and the sum of the others', once per step, to the leader alone. Blocks follow each other by map.
 */
#include "io/err.h"
#include "model/lvlm_internal.h"

#include <string.h>

/* This or another rank's part of map i: columns [in0, in0 + in) of A, rows [out0, out0 + out) of B. */
static struct projection_place part_of(const struct lvlm *m, const struct share *s, int i)
{
    struct projection_place t = m->on.at[i];
    int64_t first, n;

    share_of_projection(&first, &n, s, &m->c.text, t.is);
    if (projection_splits_outputs(t.is))
        t.out0 += first, t.out = n;
    else
        t.in0 += first, t.in = n;
    return t;
}

static int64_t split_side(const struct projection_place *t)
{
    return projection_splits_outputs(t->is) ? t->out : t->in;
}

static int64_t whole_side(const struct projection_place *t)
{
    return projection_splits_outputs(t->is) ? t->in : t->out;
}

/* The split sides of all maps, as that rank has them; the whole ones. */
static int64_t split_width(const struct lvlm *m, const struct share *s)
{
    int64_t sum = 0;

    for (int i = 0; i < m->on.n; i++) {
        const struct projection_place t = part_of(m, s, i);
        sum += split_side(&t);
    }
    return sum;
}

static int64_t whole_width(const struct lvlm *m)
{
    int64_t sum = 0;

    for (int i = 0; i < m->on.n; i++) sum += whole_side(&m->on.at[i]);
    return sum;
}

/* Of another rank. */
static struct share share_at(const struct lvlm *m, int rank)
{
    struct share s;

    share_of(&s, &m->c, &(struct tp){.rank = rank, .size = m->tp->size}); // cannot fail: this rank has its share
    return s;
}

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

static int maps_new(struct lvlm *m, int64_t width)
{
    int rc = CL_OK;
    struct adapter_bank *k = &m->bank;

    for (int i = 0; i < m->on.n; i++) {
        const struct projection_place t = part_of(m, &m->own, i);
        TRY(tensors_new(m, &k->A[t.is], m->be->act, width, t.in));
        TRY(tensors_new(m, &k->B[t.is], m->be->act, t.out, width));
        if (!m->train) continue;
        TRY(tensors_new(m, &k->dA[t.is], DT_F32, width, t.in));
        TRY(tensors_new(m, &k->dB[t.is], DT_F32, t.out, width));
    }
done:
    return rc;
}

/* The widest side of any map; of a layer's split or whole sides together. */
static int64_t widest_side(const struct lvlm *m)
{
    int64_t most = 0;

    for (int i = 0; i < m->on.n; i++) {
        if (m->on.at[i].in > most) most = m->on.at[i].in;
        if (m->on.at[i].out > most) most = m->on.at[i].out;
    }
    return most;
}

int bank_reserve(struct lvlm *m, int slots, int rank)
{
    int rc;
    struct adapter_bank *k = &m->bank;
    const int64_t width = (int64_t)slots * rank, numbers = projections_widest(&m->on);

    if (slots <= k->room && rank == k->room_rank) return CL_OK;
    mem_free(k->version), k->version = NULL;
    mem_free(k->host), k->host = NULL;
    if (k->stage) m->be->free(k->stage);
    mem_free(k->packed), k->packed = NULL;
    k->room = k->slots = k->learned = 0;
    if (!(k->version = mem_new((size_t)slots, sizeof *k->version)) ||
        !(k->host = mem_new((size_t)(width * numbers), sizeof *k->host)) ||
        !(k->stage = m->be->alloc((size_t)(rank * widest_side(m)) * sizeof *k->stage)))
        FAIL(CL_ENOMEM, "no memory for %d increments of rank %d", slots, rank);
    if (is_shared(m) && !(k->packed = mem_new((size_t)m->c.text.layers, (size_t)(rank * numbers) * sizeof *k->packed)))
        FAIL(CL_ENOMEM, "no memory for an increment of rank %d", rank);
    TRY(comm_reserve(comm_of(m), whole_width(m) * width));
    TRY(maps_new(m, width));
    k->room = slots, k->room_rank = rank;
    rc = CL_OK;
done:
    return rc;
}

void bank_free(struct lvlm *m)
{
    struct adapter_bank *k = &m->bank;

    for (int i = 0; i < PROJECTIONS; i++)
        tensors_free(m, k->A[i]), tensors_free(m, k->B[i]), tensors_free(m, k->dA[i]), tensors_free(m, k->dB[i]);
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

/* Columns [col, col + n) of A (rows, H). */
static void pack_columns(float *out, const float *A, int64_t rows, int64_t H, int64_t col, int64_t n)
{
    for (int64_t r = 0; r < rows; r++) memcpy(out + r * n, A + r * H + col, (size_t)n * sizeof *out);
}

/* A part's A (R, its columns) or B (its rows, R) in one layer of a slot at `place`. */
static int place_A(struct lvlm *m, int place, enum projection p, int64_t l, const float *A, int64_t R)
{
    return put_block(m, tensor_rows(m->bank.A[p][l], place * R, R), A);
}

static int place_B(struct lvlm *m, int place, enum projection p, int64_t l, const float *B, int64_t R)
{
    const struct tensor all = m->bank.B[p][l];

    return put_block(m, tensor_block(all, 0, all.rows, place * R, R), B);
}

/* A rank's part of a slot, from where the whole slot is. */
static int place_own(struct lvlm *m, int place, const struct adapter_slot *s, int64_t R)
{
    int rc = CL_OK;
    const int64_t L = m->c.text.layers, H = m->on.H, D = m->on.D;

    for (int i = 0; i < m->on.n; i++) {
        const struct projection_place t = part_of(m, &m->own, i);
        for (int64_t l = 0; l < L; l++) {
            pack_columns(m->bank.host, s->A + l * R * H, R, H, t.in0, t.in);
            TRY(place_A(m, place, t.is, l, m->bank.host, R));
            TRY(place_B(m, place, t.is, l, s->B + (l * D + t.out0) * R, R));
        }
    }
done:
    return rc;
}

/* All layers of a part's A or B behind each other at out; returns what is behind them. */
static float *pack_side(const struct lvlm *m, float *out, const struct projection_place *t,
                        const struct adapter_slot *s, int64_t R, bool of_B)
{
    const int64_t L = m->c.text.layers;

    if (!of_B) pack_columns(out, s->A, L * R, m->on.H, t->in0, t->in);
    for (int64_t l = 0; of_B && l < L; l++)
        memcpy(out + l * t->out * R, s->B + (l * m->on.D + t->out0) * R, (size_t)(t->out * R) * sizeof *out);
    return out + L * R * (of_B ? t->out : t->in);
}

/* The split sides of a rank's part (NULL: the whole sides of all) to where a message leaves. */
static void pack_sides(const struct lvlm *m, const struct share *of, const struct adapter_slot *s, int64_t R)
{
    float *out = m->bank.packed;

    for (int i = 0; i < m->on.n; i++) {
        const struct projection_place t = of ? part_of(m, of, i) : m->on.at[i];
        out = pack_side(m, out, &t, s, R, projection_splits_outputs(t.is) == (of != NULL));
    }
}

/* What pack_sides packed for this rank, or for all, into its place. */
static int place_sides(struct lvlm *m, int place, bool split, int64_t R)
{
    int rc = CL_OK;
    const float *from = m->bank.packed;

    for (int i = 0; i < m->on.n; i++) {
        const struct projection_place t = part_of(m, &m->own, i);
        const bool of_B = projection_splits_outputs(t.is) == split;
        for (int64_t l = 0; l < m->c.text.layers; l++) {
            TRY((of_B ? place_B : place_A)(m, place, t.is, l, from, R));
            from += R * (of_B ? t.out : t.in);
        }
    }
done:
    return rc;
}

/* The leader hands a slot out; alone it keeps what there is. */
static int load_slot(struct lvlm *m, int place, const struct adapter_slot *s, int64_t R)
{
    int rc;
    struct comm *c = comm_of(m);
    const int64_t each = m->c.text.layers * R;

    TRY(place_own(m, place, s, R));
    if (!c) goto done;
    for (int r = 1; r < comm_size(c); r++) {
        const struct share theirs = share_at(m, r);
        pack_sides(m, &theirs, s, R);
        TRY(comm_send(c, m->bank.packed, (size_t)(each * split_width(m, &theirs)) * sizeof(float), r));
    }
    pack_sides(m, NULL, s, R);
    TRY(comm_broadcast(c, m->bank.packed, (size_t)(each * whole_width(m)) * sizeof(float), 0));
done:
    return rc;
}

static int receive_slot(struct lvlm *m, int place, int64_t R)
{
    int rc;
    struct comm *c = comm_of(m);
    const int64_t each = m->c.text.layers * R;
    float *packed = m->bank.packed;

    TRY(comm_receive(c, packed, (size_t)(each * split_width(m, &m->own)) * sizeof *packed, 0));
    TRY(place_sides(m, place, true, R));
    TRY(comm_broadcast(c, packed, (size_t)(each * whole_width(m)) * sizeof *packed, 0));
    TRY(place_sides(m, place, false, R));
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

/* The device's matrices of a map hold so many numbers of rank. */
static void set_width(struct lvlm *m, enum projection p, int64_t width)
{
    for (int l = 0; l < m->c.text.layers; l++) {
        m->bank.A[p][l].rows = width;
        m->bank.B[p][l].cols = m->bank.B[p][l].ld = width;
    }
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
        for (int i = 0; i < m->on.n; i++) set_width(m, m->on.at[i].is, (int64_t)ad->slots * ad->rank);
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

int adapter_input(struct lvlm *m, const struct span *s, int l, enum projection p, struct tensor u, struct tensor x)
{
    int rc = CL_OK;

    if (has_increments(m, &s->ad, p)) OP(m->be->gemm(u, x, false, m->bank.A[p][l], true, false));
done:
    return rc;
}

int adapter_forward(struct lvlm *m, const struct span *s, int l, enum projection p, struct tensor y, struct tensor u,
                    struct tensor x)
{
    int rc;
    const struct backend *be = m->be;
    const struct adapter_bank *k = &m->bank;
    size_t mark = arena_mark(&m->arena);
    struct tensor scaled = u;

    if (!has_increments(m, &s->ad, p)) return CL_OK;
    TRY(adapter_input(m, s, l, p, u, x));
    if (s->p->save) { // the backward pass needs u as it is
        scaled = arena_tensor(&m->arena, u.type, u.rows, u.cols);
        OP(be->copy(scaled, u));
    }
    OP(be->adapter_scale(scaled, s->ad.coef, span_cu(m, s, l, p), s->samples, k->slots, k->rank));
    OP(be->gemm(y, scaled, false, k->B[p][l], true, true));
    rc = CL_OK;
done:
    arena_back(&m->arena, mark);
    return rc;
}

int adapter_backward(struct lvlm *m, const struct span *s, int l, enum projection p, struct tensor dx, double *dcoef,
                     struct tensor dy, struct tensor x, struct tensor u)
{
    int rc;
    const struct backend *be = m->be;
    struct adapter_bank *k = &m->bank;
    const int64_t *cu = span_cu(m, s, l, p), learned = (int64_t)k->learned * k->rank;
    size_t mark = arena_mark(&m->arena);
    struct tensor v, own_u, own_v;

    if (!has_increments(m, &s->ad, p)) return CL_OK;
    v = arena_tensor(&m->arena, be->act, u.rows, u.cols);
    OP(be->gemm(v, dy, false, k->B[p][l], false, false));
    OP(be->adapter_coef_back(dcoef, u, v, cu, s->samples, k->slots, k->rank)); // before either is scaled
    OP(be->adapter_scale(u, s->ad.coef, cu, s->samples, k->slots, k->rank));   // routing is per sample
    OP(be->adapter_scale(v, s->ad.coef, cu, s->samples, k->slots, k->rank));
    own_u = tensor_block(u, 0, u.rows, 0, learned);
    own_v = tensor_block(v, 0, v.rows, 0, learned);
    if (learned) {
        OP(be->gemm(tensor_of(k->dB[p][l].data, DT_F32, dy.cols, learned), dy, true, own_u, false, true));
        OP(be->gemm(tensor_of(k->dA[p][l].data, DT_F32, learned, x.cols), own_v, true, x, false, true));
    }
    if (dx.data) OP(be->gemm(dx, v, false, k->A[p][l], false, true));
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
    for (int i = 0; k->room && i < m->on.n; i++)
        for (int l = 0; l < m->c.text.layers; l++) {
            TRY(m->be->zero(k->dA[m->on.at[i].is][l]));
            TRY(m->be->zero(k->dB[m->on.at[i].is][l]));
        }
    TRY(residual_clear(m));
    m->n_dcoef = 0;
    rc = CL_OK;
done:
    return follow_done(m, rc);
}

/* Where the gradients of so many slots of a layer go, on the leader's host. */
struct collection {
    float *dA, *dB; // (learned, L, R, H), (learned, L, D, R)
    int64_t l, learned, R;
};

/* Columns of dA from (W, n); rows of dB from (n, W), where other ranks' parts of the same rows may be already. */
static void put_dA(const struct lvlm *m, const struct collection *g, const float *host, int64_t first, int64_t n)
{
    const int64_t L = m->c.text.layers, R = g->R;

    for (int64_t w = 0; w < g->learned * R; w++)
        memcpy(g->dA + ((w / R * L + g->l) * R + w % R) * m->on.H + first, host + w * n, (size_t)n * sizeof *host);
}

static void put_dB(const struct lvlm *m, const struct collection *g, const float *host, int64_t first, int64_t n,
                   bool add)
{
    const int64_t L = m->c.text.layers, R = g->R, W = g->learned * R;

    for (int64_t s = 0; s < g->learned; s++)
        for (int64_t d = 0; d < n; d++) {
            float *to = g->dB + ((s * L + g->l) * m->on.D + first + d) * R;
            const float *from = host + d * W + s * R;
            if (!add) memcpy(to, from, (size_t)R * sizeof *to);
            for (int64_t r = 0; add && r < R; r++) to[r] += from[r];
        }
}

/* Gradients of a layer's split sides, or of the whole ones, from the device to m->bank.host. */
static int download_sides(struct lvlm *m, int64_t l, int64_t W, bool split)
{
    int rc = CL_OK;
    struct adapter_bank *k = &m->bank;
    float *out = k->host;

    for (int i = 0; i < m->on.n; i++) {
        const struct projection_place t = part_of(m, &m->own, i);
        const bool of_B = projection_splits_outputs(t.is) == split;
        const int64_t n = W * (of_B ? t.out : t.in);
        TRY(m->be->download(out, (of_B ? k->dB : k->dA)[t.is][l].data, (size_t)n * sizeof *out));
        out += n;
    }
done:
    return rc;
}

/* The split sides of a rank, which stand in m->bank.host. end[i]: how far map i's rows of B have come from lower ranks: those that
 * share a key/value head have parts of the same sums. */
static void put_split(const struct lvlm *m, const struct collection *g, const struct share *of, int64_t *end)
{
    const float *from = m->bank.host;
    const int64_t W = g->learned * g->R;

    for (int i = 0; i < m->on.n; i++) {
        const struct projection_place t = part_of(m, of, i);
        if (projection_splits_outputs(t.is))
            put_dB(m, g, from, t.out0, t.out, t.out0 < end[i]);
        else
            put_dA(m, g, from, t.in0, t.in);
        end[i] = t.out0 + t.out;
        from += W * split_side(&t);
    }
}

/* Split sides of a layer: every rank's to the leader. */
static int collect_split(struct lvlm *m, const struct collection *g)
{
    int rc;
    struct comm *c = comm_of(m);
    float *host = m->bank.host;
    struct share from = m->own;
    int64_t end[PROJECTIONS] = {0};
    const int64_t W = g->learned * g->R;

    TRY(download_sides(m, g->l, W, true));
    if (comm_rank(c)) return comm_send(c, host, (size_t)(W * split_width(m, &m->own)) * sizeof *host, 0);
    for (int r = 0; r < comm_size(c); r++) {
        if (r) {
            from = share_at(m, r);
            TRY(comm_receive(c, host, (size_t)(W * split_width(m, &from)) * sizeof *host, r));
        }
        put_split(m, g, &from, end);
    }
    rc = CL_OK;
done:
    return rc;
}

/* Whole sides: summed over the ranks, to the leader. */
static int collect_whole(struct lvlm *m, const struct collection *g)
{
    int rc;
    struct comm *c = comm_of(m);
    const float *from = m->bank.host;
    const int64_t W = g->learned * g->R;

    TRY(download_sides(m, g->l, W, false));
    TRY(comm_sum_to_root(c, m->bank.host, whole_width(m) * W, 0));
    for (int i = 0; !comm_rank(c) && i < m->on.n; i++) {
        const struct projection_place *t = &m->on.at[i];
        if (projection_splits_outputs(t->is))
            put_dA(m, g, from, t->in0, t->in);
        else
            put_dB(m, g, from, t->out0, t->out, false);
        from += W * whole_side(t);
    }
done:
    return rc;
}

int lvlm_grads_read(struct lvlm *m, float *dA, float *dB, int learned, int rank)
{
    int rc;

    if (prompt_rows(rank)) return prompts_grads_read(m, dA, learned, rank);
    if (!m->train || learned > m->bank.room || rank != m->bank.room_rank)
        FAIL(CL_EINTERNAL, "gradients of %d slots of rank %d (reserved: %d of rank %d)", learned, rank, m->bank.room,
             m->bank.room_rank);
    TRY(follow_grads_read(m, learned, rank));
    for (int64_t l = 0; l < m->c.text.layers; l++) {
        const struct collection g = {dA, dB, l, learned, rank};
        TRY(collect_split(m, &g));
        TRY(collect_whole(m, &g));
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
