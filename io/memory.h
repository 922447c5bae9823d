/* memory.h - what the system says of this process's memory. */
#ifndef CLLAVA_IO_MEMORY_H
#define CLLAVA_IO_MEMORY_H

/* MiB that were resident at the same time, pages of mapped files too, since the start or since memory_forget_peak; -1: the
 * system does not say. */
double memory_peak(void);
void memory_forget_peak(void);

#endif
