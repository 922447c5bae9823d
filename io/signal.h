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
bool signal_installed(void);   // whether this process ends on request, between steps
bool stop_requested(void);     // safe to ask at any time, from any thread
int stop_signal(void);         // SIGTERM; 0 when nothing was asked
const char *stop_reason(void); // "SIGTERM"; "" when nothing was asked
/* The same wish as by that signal, from elsewhere (another rank). From any thread. */
void stop_request(int number);

#endif
