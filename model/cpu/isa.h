/* isa.h - the processor at hand. */
#ifndef CLLAVA_MODEL_CPU_ISA_H
#define CLLAVA_MODEL_CPU_ISA_H

#include <stdbool.h>

/* Chooses the own loops: the best level that the processor has, or the one that the environment variable CLLAVA_CPU
 * (v2, v3, v4, v4b: v4 with AVX-512 BF16) names, where the processor has that. Called when a backend is opened. */
void cpu_choose(void);

/* True where oneDNN multiplies bf16 (AVX-512 and better; fast from AVX-512 BF16 on). */
bool cpu_has_bf16(void);

/* True where the chosen loops multiply pairs of bf16 by one instruction (AVX-512 BF16). */
bool cpu_has_pairs(void);

#endif
