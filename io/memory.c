/* memory.c - /proc/self. */
#include "io/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
