/* lw2g.c - see lw2g.h. */
#include "pool/lw2g.h"

#include "io/err.h"
#include "model/tensor.h"
#include "pool/subspace.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool several(unsigned chosen)
{
    return chosen & (chosen - 1);
}

int lw2g_check(const struct config *cfg, const struct method_ops *ops)
{
    if (cfg->lw2g.threshold == 0) return CL_OK;
    if (!ops->candidate)
        return config_error(
            cfg, "lw2g.threshold",
            "method %s adds no slots for each task, so there is nothing to grow or not; hint: leave lw2g out",
            ops->name);
    if (cfg->taskres.scale != 0)
        return config_error(cfg, "lw2g.threshold",
                            "tasks that share slots cannot be told apart by taskres; hint: leave one of them out");
    if (several(method_projections(cfg)))
        return config_error(cfg, "lw2g.threshold",
                            "subspaces are kept of one linear map's inputs, but adapter.projections is %s; hint: one "
                            "map, or lw2g.threshold: 0",
                            cfg->adapter.projections);
    if (cfg->lines.first != 1 || cfg->lines.last != 1)
        return config_error(
            cfg, "lw2g.threshold",
            "slots that several tasks share have no update of one task that lines could scale; hint: leave "
            "one of them out");
    return CL_OK;
}

void lw2g_close(struct lw2g *g)
{
    for (int t = 0; g->basis && t < g->T; t++) mem_free(g->basis[t]);
    mem_free(g->home), mem_free(g->basis), mem_free(g->angle), mem_free(g->sigma);
    g->home = NULL, g->basis = NULL, g->angle = NULL, g->sigma = NULL, g->T = 0;
}

/* Everything for T tasks anew. */
static int reserve(struct lw2g *g, int T)
{
    const size_t tasks = (size_t)T;

    lw2g_close(g);
    g->T = T;
    g->home = mem_new(tasks, sizeof *g->home), g->basis = mem_new(tasks, sizeof *g->basis);
    g->angle = mem_new(tasks * tasks, sizeof *g->angle);
    if (!g->home || !g->basis || !g->angle) return err_set(CL_ENOMEM, "no memory for %d tasks", T);
    for (int t = 0; t < T; t++) g->home[t] = -1;
    for (int i = 0; i < T * T; i++) g->angle[i] = NAN;
    return CL_OK;
}

int lw2g_open(struct lw2g *g, const struct config *cfg, int T, int L, int64_t H)
{
    *g = (struct lw2g){
        .threshold = cfg->lw2g.threshold, .samples = cfg->lw2g.samples, .rank = cfg->lw2g.rank, .L = L, .H = H};
    return reserve(g, T);
}

int lw2g_home(const struct lw2g *g, int task)
{
    return task >= 0 && task < g->T && g->home[task] >= 0 ? g->home[task] : task;
}

/* ---- rows and subspaces */

/* x (H) of layer l loses its part in the subspace of the slots at home `of`. */
static void remove_kept(const struct lw2g *g, int of, int but, float *x, int l)
{
    for (int t = 0; t < g->T; t++)
        if (g->basis[t] && t != but && lw2g_home(g, t) == of)
            subspace_remove(x, g->basis[t] + (int64_t)l * g->rank * g->H, g->rank, g->H);
}

void lw2g_project(const struct lw2g *g, int of, int but, float *x, int slots, int R)
{
#pragma omp parallel for schedule(static)
    for (int l = 0; l < g->L; l++)
        for (int s = 0; s < slots; s++)
            for (int r = 0; r < R; r++) remove_kept(g, of, but, x + (((int64_t)s * g->L + l) * R + r) * g->H, l);
}

