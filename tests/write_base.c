/* write_base SHAPE DIR: a base of random weights (jobs/bench.h) into an existing folder, for scripts. */
#include <stdio.h>

#include "io/err.h"
#include "jobs/bench.h"

int main(int argc, char **argv)
{
    const struct bench_shape *s = argc == 3 ? bench_shape_find(argv[1]) : NULL;

    if (!s) return fprintf(stderr, "usage: write_base tiny|s|m DIR\n"), 2;
    if (!bench_model_write(argv[2], s)) return 0;
    fprintf(stderr, "write_base: %s\n", err_text());
    return 1;
}
