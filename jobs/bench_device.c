/* bench_device.c - what the machine can do: oneDNN's best product, arithmetic alone, our products, reading memory, loops that
 * only read and write. */
#include <dnnl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/bench.h"
#include "model/cpu/isa.h"
#include "model/cpu/kernels.h"

/* ---- oneDNN alone: layouts of its own choice, a product large enough to hide everything else */

enum { PEAK_SIZE = 2048 };

struct peak {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t code;
    dnnl_memory_t memory[3];
    dnnl_exec_arg_t arg[3];
};

#define DNN(call)                                                                                                      \
    do {                                                                                                               \
        dnnl_status_t status_ = (call);                                                                                \
        if (status_ != dnnl_success) FAIL(CL_ELIB, "oneDNN: %s: status %d", #call, (int)status_);                      \
    } while (0)

static void peak_close(struct peak *p)
{
    for (int i = 0; i < 3; i++)
        if (p->memory[i]) dnnl_memory_destroy(p->memory[i]);
    if (p->code) dnnl_primitive_destroy(p->code);
    if (p->stream) dnnl_stream_destroy(p->stream);
    if (p->engine) dnnl_engine_destroy(p->engine);
}

static int peak_open(struct peak *p, dnnl_data_type_t type)
{
    static const dnnl_query_t side[] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md};
    static const int argument[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    int rc;
    dnnl_dims_t dims = {PEAK_SIZE, PEAK_SIZE};
    dnnl_memory_desc_t any, result;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;

    DNN(dnnl_engine_create(&p->engine, dnnl_cpu, 0));
    DNN(dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags));
    DNN(dnnl_memory_desc_init_by_tag(&any, 2, dims, type, dnnl_format_tag_any));
    DNN(dnnl_memory_desc_init_by_tag(&result, 2, dims, dnnl_f32, dnnl_format_tag_any));
    DNN(dnnl_matmul_desc_init(&desc, &any, &any, NULL, &result));
    DNN(dnnl_primitive_desc_create(&pd, &desc, NULL, p->engine, NULL));
    for (int i = 0; i < 3; i++) {
        void *data;
        DNN(dnnl_memory_create(&p->memory[i], dnnl_primitive_desc_query_md(pd, side[i], 0), p->engine,
                               DNNL_MEMORY_ALLOCATE));
        DNN(dnnl_memory_get_data_handle(p->memory[i], &data));
        size_t n = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, side[i], 0));
        for (size_t k = 0; k < n / 2; k++)
            ((uint16_t *)data)[k] = (uint16_t)(0x3c00 + k % 256); // small, as bf16 and f32
        p->arg[i] = (dnnl_exec_arg_t){argument[i], p->memory[i]};
    }
    DNN(dnnl_primitive_create(&p->code, pd));
    rc = CL_OK;
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    return rc;
}

static int peak_run(void *x)
{
    struct peak *p = x;
    int rc;

    DNN(dnnl_primitive_execute(p->code, p->stream, 3, p->arg));
    DNN(dnnl_stream_wait(p->stream));
    rc = CL_OK;
done:
    return rc;
}

int bench_product_peak(struct bench *b, enum dtype type)
{
    int rc;
    struct peak p = {0};
    double best, rate;

    TRY(peak_open(&p, type == DT_BF16 ? dnnl_bf16 : dnnl_f32));
    TRY(bench_best(b, &best, b->seconds / 4, peak_run, &p));
    rate = 2e-9 * PEAK_SIZE * PEAK_SIZE * (double)PEAK_SIZE / best;
    if (rate > b->product) b->product = rate;
done:
    peak_close(&p);
    return rc;
}

/* ---- multiply-adds that touch no memory: the processor's own limit */

enum { ROUNDS = 2000000 };

struct registers {
    bool pairs;
    double done;
};

static int registers_run(void *x)
{
    struct registers *r = x;

    r->done = cpu_kernels()->registers(ROUNDS, r->pairs);
    return CL_OK;
}

