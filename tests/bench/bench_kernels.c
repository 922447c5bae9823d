/* bench_kernels.c - speed of the CPU's operations in the sizes of training: bench_kernels [SECONDS_PER_CASE] > table.csv
 *
 * One line per case: name, precision, size, best and median milliseconds, and the rate (GFLOP/s of what has to be
 * multiplied, GB/s of what has to be read and written). `onednn` lines are the library called directly on packed
 * weights: what linear can reach at best. Compare lines of one run only.
 */
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/err.h"
#include "model/backend.h"
#include "model/cpu/kernels.h"

enum { MOST = 10000 }; // repetitions

static const struct backend *be;
static double seconds_per_case = 0.5;

static void must(int rc)
{
    if (!rc) return;
    fprintf(stderr, "bench_kernels: %s\n", err_text());
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double lap[MOST], begun, ending;
static int laps;

/* for (begin(); again();) WORK; then report(..) */
static void begin(void)
{
    laps = -1; // the first round warms up
    ending = 0;
}

static bool again(void)
{
    double t = now();
    if (laps >= 0) lap[laps] = t - begun;
    laps++;
    if (!ending) ending = t; // set below, after the first round
    if (laps == 1) ending = t + seconds_per_case;
    begun = now();
    return laps < 4 || (laps < MOST && begun < ending);
}

static void report(const char *name, const char *size, double work, const char *unit)
{
    qsort(lap, (size_t)laps, sizeof *lap, ascending);
    printf("%s,%s,%s,%d,%.3f,%.3f,%.1f,%s\n", name, dtype_name(be->act), size, omp_get_max_threads(), lap[0] * 1e3,
           lap[laps / 2] * 1e3, work / lap[0] * 1e-9, unit);
    fflush(stdout);
}

static struct tensor fill(enum dtype type, int64_t rows, int64_t cols)
{
    struct tensor t = tensor_of(be->alloc((size_t)(rows * cols) * dtype_size(type)), type, rows, cols);
    uint32_t x = 1;

    if (!t.data) must(err_set(CL_ENOMEM, "no memory"));
    for (int64_t i = 0; i < rows * cols; i++) {
        x = x * 1664525 + 1013904223;
        float f = (float)(int32_t)x * 0x1p-31f;
        if (type == DT_F32)
            ((float *)t.data)[i] = f;
        else
            ((uint16_t *)t.data)[i] = f32_to_bf16(f);
    }
    return t;
}

/* oneDNN alone on the weight order that it prefers for these very sizes. */
static void bench_onednn(int64_t m, int64_t n, int64_t k, const char *size)
{
    dnnl_data_type_t type = be->act == DT_BF16 ? dnnl_bf16 : dnnl_f32;
    dnnl_dims_t a_dims = {m, k}, b_dims = {k, n}, c_dims = {m, n}, a_step = {k, 1}, c_step = {n, 1};
    dnnl_memory_desc_t a, b, c;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t code;
    dnnl_memory_t memory[3];

    dnnl_engine_create(&engine, dnnl_cpu, 0);
    dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    dnnl_memory_desc_init_by_strides(&a, 2, a_dims, type, a_step);
    dnnl_memory_desc_init_by_tag(&b, 2, b_dims, type, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_strides(&c, 2, c_dims, type, c_step);
    dnnl_matmul_desc_init(&desc, &a, &b, NULL, &c);
    dnnl_primitive_desc_create(&pd, &desc, NULL, engine, NULL);
    dnnl_primitive_create(&code, pd);
    const dnnl_memory_desc_t *packed = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    dnnl_memory_create(&memory[0], &a, engine, DNNL_MEMORY_ALLOCATE);
    dnnl_memory_create(&memory[1], packed, engine, DNNL_MEMORY_ALLOCATE);
    dnnl_memory_create(&memory[2], &c, engine, DNNL_MEMORY_ALLOCATE);
    const dnnl_memory_desc_t *all[3] = {&a, packed, &c};
    for (int i = 0; i < 3; i++) {
        void *p;
        dnnl_memory_get_data_handle(memory[i], &p);
        memset(p, 0, dnnl_memory_desc_get_size(all[i]));
    }
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]}, {DNNL_ARG_DST, memory[2]}};
    for (begin(); again();) {
        dnnl_primitive_execute(code, stream, 3, arg);
        dnnl_stream_wait(stream);
    }
    report("onednn", size, 2.0 * (double)(m * n * k), "GFLOP/s");
    for (int i = 0; i < 3; i++) dnnl_memory_destroy(memory[i]);
    dnnl_primitive_destroy(code);
    dnnl_primitive_desc_destroy(pd);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
}

