/* run_dir.c - the run's folder: taken by one process at a time, nothing under its final name before it is whole. */
#include "jobs/run_dir.h"

#include "io/err.h"
#include "io/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char *joined(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *joined(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0) s = NULL;
    va_end(ap);
    return s;
}

int run_dir_make_folders(const char *path)
{
    int rc = CL_OK;
    char copy[PATH_ROOM];

    TRY(path_print(copy, "%s", path));
    for (char *p = copy + 1;; p++) {
        char kept = *p;
        if (kept && kept != '/') continue;
        *p = 0;
        if (mkdir(copy, 0777) && errno != EEXIST)
            return err_set(CL_EIO, "cannot make folder %s: %s", copy, strerror(errno));
        *p = kept;
        if (!kept) break;
    }
done:
    return rc;
}

int run_dir_make(const char *dir)
{
    int rc;
    char *sub = joined("%s/predictions", dir);

    if (!sub) FAIL(CL_ENOMEM, "no memory for a path");
    TRY(run_dir_make_folders(sub));
    if (access(dir, W_OK) || access(sub, W_OK))
        FAIL(CL_EIO, "output folder %s cannot be written to: %s; hint: set output to a folder of yours", dir,
             strerror(errno));
done:
    free(sub);
    return rc;
}

/* ---- one process at a time */

int run_dir_lock(const char *dir, int *lock)
{
    int rc = CL_OK, fd = -1;
    char *path = joined("%s/.lock", dir), who[128] = "", host[65] = "";
    ssize_t n;

    *lock = -1;
    if (!path) FAIL(CL_ENOMEM, "no memory for a path");
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        FAIL(CL_EIO, "output folder %s cannot be written to: %s; hint: set output to a folder of yours", dir,
             strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK) goto done; // no locks here
        if ((n = pread(fd, who, sizeof who - 1, 0)) < 0) n = 0;
        who[strcspn(who, "\n")] = 0;
        FAIL(CL_EIO, "%s is in use by another process (%s); hint: wait until it ends, or set another output", dir,
             *who ? who : "unknown");
    }
    gethostname(host, sizeof host - 1);
    n = snprintf(who, sizeof who, "pid %ld on %s\n", (long)getpid(), host);
    if (!ftruncate(fd, 0) && pwrite(fd, who, (size_t)n, 0) == n) n = 0; // only for that message
    *lock = fd;
    fd = -1;
done:
    if (fd >= 0) close(fd);
    free(path);
    return rc;
}

static int sweep(const char *dir)
{
    struct dirent *e;
    DIR *d = opendir(dir);

    if (!d) return errno == ENOENT ? CL_OK : err_set(CL_EIO, "cannot read folder %s: %s", dir, strerror(errno));
    while ((e = readdir(d)))
        if (*e->d_name == '.' && strstr(e->d_name, ".tmp-")) unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return CL_OK;
}

int run_dir_clean(const char *dir, bool locked)
{
    int rc;
    char *sub = joined("%s/predictions", dir), *rehearsal = joined("%s/rehearsal", dir);

    if (!sub || !rehearsal) FAIL(CL_ENOMEM, "no memory for a path");
    if (!locked) {
        TRY(ckpt_clean_temporaries(dir, NULL)); // these know whether their writer lives
        goto done;
    }
    TRY(sweep(dir));
    TRY(sweep(sub));
    TRY(sweep(rehearsal));
done:
    free(sub), free(rehearsal);
    return rc;
}

static bool holds_run(const char *dir)
{
    char *path = joined("%s/log.jsonl", dir);
    bool found = path && !access(path, F_OK);

    free(path);
    return found;
}

int run_dir_move_aside(const char *dir)
{
    int rc, lock = -1;
    char when[32], *old = NULL;
    time_t t = time(NULL);
    struct tm tm;

    if (!holds_run(dir)) return CL_OK;
    TRY(run_dir_lock(dir, &lock)); // goes along with the folder, so that nobody enters meanwhile
    strftime(when, sizeof when, "%Y-%m-%dT%H-%M-%SZ", gmtime_r(&t, &tm));
    for (int i = 0; i < 100; i++) { // two in one second
        free(old);
        old = i ? joined("%s.old-%s-%d", dir, when, i) : joined("%s.old-%s", dir, when);
        if (!old) FAIL(CL_ENOMEM, "no memory for a path");
        if (!rename(dir, old)) goto done;
        if (errno != ENOTEMPTY && errno != EEXIST) break;
    }
    FAIL(CL_EIO, "cannot move the older run %s aside: %s", dir, strerror(errno));
done:
    if (lock >= 0) close(lock);
    free(old);
    return rc;
}

/* ---- small files */

char *run_dir_task_checkpoint(const struct config *cfg, int task)
{
    return joined("%s/checkpoint-task%d-%s.h5", cfg->output, task, cfg->stream.task[task].name);
}

char *run_dir_step_checkpoint(const struct config *cfg, int64_t step)
{
    return joined("%s/checkpoint-step%lld.h5", cfg->output, (long long)step);
}

char *run_dir_predictions(const struct config *cfg, int after, int on)
{
    if (after < 0) return joined("%s/predictions/afterzero-on%d.jsonl", cfg->output, on);
    return joined("%s/predictions/after%d-on%d.jsonl", cfg->output, after, on);
}

