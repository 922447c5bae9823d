/* plan_print.c - a plan as tables and as JSON. */
#include "jobs/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *key, *what;
    enum plan_phase phase;
    size_t at;
} kinds[] = {
#define ROW(name, what, phase) {#name, what, phase, offsetof(struct plan_memory, name)},
    PLAN_KINDS(ROW)
#undef ROW
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static double kind_of(const struct plan_memory *m, int i)
{
    return *(const double *)((const char *)m + kinds[i].at);
}

static double mib(double bytes)
{
    return bytes / (1 << 20);
}

/* "6.95 G" of numbers, operations .. */
static const char *scaled(char out[32], double v)
{
    static const char unit[][2] = {"", "k", "M", "G", "T", "P", "E"};
    int i = 0;

    while (fabs(v) >= 1000 && i < 6) v /= 1000, i++;
    snprintf(out, 32, "%.3g%s%s", v, *unit[i] ? " " : "", unit[i]);
    return out;
}

/* "3.31 GiB" */
static const char *sized(char out[32], double bytes)
{
    if (bytes >= 1 << 30)
        snprintf(out, 32, "%.2f GiB", bytes / (1 << 30));
    else
        snprintf(out, 32, "%.1f MiB", bytes / (1 << 20));
    return out;
}

/* ---- what is known and what is assumed */

static void print_base(struct text *t, const struct plan *p)
{
    char a[32], b[32], c[32], d[32];

    text_add(t, "base       %s: %s parameters (decoder %s, tower %s, projector %s), %s%s\n", p->cfg.base,
             scaled(a, p->parameters[0] + p->parameters[1] + p->parameters[2]), scaled(b, p->parameters[0]),
             scaled(c, p->parameters[1]), scaled(d, p->parameters[2]), dtype_name(p->weights),
             p->weights_known ? "" : " (assumed)");
    text_add(t, "method     %s, precision %s", p->cfg.method, p->cfg.precision);
    if (p->method.slots && prompt_rows(p->method.rank))
        text_add(t, ": %d prompts of %d rows, %s numbers", p->method.slots, prompt_rows(p->method.rank),
                 scaled(a, (double)p->method.parameters));
    else if (p->method.slots)
        text_add(t, ": %d slots of rank %d when all of %d tasks are learned, %s numbers", p->method.slots,
                 p->method.rank, p->data.tasks, scaled(a, (double)p->method.parameters));
    if (p->method.slots && p->on.chosen != PROJECTIONS_DEFAULT) text_add(t, " on %s", p->cfg.adapter.projections);
    if (p->encoder.assumed) text_add(t, "; encoder not found: RoBERTa-base assumed");
    text_add(t, "\n");
}

static void print_data(struct text *t, const struct plan *p)
{
    const struct plan_data *d = &p->data;

    text_add(
        t,
        "samples    %s: training %.0f tokens, %.1f of them answer, longest %lld (%lld); questions %.0f, longest %lld\n",
        d->measured ? "measured" : "assumed", d->tokens, d->answers, (long long)d->longest, (long long)d->most_answers,
        d->prompt, (long long)d->longest_prompt);
    text_add(t, "           %.0f training records, %.0f questions, %.2f pictures each, %.0f different ones\n", d->train,
             d->test, d->pictures, d->train_pictures + d->test_pictures);
    text_add(t,
             "step       %d samples, at most %d at a time; evaluation: %d answers side by side, %.0f tokens each (at "
             "most %d)\n",
             p->cfg.stage2.batch, p->cfg.stage2.micro_batch, p->cfg.eval.batch, d->new_tokens,
             p->cfg.eval.max_new_tokens);
}

static void print_links(struct text *t, const struct machine *m)
{
    static const char *const where[] = {"inside a node", "between nodes"};

    for (int i = 0; i < m->links; i++) {
        const struct machine_link *l = &m->link[i];
        text_add(t, "           sums %s, %d ranks: %.1f us + bytes / %.2f GB/s%s\n", where[l->nodes], l->ranks,
                 1e6 * l->latency[LINK_SUM], l->bytes[LINK_SUM] / 1e9, m->links_assumed[l->nodes] ? " (assumed)" : "");
    }
}

static void print_machine(struct text *t, const struct plan *p)
{
    const struct machine *m = &p->machine;
    const struct machine_rates *r = machine_rates_of(m, p->act);
    char a[32];

    text_add(t, "machine    %s\n", m->name);
    text_add(t, "           %d cores, %s, %.0f GB/s per node%s, %d ranks on each\n", m->cores, sized(a, m->memory),
             m->read / 1e9, m->assumed ? " (assumed)" : "", m->ranks_per_node);
    text_add(t, "           %s products %.0f GFLOP/s, attention %.0f GFLOP/s, loops %.0f GB/s%s\n", p->cfg.precision,
             machine_product(r, 1e9) / 1e9, r->attention / 1e9, r->loop / 1e9, r->assumed ? " (assumed)" : "");
    print_links(t, m);
}

/* ---- tables */

static void put_layout(struct text *t, const struct plan_layout *l)
{
    text_add(t, "%5d %6d %5d%c", l->ranks, l->tensor, l->groups, l->own ? '*' : ' ');
}

/* Rank 0, and the largest of the others below it. */
static void print_memory(struct text *t, const struct plan_row *row, int rows)
{
    text_add(t, "\nmemory per rank in MiB: rank 0 / the largest of the others\n"
                "ranks tensor  data ");
    for (int i = 0; i < KINDS; i++) text_add(t, " %10s", kinds[i].key);
    text_add(t, " %10s %10s %9s\n", "peak", "mapped", "node GiB");
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < 1 + (row[i].other.sum > 0); k++) {
            const struct plan_memory *m = k ? &row[i].other : &row[i].first;
            if (k)
                text_add(t, "%19s", "");
            else
                put_layout(t, &row[i].layout);
            for (int j = 0; j < KINDS; j++) text_add(t, " %10.1f", mib(kind_of(m, j)));
            text_add(t, " %10.1f %10.1f", mib(m->sum), mib(m->mapped));
            if (!k) text_add(t, " %9.2f%s", row[i].node / (1 << 30), row[i].fits ? "" : "  does not fit");
            text_add(t, "\n");
        }
}

