/* product.c - matrix products by oneDNN, with memory of what was multiplied before. */
#include "model/cpu/product.h"

#include <omp.h>
#include <string.h>

#include "io/err.h"
#include "io/hash.h"
#include "model/cpu/kernels.h"
#include "model/cpu/scratch.h"

enum { STORE = 512, SLOTS = 1024 }; // shapes kept; lists by hash
enum { HINT_ROWS = 512 };           // rows for which packing must pay: a batch of training

/* Everything that the code for a product depends on. Compared byte by byte: filled from zero. */
struct shape {
    int64_t m, n, k, a_row, a_col, b_row, b_col, c_row;
    uint64_t stock; // hash of the packed layout, 0 when plain
    int32_t in, out, bias, accumulate, threads, pad;
};

struct kept {
    struct shape shape;
    uint64_t hash, used; // tick of the last use
    int next;            // in the list of its hash, -1 at the end
    bool slow;
    dnnl_primitive_t code;
    dnnl_memory_t a, b, c, bias, temporary;
    size_t temporary_bytes;
};

static struct {
    dnnl_engine_t engine; // NULL before the first use
    dnnl_stream_t stream;
    struct kept kept[STORE];
    int count, list[SLOTS];
    uint64_t tick;
} store;

static const char *status_text(dnnl_status_t s)
{
    static const char *const text[] = {"success",       "out of memory", "invalid arguments", "not implemented",
                                       "iterator ends", "runtime error", "not required"};
    return (size_t)s < sizeof text / sizeof *text ? text[s] : "unknown status";
}

/* A checked call inside a function with `int rc` and `done:`. */
#define DNN(call)                                                                                                      \
    do {                                                                                                               \
        dnnl_status_t dnn_status = (call);                                                                             \
        if (dnn_status != dnnl_success)                                                                                \
            FAIL(dnn_status == dnnl_out_of_memory ? CL_ENOMEM : CL_ELIB, "oneDNN: %s: %s", #call,                      \
                 status_text(dnn_status));                                                                             \
    } while (0)

static int open_store(void)
{
    int rc;

    if (store.engine) return CL_OK;
    for (int i = 0; i < SLOTS; i++) store.list[i] = -1;
    DNN(dnnl_set_primitive_cache_capacity(0)); // what is compiled is kept here, not there too
    DNN(dnnl_engine_create(&store.engine, dnnl_cpu, 0));
    DNN(dnnl_stream_create(&store.stream, store.engine, dnnl_stream_default_flags));
    rc = CL_OK;
done:
    if (rc && store.engine) {
        dnnl_engine_destroy(store.engine);
        store.engine = NULL;
    }
    return rc;
}

static dnnl_data_type_t dnn_type(enum dtype t)
{
    return t == DT_BF16 ? dnnl_bf16 : dnnl_f32;
}

static int describe(dnnl_memory_desc_t *d, int64_t rows, int64_t cols, enum dtype type, int64_t row_step,
                    int64_t col_step)
{
    int rc;
    dnnl_dims_t dims = {rows, cols}, steps = {row_step, col_step};

    DNN(dnnl_memory_desc_init_by_strides(d, 2, dims, dnn_type(type), steps));
    rc = CL_OK;
done:
    return rc;
}

