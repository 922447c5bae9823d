/* plan.c - `cllava plan`: memory, operations, bytes on the wire and time of a configuration, without running it. */
#include "jobs/plan.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/whole.h"
#include "jobs/commands.h"
#include "jobs/settings.h"
#include "pool/method.h"

enum { MOST_RANKS = 1 << 16, MOST_COUNTS = 64 };

int64_t plan_slot_numbers(const struct plan *p)
{
    const struct text_config *t = &p->base.text;
    const int rank = p->method.rank;

    return adapter_a_size(rank, t->layers, p->on.H, t->hidden) + adapter_b_size(rank, t->layers, p->on.D);
}

int plan_method(struct plan *p, bool evaluation)
{
    const struct config *c = &p->cfg;
    const struct method_ops *ops = method_find(c->method);
    struct plan_method *m = &p->method;
    struct method_size size;

    if (!ops) return err_set(CL_ECONFIG, "method: %s (expected one of: %s)", c->method, method_names());
    *m = (struct plan_method){.routes = ops->routes, .trains = ops->trains};
    if (!m->trains) return CL_OK;
    m->trains = !evaluation;
    ops->size(c, p->data.tasks, &size);
    m->learned = size.learned, m->slots = size.slots, m->rank = size.rank, m->kept = size.kept;
    m->parameters = (int64_t)m->slots * plan_slot_numbers(p);
    return CL_OK;
}

int plan_open(struct plan *p, const struct plan_options *o)
{
    int rc;

    TRY(plan_base(p));
    TRY(plan_data(p, o));
    TRY(plan_method(p, o->eval));
    TRY(plan_encoder(p));
done:
    return rc;
}

/* Memory of all roles on the layout, with what q->again keeps. */
static void set_memory(struct plan_row *r, const struct plan *q, const struct plan_layout *l,
                       const struct plan_model *m)
{
    struct plan_memory leader = {0}, member = {0};
    const int here = plan_ranks_of_node(q, l), slices = here < l->tensor ? here : l->tensor;

    plan_memory(&r->first, q, l, m, PLAN_COORDINATOR);
    if (l->groups > 1 || l->dedicated) plan_memory(&leader, q, l, m, PLAN_LEADER);
    if (l->tensor > 1) plan_memory(&member, q, l, m, PLAN_MEMBER);
    r->other = leader.sum > member.sum ? leader : member;
    r->node = r->first.sum + (here - 1) * r->other.sum + slices * m->mapped;
    r->fits = r->node <= q->machine.memory;
}

/* A limit that somebody gave is kept; of a machine a tenth is left to others. */
static bool level_fits(const struct plan *p, const struct plan_level *v)
{
    return p->cfg.memory_limit > 0 ? v->peak <= p->cfg.memory_limit * (1 << 30) : v->node <= 0.9 * p->machine.memory;
}

/* The row of a level, and what there is to say of it in r->level. */
static int plan_level(struct plan_row *r, const struct plan *p, const struct plan_layout *l, struct plan_model *m,
                      enum recompute again)
{
    int rc;
    struct plan q = *p;
    struct plan_level *v = &r->level[again];

    q.again = r->again = again;
    TRY(plan_model(m, &q, l, 0)); // no rank has a larger share
    set_memory(r, &q, l, m);
    *v = (struct plan_level){.step = m->step,
                             .peak = fmax(r->first.sum, r->other.sum),
                             .node = r->node,
                             .flop = m->micro.flop,
                             .wire = (double)m->micro.traffic.sum_bytes};
    v->fits = level_fits(p, v);
done:
    return rc;
}

/* The configuration takes this level, or it may: then the first that fits is taken, or the one that needs least. */
static bool takes_level(const struct plan *p, const struct plan_row *r, enum recompute again)
{
    if (strcmp(p->cfg.activations, "auto")) return !strcmp(p->cfg.activations, recompute_name[again]);
    return r->level[again].fits || again == RECOMPUTES - 1;
}

int plan_row(struct plan_row *r, const struct plan *p, const struct plan_layout *l)
{
    int rc;
    struct plan_model m[RECOMPUTES];
    int chosen = p->method.trains ? -1 : RECOMPUTE_NOTHING;

    *r = (struct plan_row){.layout = *l};
    if (!p->method.trains) TRY(plan_level(r, p, l, m, RECOMPUTE_NOTHING));
    for (int i = 0; i < RECOMPUTES && (chosen < 0 || (p->all_levels && p->method.trains)); i++) {
        TRY(plan_level(r, p, l, &m[i], (enum recompute)i));
        if (chosen < 0 && takes_level(p, r, (enum recompute)i)) chosen = i;
    }
    r->again = (enum recompute)chosen;
    set_memory(r, p, l, &m[chosen]);
    TRY(plan_time(&r->time, p, l, &m[chosen]));
done:
    return rc;
}

