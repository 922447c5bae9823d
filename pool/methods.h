/* methods.h - the list of methods: one line makes a method known to the configuration, its messages and the help. */
#ifndef CLLAVA_POOL_METHODS_H
#define CLLAVA_POOL_METHODS_H

#include "pool/method.h"

#define METHODS(X)                                                                                                     \
    X(continual_llava)                                                                                                 \
    X(zero_shot)                                                                                                       \
    X(sequential_lora)                                                                                                 \
    X(joint)                                                                                                           \
    X(replay)                                                                                                          \
    X(self_guide)                                                                                                      \
    X(taskwise_lora)                                                                                                   \
    X(lwf)                                                                                                             \
    X(ewc)                                                                                                             \
    X(o_lora)                                                                                                          \
    X(moe_lora)                                                                                                        \
    X(l2p)

#define METHOD_DECLARE(name) extern const struct method_ops name##_ops;
METHODS(METHOD_DECLARE)
#undef METHOD_DECLARE

#endif