/* Plan of the product of the four layouts. */
static int plan(dnnl_primitive_desc_t *out, const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b,
                const dnnl_memory_desc_t *bias, const dnnl_memory_desc_t *c, bool accumulate)
{
    int rc;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t sum = NULL;
    dnnl_matmul_desc_t desc;

    DNN(dnnl_primitive_attr_create(&attr));
    DNN(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (accumulate) {
        DNN(dnnl_post_ops_create(&sum));
        DNN(dnnl_post_ops_append_sum(sum, 1));
        DNN(dnnl_primitive_attr_set_post_ops(attr, sum));
    }
    DNN(dnnl_matmul_desc_init(&desc, a, b, bias, c));
    DNN(dnnl_primitive_desc_create(out, &desc, attr, store.engine, NULL));
    rc = CL_OK;
done:
    if (sum) dnnl_post_ops_destroy(sum);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return rc;
}

/* Are these oneDNN's reference loops? */
static int is_slow(bool *slow, dnnl_primitive_desc_t pd)
{
    int rc;
    const char *name = "";

    DNN(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
    *slow = !strncmp(name, "ref", 3);
    rc = CL_OK;
done:
    return rc;
}

static void drop(struct kept *e)
{
    dnnl_memory_t *const memory[] = {&e->a, &e->b, &e->c, &e->bias, &e->temporary};

    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (*memory[i]) dnnl_memory_destroy(*memory[i]);
    if (e->code) dnnl_primitive_destroy(e->code);
    *e = (struct kept){.next = -1};
}

static int slot_of(uint64_t hash)
{
    return (int)(hash % SLOTS);
}

/* Takes entry i out of the list of its hash. */
static void unlink_kept(int i)
{
    int *at = &store.list[slot_of(store.kept[i].hash)];

    while (*at != i) at = &store.kept[*at].next;
    *at = store.kept[i].next;
}

/* A free place: a new one, or that of the shape not used for longest. */
static int place(void)
{
    int oldest = 0;

    if (store.count < STORE) return store.count++;
    for (int i = 1; i < STORE; i++)
        if (store.kept[i].used < store.kept[oldest].used) oldest = i;
    unlink_kept(oldest);
    drop(&store.kept[oldest]);
    return oldest;
}

static int compile(struct kept *e, const struct product *p)
{
    int rc;
    dnnl_memory_desc_t a, b, c, bias;
    dnnl_primitive_desc_t pd = NULL;
    const dnnl_memory_desc_t *temporary;

    TRY(describe(&a, p->m, p->k, p->a.type, p->a.row_step, p->a.col_step));
    if (p->stock)
        b = p->stock->layout;
    else
        TRY(describe(&b, p->k, p->n, p->b.type, p->b.row_step, p->b.col_step));
    TRY(describe(&c, p->m, p->n, p->c.type, p->c.row_step, 1));
    TRY(describe(&bias, 1, p->n, DT_F32, p->n, 1));
    TRY(plan(&pd, &a, &b, p->bias ? &bias : NULL, &c, p->accumulate));
    TRY(is_slow(&e->slow, pd));
    temporary = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    e->temporary_bytes = dnnl_memory_desc_get_size(temporary);
    DNN(dnnl_memory_create(&e->temporary, temporary, store.engine, DNNL_MEMORY_NONE));
    DNN(dnnl_memory_create(&e->a, &a, store.engine, DNNL_MEMORY_NONE));
    DNN(dnnl_memory_create(&e->b, &b, store.engine, DNNL_MEMORY_NONE));
    DNN(dnnl_memory_create(&e->c, &c, store.engine, DNNL_MEMORY_NONE));
    if (p->bias) DNN(dnnl_memory_create(&e->bias, &bias, store.engine, DNNL_MEMORY_NONE));
    DNN(dnnl_primitive_create(&e->code, pd));
    rc = CL_OK;
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    return rc;
}

static struct shape shape_of(const struct product *p)
{
    struct shape s = {.m = p->m, .n = p->n, .k = p->k, .a_row = p->a.row_step, .a_col = p->a.col_step};

    if (p->stock)
        s.stock = hash_bytes(HASH_BEGIN, &p->stock->layout, sizeof p->stock->layout) | 1;
    else
        s.b_row = p->b.row_step, s.b_col = p->b.col_step;
    s.c_row = p->c.row_step;
    s.in = p->a.type;
    s.out = p->c.type;
    s.bias = p->bias != NULL;
    s.accumulate = p->accumulate;
    s.threads = omp_get_max_threads();
    return s;
}

/* The code for this product, compiled if it is new. */
static int find(struct kept **out, const struct product *p)
{
    int rc, i;
    struct shape s = shape_of(p);
    uint64_t hash = hash_bytes(HASH_BEGIN, &s, sizeof s);

    TRY(open_store());
    for (i = store.list[slot_of(hash)]; i >= 0; i = store.kept[i].next)
        if (store.kept[i].hash == hash && !memcmp(&store.kept[i].shape, &s, sizeof s)) break;
    if (i < 0) {
        struct kept fresh = {.shape = s, .hash = hash};
        if ((rc = compile(&fresh, p))) {
            drop(&fresh);
            goto done;
        }
        i = place();
        fresh.next = store.list[slot_of(hash)];
        store.kept[i] = fresh;
        store.list[slot_of(hash)] = i;
    }
    store.kept[i].used = ++store.tick;
    *out = &store.kept[i];
    rc = CL_OK;
done:
    return rc;
}

int product_run(const struct product *p, bool *slow)
{
    int rc, n = 0;
    struct kept *e;
    void *temporary;
    dnnl_exec_arg_t arg[5];

    TRY(find(&e, p));
    if (slow && (*slow = e->slow)) return CL_OK;
    if (!(temporary = scratch_take(SCRATCH_ONEDNN, e->temporary_bytes)))
        FAIL(CL_ENOMEM, "cannot have %zu bytes for a matrix product", e->temporary_bytes);
    DNN(dnnl_memory_set_data_handle(e->temporary, temporary));
    DNN(dnnl_memory_set_data_handle(e->a, p->a.data));
    DNN(dnnl_memory_set_data_handle(e->b, p->stock ? p->stock->data : p->b.data));
    DNN(dnnl_memory_set_data_handle(e->c, p->c.data));
    if (p->bias) DNN(dnnl_memory_set_data_handle(e->bias, (void *)p->bias));
    arg[n++] = (dnnl_exec_arg_t){DNNL_ARG_SRC, e->a};
    arg[n++] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, e->b};
    arg[n++] = (dnnl_exec_arg_t){DNNL_ARG_DST, e->c};
    arg[n++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, e->temporary};
    if (p->bias) arg[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, e->bias};
    DNN(dnnl_primitive_execute(e->code, store.stream, n, arg));
    DNN(dnnl_stream_wait(store.stream));
    rc = CL_OK;
done:
    return rc;
}

/* ---- packed matrices */

static int describe_packed(struct packed *p, int64_t rows, int64_t cols)
{
    int rc;
    dnnl_dims_t dims = {rows, cols};

    DNN(dnnl_memory_desc_init_by_tag(&p->layout, 2, dims, dnnl_bf16, dnnl_BA16a64b2a));
    p->bytes = dnnl_memory_desc_get_size(&p->layout);
    rc = CL_OK;
done:
    return rc;
}

/* Has oneDNN loops of its own for this order? */
static int multiplies_packed(bool *yes, const struct packed *p, int64_t k, int64_t n)
{
    int rc;
    dnnl_memory_desc_t a, c;
    dnnl_primitive_desc_t pd = NULL;
    bool slow = true;

    TRY(describe(&a, HINT_ROWS, k, DT_BF16, k, 1));
    TRY(describe(&c, HINT_ROWS, n, DT_BF16, n, 1));
    TRY(plan(&pd, &a, &p->layout, NULL, &c, false));
    TRY(is_slow(&slow, pd));
done:
    *yes = !slow;
    if (pd) dnnl_primitive_desc_destroy(pd);
    return rc;
}

/* Moves a matrix from one order to another. */
static int reorder(const dnnl_memory_desc_t *to, void *dst, const dnnl_memory_desc_t *from, void *src)
{
    int rc;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t code = NULL;
    dnnl_memory_t in = NULL, out = NULL;

    DNN(dnnl_memory_create(&in, from, store.engine, src));
    DNN(dnnl_memory_create(&out, to, store.engine, dst));
    DNN(dnnl_reorder_primitive_desc_create(&pd, from, store.engine, to, store.engine, NULL));
    DNN(dnnl_primitive_create(&code, pd));
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_FROM, in}, {DNNL_ARG_TO, out}};
    DNN(dnnl_primitive_execute(code, store.stream, 2, arg));
    DNN(dnnl_stream_wait(store.stream));
    rc = CL_OK;
