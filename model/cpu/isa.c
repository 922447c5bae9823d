/* isa.c - which instruction set: for the own loops, and its name for the table of settings. */
#include <dnnl.h>
#include <stdlib.h>
#include <string.h>

#include "model/cpu/isa.h"
#include "model/cpu/kernels.h"

static bool has(const struct cpu_kernels *k)
{
    if (k == &cpu_kernels_v4)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && has(&cpu_kernels_v3);
    if (k == &cpu_kernels_v3)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    return true;
}

static const struct cpu_kernels *chosen = &cpu_kernels_v2;
static bool pairs;

void cpu_choose(void)
{
    static const struct cpu_kernels *const all[] = {&cpu_kernels_v4, &cpu_kernels_v3, &cpu_kernels_v2};
    const char *asked = getenv("CLLAVA_CPU");
    const struct cpu_kernels *best = &cpu_kernels_v2;

    for (size_t i = sizeof all / sizeof *all; i-- > 0;) // from the least on; the one that was asked for ends the search
        if (has(all[i])) {
            best = all[i];
            if (asked && !strcmp(asked, best->level)) break;
        }
    chosen = best;
    pairs = best == &cpu_kernels_v4 && __builtin_cpu_supports("avx512bf16") && !(asked && !strcmp(asked, "v4"));
}

const struct cpu_kernels *cpu_kernels(void)
{
    return chosen;
}

bool cpu_has_bf16(void)
{
    int isa = dnnl_get_effective_cpu_isa(); // a set of bits, each set containing the lesser ones

    return (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

bool cpu_has_pairs(void)
{
    return pairs;
}

const char *backend_cpu_isa(void)
{
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_avx512_core_amx: return "AMX";
    case dnnl_cpu_isa_avx512_core_bf16: return "AVX-512 BF16";
    case dnnl_cpu_isa_avx512_core_vnni:
    case dnnl_cpu_isa_avx512_core: return "AVX-512";
    case dnnl_cpu_isa_avx2_vnni:
    case dnnl_cpu_isa_avx2: return "AVX2";
    case dnnl_cpu_isa_avx: return "AVX";
    default: return "SSE4.1";
    }
}