static void print_time(struct text *t, const struct plan *p, const struct plan_row *row, int rows)
{
    text_add(
        t,
        "\nan optimizer step, and answers of an evaluation\n"
        "ranks tensor  data  micro  wire MiB  incr. MiB  grad. MiB   compute  exchange    update    s/step  tokens/s  "
        "share  answers/s\n");
    for (int i = 0; i < rows; i++) {
        const struct plan_time *m = &row[i].time;
        put_layout(t, &row[i].layout);
        if (p->method.trains)
            text_add(t, " %5d %9.1f %10.1f %10.1f %9.3f %9.3f %9.4f %9.3f %9.1f %5.1f%%", row[i].layout.micro,
                     mib(m->wire), mib(m->increments), mib(m->gradients), m->compute, m->exchange, m->update, m->step,
                     m->tokens, 100 * m->share);
        else
            text_add(t, "%88s", "");
        text_add(t, " %10.3f\n", m->answers);
    }
}

/* What training would take if it kept more or less; the level that the other tables are about is marked. */
static void print_levels(struct text *t, const struct plan_row *row, int rows)
{
    text_add(t, "\nwhat training keeps for the way back: step and peak of the largest rank in MiB, GFLOP of rank 0 per "
                "micro-batch\n"
                "ranks tensor  data ");
    for (int i = 0; i < RECOMPUTES; i++) text_add(t, "  %34s", recompute_name[i]);
    text_add(t, "\n");
    for (int i = 0; i < rows; i++) {
        put_layout(t, &row[i].layout);
        for (int k = 0; k < RECOMPUTES; k++) {
            const struct plan_level *v = &row[i].level[k];
            text_add(t, "  %10.1f %10.1f %10.1f%c%c", mib(v->step), mib(v->peak), v->flop / 1e9,
                     k == (int)row[i].again ? '<' : ' ', v->fits ? ' ' : '!');
        }
        text_add(t, "\n");
    }
}

static void print_legend(struct text *t)
{
    text_add(t, "\nkinds of memory\n");
    for (int i = 0; i < KINDS; i++)
        text_add(t, "  %-10s  %s%s\n", kinds[i].key, kinds[i].what,
                 kinds[i].phase == PLAN_ALWAYS ? "" : "; of such kinds only the largest counts");
    text_add(t, "  mapped      pages of the base's files that are used in place, the system's cache: once per node\n"
                "  peak        anonymous and shared memory, what a cluster's limit counts and cannot take back\n"
                "data: groups that take different samples; *: the configuration's parallel.tensor; micro: samples at a "
                "time, below\n"
                "stage2.micro_batch where groups would stand idle. wire: what rank 0 sends to its group; incr., grad.: "
                "to and from\n"
                "each other group. <: what `activations` chooses, and what the other tables are about; !: does not fit "
                "memory_limit, "
                "or nine\n"
                "tenths of the machine. share: useful operations against the best product's rate on all cores.\n");
}