done:
    if (code) dnnl_primitive_destroy(code);
    if (pd) dnnl_primitive_desc_destroy(pd);
    if (in) dnnl_memory_destroy(in);
    if (out) dnnl_memory_destroy(out);
    return rc;
}

int packed_new(struct packed *dst, int64_t out, int64_t in)
{
    int rc;
    bool pays;

    *dst = (struct packed){0};
    TRY(open_store());
    TRY(describe_packed(dst, in, out));
    TRY(multiplies_packed(&pays, dst, in, out));
    if (!pays) {
        dst->bytes = 0;
        return CL_OK;
    }
    if (!(dst->data = mem_raw(dst->bytes, 1))) FAIL(CL_ENOMEM, "cannot have %zu bytes for a weight", dst->bytes);
done:
    if (rc) packed_free(dst);
    return rc;
}

void packed_fill(const struct packed *dst, int64_t first, int64_t n, const uint16_t *rows, int64_t ld)
{
    cpu_kernels()->pack((uint16_t *)dst->data + packed_offset(dst, 0, first), rows, n, dst->layout.dims[0], ld);
}

void packed_free(struct packed *p)
{
    mem_free(p->data);
    *p = (struct packed){0};
}

size_t packed_bytes(int64_t rows, int64_t cols)
{
    const int64_t down = (rows + PACKED_ROWS - 1) / PACKED_ROWS, across = (cols + PACKED_COLS - 1) / PACKED_COLS;

    return (size_t)(down * across) * (PACKED_ROWS * PACKED_COLS * sizeof(uint16_t));
}

