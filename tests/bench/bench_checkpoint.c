/* bench_checkpoint.c - how long a checkpoint inside a task holds up the steps: bench_checkpoint [FOLDER] [ROUNDS]
 *
 * A pool of 32 slots at the size of a 7B base (32 layers, rank 8, 4096 to 4096) of which 8 learn, with their moments:
 * 403 MB of random numbers. direct: written before the next step begins. deferred: what the next step waits for, and when
 * the file is there. Columns: seconds of each round.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/checkpoint.h"
#include "io/clock.h"
#include "io/err.h"

enum { SLOTS = 32, LEARNED = 8, L = 32, R = 8, H = 4096, D = 4096 };

static void must(int rc)
{
    if (!rc) return;
    fprintf(stderr, "bench_checkpoint: %s\n", err_text());
    exit(1);
}

/* Numbers whose lower bits are noise, as weights have them. */
static float *numbers(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    uint32_t s = 1;

    if (!x) exit(1);
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)s * 1e-11f;
    }
    return x;
}

static void put(struct ckpt *c, const char *name, int64_t slots, int64_t rows, int64_t columns, const float *x)
{
    must(ckpt_write(c, name, CKPT_F32, 4, (int64_t[]){slots, L, rows, columns}, x, true));
}

static void save(const char *path, bool deferred, const float *A, const float *B)
{
    static const char *const moments[2][2] = {{"/resume/A_m", "/resume/A_v"}, {"/resume/B_m", "/resume/B_v"}};
    struct ckpt *c;

    must(deferred ? ckpt_create_deferred(&c, path) : ckpt_create(&c, path));
    put(c, "/pool/A", SLOTS, R, H, A);
    put(c, "/pool/B", SLOTS, D, R, B);
    for (int i = 0; i < 2; i++) {
        put(c, moments[0][i], LEARNED, R, H, A);
        put(c, moments[1][i], LEARNED, D, R, B);
    }
    must(ckpt_commit(c));
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "/tmp";
    int rounds = argc > 2 ? atoi(argv[2]) : 3;
    float *A = numbers((int64_t)SLOTS * L * R * H), *B = numbers((int64_t)SLOTS * L * D * R);
    char path[4096];

    snprintf(path, sizeof path, "%s/bench-checkpoint-%ld.h5", folder, (long)getpid());
    printf("direct_s,deferred_blocked_s,deferred_written_s\n");
    for (int i = 0; i < rounds; i++) {
        double at[4] = {clock_seconds()};
        save(path, false, A, B);
        at[1] = clock_seconds();
        save(path, true, A, B);
        at[2] = clock_seconds();
        must(ckpt_wait());
        at[3] = clock_seconds();
        printf("%.3f,%.3f,%.3f\n", at[1] - at[0], at[2] - at[1], at[3] - at[1]);
        fflush(stdout);
    }
    unlink(path);
    free(A);
    free(B);
    return 0;
}
