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
    return strcmp(p->cfg.parallel.wire, "bf16") ? DT_F32 : DT_BF16;
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
        w.products += !strncmp(e->op, "linear", 6) || !strcmp(e->op, "gemm");
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
    w->traffic.sums += t.sums, w->traffic.sum_bytes += t.sum_bytes;
    w->traffic.gathers += t.gathers, w->traffic.gather_bytes += t.gather_bytes;
    w->traffic.messages += t.messages, w->traffic.message_bytes += t.message_bytes;
    w->traffic.broadcasts += t.broadcasts, w->traffic.broadcast_bytes += t.broadcast_bytes;
}

static double bytes_of(const struct traffic *t)
{
    return (double)(t->sum_bytes + t->gather_bytes + t->message_bytes + t->broadcast_bytes);
}

/* Seconds of a pass's collectives. Ranks of a group are neighbours, so a group that fits a node stays there. A broadcast runs
 * down a tree: what its root sends to all in the end is received once by each. */
static double exchange_of(const struct plan *p, const struct plan_layout *l, const struct traffic *t)
{
    const bool nodes = l->tensor > plan_ranks_of_node(p, l);
    const struct machine *m = &p->machine;

    if (l->tensor < 2) return 0;
    return machine_collective(m, LINK_SUM, l->tensor, nodes, (double)t->sums, (double)t->sum_bytes) +
           machine_collective(m, LINK_GATHER, l->tensor, nodes, (double)t->gathers, (double)t->gather_bytes) +
           machine_collective(m, LINK_BROADCAST, 2, nodes, (double)t->messages, (double)t->message_bytes) +
           machine_collective(m, LINK_BROADCAST, l->tensor, nodes, (double)t->broadcasts,
                              (double)t->broadcast_bytes / (l->tensor - 1));
}

static double pass(const struct plan *p, const struct plan_layout *l, const struct plan_work *w)
{
    return w->seconds + exchange_of(p, l, &w->traffic);
}

/* Numbers of one task's A and B. */
static double learned_numbers(const struct plan *p)
{
    return p->method.learned * (double)plan_slot_numbers(p);
}

/* Increments to every group and gradients back, inside groups and between them. */
static double crew_seconds(struct plan_time *t, const struct plan *p, const struct plan_layout *l)
{
    const struct machine *m = &p->machine;
    const struct plan_method *k = &p->method;
    const double bytes = learned_numbers(p) * sizeof(float);
    const int crew = l->groups + l->dedicated;
    const bool nodes = l->ranks > plan_ranks_of_node(p, l), prompts = prompt_rows(k->rank);
    struct plan_work inside = {0};
    double s = 0;

    if (crew > 1) {
        t->increments = t->gradients = bytes;
        s += machine_collective(m, LINK_BROADCAST, crew, nodes, (prompts ? 1.0 : 2.0) * k->learned, bytes);
        s += machine_collective(m, LINK_SUM, crew, nodes, prompts ? 1 : 2, 2 * bytes * (crew - 1) / crew);
    }
    if (prompts) return s; // inside a group they are the leader's alone
    plan_work_add(&inside, traffic_load(&p->base, p->on.chosen, l->tensor, k->learned, k->rank));
    plan_work_add(&inside, traffic_gradients(&p->base, p->on.chosen, l->tensor, k->learned, k->rank));
    t->wire += bytes_of(&inside.traffic);
    return s + exchange_of(p, l, &inside.traffic);
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
    t->exchange = shares * exchange_of(p, l, &m->micro.traffic) + pictures * exchange_of(p, l, &m->see.traffic);
    t->wire = shares * bytes_of(&m->micro.traffic) + pictures * bytes_of(&m->see.traffic);
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
    struct plan keeping = *p;
    const struct plan_layout alone = {1, 1, 1, false, l->micro, false};
    const struct machine *k = &p->machine;
    const struct machine_rates *r = machine_rates_of(k, p->act);
    double best = machine_product(r, 1e9) / plan_ranks_of_node(p, l);

    *t = (struct plan_time){0};
    keeping.again = RECOMPUTE_NOTHING;
    TRY(plan_model(&one, &keeping, &alone, 0)); // what is useful does not depend on the layout
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
