/* machine.c - the machine file: reading, writing, what stands in for what it lacks. */
#include "jobs/machine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/jsonfile.h"
#include "io/whole.h"

static const char *const precision_key[] = {"f32", "bf16"};
static const char *const operation_key[] = {"sum", "gather", "broadcast"};

/* ---- assumed */

/* Where no file says better: rates of 64 cores at about 70 % of 250 (f32) and 500 (bf16) GFLOP/s each at full load. */
void machine_assumed(struct machine *m)
{
    static const double width[] = {256, 512, 1024, 2048, 4096}, share[] = {0.45, 0.62, 0.76, 0.85, 0.9};

    *m = (struct machine){.assumed = true, .cores = 64, .ranks_per_node = 2, .read = 350e9};
    m->memory = 384.0 * (1 << 30);
    snprintf(m->name, sizeof m->name, "assumed: nodes of 2 x 32 cores with AVX-512 BF16, 384 GiB, 200 Gbit/s network");
    for (int p = 0; p < 2; p++) {
        struct machine_rates *r = &m->rate[p];
        double best = (p ? 22e12 : 11e12);
        *r = (struct machine_rates){.assumed = true, .widths = 5, .attention = 2.5e12, .loop = 200e9};
        for (int i = 0; i < r->widths; i++) r->width[i] = width[i], r->product[i] = best * share[i];
    }
    m->links_assumed[0] = m->links_assumed[1] = true;
    m->link[m->links++] = (struct machine_link){false, 2, {5e-6, 5e-6, 5e-6}, {8e9, 8e9, 8e9}};
    m->link[m->links++] = (struct machine_link){true, 2, {12e-6, 12e-6, 12e-6}, {10e9, 10e9, 10e9}};
}

/* ---- reading */

static int read_scaled(double *v, const struct jsonfile_at *at, const char *key, double unit, double most)
{
    double x = *v / unit;
    int rc = jsonfile_real(&x, at, key, 1e-9, most);

    *v = x * unit;
    return rc;
}

/* [[width, GFLOP/s], ..], widths ascending. */
static int read_products(struct machine_rates *r, const struct jsonfile_at *at)
{
    const json_t *list = json_object_get(at->object, "product_gflops");
    size_t n = json_array_size(list);

    if (n < 1 || n > MACHINE_WIDTHS)
        return jsonfile_refuse(at, "product_gflops", "1 to %d pairs [width, GFLOP/s]", MACHINE_WIDTHS);
    r->widths = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i);
        r->width[i] = json_number_value(json_array_get(pair, 0));
        r->product[i] = 1e9 * json_number_value(json_array_get(pair, 1));
        if (!(r->width[i] > (i ? r->width[i - 1] : 0)) || !(r->product[i] > 0) || !isfinite(r->product[i]))
            return jsonfile_refuse(at, "product_gflops", "pairs [width, GFLOP/s], widths ascending, rates above 0");
    }
    return CL_OK;
}

static int read_rates(struct machine *m, const struct jsonfile_at *top)
{
    int rc;
    struct jsonfile_at all, at;

    TRY(jsonfile_section(&all, top, "rates"));
    for (int p = 0; all.object && p < 2; p++) {
        struct machine_rates *r = &m->rate[p];
        TRY(jsonfile_section(&at, &all, precision_key[p]));
        if (!at.object) continue;
        r->assumed = false;
        TRY(read_products(r, &at));
        TRY(read_scaled(&r->attention, &at, "attention_gflops", 1e9, 1e9));
        TRY(read_scaled(&r->loop, &at, "loop_gbs", 1e9, 1e9));
    }
    rc = CL_OK;
done:
    return rc;
}

static int read_link(struct machine_link *l, const struct jsonfile_at *at)
{
    int rc;
    struct jsonfile_at op;

    *l = (struct machine_link){0};
    TRY(jsonfile_bool(&l->nodes, at, "between_nodes"));
    TRY(jsonfile_int(&l->ranks, at, "ranks", 2, 1 << 20));
    if (!l->ranks) return jsonfile_refuse(at, "ranks", "the number of ranks, 2 or more");
    for (int i = 0; i < LINK_OPERATIONS; i++) {
        TRY(jsonfile_section(&op, at, operation_key[i]));
        if (!op.object) return jsonfile_refuse(at, operation_key[i], "{\"latency_us\": .., \"gbs\": ..}");
        l->latency[i] = 1e-6, l->bytes[i] = 1e9;
        TRY(read_scaled(&l->latency[i], &op, "latency_us", 1e-6, 1e9));
        TRY(read_scaled(&l->bytes[i], &op, "gbs", 1e9, 1e9));
    }
    rc = CL_OK;
done:
    return rc;
}