void plan_print(struct text *t, const struct plan *p, const struct plan_row *row, int rows)
{
    const struct plan_checkpoints c = plan_checkpoints(p);
    char a[32], b[32];

    print_base(t, p);
    print_data(t, p);
    print_machine(t, p);
    print_memory(t, row, rows);
    if (p->method.trains) print_levels(t, row, rows);
    print_time(t, p, row, rows);
    if (rows && p->method.trains)
        text_add(t, "\noperations  %sFLOP a step, %sFLOP an answer\n", scaled(a, row[0].time.flop),
                 scaled(b, row[0].time.flop_answer));
    if (p->method.trains)
        text_add(t, "checkpoint  %s after the last task, %s inside it (before compression, about a fifth less)\n",
                 sized(a, c.task), sized(b, c.step));
    print_legend(t);
}

/* ---- JSON */

static void number(struct text *t, const char *key, double v)
{
    text_add(t, ", \"%s\": ", key);
    text_number(t, v);
}

static void json_memory(struct text *t, const char *key, const struct plan_memory *m)
{
    text_add(t, ", \"%s\": {\"peak\": ", key);
    text_number(t, m->sum);
    for (int i = 0; i < KINDS; i++) number(t, kinds[i].key, kind_of(m, i));
    number(t, "mapped", m->mapped);
    text_add(t, "}");
}

static void json_levels(struct text *t, const struct plan_row *r)
{
    text_add(t, ", \"activations\": {\"chosen\": \"%s\"", recompute_name[r->again]);
    for (int i = 0; i < RECOMPUTES; i++) {
        const struct plan_level *v = &r->level[i];
        text_add(t, ", \"%s\": {\"step\": ", recompute_name[i]);
        text_number(t, v->step);
        number(t, "rank_peak", v->peak);
        number(t, "flop", v->flop);
        number(t, "wire_bytes", v->wire);
        text_add(t, ", \"fits\": %s}", v->fits ? "true" : "false");
    }
    text_add(t, "}");
}

static void json_row(struct text *t, const struct plan *p, const struct plan_row *r)
{
    const struct plan_layout *l = &r->layout;
    const struct plan_time *m = &r->time;

    text_add(t,
             "{\"ranks\": %d, \"tensor\": %d, \"data\": %d, \"dedicated\": %s, \"micro_batch\": %d, \"configured\": %s",
             l->ranks, l->tensor, l->groups, l->dedicated ? "true" : "false", l->micro, l->own ? "true" : "false");
    json_memory(t, "memory", &r->first);
    if (r->other.sum > 0) json_memory(t, "memory_others", &r->other);
    number(t, "node_bytes", r->node);
    text_add(t, ", \"fits\": %s", r->fits ? "true" : "false");
    number(t, "flop_answer", m->flop_answer);
    number(t, "answers_per_s", m->answers);
    if (p->method.trains) {
        json_levels(t, r);
        number(t, "flop_step", m->flop);
        number(t, "wire_bytes", m->wire);
        number(t, "increment_bytes", m->increments);
        number(t, "gradient_bytes", m->gradients);
        number(t, "compute_s", m->compute);
        number(t, "exchange_s", m->exchange);
        number(t, "update_s", m->update);
        number(t, "step_s", m->step);
        number(t, "tokens_per_s", m->tokens);
        number(t, "share", m->share);
    }
    text_add(t, "}");
}

void plan_json(struct text *t, const struct plan *p, const struct plan_row *row, int rows)
{
    static const char *const part[] = {"decoder", "tower", "projector"};
    const struct plan_data *d = &p->data;
    const struct plan_checkpoints c = plan_checkpoints(p);

    text_add(t, "{\"parameters\": {\"all\": ");
    text_number(t, p->parameters[0] + p->parameters[1] + p->parameters[2]);
    for (int i = 0; i < 3; i++) number(t, part[i], p->parameters[i]);
    text_add(t, "}, \"samples\": {\"measured\": %s", d->measured ? "true" : "false");
    number(t, "tokens", d->tokens);
    number(t, "answers", d->answers);
    text_add(t, ", \"longest\": %lld, \"most_answers\": %lld, \"longest_prompt\": %lld", (long long)d->longest,
             (long long)d->most_answers, (long long)d->longest_prompt);
    number(t, "train", d->train);
    number(t, "test", d->test);
    text_add(t, "}, \"checkpoint\": {\"task_bytes\": ");
    text_number(t, c.task);
    number(t, "step_bytes", c.step);
    text_add(t, "}, \"machine\": ");
    text_json(t, p->machine.name);
    text_add(t, ", \"layouts\": [");
    for (int i = 0; i < rows; i++) {
        text_add(t, "%s\n ", i ? "," : "");
        json_row(t, p, &row[i]);
    }
    text_add(t, "]}\n");
}