int packed_turned(struct packed *dst, const struct packed *src)
{
    int rc;
    const int64_t rows = src->layout.dims[0], cols = src->layout.dims[1];

    *dst = (struct packed){0};
    TRY(describe_packed(dst, cols, rows));
    if (!(dst->data = mem_raw(dst->bytes, 1))) FAIL(CL_ENOMEM, "cannot have %zu bytes for a weight", dst->bytes);
    cpu_kernels()->turn(dst->data, src->data, rows, cols, 0, rows);
done:
    if (rc) packed_free(dst);
    return rc;
}

int packed_turn(struct packed *dst, const struct packed *src, int64_t first, int64_t n)
{
    int rc;
    const int64_t rows = src->layout.dims[0], cols = src->layout.dims[1];

    TRY(describe_packed(dst, cols, n));
    if (!(dst->data = scratch_take(SCRATCH_TURNED, dst->bytes)))
        FAIL(CL_ENOMEM, "cannot have %zu bytes for a part of a weight", dst->bytes);
    cpu_kernels()->turn(dst->data, src->data, rows, cols, first, n);
done:
    return rc;
}

int64_t packed_offset(const struct packed *p, int64_t i, int64_t j)
{
    const int64_t blocks = (p->layout.dims[0] + PACKED_ROWS - 1) / PACKED_ROWS;
    const int64_t block = j / PACKED_COLS * blocks + i / PACKED_ROWS;

    return block * PACKED_ROWS * PACKED_COLS + i % PACKED_ROWS / 2 * (2 * PACKED_COLS) + j % PACKED_COLS * 2 + i % 2;
}

int packed_unpack(const struct packed *p, void *plain)
{
    int rc;
    dnnl_memory_desc_t to;

    TRY(describe(&to, p->layout.dims[0], p->layout.dims[1], DT_BF16, p->layout.dims[1], 1));
    TRY(reorder(&to, plain, &p->layout, p->data));
done:
    return rc;
}
