/* traffic.c - see traffic.h. The order of the calls here is that of the passes: decoder.c, decoder_back.c, head.c. */
#include "model/traffic.h"

#include "model/lvlm_internal.h"

static void add_sum(struct traffic *t, int tensor, int64_t n, enum dtype wire)
{
    if (tensor == 1 || !n) return;
    t->sums++;
    t->sum_bytes += comm_sum_bytes(n, wire, tensor, 0); // rank 0 adds up the largest part
}

static void add_gather(struct traffic *t, int tensor, int64_t bytes)
{
    if (tensor == 1) return;
    t->gathers++;
    t->gather_bytes += bytes * (tensor - 1);
}

/* What every row of a head's chunks costs: `bytes` of each rank. */
static void add_head(struct traffic *t, int tensor, int64_t rows, int64_t bytes)
{
    const int64_t chunk = head_chunk_of(tensor);

    for (int64_t i = 0; i < rows; i += chunk) add_gather(t, tensor, (rows - i < chunk ? rows - i : chunk) * bytes);
}

/* Both blocks of every layer; the last layer's rows apart. */
static void add_layers(struct traffic *t, const struct lvlm_config *c, int tensor, int64_t n, int64_t last,
                       enum dtype wire)
{
    for (int l = 0; l < c->text.layers; l++)
        for (int k = 0; k < 2; k++) add_sum(t, tensor, (l == c->text.layers - 1 ? last : n) * c->text.hidden, wire);
}

static void add_layers_back(struct traffic *t, const struct lvlm_config *c, unsigned chosen, int tensor, int64_t n,
                            int64_t rows, enum dtype wire, enum recompute again)
{
    const int64_t D = c->text.hidden;

    for (int l = c->text.layers - 1; l >= 0; l--) {
        if (again == RECOMPUTE_LAYER && l < c->text.layers - 1) add_sum(t, tensor, n * D, wire); // behind attention
        if (back_depth(chosen, l) > DEPTH_GATE_UP)
            add_sum(t, tensor, (l == c->text.layers - 1 ? rows : n) * D, wire); // in front of the MLP
        if (l) add_sum(t, tensor, n * D, wire);                                 // of q, k, v: keys come from all tokens
    }
}

struct traffic traffic_forward_halves(const struct lvlm_config *c, int tensor, const int64_t n[2],
                                      const int64_t rows[2], enum dtype wire)
{
    struct traffic t = {0};

    add_sum(&t, tensor, (n[0] + n[1]) * c->text.hidden, wire);
    for (int i = 0; i < 2; i++) add_layers(&t, c, tensor, n[i], rows[i], wire);
    add_head(&t, tensor, rows[0] + rows[1], sizeof(struct softmax_part));
    return t;
}

struct traffic traffic_backward_halves(const struct lvlm_config *c, unsigned chosen, int tensor, const int64_t n[2],
                                       const int64_t rows[2], enum dtype wire, enum recompute again)
{
    struct traffic t = {0};

    add_sum(&t, tensor, (rows[0] + rows[1]) * c->text.hidden, wire); // from lm_head
    for (int i = 0; i < 2; i++) add_layers_back(&t, c, chosen, tensor, n[i], rows[i], wire, again);
    return t;
}

struct traffic traffic_forward(const struct lvlm_config *c, int tensor, int64_t n, int64_t rows, enum dtype wire)
{
    return traffic_forward_halves(c, tensor, (int64_t[2]){n}, (int64_t[2]){rows}, wire);
}

struct traffic traffic_backward(const struct lvlm_config *c, unsigned chosen, int tensor, int64_t n, int64_t rows,
                                enum dtype wire, enum recompute again)
{
    return traffic_backward_halves(c, chosen, tensor, (int64_t[2]){n}, (int64_t[2]){rows}, wire, again);
}

struct traffic traffic_to_embeddings(const struct lvlm_config *c, int tensor, int64_t n, enum dtype wire)
{
    struct traffic t = {0};

    add_sum(&t, tensor, n * c->text.hidden, wire);
    return t;
}