/* "checkpoint-step<n>.h5" -> n, else -1. */
static int64_t step_of(const char *name)
{
    int end = 0;
    long long n = -1;

    if (sscanf(name, "checkpoint-step%lld.h5%n", &n, &end) == 1 && end && !name[end] && n >= 0) return n;
    return -1;
}

static bool is_task_file(const char *name)
{
    size_t n = strlen(name);

    return !strncmp(name, "checkpoint-task", 15) && n > 18 && !strcmp(name + n - 3, ".h5");
}

/* ---- the checkpoint to go on from */

struct candidate {
    char *path;
    int64_t steps, finished; // optimizer steps, tasks
};

static int further_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->steps != y->steps) return x->steps < y->steps ? 1 : -1;
    return x->finished < y->finished ? 1 : x->finished > y->finished ? -1 : strcmp(x->path, y->path);
}

static int look_at(struct candidate *k)
{
    int rc, dims;
    struct ckpt *c = NULL;
    int64_t T[CKPT_MAX_DIMS];
    int32_t *done = NULL;

    TRY(ckpt_open(&c, k->path));
    TRY(ckpt_get_i64(c, "/stream", "steps", &k->steps));
    TRY(ckpt_shape(c, "/stream/done", &dims, T));
    if (dims != 1) FAIL(CL_EFORMAT, "%s: /stream/done has %d dimensions (expected 1)", k->path, dims);
    if (!(done = mem_new((size_t)T[0], sizeof *done))) FAIL(CL_ENOMEM, "no memory for %lld tasks", (long long)T[0]);
    TRY(ckpt_read(c, "/stream/done", CKPT_I32, 1, T, done));
    for (int64_t t = 0; t < T[0]; t++) k->finished += done[t] == TASK_FINISHED;
done:
    mem_free(done);
    ckpt_close(c);
    return rc;
}

static int verify(const char *path)
{
    int rc;
    struct ckpt *c = NULL;

    TRY(ckpt_open(&c, path));
    TRY(ckpt_verify(c));
done:
    ckpt_close(c);
    return rc;
}

/* Whatever has a checkpoint's name, whole or not. */
static int list_checkpoints(const char *dir, struct candidate **list, int *n)
{
    int rc = CL_OK, room = 0;
    struct dirent *e;
    DIR *d = opendir(dir);

    if (!d) return errno == ENOENT ? CL_OK : err_set(CL_EIO, "cannot read folder %s: %s", dir, strerror(errno));
    while ((e = readdir(d))) {
        if (step_of(e->d_name) < 0 && !is_task_file(e->d_name)) continue;
        if (*n == room) {
            struct candidate *more = mem_grow(*list, (size_t)*n, (size_t)(room = 2 * room + 16), sizeof *more);
            if (!more) FAIL(CL_ENOMEM, "no memory for a list of checkpoints");
            *list = more;
        }
        (*list)[*n] = (struct candidate){.path = joined("%s/%s", dir, e->d_name)};
        if (!(*list)[*n].path) FAIL(CL_ENOMEM, "no memory for a path");
        ++*n;
    }
done:
    closedir(d);
    return rc;
}

int run_dir_latest(const char *dir, struct log *log, char **path)
{
    int rc, n = 0, found, whole = 0;
    struct candidate *list = NULL;

    *path = NULL;
    TRY(list_checkpoints(dir, &list, &n));
    for (int i = 0; i < n; i++)
        if (look_at(&list[i]))
            log_warn(log, "%s is passed over: %s", list[i].path, err_text()), free(list[i].path);
        else
            list[whole++] = list[i];
    found = n, n = whole;
    if (n) qsort(list, (size_t)n, sizeof *list, further_first);
    for (int i = 0; i < n && !*path; i++)
        if (verify(list[i].path))
            log_warn(log, "%s is passed over: %s", list[i].path, err_text());
        else
            *path = list[i].path, list[i].path = NULL;
    if (found && !*path)
        FAIL(CL_EFORMAT,
             "%s: none of its %d checkpoints can be read; hint: see the warnings above, or start with --fresh", dir,
             found);
done:
    for (int i = 0; i < n; i++) free(list[i].path);
    mem_free(list);
    return rc;
}

static int by_step(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0; // newest first
}

int run_dir_prune(const char *dir, int keep)
{
    int rc = CL_OK, n = 0, room = 0;
    int64_t *step = NULL, s;
    struct dirent *e;
    DIR *d = opendir(dir);

    if (!d) return err_set(CL_EIO, "cannot read %s: %s", dir, strerror(errno));
    while ((e = readdir(d))) {
        if ((s = step_of(e->d_name)) < 0) continue;
        if (n == room) {
            int64_t *bigger = mem_grow(step, (size_t)n, (size_t)(room = room ? 2 * room : 16), sizeof *step);
            if (!bigger) FAIL(CL_ENOMEM, "no memory for a list of checkpoints");
            step = bigger;
        }
        step[n++] = s;
    }
    if (n) qsort(step, (size_t)n, sizeof *step, by_step);
    for (int i = keep; i < n; i++) {
        char *file = joined("%s/checkpoint-step%lld.h5", dir, (long long)step[i]);
        if (!file) FAIL(CL_ENOMEM, "no memory for a path");
        unlink(file);
        free(file);
    }
done:
    mem_free(step);
    closedir(d);
    return rc;
}
