/* memory.c - /proc/self. */
#include "io/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/path.h"

double memory_peak(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    double kib = -1024;

    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "VmHWM:", 6)) kib = strtod(line + 6, NULL);
    if (f) fclose(f);
    return kib / 1024;
}

void memory_forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");

    if (!f) return;
    fputs("5", f);
    fclose(f);
}

/* "max", or a number of bytes; version 1 has a number near 2^63 for none. */
static double limit_in(const char *path)
{
    FILE *f = fopen(path, "r");
    double bytes;

    if (!f) return INFINITY;
    if (fscanf(f, "%lf", &bytes) != 1) bytes = INFINITY;
    fclose(f);
    return bytes > 0 ? bytes : INFINITY;
}

/* Of the group at `at` below root and of all above it. Inside a container the path may be that of the host: then there is nothing
 * but the root to be found. */
static double least_above(const char *root, char *at, const char *name)
{
    double least = INFINITY;
    char path[PATH_ROOM], *slash;

    for (;; *slash = 0) {
        if (!path_print(path, "%s%s/%s", root, at, name)) least = fmin(least, limit_in(path));
        if (!(slash = strrchr(at, '/'))) return least;
    }
}

double memory_cgroup_limit(const char *groups, const char *root)
{
    FILE *f = fopen(groups, "r");
    double least = INFINITY;
    char line[PATH_ROOM], v1[PATH_ROOM];

    while (f && fgets(line, sizeof line, f)) { // "0::/user.slice", "5:memory:/docker/1f"
        char *controller = strchr(line, ':'), *at = controller ? strchr(controller + 1, ':') : NULL;
        if (!at) continue;
        *at++ = 0, at[strcspn(at, "\n")] = 0;
        if (!strcmp(controller, ":"))
            least = fmin(least, least_above(root, at, "memory.max"));
        else if (!strcmp(controller, ":memory") && !path_print(v1, "%s/memory", root))
            least = fmin(least, least_above(v1, at, "memory.limit_in_bytes"));
    }
    if (f) fclose(f);
    return least;
}

double memory_available(void)
{
    const double all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);

    return fmin(all, memory_cgroup_limit("/proc/self/cgroup", "/sys/fs/cgroup"));
}
