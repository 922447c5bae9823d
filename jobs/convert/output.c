/* output.c - see output.h. The temporary name is always the same one and locked while it is written: what a process that was
 * killed left behind is written over by the next. */
#include "jobs/convert/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "io/err.h"

const char *const left_names[LEFT_REASONS] = {[LEFT_BROKEN] = "broken record",
                                              [LEFT_PICTURE] = "picture missing",
                                              [LEFT_ANSWER] = "no answer",
                                              [LEFT_CHOICE] = "not taken by design"};

int output_open(struct output *o, const char *dest, const char *name)
{
    char temporary[PATH_ROOM];
    int rc, fd = -1;

    memset(o, 0, sizeof *o);
    TRY(path_print(o->path, "%s/%s", dest, name));
    TRY(path_print(temporary, "%s/.%s.tmp", dest, name));
    fd = open(temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) FAIL(CL_EIO, "cannot write %s: %s; hint: DEST must be a folder of yours", temporary, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        FAIL(CL_EIO, "%s is being written by another process; hint: wait for it, or choose another DEST", o->path);
    strcpy(o->temporary, temporary);
    if (ftruncate(fd, 0) || !(o->f = fdopen(fd, "w"))) FAIL(CL_EIO, "cannot write %s: %s", temporary, strerror(errno));
    fd = -1;
    setvbuf(o->f, NULL, _IOFBF, 1 << 20);
    rc = CL_OK;
done:
    if (fd >= 0) close(fd);
    return rc;
}

static int write_failed(const struct output *o)
{
    return err_set(CL_EIO, "cannot write %s: %s; hint: check free space", o->path, strerror(errno));
}

int output_bytes(struct output *o, const char *bytes, size_t n)
{
    return fwrite(bytes, 1, n, o->f) == n ? CL_OK : write_failed(o);
}

int output_finish(struct output *o)
{
    return fflush(o->f) || fsync(fileno(o->f)) ? write_failed(o) : CL_OK;
}

int output_publish(struct output *o)
{
    char folder[PATH_ROOM];
    int fd, rc = CL_OK;

    if (rename(o->temporary, o->path)) return write_failed(o);
    *o->temporary = 0;
    strcpy(folder, o->path);
    *strrchr(folder, '/') = 0;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) && errno != EINVAL)) rc = write_failed(o); // EINVAL: a file system that cannot
    if (fd >= 0) close(fd);
    return rc;
}

void output_close(struct output *o)
{
    if (*o->temporary) unlink(o->temporary);
    *o->temporary = 0;
    if (o->f) fclose(o->f);
    o->f = NULL;
    for (int why = 0; why < LEFT_REASONS; why++)
        for (int i = 0; i < EXAMPLES; i++) {
            free(o->left[why].example[i]);
            o->left[why].example[i] = NULL;
        }
}

int64_t output_left(const struct output *o)
{
    int64_t n = 0;

    for (int why = 0; why < LEFT_REASONS; why++) n += o->left[why].n;
    return n;
}
