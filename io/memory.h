/* memory.h - what the system says of this process's memory. */
#ifndef CLLAVA_IO_MEMORY_H
#define CLLAVA_IO_MEMORY_H

/* MiB that were resident at the same time, pages of mapped files too, since the start or since memory_forget_peak; -1: the
 * system does not say. */
double memory_peak(void);
void memory_forget_peak(void);

/* Bytes that the machine has, or the least that a control group which this process is in (a container, a batch job) allows to all
 * of its processes together. */
double memory_available(void);
/* The least limit of the groups that such a file lists (/proc/self/cgroup) and of those above them, version 1 or 2, below root
 * (/sys/fs/cgroup); INFINITY: none. */
double memory_cgroup_limit(const char *groups, const char *root);

#endif
