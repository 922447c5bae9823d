/* mpi_comm.c - sums in rank order for every length and panel, gathers, broadcasts, point to point, long calls split, counts,
 * numbers that are not finite, sums that overlap. */
#include <stdlib.h>

#include "mpi_fixture.h"

enum { MOST = 30000, RANKS = 8 };

/* The world, or the same ranks with memory that they share. */
static struct comm *tested;

static struct comm *world(void)
{
    return tested ? tested : ranks_now()->world;
}

static void shared_too(void (*run)(void))
{
    run();
    if (ranks_size() == 1) return;
    check_ok(comm_split(&tested, MPI_COMM_WORLD, 0, ranks_rank(), "shared"));
    check_ok(comm_share(tested));
    check(comm_is_shared(tested)); // ranks of a test are on one host
    run();
    comm_free(tested), tested = NULL;
}

/* What rank r has at i of the s-th array: signs and sizes vary, so that the order of a sum shows in its bits. */
static float number(int r, int64_t i, int s)
{
    uint32_t h = (uint32_t)(i * 2654435761u) ^ (uint32_t)((r + 1) * 40503u) ^ (uint32_t)(s * 97u);

    h ^= h >> 15, h *= 2246822519u, h ^= h >> 13;
    return ((float)(h & 0xffff) - 32768.0f) * ((h >> 16 & 3) == 0 ? 1000.0f : 0.001f);
}

static void fill(float *x, int64_t n, int s)
{
    for (int64_t i = 0; i < n; i++) x[i] = number(ranks_rank(), i, s);
}

static float in_order(int64_t i, int s, int first)
{
    float sum = number(first, i, s);

    for (int r = first + 1; r < ranks_size(); r++) sum += number(r, i, s);
    return sum;
}

static const int64_t lengths[] = {0, 1, 2, 3, 5, 7, 64, 1000, 4096, 4097, 8191, MOST};
static const int64_t panels[] = {0, 1, 3, 7, 64, 5000};
enum { LENGTHS = sizeof lengths / sizeof *lengths, PANELS = sizeof panels / sizeof *panels };

static void each_length(void (*run)(int64_t n))
{
    for (int p = 0; p < PANELS; p++)
        for (int i = 0; i < LENGTHS; i++) {
            if (panels[p] && lengths[i] / panels[p] > 2000) continue; // many tiny panels say nothing new
            comm_set_panel(world(), panels[p]);
            run(lengths[i]);
        }
    comm_set_panel(world(), 0);
}

static float x[MOST + 1], y[MOST + 1];

static void sum_f32(int64_t n)
{
    fill(x, n, 1);
    x[n] = 77;
    check_ok(comm_sum(world(), x, n, DT_F32));
    for (int64_t i = 0; i < n; i++) check(x[i] == in_order(i, 1, 0));
    check(x[n] == 77);
}

static void sums_here(void)
{
    each_length(sum_f32);
}

static void sums(void)
{
    shared_too(sums_here);
}

/* The same on every rank; every share and the sum rounded to 8 bits. */
static void sum_bf16(int64_t n)
{
    float *all = calloc((size_t)(n * ranks_size()) + 1, sizeof *all);

    fill(x, n, 2);
    x[n] = 77;
    check_ok(comm_sum(world(), x, n, DT_BF16));
    check_ok(comm_gather(world(), all, x, (size_t)n * sizeof *x));
    for (int r = 1; r < ranks_size(); r++) check_bytes(all, all + r * n, (size_t)n * sizeof *x);
    for (int64_t i = 0; i < n && ranks_size() > 1; i++) {
        double most = 0, exact = 0;
        for (int r = 0; r < ranks_size(); r++) most += fabs(number(r, i, 2)), exact += number(r, i, 2);
        check_near(x[i], exact, most / 128);
    }
    check(x[n] == 77);
    free(all);
}

static void sums_bf16_here(void)
{
    each_length(sum_bf16);
}

static void sums_bf16(void)
{
    shared_too(sums_bf16_here);
}

static int first_of_root;

static void to_root(int64_t n)
{
    fill(x, n, 3);
    for (int64_t i = 0; i < n && ranks_rank() < first_of_root; i++) x[i] = NAN; // not read
    x[n] = 77;
    check_ok(comm_sum_to_root(world(), x, n, first_of_root));
    for (int64_t i = 0; i < n && ranks_rank() == 0; i++) check(x[i] == in_order(i, 3, first_of_root));
    check(x[n] == 77);
}

static void sums_to_root(void)
{
    for (first_of_root = 0; first_of_root < ranks_size(); first_of_root++) each_length(to_root);
}

static void sums_of_doubles(void)
{
    static double d[1300];

    for (int n = 0; n <= 1300; n += 130) {
        for (int i = 0; i < n; i++) d[i] = number(ranks_rank(), i, 4) + 1e-9 * i;
        check_ok(comm_sum_double(world(), d, n));
        for (int i = 0; i < n; i++) {
            double sum = number(0, i, 4) + 1e-9 * i;
            for (int r = 1; r < ranks_size(); r++) sum += number(r, i, 4) + 1e-9 * i;
            check(d[i] == sum);
        }
    }
}

