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
#include "model/backend_timing.h"

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

/* ---- profile */

void bench_profile(const char *what)
{
    enum { LINES = 16 };
    struct timing t[256];
    size_t n = backend_timing_read(t, sizeof t / sizeof *t);
    double all = 0;

    backend_timing_clear();
    if (!what) return;
    for (size_t i = 0; i < n; i++) all += t[i].seconds;
    printf("\n%s: %.3f s in operations\n  share  operation         width  depth   calls   rows      ms  GFLOP/s\n",
           what, all);
    for (size_t i = 0; i < n && i < LINES; i++) {
        const struct timing *e = &t[i];
        printf("  %4.1f%%  %-15s %7lld %6lld %7lld %6lld %7.1f", 100 * e->seconds / all, e->op, (long long)e->cols,
               (long long)e->depth, (long long)e->calls, (long long)(e->rows / e->calls), 1e3 * e->seconds);
        if (e->flop > 0)
            printf("  %7.1f\n", e->flop / e->seconds / 1e9);
        else
            putchar('\n');
    }
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
        printf("%-30s %-5s %-9s %5s %10.*f %-8s", r->what, r->shape, r->precision, batch, r->value < 10 ? 3 : 1,
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
    char line[256], model[128] = "unknown processor", *colon;

    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "model name", 10) && (colon = strchr(line, ':'))) {
            snprintf(model, sizeof model, "%s", colon + 2);
            model[strcspn(model, "\n\"")] = 0;
            break;
        }
    if (f) fclose(f);
    snprintf(out, room, "%s; %d threads; %s%s", model, omp_get_max_threads(), backend_cpu_isa(),
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
    char all[64] = "";

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

static int bench_precision(struct bench *b, const char *precision, const char *dir)
{
    int rc;
    const struct backend *device, *be;
    size_t first = b->rows;

    TRY(backend_cpu(&device, strcmp(precision, "bf16") ? DT_F32 : DT_BF16));
    backend_timing(&be, device, b->clock);
    b->precision = precision;
    b->product = 0;
    TRY(bench_products(b, be));
    TRY(bench_loops(b, be));
    TRY(bench_steps(b, be, dir));
    TRY(bench_add(b, "product, oneDNN at its best", 0, b->product, "GFLOP/s", YARD_NONE));
    settle(b, first);
done:
    return rc;
}

static int bench_shape(struct bench *b, const char *precisions)
{
    static const char *const all[] = {"f32", "bf16"};
    int rc = CL_OK;
    char *dir = NULL;

    TRY(bench_model_make(&dir, b->shape));
    for (size_t i = 0; i < 2; i++) {
        if (!listed(precisions, all[i])) continue;
        rc = bench_precision(b, all[i], dir);
        if (rc == CL_EDEVICE) {
            printf("%s is left out: %s\n", all[i], err_text());
            rc = CL_OK;
        }
        if (rc) goto done;
    }
done:
    bench_model_remove(dir);
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

int command_bench(const struct command_args *a)
{
    static const char *const shapes[] = {"s", "m", "l", "tiny"}, *const precisions[] = {"f32", "bf16"};
    int rc;
    const char *shape = args_value(a, "shape", "s,m"), *precision = args_value(a, "precision", "f32,bf16"),
               *csv = args_value(a, "csv", NULL), *base = args_value(a, "write-base", NULL);
    struct bench b = {.seconds = (double)args_int(a, "seconds", 2),
                      .clock = args_flag(a, "cpu-time") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC,
                      .profile = args_flag(a, "profile")};
    char where[256];
    FILE *f = NULL;

    TRY(check_list("shape", shape, shapes, sizeof shapes / sizeof *shapes));
    TRY(check_list("precision", precision, precisions, 2));
    if (base) {
        TRY(write_base(base, shape));
        goto done;
    }
    if (csv && !(f = fopen(csv, "w"))) FAIL(CL_EIO, "cannot write %s: %s; hint: check --csv", csv, strerror(errno));
    machine(&b, where, sizeof where);
    printf("%s\nbest of each; shares are of oneDNN's best product in the same precision (GFLOP/s) or of reading memory "
           "(GB/s)\n\n%-30s %-5s %-9s %5s %10s %-8s %6s\n",
           where, "what", "shape", "precision", "batch", "value", "unit", "share");
    fflush(stdout);
    if (args_value(a, "machine", NULL) || args_flag(a, "collectives")) {
        TRY(bench_for_plans(&b, a, where, precision));
        if (f) write_csv(&b, f);
        goto done;
    }
    TRY(bench_memory(&b));
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
