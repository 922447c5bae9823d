/* break_at.c - preloaded into the program by the scripts: something happens at the n-th change of files below a folder.
 *
 *     LD_PRELOAD=.. BREAK_IN=/tmp/x/run BREAK_AT=17 BREAK_HOW=kill cllava train ..
 *
 * kill   the process dies, in the middle of the write if it is one
 * full   from then on the disk has no space
 * term   the process gets SIGTERM and goes on
 * slow   nothing breaks (BREAK_AT=0), but every fsync takes its time
 * Without BREAK_AT the changes are counted, and how many there were goes to the file BREAK_COUNT.
 */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long changes;

static bool below(const char *path)
{
    const char *in = getenv("BREAK_IN");
    return in && !strncmp(path, in, strlen(in));
}

static bool in_folder(int fd)
{
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, sizeof path - 1);
    if (n < 0) return false;
    path[n] = 0;
    return below(path);
}

enum how { NOTHING, KILL, FULL };

/* What this change is to meet. */
static enum how meet(void)
{
    const char *at = getenv("BREAK_AT"), *how = getenv("BREAK_HOW");
    long number = atomic_fetch_add(&changes, 1) + 1, n = at ? atol(at) : 0;

    if (!n || !how || number < n) return NOTHING;
    if (!strcmp(how, "full")) return FULL;
    if (number > n) return NOTHING;
    if (!strcmp(how, "kill")) return KILL;
    kill(getpid(), SIGTERM); // of the process, whichever thread this is
    return NOTHING;
}

static int die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define BROKEN_WRITE(name, arguments, half)                                                                            \
    enum how how = in_folder(fd) ? meet() : NOTHING;                                                                   \
    if (how == FULL) return errno = ENOSPC, -1;                                                                        \
    if (how == KILL && REAL(name) half >= 0) die();                                                                    \
    if (how == KILL) die();                                                                                            \
    return REAL(name) arguments

ssize_t write(int fd, const void *bytes, size_t n)
{
    BROKEN_WRITE(write, (fd, bytes, n), (fd, bytes, n / 2));
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    BROKEN_WRITE(pwrite, (fd, bytes, n, at), (fd, bytes, n / 2, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    BROKEN_WRITE(pwrite64, (fd, bytes, n, at), (fd, bytes, n / 2, at));
}

#define BROKEN(name, inside, arguments, spaceless)                                                                     \
    enum how how = (inside) ? meet() : NOTHING;                                                                        \
    if (how == KILL) die();                                                                                            \
    if (how == FULL && (spaceless)) return errno = ENOSPC, -1;                                                         \
    return REAL(name) arguments

int fsync(int fd)
{
    const char *wanted = getenv("BREAK_HOW");
    if (wanted && !strcmp(wanted, "slow") && in_folder(fd)) usleep(200000);
    BROKEN(fsync, in_folder(fd), (fd), true);
}

int fdatasync(int fd)
{
    BROKEN(fdatasync, in_folder(fd), (fd), true);
}

int ftruncate(int fd, off_t n)
{
    BROKEN(ftruncate, in_folder(fd), (fd, n), false);
}

int rename(const char *from, const char *to)
{
    BROKEN(rename, below(to), (from, to), false);
}

int unlink(const char *path)
{
    BROKEN(unlink, below(path), (path), false);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("BREAK_COUNT");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "%ld\n", atomic_load(&changes));
    fclose(f);
}
