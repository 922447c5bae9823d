/* registers.c - multiply-adds that touch no memory: what no product on this processor can be faster than. */
#include "model/cpu/kernels/kernel.h"

enum { CHAINS = 12 }; // sums that do not wait for one another: more than the units can have under way

/* The compiler may neither leave a sum out nor keep it in memory. */
#define KEEP(sum) __asm__ volatile("" : "+v"(sum))

INLINE void start(vf *sum)
{
    EACH for (int i = 0; i < CHAINS; i++) sum[i] = vf_set(1e-3f * (float)i);
}

static void plain_chains(int64_t rounds)
{
    vf sum[CHAINS], x = vf_set(1e-3f);

    start(sum);
    for (int64_t k = 0; k < rounds; k++) {
        EACH for (int i = 0; i < CHAINS; i++)
        {
            sum[i] += x * x;
            KEEP(sum[i]);
        }
        KEEP(x);
    }
}

#ifdef __AVX512F__
__attribute__((target("avx512bf16"))) static void pairs_chains(int64_t rounds)
{
    vf sum[CHAINS];
    vi x = {0};

    start(sum);
    for (int64_t k = 0; k < rounds; k++) {
        EACH for (int i = 0; i < CHAINS; i++)
        {
            sum[i] = (vf)_mm512_dpbf16_ps((__m512)sum[i], (__m512bh)x, (__m512bh)x);
            KEEP(sum[i]);
        }
        KEEP(x);
    }
}
#else
static void pairs_chains(int64_t rounds)
{
    plain_chains(rounds); // never asked for
}
#endif

double KERNEL(registers)(int64_t rounds, bool pairs)
{
    double done = 0;

#pragma omp parallel reduction(+ : done)
    {
        pairs ? pairs_chains(rounds) : plain_chains(rounds);
        done += (double)rounds * CHAINS * VW * (pairs ? 2 : 1);
    }
    return done;
}