/* A file that has measured one kind of link leaves the other assumed. */
static int read_links(struct machine *m, const struct jsonfile_at *top)
{
    int rc = CL_OK;
    const json_t *list = json_object_get(top->object, "collectives");
    struct machine_link l;

    for (size_t i = 0; i < json_array_size(list); i++) {
        struct jsonfile_at at = {top->path, "collectives", json_array_get(list, i)};
        TRY(read_link(&l, &at));
        machine_add_link(m, &l);
    }
done:
    return rc;
}

int machine_read(struct machine *m, const char *path, int ranks_per_node)
{
    int rc;
    json_t *root = NULL;
    struct jsonfile_at at;
    const char *name = NULL;

    machine_assumed(m);
    TRY(jsonfile_open_object(&root, &at, path));
    snprintf(m->source, sizeof m->source, "%s", path);
    TRY(jsonfile_text(&name, &at, "machine"));
    snprintf(m->name, sizeof m->name, "%s", name ? name : path);
    m->assumed = !jsonfile_has(&at, "cores");
    TRY(jsonfile_int(&m->cores, &at, "cores", 1, 1 << 16));
    if (!m->assumed) m->ranks_per_node = 1;
    TRY(jsonfile_int(&m->ranks_per_node, &at, "ranks_per_node", 1, 1 << 16));
    TRY(read_scaled(&m->memory, &at, "memory_gib", 1 << 30, 1e9));
    TRY(read_scaled(&m->read, &at, "read_gbs", 1e9, 1e9));
    TRY(read_rates(m, &at));
    TRY(read_links(m, &at));
    if (ranks_per_node > 0) m->ranks_per_node = ranks_per_node;
done:
    json_decref(root);
    return rc;
}

void machine_add_link(struct machine *m, const struct machine_link *l)
{
    int i = 0;

    if (m->links_assumed[l->nodes]) { // a measured one of this kind: the assumed one goes
        m->links_assumed[l->nodes] = false;
        for (i = 0; i < m->links; i++)
            if (m->link[i].nodes == l->nodes) break;
        m->link[i] = m->link[--m->links];
    }
    for (i = 0; i < m->links; i++)
        if (m->link[i].nodes == l->nodes && m->link[i].ranks == l->ranks) break;
    if (i == MACHINE_LINKS) i--;
    m->link[i] = *l;
    if (i == m->links) m->links++;
}

/* ---- writing */

static void put_rates(struct text *t, const struct machine_rates *r, const char *key)
{
    text_add(t, "    \"%s\": {\"product_gflops\": [", key);
    for (int i = 0; i < r->widths; i++) text_add(t, "%s[%.0f, %.1f]", i ? ", " : "", r->width[i], r->product[i] / 1e9);
    text_add(t, "], \"attention_gflops\": %.1f, \"loop_gbs\": %.2f}", r->attention / 1e9, r->loop / 1e9);
}

static void put_link(struct text *t, const struct machine_link *l)
{
    text_add(t, "    {\"between_nodes\": %s, \"ranks\": %d", l->nodes ? "true" : "false", l->ranks);
    for (int i = 0; i < LINK_OPERATIONS; i++)
        text_add(t, ", \"%s\": {\"latency_us\": %.3f, \"gbs\": %.4f}", operation_key[i], 1e6 * l->latency[i],
                 l->bytes[i] / 1e9);
    text_add(t, "}");
}

