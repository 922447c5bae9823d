/* bench.c - `cllava bench`: speed of this machine and of the model's work on it, as a table and as CSV. */
#include "jobs/bench.h"

#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/run_dir.h"
#include "jobs/bench_work.h"
#include "mpi/ranks.h"

double bench_now(const struct bench *b)
{
    struct timespec t;

    clock_gettime(b->clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int bench_best(const struct bench *b, double *best, double seconds, int (*f)(void *), void *x)
{
    int rc;
    const double begun = bench_now(b);
    double at = begun, took;

    for (int i = 0; i < 2 || at - begun < seconds; i++) {
        TRY(f(x));
        took = bench_now(b) - at;
        at += took;
        if (!i || took < *best) *best = took;
        if (took > 4 * seconds && seconds > 0) break; // one of these is enough
    }
    rc = CL_OK;
done:
    return rc;
}

int bench_add(struct bench *b, const char *what, int batch, double value, const char *unit, enum bench_yardstick yard)
{
    struct bench_row *r;

    if (b->rows == b->room) {
        size_t room = b->room ? 2 * b->room : 64;
        if (!(r = mem_grow(b->row, b->room, room, sizeof *r))) return err_set(CL_ENOMEM, "no memory for the results");
        b->row = r;
        b->room = room;
    }
    r = &b->row[b->rows++];
    *r = (struct bench_row){.shape = b->shape ? b->shape->name : "",
                            .precision = b->precision ? b->precision : "",
                            .batch = batch,
                            .value = value,
                            .share = NAN,
                            .unit = unit,
                            .yard = yard};
    snprintf(r->what, sizeof r->what, "%s", what);
    return CL_OK;
}

int bench_add_share(struct bench *b, const char *what, int batch, double value, const char *unit, double share)
{
    int rc;

    TRY(bench_add(b, what, batch, value, unit, YARD_NONE));
    b->row[b->rows - 1].share = share;
done:
    return rc;
}

/* ---- table and CSV */

/* Shares of the rows from `first` on; then they are printed. */
static void settle(struct bench *b, size_t first)
{
    for (size_t i = first; i < b->rows; i++) {
        struct bench_row *r = &b->row[i];
        char batch[16] = "";
        if (r->yard == YARD_PRODUCT) r->share = r->value / b->product;
        if (r->yard == YARD_READ) r->share = r->value / b->read;
        if (r->batch) snprintf(batch, sizeof batch, "%d", r->batch);
        printf("%-39s %-5s %-9s %5s %10.*f %-8s", r->what, r->shape, r->precision, batch,
               r->value < 0.01 ? 6
               : r->value < 10 ? 3
                               : 1,
               r->value, r->unit);
        if (isnan(r->share))
            putchar('\n');
        else
            printf(" %5.1f%%\n", 100 * r->share);
    }
    fflush(stdout);
}

static void machine(const struct bench *b, char *out, size_t room)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256], model[128] = "unknown processor", ranks[32] = "", *colon;

    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10) && (colon = strchr(line, ':'))) {
            snprintf(model, sizeof model, "%s", colon + 2);
            model[strcspn(model, "\n\"")] = 0;
            break;
        }
    if (f) fclose(f);
    if (ranks_size() > 1) snprintf(ranks, sizeof ranks, "%d ranks, each ", ranks_size());
    snprintf(out, room, "%s; %s%d threads; %s%s", model, ranks, omp_get_max_threads(), backend_cpu_isa(),
             b->clock == CLOCK_MONOTONIC ? "" : "; processor time");
}

static void write_csv(const struct bench *b, FILE *f)
{
    const char *commit = getenv("CLLAVA_COMMIT"); // `./run bench` knows it
    char where[256];

    machine(b, where, sizeof where);
    fprintf(f, "what,shape,precision,batch,value,unit,share,commit,machine\n");
    for (size_t i = 0; i < b->rows; i++) {
        const struct bench_row *r = &b->row[i];
        fprintf(f, "\"%s\",%s,%s,", r->what, r->shape, r->precision);
        fprintf(f, r->batch ? "%d," : ",", r->batch);
        fprintf(f, "%.6g,%s,", r->value, r->unit);
        fprintf(f, isnan(r->share) ? "," : "%.4f,", r->share);
        fprintf(f, "%s,\"%s\"\n", commit ? commit : CLLAVA_VERSION, where);
    }
}

/* ---- the command */

/* Does the comma-separated list hold this word? */
static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && !strncmp(p, word, n)) return true;
    return false;
}

