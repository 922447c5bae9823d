/* plan_scaling.c - how far a configuration scales: of every number of ranks the fastest layout that fits, as Markdown and as a
 * picture.
 *
 *     strong   the configuration's batch, however many ranks share it
 *     weak     stage2.micro_batch samples for every rank, so that the step grows with them
 */
#include "jobs/plan.h"

#include <math.h>
#include <stdio.h>

#include "io/err.h"

enum { MOST = 16, LARGEST = 512 };

struct curve {
    const char *name;
    int n;
    struct plan_row row[MOST];
    int batch[MOST];
};

/* The fastest layout of so many ranks that fits; ranks 0 in it where none does. */
static int best_layout(struct plan_row *best, const struct plan *p, int ranks)
{
    int rc = CL_OK;

    *best = (struct plan_row){0};
    for (int t = 1; t <= ranks; t++) {
        const int groups = ranks / t, each = (p->cfg.stage2.batch + groups - 1) / groups;
        struct plan_layout l = {ranks, t, groups, false, p->cfg.stage2.micro_batch, false};
        struct plan_row r;
        if (ranks % t || groups > p->cfg.stage2.batch) continue;
        if (l.micro > each) l.micro = each;
        rc = plan_row(&r, p, &l);
        if (rc == CL_ECONFIG) { // more ranks than heads
            rc = CL_OK;
            continue;
        }
        if (rc) break;
        if (r.fits && r.time.tokens > best->time.tokens) *best = r;
    }
    return rc;
}

static int follow_curve(struct curve *c, const struct plan *p, bool weak)
{
    int rc = CL_OK;
    struct plan q = *p;

    for (int ranks = p->machine.ranks_per_node; ranks <= LARGEST && c->n < MOST; ranks *= 2) {
        if (weak) q.cfg.stage2.batch = p->cfg.stage2.micro_batch * ranks;
        TRY(best_layout(&c->row[c->n], &q, ranks));
        c->batch[c->n] = q.cfg.stage2.batch;
        c->n += c->row[c->n].layout.ranks > 0;
    }
done:
    return rc;
}

static double per_rank(const struct plan_row *r)
{
    return r->time.tokens / r->layout.ranks;
}

static void put_table(struct text *t, const struct curve *c, const struct plan *p)
{
    text_add(t, "| ranks | nodes | tensor x data | samples a step | s a step | tokens/s | efficiency | exchange | rank "
                "0, GiB |\n"
                "|---:|---:|---|---:|---:|---:|---:|---:|---:|\n");
    for (int i = 0; i < c->n; i++) {
        const struct plan_row *r = &c->row[i];
        text_add(t, "| %d | %d | %d x %d | %d | %.2f | %.0f | %.0f %% | %.0f %% | %.1f |\n", r->layout.ranks,
                 (r->layout.ranks + p->machine.ranks_per_node - 1) / p->machine.ranks_per_node, r->layout.tensor,
                 r->layout.groups, c->batch[i], r->time.step, r->time.tokens, 100 * per_rank(r) / per_rank(&c->row[0]),
                 100 * r->time.exchange / r->time.step, r->first.sum / (1 << 30));
    }
}

static void put_sources(struct text *t, const struct plan *p)
{
    static const char *const where[] = {"inside a node", "between nodes"};
    const struct machine *m = &p->machine;
    const struct machine_rates *r = machine_rates_of(m, p->act);

    text_add(t, "| | | |\n|---|---|---|\n");
    text_add(t, "| node | %d cores, %.0f GiB, %d ranks | %s |\n", m->cores, m->memory / (1 << 30), m->ranks_per_node,
             m->assumed ? "assumed" : "measured");
    text_add(t, "| %s products | %.0f GFLOP/s a node | %s |\n", p->cfg.precision, machine_product(r, 1e9) / 1e9,
             r->assumed ? "assumed" : "measured");
    text_add(t, "| attention; loops | %.0f GFLOP/s; %.0f GB/s | %s |\n", r->attention / 1e9, r->loop / 1e9,
             r->assumed ? "assumed" : "measured");
    for (int i = 0; i < m->links; i++)
        text_add(t, "| sums %s, %d ranks | %.1f us + bytes / %.2f GB/s | %s |\n", where[m->link[i].nodes],
                 m->link[i].ranks, 1e6 * m->link[i].latency[LINK_SUM], m->link[i].bytes[LINK_SUM] / 1e9,
                 m->links_assumed[m->link[i].nodes] ? "assumed" : "measured");
}

