/* weight.h - the inside of a frozen weight on the CPU, for the files that make and multiply it. */
#ifndef CLLAVA_MODEL_CPU_WEIGHT_H
#define CLLAVA_MODEL_CPU_WEIGHT_H

#include "model/cpu/product.h"

struct weight {
    int64_t out, in;       // e.g. 11008 x 4096
    enum dtype arithmetic; // type of products: f32 or bf16
    unsigned uses;         // enum weight_use
    const void *plain;     // rows of type plain_type, ld numbers apart; NULL when packed
    enum dtype plain_type; // arithmetic, or any type of a mapped table
    int64_t ld;
    void *own;            // plain, when it is not the caller's
    struct packed packed; // (in, out); data NULL when not packed
    struct packed turned; // (out, in), of a small one; data NULL: packed is turned when it is needed
    int8_t *rounded;      // bytes as in struct gemv_part; NULL: not rounded, else only these three are there
    float *scale;         // (out, filled up)
    int32_t *total;       // (out, filled up)
};

#endif
