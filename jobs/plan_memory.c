/* plan_memory.c - what a rank holds, by kind, and what a checkpoint is.
 *
 * Of its own: anonymous and shared memory, what a cluster's limit counts and cannot take back. Pages of the base's files that are
 * used where they are (f32 from an f32 file; tables) are the system's cache: counted apart, and once for all ranks of a node.
 */
#include <math.h>
#include <string.h>

#include "io/err.h"
#include "jobs/query.h"
#include "jobs/plan.h"
#include "model/backend_measuring.h"
#include "model/bert.h"
#include "model/sentence_dir.h"

/* Measured on x86-64 Debian 12, as what is left of runs' memory when everything else here is taken off: libraries and tokenizer;
 * the code of one product, which oneDNN compiles for every exact shape (model/cpu/product.c keeps 512); what MPI adds, and for
 * every further rank. */
static const double PROGRAM = 4 << 20, CODE = 80 << 10, PROGRAM_MPI = 6 << 20, PROGRAM_PEER = 64 << 10;
enum { CODES = 512 };

enum { QUESTION_TOKENS = 2048 }; // run at once by the encoder (model/text_encoder.c)

/* ---- the sentence encoder */

static void encoder_sizes(struct plan_encoder *e, double hidden, double ffn, double layers, double pools)
{
    e->width = (int)(hidden * pools);
    e->bytes = layers * (4 * hidden * hidden + 2 * hidden * ffn + 9 * hidden + ffn) * sizeof(float);
    e->scratch = QUESTION_TOKENS * (6 * hidden + ffn) * sizeof(float);
}

static void sentence_encoder(struct plan *p)
{
    struct plan_encoder *e = &p->encoder;
    struct sentence_dir dir = {0};
    struct bert_config c;

    if (!strcmp(p->cfg.encoder, "base")) { // rows of the base's own table
        e->width = p->base.text.hidden;
        return;
    }
    if (!sentence_dir_read(&dir, p->cfg.encoder) && !bert_config_read(&c, dir.network)) {
        encoder_sizes(e, c.hidden, c.ffn, c.layers, dir.pools);
    } else {
        encoder_sizes(e, 768, 3072, 12, 1);
        e->assumed = true;
    }
    sentence_dir_free(&dir);
}

int plan_encoder(struct plan *p)
{
    p->encoder = (struct plan_encoder){0};
    if (!p->method.routes) return CL_OK;
    sentence_encoder(p);
    if (!query_has_text(&p->cfg)) p->encoder.width = 0; // it is there all the same
    if (query_has_picture(&p->cfg)) p->encoder.width += p->base.vision.hidden;
    return query_check(&p->cfg, &p->base);
}

/* ---- kinds */

/* Numbers of A and B of so many slots, in bytes. */
static double slots_bytes(const struct plan *p, double slots)
{
    return slots * (double)plan_slot_numbers(p) * sizeof(float);
}

/* Masters, and what one task's slots need to learn (gradients, two moments). */
static double pool_bytes(const struct plan *p)
{
    const struct plan_method *k = &p->method;
    const double keys = k->slots * (double)p->encoder.width * sizeof(float);

    const double kept = slots_bytes(p, k->kept * k->learned);

    if (!k->trains) return slots_bytes(p, k->slots) + keys + kept;
    return slots_bytes(p, k->slots) + kept + 3 * slots_bytes(p, k->learned) + keys +
           k->learned * 20.0 * p->encoder.width;
}

/* The old A or B beside the new one, between two tasks. */
static double growth_bytes(const struct plan *p)
{
    const int old = p->method.slots - p->method.learned;

    return p->method.trains ? slots_bytes(p, old) * fmax((double)p->on.H, (double)p->on.D) / (double)(p->on.H + p->on.D)
                            : 0;
}

/* Masters as the file has them; the moments of A and B where it goes on inside a task. */
struct plan_checkpoints plan_checkpoints(const struct plan *p)
{
    struct plan_checkpoints c;

