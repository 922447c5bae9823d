/* projections.h - which of a decoder layer's linear maps have increments, and where each one's numbers stand.
 *
 * An increment of a layer is one A (R, H) and one B (D, R) for all maps that were chosen: H the inputs of the chosen maps side by
 * side, D their outputs, in the order of the list below. Map i reads its columns of A and writes its rows of B:
 *
 *     y_i += sum_m c_m B_m[rows of i] (A_m[columns of i] x_i)
 *
 * So whoever only keeps, steps and stores A and B need not know how many maps there are. With o_proj alone H and D are what that
 * map has.
 */
#ifndef CLLAVA_MODEL_PROJECTIONS_H
#define CLLAVA_MODEL_PROJECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "model/lvlm_config.h"

/* Field of the layer's weights, name in the configuration, module of transformers, outputs, inputs (of a text_config), and
 * whether ranks split its outputs (else its inputs). */
#define PROJECTION_LIST(X)                                                                                             \
    X(q, "q_proj", "self_attn.q_proj", HEADS, WIDTH, true)                                                             \
    X(k, "k_proj", "self_attn.k_proj", KV_HEADS, WIDTH, true)                                                          \
    X(v, "v_proj", "self_attn.v_proj", KV_HEADS, WIDTH, true)                                                          \
    X(o, "o_proj", "self_attn.o_proj", WIDTH, HEADS, false)                                                            \
    X(gate, "gate_proj", "mlp.gate_proj", FFN, WIDTH, true)                                                            \
    X(up, "up_proj", "mlp.up_proj", FFN, WIDTH, true)                                                                  \
    X(down, "down_proj", "mlp.down_proj", WIDTH, FFN, false)

enum projection {
#define PROJECTION_NUMBER(field, ...) PROJ_##field,
    PROJECTION_LIST(PROJECTION_NUMBER)
#undef PROJECTION_NUMBER
        PROJECTIONS
};

/* A choice as a set of bits. */
#define PROJECTION_BIT(p) (1u << (p))
enum { PROJECTIONS_DEFAULT = 1 << PROJ_o, PROJECTIONS_ALL = (1 << PROJECTIONS) - 1 };

struct projections {
    unsigned chosen; // PROJECTION_BIT of each
    int n;           // how many
    struct projection_place {
        enum projection is;
        int64_t in0, in;   // first column of A, how many
        int64_t out0, out; // first row of B, how many
    } at[PROJECTIONS];     // (n)
    int64_t H, D;          // sums of in, out
};

/* "o_proj", "q_proj, v_proj" (any order), "all". CL_ECONFIG: nothing, an unknown name, one given twice. */
int projections_read(unsigned *chosen, const char *text);
/* The choice in words, in the list's order, as "q_proj, v_proj", or modules as "self_attn.q_proj, self_attn.v_proj"; cut off
 * where room ends. PROJECTIONS_TEXT: enough for any. */
enum { PROJECTIONS_TEXT = 160 };
void projections_text(char *text, size_t room, unsigned chosen);
void projections_modules(char *text, size_t room, unsigned chosen);
/* Widths of a choice on such a base. */
void projections_of(struct projections *p, unsigned chosen, const struct text_config *c);
/* From modules with commas between and the (inputs, outputs) of each; widths NULL: one module of H inputs and D outputs.
 * CL_EFORMAT: an unknown module, one given twice or out of order, widths that do not sum up to H and D. */
int projections_restore(struct projections *p, const char *modules, const int64_t *widths, int64_t H, int64_t D);
/* o_proj of H inputs and D outputs: of whoever knows these alone. */
struct projections projections_single(int64_t H, int64_t D);
/* The sides that ranks split, or those that they have whole, of all maps together: whichever is more. */
int64_t projections_widest(const struct projections *p);
const char *projection_name(enum projection p);   // "q_proj"
const char *projection_module(enum projection p); // "self_attn.q_proj"
bool projection_splits_outputs(enum projection p);

#endif
