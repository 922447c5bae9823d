/* pool_file.c - /pool and /context of a checkpoint. */
#include "pool/pool_file.h"

#include "io/err.h"
#include "model/tensor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int save_w(const struct pool *p, struct ckpt *c)
{
    const int64_t shape[] = {p->T, p->T};
    double *w = mem_new((size_t)p->T * (size_t)p->T, sizeof *w);
    int rc;

    if (!w) FAIL(CL_ENOMEM, "no memory for the context weights of %d tasks", p->T);
    for (int64_t i = 0; i < (int64_t)p->T * p->T; i++) w[i] = p->w[i];
    TRY(ckpt_write(c, "/context/w", CKPT_F64, 2, shape, w, false));
done:
    mem_free(w);
    return rc;
}

static int save_projections(const struct projections *on, struct ckpt *c)
{
    char modules[PROJECTIONS_TEXT];
    int64_t widths[PROJECTIONS][2];
    int rc;

    projections_modules(modules, sizeof modules, on->chosen);
    TRY(ckpt_attr_str(c, "/pool", "target", modules));
    if (on->chosen == PROJECTIONS_DEFAULT) goto done;
    for (int i = 0; i < on->n; i++) widths[i][0] = on->at[i].in, widths[i][1] = on->at[i].out;
    TRY(ckpt_write(c, "/pool/widths", CKPT_I64, 2, (const int64_t[]){on->n, 2}, widths, false));
done:
    return rc;
}

int pool_file_save(const struct pool *p, struct ckpt *c, const char *method, bool context)
{
    const int64_t N = p->N;
    int rc;

    TRY(ckpt_write(c, "/pool/keys", CKPT_F32, 2, (const int64_t[]){N, p->K}, p->keys, true));
    TRY(ckpt_write(c, "/pool/A", CKPT_F32, 4, (const int64_t[]){N, p->L, p->R, p->H}, p->A, true));
    TRY(ckpt_write(c, "/pool/B", CKPT_F32, 4, (const int64_t[]){N, p->L, p->D, p->R}, p->B, true));
    TRY(ckpt_write(c, "/pool/task", CKPT_I32, 1, &N, p->task, true));
    TRY(ckpt_write(c, "/pool/use", CKPT_F64, 1, &N, p->use, true));
    TRY(ckpt_attr_i64(c, "/pool", "rank", p->R));
    TRY(ckpt_attr_i64(c, "/pool", "top_m", p->top_m));
    TRY(ckpt_attr_i64(c, "/pool", "key_groups", p->groups));
    TRY(ckpt_attr_f64(c, "/pool", "scale", p->scale));
    TRY(save_projections(&p->on, c));
    TRY(ckpt_attr_str(c, "/pool", "method", method));
    if (context) TRY(save_w(p, c));
done:
    return rc;
}

/* An attribute of /pool must be what the configuration says; a file without it (initial values) passes. */
static int check_number(struct ckpt *c, const char *name, double expected)
{
    double got;
    int rc = CL_OK;

    if (!ckpt_has_attr(c, "/pool", name)) return CL_OK;
    TRY(ckpt_get_f64(c, "/pool", name, &got));
    if (!(fabs(got - expected) <= 1e-12 * fabs(expected)))
        FAIL(CL_EMISMATCH,
             "%s: /pool has %s %g (the configuration gives %g); hint: configure what the file was made with",
             ckpt_path(c), name, got, expected);
done:
    return rc;
}

static int check_text(struct ckpt *c, const char *name, const char *expected)
{
    char *got = NULL;
    int rc = CL_OK;

    if (!ckpt_has_attr(c, "/pool", name)) return CL_OK;
    TRY(ckpt_get_str(c, "/pool", name, &got));
    if (strcmp(got, expected))
        FAIL(CL_EMISMATCH,
             "%s: /pool is of %s \"%s\" (expected \"%s\"); hint: set `method` to what the file was made with",
             ckpt_path(c), name, got, expected);
done:
    free(got);
    return rc;
}

/* Shape of a dataset against what the configuration and the base give; -1 in expected: any, then filled in. */
static int check_shape(struct ckpt *c, const char *name, int dims, int64_t *expected)
{
    int64_t shape[CKPT_MAX_DIMS];
    int got, rc;

    TRY(ckpt_shape(c, name, &got, shape));
    if (got != dims) FAIL(CL_EFORMAT, "%s: %s has %d dimensions (expected %d)", ckpt_path(c), name, got, dims);
    for (int i = 0; i < dims; i++) {
        if (expected[i] < 0) expected[i] = shape[i];
        if (shape[i] != expected[i])
            FAIL(CL_EMISMATCH,
                 "%s: %s has size %lld in dimension %d (expected %lld from base, encoder and configuration)",
                 ckpt_path(c), name, (long long)shape[i], i, (long long)expected[i]);
    }
done:
    return rc;
}