struct traffic traffic_prefill(const struct lvlm_config *c, int tensor, int64_t n, int64_t prompts, enum dtype wire)
{
    struct traffic t = {0};

    add_sum(&t, tensor, n * c->text.hidden, wire);
    add_layers(&t, c, tensor, n, prompts, wire);
    add_head(&t, tensor, prompts, sizeof(struct choice));
    return t;
}

struct traffic traffic_decode(const struct lvlm_config *c, int tensor, int64_t n, enum dtype wire)
{
    return traffic_prefill(c, tensor, n, n, wire);
}

struct traffic traffic_see(const struct lvlm_config *c, int tensor, int pictures, enum dtype wire)
{
    struct traffic t = {0};
    const struct vision_config *v = &c->vision;
    const int64_t rows = v->tokens + !v->keep_cls;

    if (tensor == 1 || !pictures) return t;
    t.broadcasts = 1;
    t.broadcast_bytes = (int64_t)pictures * 3 * v->image_size * v->image_size * (int64_t)sizeof(float) * (tensor - 1);
    for (int i = 0; i < pictures; i += PICTURES_AT_ONCE) {
        int now = pictures - i < PICTURES_AT_ONCE ? pictures - i : PICTURES_AT_ONCE;
        for (int l = 0; l < 2 * v->feature_layers; l++) add_sum(&t, tensor, now * rows * v->hidden, wire);
    }
    return t;
}

/* The sides of the chosen maps that ranks split, as a rank has them. */
static int64_t split_width(const struct lvlm_config *c, unsigned chosen, int rank, int tensor)
{
    struct share s = {0};
    int64_t sum = 0, first, n;

    share_of(&s, c, &(struct tp){.rank = rank, .size = tensor});
    for (int p = 0; p < PROJECTIONS; p++) {
        if (!(chosen & PROJECTION_BIT(p))) continue;
        share_of_projection(&first, &n, &s, &c->text, (enum projection)p);
        sum += n;
    }
    return sum;
}

/* Those that all have whole. */
static int64_t whole_width(const struct lvlm_config *c, unsigned chosen)
{
    struct projections p;
    int64_t sum = 0;

    projections_of(&p, chosen, &c->text);
    for (int i = 0; i < p.n; i++) sum += projection_splits_outputs(p.at[i].is) ? p.at[i].in : p.at[i].out;
    return sum;
}

struct traffic traffic_load(const struct lvlm_config *c, unsigned chosen, int tensor, int slots, int rank)
{
    struct traffic t = {0};
    const int64_t per_layer = (int64_t)slots * c->text.layers * rank * (int64_t)sizeof(float);

    if (tensor == 1) return t;
    t.messages = (int64_t)slots * (tensor - 1);
    for (int r = 1; r < tensor; r++) t.message_bytes += per_layer * split_width(c, chosen, r, tensor);
    t.broadcasts = slots;
    t.broadcast_bytes = per_layer * whole_width(c, chosen) * (tensor - 1);
    return t;
}

struct traffic traffic_gradients(const struct lvlm_config *c, unsigned chosen, int tensor, int learned, int rank)
{
    struct traffic t = {0};
    const int64_t L = c->text.layers, per_layer = (int64_t)learned * rank * (int64_t)sizeof(float);
    int64_t widest = 0;

    if (tensor == 1) return t;
    for (int r = 1; r < tensor; r++) { // the leader keeps its own
        const int64_t n = split_width(c, chosen, r, tensor);
        if (n > widest) widest = n;
    }
    t.messages = L;
    t.message_bytes = L * per_layer * widest;
    t.sums = L;
    // a member: its shares of the others' parts, its own part to the leader
    t.sum_bytes = L * per_layer * whole_width(c, chosen);
    return t;
}

struct traffic traffic_coefs(int tensor, int64_t n)
{
    if (tensor == 1) return (struct traffic){0};
    return (struct traffic){.sums = 1, .sum_bytes = n * (int64_t)sizeof(double) * (tensor - 1)};
}