static int check_list(const char *option, const char *list, const char *const *known, size_t n)
{
    char all[128] = "";

    for (size_t i = 0; i < n; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", known[i]);
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        size_t i = 0, length = strcspn(p, ",");
        while (i < n && (strlen(known[i]) != length || strncmp(p, known[i], length))) i++;
        if (i == n)
            return err_set(CL_EUSAGE, "bench: unknown %s (got %.*s, expected some of %s)", option, (int)length, p, all);
    }
    return *list ? CL_OK : err_set(CL_EUSAGE, "bench: --%s is empty", option);
}

/* The yardstick of several ranks on one machine is theirs together: rank 0 measures while they wait. */
static int several(struct bench *b, enum dtype type, const char *dir)
{
    int rc;

    TRY(bench_product_peak(b, type));
    b->product *= ranks_size();
    TRY(bench_jobs(b, dir));
done:
    return rc;
}

static int alone(struct bench *b, const struct backend *device, const char *dir)
{
    int rc;
    const struct backend *be;

    backend_timing(&be, device, b->clock);
    if (b->growth) return bench_growth(b, be, dir);
    TRY(bench_product_peak(b, be->act));
    if (b->groups & BENCH_DEVICE) {
        TRY(bench_products(b, be));
        TRY(bench_loops(b, be));
    }
    if (b->groups & ~(unsigned)(BENCH_DEVICE | BENCH_EVALUATION)) TRY(bench_steps(b, be, dir));
    if (b->groups & BENCH_EVALUATION || b->n_sets) TRY(bench_jobs(b, dir));
done:
    return rc;
}

static int bench_precision(struct bench *b, const char *precision, const char *dir)
{
    int rc;
    const struct backend *device;
    size_t first = b->rows;

    TRY(backend_cpu(&device, strcmp(precision, "bf16") ? DT_F32 : DT_BF16));
    b->precision = precision;
    b->product = 0;
    if (ranks_size() > 1)
        TRY(several(b, device->act, dir));
    else
        TRY(alone(b, device, dir));
    if (!b->growth) {
        TRY(bench_add(b, "product, oneDNN at its best", 0, b->product, "GFLOP/s", YARD_NONE));
        TRY(bench_add(b, "memory read, at its best", 0, b->read, "GB/s", YARD_NONE));
    }
    settle(b, first);
done:
    return rc;
}

static int bench_shape(struct bench *b, const char *precisions)
{
    static const char *const all[] = {"f32", "bf16"};
    int rc = CL_OK;
    char *made = NULL;

    if (!b->base) TRY(bench_model_make(&made, b->shape));
    for (size_t i = 0; i < 2; i++) {
        if (!listed(precisions, all[i])) continue;
        rc = bench_precision(b, all[i], made ? made : b->base);
        if (rc == CL_EDEVICE) {
            printf("%s is left out: %s\n", all[i], err_text());
            rc = CL_OK;
        }
        if (rc) goto done;
    }
done:
    bench_model_remove(made);
    return rc;
}

/* A base of the shape, to keep. */
static int write_base(const char *dir, const char *shape)
{
    int rc;
    const struct bench_shape *s = bench_shape_find(shape);

    if (!s) FAIL(CL_EUSAGE, "bench: --write-base needs one --shape (got %s)", shape);
    TRY(run_dir_make_folders(dir));
    TRY(bench_model_check_room(dir, s));
    TRY(bench_model_write(dir, s));
done:
    return rc;
}

/* What a machine file says of a node. */
static int bench_machine(struct bench *b, struct machine *m, const char *precisions)
{
    static const char *const all[] = {"f32", "bf16"};
    int rc;
    const struct backend *be;

    TRY(bench_node(b, m));
    settle(b, b->rows - 1);
    b->shape = bench_shape_find("m");
    for (int p = 0; p < 2; p++) {
        const size_t first = b->rows;
        if (!listed(precisions, all[p])) continue;
        rc = backend_cpu(&be, p ? DT_BF16 : DT_F32);
        if (rc == CL_EDEVICE) {
            printf("%s is left out: %s\n", all[p], err_text());
            continue;
        }
        if (rc) goto done;
        b->precision = all[p], b->product = 0;
        TRY(bench_product_peak(b, be->act));
        TRY(bench_rates(b, be, &m->rate[p]));
        settle(b, first);
    }
    rc = CL_OK;
done:
    return rc;
}

/* --machine and --collectives: the few figures that plans need, added to what the file already holds. */
static int bench_for_plans(struct bench *b, const struct command_args *a, const char *name, const char *precisions)
{
    int rc;
    const char *path = args_value(a, "machine", NULL);
    const size_t first = b->rows;
    struct machine m;

    machine_assumed(&m);
    if (path && !access(path, F_OK)) TRY(machine_read(&m, path, 0));
    if (args_flag(a, "collectives")) {
        TRY(bench_collectives(b, &m));
        settle(b, first);
    } else {
        snprintf(m.name, sizeof m.name, "%.190s", name);
        m.ranks_per_node = 1;
        TRY(bench_machine(b, &m, precisions));
    }
    if (path) TRY(machine_write(&m, path));
done:
    return rc;
}