/* ---- the picture: tokens per second over ranks, both as powers */

enum { LEFT = 90, TOP = 30, WIDE = 560, HIGH = 300 };

struct axes {
    double x0, x1, y0, y1; // logarithms at the edges
};

static double at_x(const struct axes *a, double ranks)
{
    return LEFT + WIDE * (log2(ranks) - a->x0) / (a->x1 - a->x0);
}

static double at_y(const struct axes *a, double tokens)
{
    return TOP + HIGH * (1 - (log10(tokens) - a->y0) / (a->y1 - a->y0));
}

static void put_curve(struct text *t, const struct axes *a, const struct curve *c, const char *colour, int line)
{
    text_add(t, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (int i = 0; i < c->n; i++)
        text_add(t, "%.1f,%.1f ", at_x(a, c->row[i].layout.ranks), at_y(a, c->row[i].time.tokens));
    text_add(t, "\"/>\n<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", LEFT + 16, TOP + 20 + 18 * line, colour,
             c->name);
}

static void put_axes(struct text *t, const struct axes *a)
{
    text_add(t,
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
             "font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<title>Tokens per second over ranks, "
             "predicted</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
             LEFT + WIDE + 30, TOP + HIGH + 50, LEFT + WIDE + 30, TOP + HIGH + 50);
    for (double x = a->x0; x <= a->x1; x++)
        text_add(t,
                 "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#ddd\"/><text x=\"%.1f\" y=\"%d\" "
                 "text-anchor=\"middle\">%.0f</text>\n",
                 at_x(a, exp2(x)), at_x(a, exp2(x)), TOP, TOP + HIGH, at_x(a, exp2(x)), TOP + HIGH + 18, exp2(x));
    for (double y = a->y0; y <= a->y1; y++)
        text_add(t,
                 "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" "
                 "text-anchor=\"end\">%.0f</text>\n",
                 LEFT, LEFT + WIDE, at_y(a, pow(10, y)), at_y(a, pow(10, y)), LEFT - 8, at_y(a, pow(10, y)) + 4,
                 pow(10, y));
    text_add(t, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">ranks</text>\n", LEFT + WIDE / 2, TOP + HIGH + 40);
    text_add(t, "<text x=\"%d\" y=\"%d\">tokens per second, predicted</text>\n", LEFT, TOP - 10);
}

static void put_picture(struct text *t, const struct curve *strong, const struct curve *weak)
{
    struct axes a = {log2(strong->row[0].layout.ranks), log2(LARGEST), floor(log10(strong->row[0].time.tokens)), 0};
    const struct plan_row *first = &weak->row[0];
    const double ideal = per_rank(first);

    if (a.x1 <= a.x0) a.x1 = a.x0 + 1;
    a.y1 = ceil(log10(ideal * exp2(a.x1)));
    put_axes(t, &a);
    text_add(t, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#999\" stroke-dasharray=\"4 4\"/>\n",
             at_x(&a, exp2(a.x0)), at_y(&a, ideal * exp2(a.x0)), at_x(&a, exp2(a.x1)), at_y(&a, ideal * exp2(a.x1)));
    put_curve(t, &a, weak, "#08306b", 0);
    put_curve(t, &a, strong, "#d62728", 1);
    text_add(t, "</svg>\n");
}

int plan_scaling(struct text *t, struct text *svg, const struct plan *p)
{
    int rc;
    static struct curve strong, weak; // rows are large

    strong = (struct curve){.name = "strong: the same batch"},
    weak = (struct curve){.name = "weak: batch grows with ranks"};
    if (!p->method.trains) FAIL(CL_ECONFIG, "method %s has no training step that could scale", p->cfg.method);
    TRY(follow_curve(&strong, p, false));
    TRY(follow_curve(&weak, p, true));
    if (!strong.n || !weak.n)
        FAIL(CL_ECONFIG,
             "no layout of up to %d ranks fits %.0f GiB per node; hint: lower stage2.micro_batch, "
             "image.cache_mib or --ranks-per-node",
             LARGEST, p->machine.memory / (1 << 30));
    put_sources(t, p);
    text_add(t, "\nStrong scaling: %d samples a step\n\n", p->cfg.stage2.batch);
    put_table(t, &strong, p);
    text_add(t, "\nWeak scaling: %d samples a step for every rank\n\n", p->cfg.stage2.micro_batch);
    put_table(t, &weak, p);
    if (svg) put_picture(svg, &strong, &weak);
done:
    return rc;
}