/* ---- layouts */

struct rows {
    struct plan_row *row;
    int n;
};

static int add_row(struct rows *r, const struct plan *p, const struct plan_layout *l)
{
    struct plan_row *more = realloc(r->row, (size_t)(r->n + 1) * sizeof *more);
    int rc;

    if (!more) return err_set(CL_ENOMEM, "no memory for %d layouts", r->n + 1);
    r->row = more;
    rc = plan_row(&r->row[r->n], p, l);
    r->n += !rc;
    return rc;
}

/* Every split of so many ranks that heads allow and that leaves no group without work; the configuration's own in any case. */
static int add_layouts(struct rows *r, const struct plan *p, int ranks)
{
    int rc = CL_OK;
    const struct config *c = &p->cfg;
    const bool dedicated = ranks > 1 && !strcmp(c->parallel.coordinator, "dedicated");
    const int compute = ranks - dedicated;

    for (int t = 1; t <= compute; t++) {
        struct plan_layout l = {ranks, t, compute / t, dedicated, c->stage2.micro_batch, t == c->parallel.tensor};
        if (compute % t) continue;
        int each = (c->stage2.batch + l.groups - 1) / l.groups;
        if (!l.own && l.groups > c->stage2.batch) continue;
        if (l.micro > each) l.micro = each;
        rc = add_row(r, p, &l);
        if (rc == CL_ECONFIG && !l.own) rc = CL_OK; // more ranks than heads
        if (rc) break;
    }
    return rc;
}

/* "1,2,4": at most MOST_COUNTS. */
static int read_counts(const char *list, int *count, int *n)
{
    char *end;

    for (*n = 0; *list; list = end + (*end == ',')) {
        long v = strtol(list, &end, 10);
        if (end == list || (*end && *end != ',') || v < 1 || v > MOST_RANKS || *n == MOST_COUNTS)
            return err_set(CL_EUSAGE, "plan: --ranks %s (expected numbers of ranks from 1 to %d, as in 1,2,4)", list,
                           MOST_RANKS);
        count[(*n)++] = (int)v;
    }
    return *n ? CL_OK : err_set(CL_EUSAGE, "plan: --ranks is empty (expected numbers of ranks, as in 1,2,4)");
}

/* ---- the command */

static int read_machine(struct plan *p, const struct command_args *a)
{
    const char *path = args_value(a, "machine", NULL);
    const int per_node = (int)args_int(a, "ranks-per-node", 0);

    if (path) return machine_read(&p->machine, path, per_node);
    machine_assumed(&p->machine);
    if (per_node) p->machine.ranks_per_node = per_node;
    return CL_OK;
}

static int plan_layouts(struct text *t, const struct plan *p, const struct command_args *a)
{
    int rc, count[MOST_COUNTS], n;
    const bool dedicated = !strcmp(p->cfg.parallel.coordinator, "dedicated");
    struct rows r = {0};

    TRY(read_counts(args_value(a, "ranks", dedicated ? "2,3,5,9,17,33,65" : "1,2,4,8,16,32,64"), count, &n));
    for (int i = 0; i < n; i++) TRY(add_layouts(&r, p, count[i]));
    if (args_flag(a, "json"))
        plan_json(t, p, r.row, r.n);
    else
        plan_print(t, p, r.row, r.n);
done:
    free(r.row);
    return rc;
}

int command_plan(const struct command_args *a)
{
    int rc;
    struct plan p = {.all_levels = !args_flag(a, "scaling")};
    struct text t = {0}, svg = {0};
    const char *picture = args_value(a, "svg", NULL);
    const struct plan_options o = {args_int(a, "tokens", 0), args_int(a, "answers", 0), args_int(a, "samples", 0),
                                   (int)args_int(a, "tasks", 0), args_flag(a, "eval")};

    TRY(read_machine(&p, a));
    TRY(settings_load(&p.cfg, a, args_positional(a, 0), NEED_BASE));
    TRY(plan_open(&p, &o));
    if (args_flag(a, "scaling"))
        TRY(plan_scaling(&t, picture ? &svg : NULL, &p));
    else
        TRY(plan_layouts(&t, &p, a));
    if (t.failed || svg.failed) FAIL(CL_ENOMEM, "no memory for the tables");
    if (svg.len) TRY(whole_write_path(picture, svg.s, svg.len));
    fwrite(t.s, 1, t.len, stdout);
done:
    text_free(&t), text_free(&svg);
    config_free(&p.cfg);
    return rc;
}
