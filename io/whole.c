/* whole.c - see whole.h. */
#include "io/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/path.h"

static int write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t wrote = write(fd, bytes, n);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return -1;
        bytes += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

/* A name is only safe from a power cut when its folder is on the disk. */
static int sync_folder(const char *dir)
{
    int rc = CL_OK, fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || (fsync(fd) && errno != EINVAL)) // EINVAL: cannot
        rc = err_set(CL_EIO, "cannot write folder %s: %s", dir, strerror(errno));
    if (fd >= 0) close(fd);
    return rc;
}

int whole_write(const char *dir, const char *name, const char *bytes, size_t n)
{
    int rc, fd = -1;
    char path[PATH_ROOM], temporary[PATH_ROOM];

    TRY(path_print(path, "%s/%s", dir, name));
    TRY(path_print(temporary, "%s/.%s.tmp-%ld", dir, name, (long)getpid()));
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || write_all(fd, bytes, n) || fsync(fd) || rename(temporary, path)) {
        rc = err_set(CL_EIO, "cannot write %s: %s; hint: check free space and permissions of the folder", path,
                     strerror(errno));
        if (fd >= 0) unlink(temporary);
        goto done;
    }
    rc = sync_folder(dir);
done:
    if (fd >= 0) close(fd);
    return rc;
}

int whole_write_path(const char *path, const char *bytes, size_t n)
{
    int rc;
    char folder[PATH_ROOM];
    const char *slash = strrchr(path, '/');

    TRY(path_print(folder, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : "."));
    TRY(whole_write(folder, slash ? slash + 1 : path, bytes, n));
done:
    return rc;
}
