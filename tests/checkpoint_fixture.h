/* checkpoint_fixture.h - a folder per case, and looking at the files in it, for the tests of checkpoints. */
#ifndef CLLAVA_TESTS_CHECKPOINT_FIXTURE_H
#define CLLAVA_TESTS_CHECKPOINT_FIXTURE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/checkpoint.h"
#include "outcome.h"

static char folder[64];

static inline int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/cllava-ckpt-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    char command[128];

    (void)state;
    if (chdir("/")) return -1; // a case may have failed inside
    umount(folder);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static inline const char *in_folder(const char *name)
{
    static char path[64][256];
    static int turn;

    turn = (turn + 1) % 64;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* Entries of the folder, "." and ".." not counted. */
static inline int files_in(const char *dir)
{
    DIR *d = opendir(dir);
    int n = -2;

    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static inline void *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    struct stat s;
    char *bytes;

    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &s), 0);
    bytes = malloc((size_t)s.st_size + 1);
    *n = fread(bytes, 1, (size_t)s.st_size, f);
    assert_int_equal(*n, s.st_size);
    fclose(f);
    return bytes;
}

static inline void spill(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline int descriptors(void)
{
    return files_in("/proc/self/fd");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

#endif
