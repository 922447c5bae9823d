/* machine.h - what a cluster can do, in a few numbers: what `cllava bench --machine` measures and `cllava plan` believes.
 *
 * Time of an operation on a share of a node's cores:
 *
 *     product     operations / rate(narrowest side) + bytes of the weight / memory bandwidth
 *     attention   operations / rate
 *     other loop  bytes read and written / their bandwidth
 *     collective  latency(ranks) + bytes that one rank sends / bandwidth
 *
 * The file is JSON. What it does not say is what a typical cluster can do (machine_assumed), and is called assumed wherever
 * it shows.
 */
#ifndef CLLAVA_JOBS_MACHINE_H
#define CLLAVA_JOBS_MACHINE_H

#include <stdbool.h>

#include "io/text.h"
#include "model/tensor.h"

enum { MACHINE_WIDTHS = 6, MACHINE_LINKS = 16 };

/* Rates of all cores of a node together, in one precision. */
struct machine_rates {
    bool assumed;
    int widths;
    double width[MACHINE_WIDTHS];   // narrowest side of a weight, ascending, e.g. 512, 1024, 2048
    double product[MACHINE_WIDTHS]; // FLOP/s of products with such a weight, its reading taken off
    double attention;               // FLOP/s, causal attention counted as its lower half
    double loop;                    // bytes/s of loops that read and write
};

enum machine_operation { LINK_SUM, LINK_GATHER, LINK_BROADCAST, LINK_OPERATIONS };

/* Collectives over so many ranks. */
struct machine_link {
    bool nodes; // ranks are on different nodes
    int ranks;
    double latency[LINK_OPERATIONS]; // s
    double bytes[LINK_OPERATIONS];   // per second, of what one rank sends (broadcast: receives)
};

struct machine {
    char name[192];               // "AMD EPYC; 64 threads; AVX-512 BF16"
    char source[256];             // path of its file, "" without one
    bool assumed;                 // cores, memory
    int cores;                    // of a node
    int ranks_per_node;           // that plans reckon with
    double memory;                // bytes of a node
    double read;                  // bytes/s of reading memory, all cores
    struct machine_rates rate[2]; // f32, bf16
    bool links_assumed[2];        // inside a node, between nodes
    int links;
    struct machine_link link[MACHINE_LINKS];
};

/* Two sockets of 32 cores with AVX-512 BF16, 384 GiB, a 200 Gbit/s network: not measured anywhere. */
void machine_assumed(struct machine *m);
/* From a file; ranks_per_node > 0 goes before what it says. CL_EIO, CL_EFORMAT name file and key. */
int machine_read(struct machine *m, const char *path, int ranks_per_node);
/* ranks_per_node and memory become those of the host whose ranks have least each: host, memory (ranks), as each rank sees its own. */
void machine_tightest(struct machine *m, int ranks, const char *const *host, const double *memory);
/* As JSON: what is not assumed. */
void machine_json(struct text *t, const struct machine *m);
/* Writes it whole; CL_EIO. */
int machine_write(const struct machine *m, const char *path);
/* Puts a link in the place of one like it. */
void machine_add_link(struct machine *m, const struct machine_link *l);

static inline const struct machine_rates *machine_rates_of(const struct machine *m, enum dtype precision)
{
    return &m->rate[precision == DT_BF16];
}
/* FLOP/s of products whose weight is that wide, of all cores. */
double machine_product(const struct machine_rates *r, double width);
/* Seconds of `calls` collectives over `ranks` ranks in which one rank sends `bytes` in all. */
double machine_collective(const struct machine *m, enum machine_operation op, int ranks, bool nodes, double calls,
                          double bytes);

/* alpha + beta x through n points, each weighed by 1 / y^2: relative errors count. Neither is below 0. */
void machine_fit(double *alpha, double *beta, const double *x, const double *y, int n);

#endif