    c.task = slots_bytes(p, p->method.slots + p->method.kept * p->method.learned) +
             p->method.slots * (double)p->encoder.width * sizeof(float);
    c.step =
        c.task + (p->method.trains ? 2 * slots_bytes(p, p->method.learned) + 8 * p->data.train / p->data.tasks : 0);
    return c;
}

/* Lengths, places in the file, queries of every record. */
static double records_bytes(const struct plan *p)
{
    const double each = 8 + 24 + (p->method.routes ? 4 + (double)p->encoder.width * sizeof(float) : 0);

    return (p->data.train * p->method.trains + p->data.test) * each;
}

/* Of the pictures that a group comes across: its share of the questions', and of the samples' more with every epoch. */
static double feature_bytes(const struct plan *p, const struct plan_layout *l)
{
    const struct vision_config *v = &p->base.vision;
    const struct plan_data *d = &p->data;
    const double one = p->base.has_vision ? (double)v->tokens * v->hidden * (double)dtype_size(p->act) : 0;
    const double room = (double)p->cfg.image.cache_mib * (1 << 20) + 4 * one; // what is in use stays beyond the limit
    double pictures = d->test_pictures / l->groups;

    if (p->method.trains) pictures += d->train_pictures * (1 - pow(1 - 1.0 / l->groups, p->cfg.stage2.epochs));
    return fmin(room, pictures * one);
}

/* Shares of other ranks while they are added up, in the group and in the crew. */
static double exchange_bytes(const struct plan_layout *l)
{
    enum { PANELS = 3, PANEL = 256 << 10, SUMS = 2 };
    double bytes = 0;

    if (l->tensor > 1) bytes += SUMS * PANELS * 2.0 * PANEL;
    if (l->groups + l->dedicated > 1) bytes += SUMS * PANELS * 2.0 * PANEL;
    return bytes;
}

/* Packs differ in length, so nearly each compiles its own; in the last layer some products have other rows. While sequences end
 * one by one, decoding goes through about half the numbers of rows. */
static double code_bytes(const struct plan *p, const struct plan_layout *l, const struct plan_model *m)
{
    const double passes = p->method.trains ? p->cfg.stage2.epochs * p->data.train / (l->micro * (double)l->groups) : 0;
    const double packs = p->data.test / (m->prompts * (double)l->groups);

    return CODE * fmin(CODES, 1.5 * passes * m->micro.products + packs * m->prefill.products +
                                  m->sequences / 2.0 * m->decode.products);
}

void plan_memory(struct plan_memory *out, const struct plan *p, const struct plan_layout *l, const struct plan_model *m,
                 enum plan_role role)
{
    const bool computes = role != PLAN_COORDINATOR || !l->dedicated, leads = role != PLAN_MEMBER;
    double phase[PLAN_GROWING + 1] = {0};

    *out = (struct plan_memory){.program = PROGRAM};
    if (l->ranks > 1) out->program += PROGRAM_MPI + PROGRAM_PEER * l->ranks, out->exchange = exchange_bytes(l);
    if (computes) {
        out->base = m->base, out->tower = m->tower, out->step = m->step, out->increments = m->increments;
        out->scratch = m->scratch, out->cache = m->cache, out->mapped = m->mapped;
        out->features = feature_bytes(p, l);
        out->program += code_bytes(p, l, m);
    }
    if (leads) out->encoder = p->encoder.bytes + p->encoder.scratch;
    if (role == PLAN_LEADER && p->method.trains) // gradients on their way, one slot on its way in
        out->exchange += slots_bytes(p, p->method.learned) + slots_bytes(p, 1);
    if (role == PLAN_COORDINATOR) {
        out->encoder += records_bytes(p);
        out->pool = pool_bytes(p);
        out->copy = p->method.trains ? plan_checkpoints(p).step : 0;
        out->growth = growth_bytes(p);
    }
#define ADD(name, what, when) phase[when] += out->name;
    PLAN_KINDS(ADD)
#undef ADD
    out->sum = phase[PLAN_ALWAYS] + fmax(phase[PLAN_EVALUATING], fmax(phase[PLAN_SAVING], phase[PLAN_GROWING]));
}