static const char *const group_name[] = {"device", "training", "forward", "prefill", "decode", "evaluation", "routing"};
enum { GROUPS = sizeof group_name / sizeof *group_name }; // bits of enum bench_group, in its order

static int take_groups(struct bench *b, const char *list)
{
    int rc;

    TRY(check_list("rows", list, group_name, GROUPS));
    for (int i = 0; i < GROUPS; i++)
        if (listed(list, group_name[i])) b->groups |= 1u << i;
done:
    return rc;
}

static int take_batches(struct bench *b, const char *list)
{
    for (const char *p = list; *p;) {
        char *end;
        const long n = strtol(p, &end, 10);
        if (end == p || (*end && *end != ',') || n < 1 || n > BENCH_MOST_BATCH || b->batches == BENCH_BATCHES)
            return err_set(CL_EUSAGE, "bench: --batch %s (expected up to %d numbers from 1 to %d, e.g. 1,4)", list,
                           BENCH_BATCHES, BENCH_MOST_BATCH);
        b->batch[b->batches++] = (int)n;
        p = end + (*end == ',');
    }
    return b->batches ? CL_OK : err_set(CL_EUSAGE, "bench: --batch is empty");
}

static int take_base(struct bench *b, const char *dir, const char *shape)
{
    b->base = dir;
    if (!dir || bench_shape_find(shape)) return CL_OK;
    return err_set(CL_EUSAGE, "bench: --base needs one --shape (got %s)", shape);
}

/* Settings that no job could run with are known before anything is measured. */
static int take_sets(struct bench *b, const struct command_args *a)
{
    int rc;
    struct config cfg = {0};

    b->sets = args_sets(a, &b->n_sets);
    TRY(bench_config(&cfg, &bench_pool_default, "/none", "/none", "f32", b->sets, b->n_sets));
done:
    config_free(&cfg);
    return rc;
}

int command_bench(const struct command_args *a)
{
    static const char *const shapes[] = {"s", "m", "l", "tiny"}, *const precisions[] = {"f32", "bf16"};
    int rc;
    const char *shape = args_value(a, "shape", "s,m"), *precision = args_value(a, "precision", "f32,bf16"),
               *csv = args_value(a, "csv", NULL), *base = args_value(a, "write-base", NULL);
    struct bench b = {.seconds = (double)args_int(a, "seconds", 2),
                      .clock = args_flag(a, "cpu-time") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC,
                      .profile = args_flag(a, "profile"),
                      .growth = args_flag(a, "growth"),
                      .samples = args_int(a, "samples", 0)};
    char where[256];
    FILE *f = NULL;

    TRY(check_list("shape", shape, shapes, sizeof shapes / sizeof *shapes));
    TRY(check_list("precision", precision, precisions, 2));
    TRY(take_groups(&b, args_value(a, "rows", "device,training,forward,prefill,decode,evaluation,routing")));
    TRY(take_batches(&b, args_value(a, "batch", "1,4")));
    TRY(take_base(&b, args_value(a, "base", NULL), shape));
    TRY(take_sets(&b, a));
    if (base) {
        TRY(write_base(base, shape));
        goto done;
    }
    if (b.growth && ranks_size() > 1)
        FAIL(CL_EUSAGE, "bench: --growth is for one process (got %d ranks)", ranks_size());
    if (csv && !(f = fopen(csv, "w"))) FAIL(CL_EIO, "cannot write %s: %s; hint: check --csv", csv, strerror(errno));
    machine(&b, where, sizeof where);
    printf("%s\nbest of each; shares are of oneDNN's best product in the same precision (GFLOP/s) or of reading memory "
           "(GB/s)\n\n%-39s %-5s %-9s %5s %10s %-8s %6s\n",
           where, "what", "shape", "precision", "batch", "value", "unit", "share");
    fflush(stdout);
    if (args_value(a, "machine", NULL) || args_flag(a, "collectives")) {
        TRY(bench_for_plans(&b, a, where, precision));
        if (f) write_csv(&b, f);
        goto done;
    }
    if (!b.growth) TRY(bench_memory(&b));
    settle(&b, 0);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (!listed(shape, shapes[i])) continue;
        b.shape = bench_shape_find(shapes[i]);
        TRY(bench_shape(&b, precision));
    }
    if (f) write_csv(&b, f);
done:
    if (f && (ferror(f) | fclose(f)) && !rc) rc = err_set(CL_EIO, "cannot write %s: %s", csv, strerror(errno));
    mem_free(b.row);
    return rc;
}