int bench_registers(struct bench *b, enum dtype type)
{
    int rc;
    double best;
    struct registers r = {.pairs = type == DT_BF16};

    // bf16 by tiles, or by way of f32, is another matter
    if (r.pairs && (!cpu_has_pairs() || !strcmp(backend_cpu_isa(), "AMX"))) return CL_OK;
    TRY(bench_best(b, &best, b->seconds / 8, registers_run, &r));
    TRY(bench_add(b, "multiply-adds in registers", 0, 2e-9 * r.done / best, "GFLOP/s", YARD_PRODUCT));
done:
    return rc;
}

/* ---- products through the backend, at the sizes of a step */

struct timed_product {
    const struct backend *be;
    struct weight *w;
    struct tensor x, y;
    bool back;
};

static int linear_run(void *x)
{
    struct timed_product *l = x;

    return l->back ? l->be->linear_back(l->x, l->y, l->w, false) : l->be->linear(l->y, l->x, l->w, NULL, false);
}

/* A matrix of the device with small numbers in it. */
int bench_random(struct tensor *t, const struct backend *be, enum dtype type, int64_t rows, int64_t cols)
{
    int rc;
    float *host = mem_new((size_t)(rows * cols), sizeof *host);
    struct tensor stage = tensor_of(be->alloc((size_t)(rows * cols) * sizeof *host), DT_F32, rows, cols);

    *t = tensor_of(be->alloc((size_t)(rows * cols) * dtype_size(type)), type, rows, cols);
    if (!host || !stage.data || !t->data)
        FAIL(CL_ENOMEM, "no memory for %lld x %lld numbers", (long long)rows, (long long)cols);
    for (int64_t i = 0; i < rows * cols; i++) host[i] = (float)(i * 7919 % 1021) / 1021 - 0.5f;
    TRY(be->upload(stage.data, host, (size_t)(rows * cols) * sizeof *host));
    TRY(be->copy(*t, stage));
done:
    mem_free(host);
    if (stage.data) be->free(stage.data);
    return rc;
}

static int linear_open(struct timed_product *l, const struct backend *be, int64_t rows, int64_t out, int64_t in)
{
    int rc;
    float *w = mem_new((size_t)(out * in), sizeof *w);

    *l = (struct timed_product){.be = be};
    if (!w) FAIL(CL_ENOMEM, "no memory for a weight of %lld x %lld", (long long)out, (long long)in);
    for (int64_t i = 0; i < out * in; i++) w[i] = (float)(i * 104729 % 2039) / 2039 - 0.5f;
    TRY(be->weight_new(&l->w, w, DT_F32, out, in, in, WEIGHT_FORWARD | WEIGHT_BACKWARD, false));
    TRY(bench_random(&l->x, be, be->act, rows, in));
    TRY(bench_random(&l->y, be, be->act, rows, out));
done:
    mem_free(w);
    return rc;
}

static void linear_close(struct timed_product *l)
{
    if (l->w) l->be->weight_free(l->w);
    if (l->x.data) l->be->free(l->x.data);
    if (l->y.data) l->be->free(l->y.data);
}

int bench_linear(struct bench *b, const struct backend *be, int64_t rows, int64_t out, int64_t in, double best[2])
{
    int rc;
    struct timed_product l;

    TRY(linear_open(&l, be, rows, out, in));
    for (int back = 0; back < 2; back++) {
        l.back = back;
        TRY(bench_best(b, &best[back], b->seconds / 8, linear_run, &l));
    }
done:
    linear_close(&l);
    return rc;
}

/* Forward and backward rate of one weight. */
static int measure_linear(struct bench *b, const struct backend *be, const char *name, int64_t rows, int64_t out,
                          int64_t in)
{
    int rc;
    char what[48];
    double best[2];

    TRY(bench_linear(b, be, rows, out, in, best));
    for (int back = 0; back < 2; back++) {
        double rate = 2e-9 * (double)(rows * out) * (double)in / best[back];
        snprintf(what, sizeof what, "product %s %s", name, back ? "backward" : "forward");
        TRY(bench_add(b, what, 1, rate, "GFLOP/s", YARD_PRODUCT));
    }
done:
    return rc;
}