/* Two sums on their way at once, ended in either order, taken further now and then: the same bits as one after the other. */
static void overlapping_here(void)
{
    struct comm_sum *a, *b;
    bool done = false;

    for (int round = 0; round < 20; round++) {
        int64_t n = MOST - 1000 * round;
        comm_set_panel(world(), round % 2 ? 777 : 0);
        check_ok(comm_reserve(world(), n));
        fill(x, n, 5), fill(y, n, 6);
        check_ok(comm_sum_begin(&a, world(), "first", x, n, DT_F32));
        for (int k = 0; k < 50 * ranks_rank(); k++) check_ok(comm_progress(world()));
        check_ok(comm_sum_begin(&b, world(), "second", y, n, DT_F32));
        while (round % 3 == 0 && !done) check_ok(comm_sum_test(b, &done));
        check_ok(comm_sum_end(round % 4 ? a : b));
        check_ok(comm_sum_end(round % 4 ? b : a));
        if (ranks_size() == 1) continue;
        for (int64_t i = 0; i < n; i++) check(x[i] == in_order(i, 5, 0));
        for (int64_t i = 0; i < n; i++) check(y[i] == in_order(i, 6, 0));
    }
    comm_set_panel(world(), 0);
    if (ranks_size() == 1) return;
    check_ok(comm_sum_begin(&a, world(), "first", x, 10, DT_F32));
    check_ok(comm_sum_begin(&b, world(), "second", y, 10, DT_F32));
    check_code(comm_sum(world(), x, 10, DT_F32), CL_EINTERNAL); // a third
    check_ok(comm_sum_end(b));
    check_ok(comm_sum_end(a));
}

static void overlapping(void)
{
    shared_too(overlapping_here);
}

/* What comm_reserve made room for allocates nothing (debug builds abort when something does). */
static void nothing_allocates_here(void)
{
    struct comm_sum *a, *b;

    check_ok(comm_reserve(world(), MOST));
    mem_guard_begin();
    for (int wire = 0; wire < 2; wire++) {
        for (int i = 0; i < LENGTHS; i++) check_ok(comm_sum(world(), y, lengths[i], wire ? DT_BF16 : DT_F32));
        check_ok(comm_sum_begin(&a, world(), "first", x, MOST, wire ? DT_BF16 : DT_F32));
        check_ok(comm_sum_begin(&b, world(), "second", y, MOST, wire ? DT_BF16 : DT_F32));
        check_ok(comm_sum_end(a));
        check_ok(comm_sum_end(b));
    }
    check_ok(comm_sum_to_root(world(), x, MOST, 0));
    check_ok(comm_sum_double(world(), (double *)y, 1000));
    mem_guard_end();
}

static void nothing_allocates(void)
{
    shared_too(nothing_allocates_here);
}

static void not_finite_here(void)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    char what[32] = "";
    int r, last = ranks_size() - 1;

    comm_first_nonfinite(world(), what, sizeof what);
    for (int k = 0; k < 3 && last; k++)
        for (int wire = 0; wire < 2; wire++) {
            for (int64_t at = 0; at < MOST; at += 4999) {
                fill(x, MOST, 7), fill(y, MOST, 7);
                if (ranks_rank() == last) x[at] = odd[k];
                check_ok(comm_sum_named(world(), "spoilt", x, MOST, wire ? DT_BF16 : DT_F32));
                check(!isfinite(x[at]) && isfinite(x[(at + 1) % MOST]));
                if (ranks_rank() == 0) y[0] = odd[k]; // a later sum does not count
                check_ok(comm_sum_named(world(), "later", y, MOST, wire ? DT_BF16 : DT_F32));
                check_ok(comm_find_nonfinite(world(), &r, what, sizeof what));
                check_int(r, last);
                check_text(what, "spoilt");
            }
        }
    fill(x, 10, 7);
    if (ranks_rank()) x[3] = NAN; // of several the lowest
    check_ok(comm_sum_named(world(), "few", x, 10, DT_F32));
    r = comm_first_nonfinite(world(), what, sizeof what);
    check_int(r, last ? 1 : -1);
    check_int(comm_first_nonfinite(world(), what, sizeof what), -1);
    check_ok(comm_find_nonfinite(world(), &r, what, sizeof what));
    check_int(r, -1);
}

static void not_finite(void)
{
    shared_too(not_finite_here);
}

/* ---- bytes */

static void gathers(void)
{
    static char all[RANKS * 1000], mine[1000];

    for (size_t n = 0; n <= 1000; n += 125)
        for (size_t longest = 0; longest <= 300; longest += 100) {
            comm_set_longest(world(), longest);
            memset(mine, 'a' + ranks_rank(), sizeof mine);
            memset(all, 0, sizeof all);
            if (n % 2) memcpy(all + (size_t)ranks_rank() * n, mine, n);
            check_ok(comm_gather(world(), all, n % 2 ? NULL : mine, n));
            for (size_t i = 0; i < n * (size_t)ranks_size(); i++) check_int(all[i], 'a' + (int)(i / n));
        }
    comm_set_longest(world(), 0);
}