static int64_t names_in(const char *list)
{
    int64_t n = 1;

    for (; *list; list++) n += *list == ',';
    return n;
}

int pool_file_projections(struct projections *on, struct ckpt *c, int64_t H, int64_t D)
{
    char *modules = NULL;
    int64_t widths[PROJECTIONS][2], shape[CKPT_MAX_DIMS];
    const bool several = ckpt_has(c, "/pool/widths");
    int dims, rc;

    *on = projections_single(H, D);
    if (!ckpt_has_attr(c, "/pool", "target")) return CL_OK;
    TRY(ckpt_get_str(c, "/pool", "target", &modules));
    if (several) {
        TRY(ckpt_shape(c, "/pool/widths", &dims, shape));
        if (dims != 2 || shape[0] < 1 || shape[0] > PROJECTIONS || shape[1] != 2 || shape[0] != names_in(modules))
            FAIL(CL_EFORMAT, "%s: /pool/widths does not belong to the maps %s", ckpt_path(c), modules);
        TRY(ckpt_read(c, "/pool/widths", CKPT_I64, 2, shape, widths));
    }
    rc = err_prefix(projections_restore(on, modules, several ? widths[0] : NULL, H, D), "%s: /pool", ckpt_path(c));
done:
    free(modules);
    return rc;
}

/* The file's maps, and each one's widths, must be those of the configuration and the base. */
static int check_projections(struct ckpt *c, const struct pool *p)
{
    struct projections on;
    char theirs[PROJECTIONS_TEXT], ours[PROJECTIONS_TEXT];
    int64_t A[] = {-1, -1, -1, -1}, B[] = {-1, -1, -1, -1};
    int rc;

    TRY(check_shape(c, "/pool/A", 4, A));
    TRY(check_shape(c, "/pool/B", 4, B));
    TRY(pool_file_projections(&on, c, A[3], B[2]));
    projections_modules(theirs, sizeof theirs, on.chosen);
    projections_modules(ours, sizeof ours, p->on.chosen);
    if (on.chosen != p->on.chosen)
        FAIL(CL_EMISMATCH,
             "%s: /pool has increments on %s (the configuration gives %s); hint: set adapter.projections to what the "
             "file was made with",
             ckpt_path(c), theirs, ours);
    for (int i = 0; on.n > 1 && i < on.n; i++)
        if (on.at[i].in != p->on.at[i].in || on.at[i].out != p->on.at[i].out)
            FAIL(CL_EMISMATCH, "%s: /pool is of a base whose %s has %lld inputs and %lld outputs (expected %lld, %lld)",
                 ckpt_path(c), projection_name(on.at[i].is), (long long)on.at[i].in, (long long)on.at[i].out,
                 (long long)p->on.at[i].in, (long long)p->on.at[i].out);
done:
    return rc;
}

/* Grows the pool by the slots that the file lists, task by task. */
static int grow_as_listed(struct pool *p, struct ckpt *c, int64_t N, int T)
{
    int32_t *task = mem_new((size_t)N, sizeof *task);
    int rc;

    if (!task) FAIL(CL_ENOMEM, "no memory for the list of %lld slots", (long long)N);
    TRY(ckpt_read(c, "/pool/task", CKPT_I32, 1, &N, task));
    for (int64_t n = 0; n < N; n++)
        if (task[n] < (n ? task[n - 1] : 0) || task[n] >= T)
            FAIL(CL_EFORMAT,
                 "%s: /pool/task: slot %lld belongs to task %d behind one of task %d (expected rising, below %d)",
                 ckpt_path(c), (long long)n, task[n], n ? task[n - 1] : 0, T);
    TRY(pool_more_tasks(p, T));
    for (int64_t n = 0, run = 1; n < N; n += run, run = 1) {
        while (n + run < N && task[n + run] == task[n]) run++;
        TRY(pool_grow(p, task[n], (int)run));
    }
    rc = CL_OK;
done:
    mem_free(task);
    return rc;
}