static void bench_linear(int64_t m, int64_t out, int64_t in)
{
    struct tensor w = fill(be->act, out, in), x = fill(be->act, m, in), y = fill(be->act, m, out);
    struct weight *weight;
    char size[64];
    double flops = 2.0 * (double)(m * out * in);

    must(be->weight_new(&weight, w.data, w.type, out, in, in, WEIGHT_FORWARD | WEIGHT_BACKWARD, true));
    snprintf(size, sizeof size, "%lldx%lldx%lld", (long long)m, (long long)out, (long long)in);
    for (begin(); again();) must(be->linear(y, x, weight, NULL, false));
    report("linear", size, flops, "GFLOP/s");
    if (m < 64) report("linear bytes", size, (double)(out * in) * (double)dtype_size(be->act), "GB/s");
    for (begin(); again();) must(be->linear_back(x, y, weight, false));
    report("linear_back", size, flops, "GFLOP/s");
    if (m >= 64) bench_onednn(m, out, in, size);
    be->weight_free(weight);
    be->free(w.data);
    be->free(x.data);
    be->free(y.data);
}

static void bench_attention(int64_t rows, int heads, int kv_heads, int head_dim, int64_t keys)
{
    struct tensor q = fill(be->act, rows, heads * head_dim), k = fill(be->act, keys, kv_heads * head_dim),
                  v = fill(be->act, keys, kv_heads * head_dim), o = fill(be->act, rows, heads * head_dim),
                  dq = fill(be->act, rows, heads * head_dim), dk = fill(be->act, keys, kv_heads * head_dim),
                  dv = fill(be->act, keys, kv_heads * head_dim);
    float *lse = be->alloc((size_t)(rows * heads) * sizeof *lse);
    int32_t *pos = malloc((size_t)rows * sizeof *pos);
    int64_t cu_q[] = {0, rows}, cu_k[] = {0, keys};
    double seen = 0;
    char size[64];

    for (int64_t r = 0; r < rows; r++) {
        pos[r] = (int32_t)(keys - rows + r);
        seen += pos[r] + 1;
    }
    struct attention_shape s = {1, cu_q, cu_k, NULL, pos, true, heads, kv_heads, head_dim, 0.1f};
    snprintf(size, sizeof size, "%lldx%lldx%dx%dx%d", (long long)rows, (long long)keys, heads, kv_heads, head_dim);
    for (begin(); again();) must(be->attention(o, lse, q, k, v, &s));
    report("attention", size, 4 * seen * heads * head_dim, "GFLOP/s");
    if (rows > 1) {
        for (begin(); again();) must(be->attention_back(dq, dk, dv, q, o, q, k, v, lse, &s));
        report("attention_back", size, 10 * seen * heads * head_dim, "GFLOP/s");
    } else
        report("attention bytes", size, (double)(2 * keys * kv_heads * head_dim) * (double)dtype_size(be->act), "GB/s");
    void *all[] = {q.data, k.data, v.data, o.data, dq.data, dk.data, dv.data, lse};
    for (int i = 0; i < 8; i++) be->free(all[i]);
    free(pos);
}

