/* signal.h - a wish to stop, noticed between two steps.
 *
 * SIGTERM and SIGUSR1 (what Slurm sends before the time is up) and SIGINT (Ctrl-C) ask a run to finish its step, write a
 * checkpoint and end with CL_ESTOP. A second SIGINT ends the program at once. Only commands that can go on later install
 * this; the others end on a signal as programs do.
 */
#ifndef CLLAVA_IO_SIGNAL_H
#define CLLAVA_IO_SIGNAL_H

#include <stdbool.h>

int signal_install(void);      // CL_ELIB when the system refuses
bool stop_requested(void);     // safe to ask at any time, from any thread
const char *stop_reason(void); // "SIGTERM"; "" when nothing was asked

#endif