/* T of the file: the side of w, else what the pool already has. */
static int tasks_of_file(const struct pool *p, struct ckpt *c, bool context, int64_t *T)
{
    int64_t shape[] = {-1, -1};
    int rc = CL_OK;

    *T = p->T;
    if (!context) return CL_OK;
    TRY(check_shape(c, "/context/w", 2, shape));
    if (shape[0] != shape[1] || shape[0] > 1 << 15)
        FAIL(CL_EFORMAT, "%s: /context/w is %lld x %lld (expected as many rows as columns)", ckpt_path(c),
             (long long)shape[0], (long long)shape[1]);
    *T = shape[0];
done:
    return rc;
}

static int load_w(struct pool *p, struct ckpt *c, int64_t T)
{
    const int64_t shape[] = {T, T};
    double *w = mem_new((size_t)(T * T), sizeof *w);
    int rc;

    if (!w) FAIL(CL_ENOMEM, "no memory for the context weights of %lld tasks", (long long)T);
    TRY(ckpt_read(c, "/context/w", CKPT_F64, 2, shape, w));
    for (int64_t t = 0; t < T; t++)
        for (int64_t l = 0; l < t; l++) {
            if (!(w[t * T + l] >= 0 && w[t * T + l] <= 1))
                FAIL(CL_EFORMAT, "%s: /context/w[%lld,%lld] is %g (expected 0 to 1)", ckpt_path(c), (long long)t,
                     (long long)l, w[t * T + l]);
            p->w[t * p->T + l] = (float)w[t * T + l];
        }
done:
    mem_free(w);
    return rc;
}

int pool_file_finite(struct ckpt *c, const char *name, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return err_set(CL_EFORMAT, "%s: %s: number %lld is %g (expected finite)", ckpt_path(c), name, (long long)i,
                           x[i]);
    return CL_OK;
}

static int load_arrays(struct pool *p, struct ckpt *c)
{
    const int64_t N = p->N;
    int rc;

    TRY(ckpt_read(c, "/pool/keys", CKPT_F32, 2, (const int64_t[]){N, p->K}, p->keys));
    TRY(ckpt_read(c, "/pool/A", CKPT_F32, 4, (const int64_t[]){N, p->L, p->R, p->H}, p->A));
    TRY(ckpt_read(c, "/pool/B", CKPT_F32, 4, (const int64_t[]){N, p->L, p->D, p->R}, p->B));
    TRY(ckpt_read(c, "/pool/use", CKPT_F64, 1, &N, p->use));
    TRY(pool_file_finite(c, "/pool/keys", p->keys, N * p->K));
    TRY(pool_file_finite(c, "/pool/A", p->A, N * pool_a_size(p)));
    TRY(pool_file_finite(c, "/pool/B", p->B, N * pool_b_size(p)));
    for (int64_t n = 0; n < N; n++)
        if (!isfinite(p->use[n])) FAIL(CL_EFORMAT, "%s: /pool/use[%lld] is not finite", ckpt_path(c), (long long)n);
    pool_keys_changed(p, (struct pool_range){0, p->N});
    pool_touch(p, (struct pool_range){0, p->N});
done:
    return rc;
}

int pool_file_load(struct pool *p, struct ckpt *c, const char *method, bool context, bool strict)
{
    int64_t keys[] = {-1, p->K}, A[] = {-1, p->L, p->R, p->H}, B[] = {-1, p->L, p->D, p->R}, task[] = {-1}, T;
    int rc;

    if (p->N) FAIL(CL_EINTERNAL, "a checkpoint is read into a pool of %d slots", p->N);
    TRY(check_projections(c, p));
    TRY(check_number(c, "rank", p->R));
    if (strict) {
        TRY(check_text(c, "method", method));
        TRY(check_number(c, "top_m", p->top_m));
        TRY(check_number(c, "key_groups", p->groups));
        TRY(check_number(c, "scale", p->scale));
    }
    TRY(check_shape(c, "/pool/keys", 2, keys));
    A[0] = B[0] = task[0] = keys[0];
    TRY(check_shape(c, "/pool/A", 4, A));
    TRY(check_shape(c, "/pool/B", 4, B));
    TRY(check_shape(c, "/pool/task", 1, task));
    if (keys[0] > 1 << 20)
        FAIL(CL_EFORMAT, "%s: /pool has %lld slots (at most 1048576)", ckpt_path(c), (long long)keys[0]);
    TRY(tasks_of_file(p, c, context, &T));
    TRY(grow_as_listed(p, c, keys[0], (int)T));
    TRY(load_arrays(p, c));
    if (context) TRY(load_w(p, c, T));
done:
    return rc;
}
