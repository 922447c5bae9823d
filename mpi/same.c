/* same.c - see same.h. Ranks exchange hashes; rank 0 puts words to what differs. */
#include "mpi/same.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "mpi/ranks.h"

enum { WORDS = 64 }; // arguments that are compared one by one; the rest together

/* 0: cannot be read, or is not to be. */
struct card {
    uint64_t program, count, word[WORDS], file[WORDS], all;
};

static uint64_t hash(const void *data, size_t n, uint64_t h)
{
    const unsigned char *p = data;
    uint64_t v;

    for (; n >= sizeof v; n -= sizeof v, p += sizeof v) {
        memcpy(&v, p, sizeof v);
        h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    for (; n; n--) h = (h ^ *p++) * UINT64_C(0x100000001b3);
    return h ? h : 1;
}

static uint64_t hash_file(const char *path)
{
    struct stat st;
    uint64_t h = 0;
    void *p;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) return 0;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
        h = 1;
        p = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
        if (p != MAP_FAILED) h = hash(p, (size_t)st.st_size, 2), munmap(p, (size_t)st.st_size);
    }
    close(fd);
    return h;
}

static bool is_yaml(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static void fill(struct card *c, int argc, char **argv)
{
    c->program = hash_file("/proc/self/exe");
    c->count = (uint64_t)argc;
    c->all = 2;
    for (int i = 1; i < argc; i++) {
        c->all = hash(argv[i], strlen(argv[i]) + 1, c->all);
        if (i >= WORDS) continue;
        c->word[i] = hash(argv[i], strlen(argv[i]), 2);
        c->file[i] = is_yaml(argv[i]) ? hash_file(argv[i]) : 0;
    }
}

/* The first of n hashes that differ, or 0; those that one of the two does not have say nothing. */
static int first_difference(const uint64_t *a, const uint64_t *b, int n)
{
    for (int i = 1; i < n; i++)
        if (a[i] != b[i] && a[i] && b[i]) return i;
    return 0;
}

/* What of a rank differs from rank 0, if anything. argv: of rank 0, or (on other ranks, which say nothing) something alike. */
static bool differs(char *text, size_t room, const struct card *zero, const struct card *c, int argc, char **argv)
{
    int i, n = argc < WORDS ? argc : WORDS;

    if (zero->program != c->program && zero->program && c->program)
        snprintf(text, room, "runs another program than rank 0; hint: copy the same one to all hosts");
    else if ((i = first_difference(zero->word, c->word, n)))
        snprintf(text, room, "has another argument %d than rank 0 (expected '%s'); hint: start all ranks alike", i,
                 argv[i]);
    else if (zero->count != c->count || zero->all != c->all)
        snprintf(text, room, "has other arguments than rank 0 (got %d, expected %d); hint: start all ranks alike",
                 (int)c->count - 1, (int)zero->count - 1);
    else if ((i = first_difference(zero->file, c->file, n)))
        snprintf(text, room, "reads another %s than rank 0; hint: copy it to all hosts, or put it where all see it",
                 argv[i]);
    else
        return false;
    return true;
}

int same_on_all(struct comm *world, int argc, char **argv)
{
    int rc, size = comm_size(world);
    struct card *all = mem_new((size_t)size, sizeof *all);
    char text[512];

    if (!all) FAIL(CL_ENOMEM, "no memory for %d ranks", size);
    fill(&all[comm_rank(world)], argc, argv);
    TRY(comm_gather(world, all, NULL, sizeof *all));
    for (int r = 1; r < size; r++)
        if (differs(text, sizeof text, &all[0], &all[r], argc, argv))
            FAIL(CL_EUSAGE, "rank %d (%s) %s", r, ranks_host(r), text);
done:
    mem_free(all);
    return rc;
}
