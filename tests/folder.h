/* folder.h - temporary folders of a test's own: made anew, removed with all that is in them. */
#ifndef CLLAVA_TESTS_FOLDER_H
#define CLLAVA_TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER_FN static inline __attribute__((unused))

/* 0, and the folder's path; -1: none could be made. */
FOLDER_FN int folder_new(char path[64])
{
    strcpy(path, "/tmp/cllava-test-XXXXXX");
    return mkdtemp(path) ? 0 : -1;
}

/* path is one of folder_new's: nothing in it needs quoting. Other than 0: it is still there. */
FOLDER_FN int folder_remove(const char *path)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", path);
    return system(command);
}

#endif