void machine_json(struct text *t, const struct machine *m)
{
    const char *between = "";

    text_add(t, "{\n  \"machine\": ");
    text_json(t, m->name);
    text_add(t, ",\n  \"ranks_per_node\": %d", m->ranks_per_node);
    if (!m->assumed)
        text_add(t, ",\n  \"cores\": %d,\n  \"memory_gib\": %.2f,\n  \"read_gbs\": %.2f", m->cores,
                 m->memory / (1 << 30), m->read / 1e9);
    text_add(t, ",\n  \"rates\": {");
    for (int p = 0; p < 2; p++)
        if (!m->rate[p].assumed) {
            text_add(t, "%s\n", between);
            put_rates(t, &m->rate[p], precision_key[p]);
            between = ",";
        }
    text_add(t, "},\n  \"collectives\": [");
    between = "";
    for (int i = 0; i < m->links; i++)
        if (!m->links_assumed[m->link[i].nodes]) {
            text_add(t, "%s\n", between);
            put_link(t, &m->link[i]);
            between = ",";
        }
    text_add(t, "]\n}\n");
}

int machine_write(const struct machine *m, const char *path)
{
    int rc;
    struct text t = {0};

    machine_json(&t, m);
    if (t.failed) FAIL(CL_ENOMEM, "no memory for %s", path);
    TRY(whole_write_path(path, t.s, t.len));
done:
    text_free(&t);
    return rc;
}

/* ---- reckoning */

double machine_product(const struct machine_rates *r, double width)
{
    int i = 0;

    if (width <= r->width[0]) return r->product[0] * (width < 1 ? 1 : width) / r->width[0]; // narrower: in proportion
    while (i < r->widths && r->width[i] < width) i++;
    if (i == r->widths) return r->product[i - 1];
    double f = log(width / r->width[i - 1]) / log(r->width[i] / r->width[i - 1]);
    return r->product[i - 1] + f * (r->product[i] - r->product[i - 1]);
}

/* The links of a kind on both sides of `ranks`, or the nearest one twice. */
static const struct machine_link *near(const struct machine *m, int ranks, bool nodes, bool above)
{
    const struct machine_link *best = NULL, *other = NULL;

    for (int i = 0; i < m->links; i++) {
        const struct machine_link *l = &m->link[i];
        if (l->nodes != nodes) continue;
        if (above ? l->ranks >= ranks && (!best || l->ranks < best->ranks)
                  : l->ranks <= ranks && (!best || l->ranks > best->ranks))
            best = l;
        if (!other || abs(l->ranks - ranks) < abs(other->ranks - ranks)) other = l;
    }
    return best ? best : other;
}

/* Every rank sends to every other, so beyond what was measured latency grows with their number. */
double machine_collective(const struct machine *m, enum machine_operation op, int ranks, bool nodes, double calls,
                          double bytes)
{
    if (ranks < 2) return 0;
    const struct machine_link *a = near(m, ranks, nodes, false), *b = near(m, ranks, nodes, true);
    double latency, rate, f = a->ranks == b->ranks ? 0 : (double)(ranks - a->ranks) / (b->ranks - a->ranks);

    latency = a->latency[op] + f * (b->latency[op] - a->latency[op]);
    rate = a->bytes[op] + f * (b->bytes[op] - a->bytes[op]);
    if (a->ranks == b->ranks) latency *= (double)(ranks - 1) / (a->ranks - 1);
    return calls * latency + bytes / rate;
}

void machine_fit(double *alpha, double *beta, const double *x, const double *y, int n)
{
    double w = 0, wx = 0, wxx = 0, wy = 0, wxy = 0;

    for (int i = 0; i < n; i++) {
        double k = 1 / (y[i] * y[i]);
        w += k, wx += k * x[i], wxx += k * x[i] * x[i], wy += k * y[i], wxy += k * x[i] * y[i];
    }
    double d = w * wxx - wx * wx;
    *beta = d > 0 ? (w * wxy - wx * wy) / d : 0;
    if (*beta < 0) *beta = 0;
    *alpha = (wy - *beta * wx) / w;
    if (*alpha < 0) {
        *alpha = 0;
        *beta = wxy / wxx;
    }
}

void machine_tightest(struct machine *m, int ranks, const char *const *host, const double *memory)
{
    double least = INFINITY;

    for (int r = 0; r < ranks; r++) {
        int here = 0;
        double all = INFINITY;
        for (int i = 0; i < ranks; i++) {
            if (strcmp(host[i], host[r])) continue;
            here++, all = fmin(all, memory[i]);
        }
        if (!(all / here < least)) continue;
        least = all / here;
        m->ranks_per_node = here, m->memory = all;
    }
}