static void bench_rows(int64_t rows, int64_t cols, int64_t wide, int64_t vocab)
{
    struct tensor x = fill(DT_F32, rows, cols), y = fill(be->act, rows, cols), gate = fill(be->act, rows, wide),
                  up = fill(be->act, rows, wide), out = fill(be->act, rows, wide), logits = fill(DT_F32, 64, vocab);
    float *gain = fill(DT_F32, 1, wide).data, nll[64], *rstd = fill(DT_F32, 1, rows).data;
    int32_t target[64] = {0}, *pos = calloc((size_t)rows, sizeof *pos);
    double f = (double)(rows * cols) * 4, a = (double)(rows * cols) * (double)dtype_size(be->act),
           w = (double)(rows * wide) * (double)dtype_size(be->act);
    char size[64];

    snprintf(size, sizeof size, "%lldx%lld", (long long)rows, (long long)cols);
    for (begin(); again();) must(be->copy(y, x));
    report("copy", size, f + a, "GB/s");
    for (begin(); again();) must(be->add(x, y));
    report("add", size, 2 * f + a, "GB/s");
    for (begin(); again();) must(be->rmsnorm(y, rstd, x, gain, 1e-5f));
    report("rmsnorm", size, f + a, "GB/s");
    for (begin(); again();) must(be->rmsnorm_back(x, y, x, gain, rstd));
    report("rmsnorm_back", size, 3 * f + a, "GB/s");
    for (begin(); again();) must(be->layernorm(y, y, gain, gain, 1e-5f));
    report("layernorm", size, 2 * a, "GB/s");
    for (begin(); again();) must(be->rope(y, (int)(cols / 128), 128, pos, gain, gain, false));
    report("rope", size, 2 * a, "GB/s");
    snprintf(size, sizeof size, "%lldx%lld", (long long)rows, (long long)wide);
    for (begin(); again();) must(be->activate(out, ACT_GELU));
    report("gelu", size, 2 * w, "GB/s");
    for (begin(); again();) must(be->glu(out, gate, up, ACT_SILU));
    report("swiglu", size, 3 * w, "GB/s");
    for (begin(); again();) must(be->glu_back(gate, up, out, ACT_SILU));
    report("swiglu_back", size, 5 * w, "GB/s");
    snprintf(size, sizeof size, "64x%lld", (long long)vocab);
    for (begin(); again();) must(be->cross_entropy(nll, logits, target, 1));
    report("cross_entropy", size, 64.0 * (double)vocab * 4 * 3, "GB/s");
    for (begin(); again();) must(be->argmax(target, NULL, logits, NULL));
    report("argmax", size, 64.0 * (double)vocab * 4, "GB/s");
    void *all[] = {x.data, y.data, gate.data, up.data, out.data, logits.data, gain, rstd};
    for (int i = 0; i < 8; i++) be->free(all[i]);
    free(pos);
}

int main(int argc, char **argv)
{
    if (argc > 1) seconds_per_case = atof(argv[1]);
    printf("case,precision,size,threads,best_ms,median_ms,rate,unit\n");
    for (int p = 0; p < 2; p++) {
        int rc = backend_cpu(&be, p ? DT_BF16 : DT_F32);
        if (rc == CL_EDEVICE) break;
        must(rc);
        fprintf(stderr, "%s, own loops %s\n", backend_cpu_isa(), cpu_kernels()->level);
        bench_linear(672, 2048, 2048);
        bench_linear(672, 5504, 2048);
        bench_linear(672, 2048, 5504);
        bench_linear(1, 5504, 2048);
        bench_linear(8, 5504, 2048);
        bench_attention(672, 16, 16, 128, 672);
        bench_attention(2048, 16, 16, 128, 2048);
        bench_attention(2048, 16, 4, 64, 2048);
        bench_attention(1, 16, 16, 128, 2048);
        bench_rows(672, 2048, 5504, 32064);
    }
    return 0;
}
