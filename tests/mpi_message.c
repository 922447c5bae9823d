/* mpi_message.c - values that go from rank to rank: every kind and length, broken ones, waiting without taking the processor. */
#include <stdlib.h>
#include <time.h>

#include "io/clock.h"
#include "mpi_fixture.h"

static struct comm *world(void)
{
    return ranks_now()->world;
}

static void write_fields(struct message *m, int k)
{
    message_clear(m);
    message_put_int(m, INT64_MIN + k);
    message_put_double(m, 0.1 * k);
    message_put_text(m, NULL);
    message_put_text(m, "");
    message_put_text(m, "stage 2");
    message_put_bytes(m, "12345678901", (size_t)k % 12);
    message_put_bytes(m, NULL, 0);
    message_put_int(m, k);
}

static void read_fields(struct message *m, int k)
{
    size_t n;
    const char *p;

    check(message_int(m) == INT64_MIN + k);
    check(message_double(m) == 0.1 * k);
    check(message_text(m) == NULL);
    check_text(message_text(m), "");
    check_text(message_text(m), "stage 2");
    p = message_bytes(m, &n, 1);
    check_int(n, k % 12);
    check((uintptr_t)p % 8 == 0);
    check_bytes(p, "12345678901", n);
    message_copy(m, NULL, 0);
    check_int(message_int(m), k);
    check_ok(message_check(m, "of a test"));
}

static void fields(void)
{
    struct message m = {0};

    for (int k = 0; k < 30; k++) {
        write_fields(&m, k);
        read_fields(&m, k);
    }
    message_free(&m);
}

static void broken(void)
{
    struct message m = {0};
    size_t n;
    int64_t huge = INT64_MAX - 3;

    message_put_int(&m, 3);
    message_int(&m);
    check_int(message_int(&m), 0); // beyond the end
    check_code(message_check(&m, "of a test"), CL_EMPI);
    check_text(err_text(), "message of a test is cut short");
    for (int k = 0; k < 2; k++) { // lengths that nothing stands behind
        message_clear(&m);
        message_put_int(&m, k ? -1 : huge);
        check(message_bytes(&m, &n, 1) == NULL && n == 0);
        check(m.failed);
    }
    message_clear(&m);
    message_put_bytes(&m, "12345", 5);
    check(message_bytes(&m, &n, 4) == NULL); // no whole numbers
    message_clear(&m);
    message_put_bytes(&m, "12345", 5);
    message_copy(&m, NULL, 4);
    check(m.failed);
    message_clear(&m);
    message_put_int(&m, 1), message_put_bytes(&m, "no end", 6);
    check(message_text(&m) == NULL && m.failed);
    message_free(&m);
}

/* Everybody to rank 0 and back; pieces of 16 bytes, so that some messages end with a full one. */
static void back_and_forth(void)
{
    struct message m = {0};
    int who, seen[16] = {0};
    bool arrived;

    for (int k = 0; k < 24; k++) {
        comm_set_longest(world(), k % 2 ? 16 : 0);
        check_ok(comm_barrier(world())); // answers of this round only
        if (ranks_rank()) {
            write_fields(&m, k);
            check_ok(message_send(&m, world(), 0));
            check_ok(message_receive(&m, world(), 0, NULL));
            check_int(message_int(&m), ranks_rank());
            check_int(message_int(&m), k);
            continue;
        }
        for (int r = 1; r < ranks_size(); r++) {
            check_ok(message_receive(&m, world(), k % 3 ? -1 : r, &who));
            check(k % 3 || who == r);
            seen[who]++;
            read_fields(&m, k);
            message_clear(&m);
            message_put_int(&m, who), message_put_int(&m, k);
            check_ok(message_send(&m, world(), who));
        }
    }
    for (int r = 1; r < ranks_size() && !ranks_rank(); r++) check_int(seen[r], 24);
    comm_set_longest(world(), 0);
    check_ok(comm_barrier(world()));
    if (ranks_size() > 1) {
        check_ok(message_waiting(world(), -1, &arrived));
        check(!arrived);
    }
    message_free(&m);
}

static void to_all(void)
{
    struct message m = {0};
    size_t n;
    const char *p;

    for (size_t longest = 0; longest <= 100; longest += 50) {
        comm_set_longest(world(), longest);
        for (size_t k = 0; k < 3000; k += 1 + k / 3) {
            message_clear(&m);
            for (size_t i = 0; i < k && !ranks_rank(); i++) message_put_int(&m, (int64_t)(i * k));
            check_ok(message_broadcast(&m, world()));
            for (size_t i = 0; i < k; i++) check_int(message_int(&m), i * k);
            check_ok(message_check(&m, "to all"));
            check_int(m.at, m.used);
        }
    }
    comm_set_longest(world(), 0);
    message_clear(&m);
    if (!ranks_rank()) {
        char *big = calloc(1, 3000000);
        big[2999999] = 'z';
        message_put_bytes(&m, big, 3000000);
        free(big);
    }
    check_ok(message_broadcast(&m, world()));
    p = message_bytes(&m, &n, 1);
    check(n == 3000000 && p[n - 1] == 'z');
    message_free(&m);
}

static double processor_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Who waits for a second uses a small part of it. */
static void idle(void)
{
    struct message m = {0};
    double used = processor_seconds();

    if (!ranks_rank()) nanosleep(&(struct timespec){.tv_nsec = 900000000}, NULL);
    message_clear(&m);
    check_ok(message_broadcast(&m, world()));
    used = processor_seconds() - used;
    check(used < 0.3);
    used = processor_seconds();
    if (!ranks_rank()) {
        nanosleep(&(struct timespec){.tv_nsec = 900000000}, NULL);
        for (int r = 1; r < ranks_size(); r++) check_ok(message_send(&m, world(), r));
    } else
        check_ok(message_receive(&m, world(), 0, NULL));
    check(processor_seconds() - used < 0.3);
    message_free(&m);
}

int main(int argc, char **argv)
{
    static const struct mpi_case cases[] = {
        {"fields", fields}, {"broken", broken}, {"back_and_forth", back_and_forth}, {"to_all", to_all}, {"idle", idle},
    };

    return mpi_cases(argc, argv, cases, sizeof cases / sizeof *cases);
}
