/* plan_time.c - what a step and an answer cost: operations on a rank's share of a node, collectives, the optimizer.
 *
 * Nothing overlaps in this reckoning, and all groups are as busy as the busiest.
 */
#include <math.h>
#include <string.h>

#include "io/err.h"
#include "jobs/plan.h"

int plan_ranks_of_node(const struct plan *p, const struct plan_layout *l)
{
    return l->ranks < p->machine.ranks_per_node ? l->ranks : p->machine.ranks_per_node;
}

int plan_threads(const struct plan *p, const struct plan_layout *l)
{
    int n = p->cfg.threads ? p->cfg.threads : p->machine.cores / plan_ranks_of_node(p, l);

    return n < 1 ? 1 : n;
}

enum dtype plan_wire(const struct plan *p)
{
    (void)p;
    return DT_F32;
}

/* Passes over memory of an operation that is no product: read and written. */
static double passes(const char *op)
{
    static const struct {
        const char *op;
        double passes;
    } known[] = {{"zero", 1}, {"add", 3}, {"rmsnorm_back", 4}, {"glu", 3}, {"glu_back", 5}, {"scatter_add", 3}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(op, known[i].op)) return known[i].passes;
    return 2;
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

struct plan_work plan_work_of(const struct plan *p, const struct plan_layout *l, const struct timing *t, size_t n)
{
    const struct machine *m = &p->machine;
    const struct machine_rates *r = machine_rates_of(m, p->act);
    const double nodes_share = 1.0 / plan_ranks_of_node(p, l), size = (double)dtype_size(p->act);
    struct plan_work w = {0};

    for (size_t i = 0; i < n; i++) {
        const struct timing *e = &t[i];
        const double narrow = least((double)e->cols, (double)e->depth), calls = (double)e->calls;
        double s;
        w.flop += e->flop;
        if (!strncmp(e->op, "linear", 6)) // the weight is read once a call
            s = e->flop / machine_product(r, narrow) + calls * (double)(e->cols * e->depth) * size / m->read;
        else if (!strcmp(e->op, "gemm"))
            s = e->flop / machine_product(r, least(narrow, (double)e->rows / calls));
        else if (!strncmp(e->op, "attention", 9))
            s = e->flop / r->attention;
        else
            s = passes(e->op) * (double)e->rows * (double)e->cols * (size + sizeof(float)) / 2 / r->loop;
        w.seconds += s / nodes_share;
    }
    return w;
}

void plan_work_add(struct plan_work *w, struct traffic t)
{
    w->sums += (double)t.sums, w->sum_bytes += (double)t.sum_bytes;
    w->gathers += (double)t.gathers, w->gather_bytes += (double)t.gather_bytes;
}

/* Seconds of a pass: its operations and the collectives of its group. Ranks of a group are neighbours, so a group that fits
 * a node stays there. */
static double exchange_of(const struct plan *p, const struct plan_layout *l, const struct plan_work *w)
{
    const bool nodes = l->tensor > plan_ranks_of_node(p, l);

    return machine_collective(&p->machine, LINK_SUM, l->tensor, nodes, w->sums, w->sum_bytes) +
           machine_collective(&p->machine, LINK_GATHER, l->tensor, nodes, w->gathers, w->gather_bytes);
}

static double pass(const struct plan *p, const struct plan_layout *l, const struct plan_work *w)
{
    return w->seconds + exchange_of(p, l, w);
}

/* Numbers of one task's A and B. */
static double learned_numbers(const struct plan *p)
{
    const struct text_config *c = &p->base.text;

    return (double)p->method.learned * c->layers * p->method.rank * (c->hidden + (double)c->heads * c->head_dim);
}

/* Increments to every group and gradients back, inside groups and between them. */
static double crew_seconds(struct plan_time *t, const struct plan *p, const struct plan_layout *l)
{
    const struct machine *m = &p->machine;
    const double bytes = learned_numbers(p) * sizeof(float);
    const int crew = l->groups + l->dedicated;
    const bool nodes = l->ranks > plan_ranks_of_node(p, l), group_nodes = l->tensor > plan_ranks_of_node(p, l);
    struct plan_work inside = {0};
    double s = 0;

    if (crew > 1) {
        t->increments = t->gradients = bytes;
        s += machine_collective(m, LINK_BROADCAST, crew, nodes, 2.0 * p->method.learned, bytes);
        s += machine_collective(m, LINK_SUM, crew, nodes, 2, bytes * (crew - 1) / crew);
    }
    if (l->tensor > 1) {
        plan_work_add(&inside, traffic_gradients(&p->base, l->tensor, p->method.learned, p->method.rank));
        t->wire += inside.sum_bytes + inside.gather_bytes;
        s += exchange_of(p, l, &inside);
        s += machine_collective(m, LINK_BROADCAST, l->tensor, group_nodes, 2.0 * p->method.learned, bytes);
    }
    return s;
}

/* A of the learned slots, B, their gradients and moments: seven passes in f32. */
static double update_seconds(const struct plan *p, const struct plan_layout *l)
{
    return 7 * learned_numbers(p) * sizeof(float) / p->machine.read * plan_ranks_of_node(p, l);
}

static void time_step(struct plan_time *t, const struct plan *p, const struct plan_layout *l,
                      const struct plan_model *m, double whole)
{
    const double batch = p->cfg.stage2.batch, micros = ceil(batch / l->micro), each = ceil(micros / l->groups);
    // the last micro-batch of a step may be smaller: then it costs its share
    const double shares = least(each, batch / l->micro), pictures = p->data.pictures * least(each * l->micro, batch);

    t->flop = whole * batch;
    t->compute = shares * m->micro.seconds + pictures * m->see.seconds;
    t->exchange = shares * exchange_of(p, l, &m->micro) + pictures * exchange_of(p, l, &m->see);
    t->wire =
        shares * (m->micro.sum_bytes + m->micro.gather_bytes) + pictures * (m->see.sum_bytes + m->see.gather_bytes);
    t->exchange += crew_seconds(t, p, l);
    t->update = update_seconds(p, l);
    t->step = t->compute + t->exchange + t->update;
    t->tokens = batch * p->data.tokens / t->step;
}

static void time_answers(struct plan_time *t, const struct plan *p, const struct plan_layout *l,
                         const struct plan_model *m)
{
    const double answer = pass(p, l, &m->prefill) / m->prompts + p->data.pictures * pass(p, l, &m->see) +
                          p->data.new_tokens * pass(p, l, &m->decode) / m->sequences;

    t->answers = l->groups / answer;
}

int plan_time(struct plan_time *t, const struct plan *p, const struct plan_layout *l, const struct plan_model *m)
{
    int rc;
    struct plan_model one;
    const struct plan_layout alone = {1, 1, 1, false, l->micro, false};
    const struct machine *k = &p->machine;
    const struct machine_rates *r = machine_rates_of(k, p->act);
    double best = machine_product(r, 1e9) / plan_ranks_of_node(p, l);

    *t = (struct plan_time){0};
    TRY(plan_model(&one, p, &alone, 0)); // what is useful does not depend on the layout
    t->flop_answer = one.prefill.flop / one.prompts + p->data.pictures * one.see.flop +
                     p->data.new_tokens * one.decode.flop / one.sequences;
    if (p->method.trains) {
        time_step(t, p, l, m, one.micro.flop / l->micro + p->data.pictures * one.see.flop);
        t->share = t->flop / t->step / (best * l->ranks);
    }
    time_answers(t, p, l, m);
done:
    return rc;
}