static void broadcasts(void)
{
    static char data[1001];

    for (int root = 0; root < ranks_size(); root++)
        for (size_t n = 0; n <= 1000; n += 200)
            for (size_t longest = 0; longest <= 200; longest += 66) {
                comm_set_longest(world(), longest);
                memset(data, ranks_rank() == root ? 'a' + root : '.', sizeof data);
                check_ok(comm_broadcast(world(), data, n, root));
                for (size_t i = 0; i < n; i++) check_int(data[i], 'a' + root);
                check(ranks_rank() == root || data[n] == '.');
            }
    comm_set_longest(world(), 0);
}

static void point_to_point(void)
{
    static char data[1001];
    int rank = ranks_rank(), size = ranks_size();

    for (size_t n = 0; n <= 1000 && size > 1; n += 200) {
        comm_set_longest(world(), n % 400 ? 33 : 0);
        if (rank == 0) { // round in a ring; every rank adds one
            memset(data, 'a', sizeof data);
            check_ok(comm_send(world(), data, n, 1));
            check_ok(comm_receive(world(), data, n, size - 1));
            for (size_t i = 0; i < n; i++) check_int(data[i], 'a' + size - 1);
            continue;
        }
        memset(data, '.', sizeof data);
        check_ok(comm_receive(world(), data, n, rank - 1));
        for (size_t i = 0; i < n; i++) data[i]++;
        check_int(data[n], '.');
        check_ok(comm_send(world(), data, n, (rank + 1) % size));
    }
    comm_set_longest(world(), 0);
}

/* ---- what is known beside the numbers */

static void counted_here(void)
{
    struct comm_counts n;
    int64_t expected = 0;

    comm_counts_clear(world());
    for (int wire = 0; wire < 2; wire++)
        for (int i = 0; i < LENGTHS; i++) {
            check_ok(comm_sum(world(), y, lengths[i], wire ? DT_BF16 : DT_F32));
            expected += comm_sum_bytes(lengths[i], wire ? DT_BF16 : DT_F32, ranks_size(), ranks_rank());
        }
    n = comm_get_counts(world());
    check_int(n.sum_bytes, expected);
    check_int(n.sums, ranks_size() > 1 ? 2 * LENGTHS : 0);
    check(ranks_size() > 1 || expected == 0);
    check_int(comm_sum_bytes(1 << 20, DT_F32, 2, 1), 4 << 20);
    check_int(comm_sum_bytes(1 << 20, DT_BF16, 4, 3), 3 << 20);
    check_int(comm_sum_bytes(10, DT_F32, 4, 3), 120);
    check_ok(comm_gather(world(), x, y, 100));
    check_ok(comm_broadcast(world(), x, 100, 0));
    n = comm_get_counts(world());
    check_int(n.gather_bytes, 100 * (ranks_size() - 1));
    check_int(n.broadcast_bytes, ranks_rank() ? 0 : 100 * (ranks_size() - 1));
    comm_counts_clear(world());
    check_int(comm_get_counts(world()).sums, 0);
}

static void counted(void)
{
    shared_too(counted_here);
}

static void equal(void)
{
    check_ok(comm_check_equal(world(), "step", 17));
#if defined(CLLAVA_GUARD) || !defined(NDEBUG)
    if (ranks_size() == 1) return;
    check_code(comm_check_equal(world(), "step", ranks_rank() == ranks_size() - 1 ? 18 : 17), CL_EINTERNAL);
    check_text(err_text(), "step differs between ranks (rank ");
#endif
}

static void split_up(void)
{
    struct comm *half;
    int rank = ranks_rank(), size = ranks_size();
    float v = (float)rank;

    if (size == 1) return;
    check_ok(comm_split(&half, MPI_COMM_WORLD, rank == 0 ? -1 : rank % 2, -rank, "half")); // reversed
    check((half == NULL) == (rank == 0));
    if (!half) return;
    for (int r = 0; r < comm_size(half); r++) check_int(comm_world_rank(half, r) % 2, rank % 2);
    check_int(comm_world_rank(half, comm_rank(half)), rank);
    check_int(comm_size(half), rank % 2 ? size / 2 : (size - 1) / 2);
    check_ok(comm_sum(half, &v, 1, DT_F32));
    check(v == (float)(rank % 2 ? size / 2 * (size / 2) : (size - 1) / 2 * ((size - 1) / 2 + 1)));
    comm_free(half);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
        {"sums", sums},
        {"sums_bf16", sums_bf16},
        {"sums_to_root", sums_to_root},
        {"sums_of_doubles", sums_of_doubles},
        {"overlapping", overlapping},
        {"nothing_allocates", nothing_allocates},
        {"not_finite", not_finite},
        {"gathers", gathers},
        {"broadcasts", broadcasts},
        {"point_to_point", point_to_point},
        {"counted", counted},
        {"equal", equal},
        {"split_up", split_up},
    };

    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