int bench_products(struct bench *b, const struct backend *be)
{
    int rc;
    const struct bench_shape *s = b->shape;
    int64_t n = bench_tokens(s);

    TRY(bench_product_peak(b, be->act));
    TRY(bench_registers(b, be->act));
    TRY(measure_linear(b, be, "q, k, v, o", n, s->d, s->d));
    TRY(measure_linear(b, be, "gate, up", n, s->ff, s->d));
    TRY(measure_linear(b, be, "down", n, s->d, s->ff));
    TRY(measure_linear(b, be, "lm_head", s->answer, s->vocab, s->d));
done:
    return rc;
}

/* ---- memory */

enum { READ_BYTES = 256 << 20 };

struct reading {
    const uint64_t *p;
    volatile uint64_t sum; // so that nothing is left out
};

static int read_run(void *x)
{
    struct reading *r = x;
    const uint64_t *p = r->p;
    uint64_t sum = 0;

#pragma omp parallel for simd reduction(+ : sum) schedule(static)
    for (size_t i = 0; i < READ_BYTES / sizeof *p; i++) sum += p[i];
    r->sum = sum;
    return CL_OK;
}

int bench_read_peak(struct bench *b)
{
    int rc;
    struct reading r = {.p = mem_new(READ_BYTES, 1)};
    double best;

    if (!r.p) FAIL(CL_ENOMEM, "no memory to read");
    TRY(bench_best(b, &best, b->seconds / 4, read_run, &r));
    b->read = fmax(b->read, READ_BYTES / best / 1e9);
done:
    mem_free((void *)r.p);
    return rc;
}

int bench_memory(struct bench *b)
{
    int rc;

    TRY(bench_read_peak(b));
    TRY(bench_add(b, "memory read", 0, b->read, "GB/s", YARD_NONE));
done:
    return rc;
}

/* ---- loops that only read and write */

struct loop {
    const struct backend *be;
    struct tensor x, y, z; // x f32 (rows, d); y, z (rows, ff)
    struct tensor act;     // (rows, d)
    float *gain;
    int kind;
};

static int loop_run(void *x)
{
    struct loop *l = x;

    switch (l->kind) {
    case 0: return l->be->rmsnorm(l->act, NULL, l->x, l->gain, 1e-5f);
    case 1: return l->be->add(l->x, l->act);
    default: return l->be->glu(l->y, l->y, l->z, ACT_SILU);
    }
}

int bench_loops(struct bench *b, const struct backend *be)
{
    static const char *const name[] = {"loop rmsnorm", "loop add", "loop glu"};
    int rc;
    const struct bench_shape *s = b->shape;
    const int64_t n = bench_tokens(s);
    const double size = (double)dtype_size(be->act), d = (double)(n * s->d), f = (double)(n * s->ff);
    const double bytes[] = {d * (4 + size), d * (8 + size), 3 * f * size}; // read and written
    struct loop l = {.be = be};
    struct tensor gain = {0};

    TRY(bench_random(&l.x, be, DT_F32, n, s->d));
    TRY(bench_random(&l.act, be, be->act, n, s->d));
    TRY(bench_random(&l.y, be, be->act, n, s->ff));
    TRY(bench_random(&l.z, be, be->act, n, s->ff));
    TRY(bench_random(&gain, be, DT_F32, 1, s->d));
    l.gain = gain.data;
    for (l.kind = 0; l.kind < 3; l.kind++) {
        double best;
        TRY(bench_best(b, &best, b->seconds / 16, loop_run, &l));
        double rate = bytes[l.kind] / best / 1e9;
        TRY(bench_add(b, name[l.kind], 1, rate, "GB/s", YARD_READ));
    }
done:
    if (l.x.data) be->free(l.x.data);
    if (l.act.data) be->free(l.act.data);
    if (l.y.data) be->free(l.y.data);
    if (l.z.data) be->free(l.z.data);
    if (gain.data) be->free(gain.data);
    return rc;
}