static double length(const float *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static int check_finite(const struct lw2g *g, const float *dA, int slots, int R)
{
    const double norm = length(dA, (int64_t)slots * g->L * R * g->H);

    return isfinite(norm) ? CL_OK : err_set(CL_ENUM, "gradient of a record that lw2g looks at is not finite");
}

/* ---- the hindrance */

void lw2g_try(struct lw2g *g)
{
    g->cosine = 0, g->rows = 0;
}

int lw2g_compare(struct lw2g *g, int of, const float *dA, int slots, int R)
{
    int rc;
    float *across = mem_new((size_t)g->H, sizeof *across);

    if (!across) FAIL(CL_ENOMEM, "no memory for a gradient of %lld numbers", (long long)g->H);
    TRY(check_finite(g, dA, slots, R));
    for (int s = 0; s < slots; s++)
        for (int l = 0; l < g->L; l++)
            for (int r = 0; r < R; r++) {
                const float *row = dA + (((int64_t)s * g->L + l) * R + r) * g->H;
                const double whole = length(row, g->H);
                if (whole == 0) continue; // a slot that the record has not selected
                memcpy(across, row, (size_t)g->H * sizeof *across);
                remove_kept(g, of, -1, across, l);
                g->cosine += fmin(length(across, g->H) / whole, 1), g->rows++;
            }
done:
    mem_free(across);
    return rc;
}

double lw2g_tried(struct lw2g *g, int task, int of)
{
    static const double degrees = 180 / 3.14159265358979323846;
    double *angle = &g->angle[(int64_t)task * g->T + of];

    *angle =
        g->rows ? acos(fmin(g->cosine / (double)g->rows, 1)) * degrees : 90; // no gradient: nothing to be learned there
    return *angle;
}

int lw2g_decide(struct lw2g *g, int task)
{
    int of = task;
    double least = g->threshold;

    for (int t = 0; t < task; t++)
        if (g->angle[(int64_t)task * g->T + t] < least) least = g->angle[(int64_t)task * g->T + t], of = t;
    return g->home[task] = of;
}

/* ---- the subspace of a learned task */

int lw2g_learn_begin(struct lw2g *g, int task)
{
    const size_t each = (size_t)g->L * (size_t)g->rank;

    mem_free(g->basis[task]), mem_free(g->sigma);
    g->basis[task] = mem_new(each * (size_t)g->H, sizeof **g->basis);
    g->sigma = mem_new(each, sizeof *g->sigma);
    if (g->basis[task] && g->sigma) return CL_OK;
    return err_set(CL_ENOMEM, "no memory for bases of %d vectors in %d layers", g->rank, g->L);
}

/* Layer l's rows of all slots. */
static int learn_layer(struct lw2g *g, int task, const float *dA, int slots, int R, int l)
{
    int rc;
    const int64_t each = (int64_t)R * g->H;
    float *rows = mem_new((size_t)(slots * each), sizeof *rows);

    if (!rows) FAIL(CL_ENOMEM, "no memory for the gradients of %d slots", slots);
    for (int s = 0; s < slots; s++)
        memcpy(rows + s * each, dA + ((int64_t)s * g->L + l) * each, (size_t)each * sizeof *rows);
    TRY(subspace_add(g->basis[task] + (int64_t)l * g->rank * g->H, g->sigma + (int64_t)l * g->rank, g->rank, g->H, rows,
                     slots * R));
done:
    mem_free(rows);
    return rc;
}

int lw2g_learn(struct lw2g *g, int task, float *dA, int slots, int R)
{
    int rc;
    bool bad = false;

    TRY(check_finite(g, dA, slots, R));
    lw2g_project(g, lw2g_home(g, task), task, dA, slots, R);
#pragma omp parallel for schedule(static) reduction(|| : bad)
    for (int l = 0; l < g->L; l++) bad = bad || learn_layer(g, task, dA, slots, R, l) != CL_OK;
    if (bad) FAIL(CL_ENOMEM, "no memory for the gradients of %d slots", slots);
done:
    return rc;
}

/* ---- checkpoint */

int lw2g_save(const struct lw2g *g, struct ckpt *c)
{
    int rc = CL_OK;
    const int64_t T = g->T, shape[] = {g->L, g->rank, g->H};
    char name[40];
    bool shared = false;

    for (int t = 0; t < T; t++) shared |= lw2g_home(g, t) != t;
    if (!g->threshold && !shared) return CL_OK;
    TRY(ckpt_write(c, "/lw2g/home", CKPT_I32, 1, &T, g->home, false));
    TRY(ckpt_write(c, "/lw2g/angle", CKPT_F64, 2, (const int64_t[]){T, T}, g->angle, false));
    for (int t = 0; t < T; t++) {
        if (!g->basis[t]) continue;
        snprintf(name, sizeof name, "/lw2g/basis%d", t);
        TRY(ckpt_write(c, name, CKPT_F32, 3, shape, g->basis[t], false));
    }
done:
    return rc;
}

static int load_basis(struct lw2g *g, struct ckpt *c, int t)
{
    int rc, dims;
    int64_t shape[CKPT_MAX_DIMS];
    char name[40];

    snprintf(name, sizeof name, "/lw2g/basis%d", t);
    if (!ckpt_has(c, name)) return CL_OK;
    TRY(ckpt_shape(c, name, &dims, shape));
    if (dims != 3 || shape[0] != g->L || shape[1] != g->rank || shape[2] != g->H)
        FAIL(CL_EMISMATCH, "%s: %s has another shape than (%d, %d, %lld); hint: lw2g.rank as it was", ckpt_path(c),
             name, g->L, g->rank, (long long)g->H);
    g->basis[t] = mem_new((size_t)(shape[0] * shape[1] * shape[2]), sizeof **g->basis);
    if (!g->basis[t]) FAIL(CL_ENOMEM, "no memory for the basis of task %d", t);
    TRY(ckpt_read(c, name, CKPT_F32, 3, shape, g->basis[t]));
done:
    return rc;
}

int lw2g_load(struct lw2g *g, int tasks, struct ckpt *c)
{
    int rc;
    const int64_t T = tasks;

    TRY(reserve(g, tasks));
    if (!ckpt_has(c, "/lw2g/home")) return CL_OK;
    TRY(ckpt_read(c, "/lw2g/home", CKPT_I32, 1, &T, g->home));
    TRY(ckpt_read(c, "/lw2g/angle", CKPT_F64, 2, (const int64_t[]){T, T}, g->angle));
    for (int t = 0; t < T; t++) {
        const int32_t of = g->home[t];
        if (of < -1 || of > t || (of >= 0 && g->home[of] != of))
            FAIL(CL_EFORMAT,
                 "%s: /lw2g/home: task %d is at home at %d (expected itself, or an earlier task at home there)",
                 ckpt_path(c), t, of);
        if (g->threshold > 0) TRY(load_basis(g, c, t));
    }
done:
    return rc;
}
