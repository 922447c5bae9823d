/* run_dir.c - the run's folder. Nothing is written under its final name before it is whole. */
#include "jobs/run_dir.h"

#include "io/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

static int make_folders(char *path)
{
    for (char *p = path + 1;; p++) {
        char kept = *p;
        if (kept && kept != '/') continue;
        *p = 0;
        if (mkdir(path, 0777) && errno != EEXIST)
            return err_set(CL_EIO, "cannot make folder %s: %s", path, strerror(errno));
        *p = kept;
        if (!kept) return CL_OK;
    }
}

int run_dir_make(const char *dir)
{
    int rc;
    char *sub = joined("%s/predictions", dir);

    if (!sub) FAIL(CL_ENOMEM, "no memory for a path");
    TRY(make_folders(sub));
    if (access(dir, W_OK) || access(sub, W_OK))
        FAIL(CL_EIO, "output folder %s cannot be written to: %s; hint: set output to a folder of yours", dir,
             strerror(errno));
    rc = CL_OK;
done:
    free(sub);
    return rc;
}

static int write_all(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t k = write(fd, text, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return -1;
        text += k, n -= (size_t)k;
    }
    return 0;
}

int run_dir_write(const char *dir, const char *name, const char *text)
{
    int rc, fd = -1;
    char *path = joined("%s/%s", dir, name), *temporary = joined("%s/.%s.tmp-%ld", dir, name, (long)getpid());

    if (!path || !temporary) FAIL(CL_ENOMEM, "no memory for a path");
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || write_all(fd, text, strlen(text)) || fsync(fd)) {
        int why = errno;
        unlink(temporary);
        FAIL(CL_EIO, "cannot write %s: %s", path, strerror(why));
    }
    if (rename(temporary, path)) {
        int why = errno;
        unlink(temporary);
        FAIL(CL_EIO, "cannot rename to %s: %s", path, strerror(why));
    }
    rc = CL_OK;
done:
    if (fd >= 0) close(fd);
    free(path);
    free(temporary);
    return rc;
}

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

/* How far a file is: twice its steps, one more where a task is finished by it. */
static int progress_of(const char *path, int64_t *progress)
{
    int rc;
    struct ckpt *c = NULL;
    int64_t steps;

    TRY(ckpt_open(&c, path));
    TRY(ckpt_get_i64(c, "/stream", "steps", &steps));
    *progress = 2 * steps + !ckpt_has(c, "/resume");
done:
    ckpt_close(c);
    return rc;
}

int run_dir_latest(const char *dir, struct log *log, char **path)
{
    int rc = CL_OK, found = 0;
    int64_t best = -1, progress;
    struct dirent *e;
    DIR *d = opendir(dir);

    *path = NULL;
    if (!d) return CL_OK;
    while ((e = readdir(d))) {
        if (step_of(e->d_name) < 0 && !is_task_file(e->d_name)) continue;
        char *file = joined("%s/%s", dir, e->d_name);
        if (!file) FAIL(CL_ENOMEM, "no memory for a path");
        found++;
        if (progress_of(file, &progress)) {
            log_warn(log, "%s is passed over: %s", file, err_text());
            free(file);
        } else if (progress > best) {
            best = progress;
            free(*path);
            *path = file;
        } else {
            free(file);
        }
    }
    if (found && !*path)
        FAIL(CL_EFORMAT,
             "%s: none of its %d checkpoints can be read; hint: see the warnings above, or start with --fresh", dir,
             found);
done:
    closedir(d);
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
