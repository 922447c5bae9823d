/* signal.c - see signal.h. The handler does nothing but remember the number; everything else happens between steps. */
#include "io/signal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "io/err.h"

static volatile sig_atomic_t requested, installed;

static void remember(int number)
{
    requested = number;
    if (number == SIGINT) signal(SIGINT, SIG_DFL); // the next one ends the program
}

int signal_install(void)
{
    static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
    struct sigaction act = {.sa_handler = remember, .sa_flags = SA_RESTART}; // reads and writes go on

    requested = 0;
    sigemptyset(&act.sa_mask);
    for (int i = 0; i < 3; i++)
        if (sigaction(numbers[i], &act, NULL))
            return err_set(CL_ELIB, "sigaction(%s): %s", strsignal(numbers[i]), strerror(errno));
    installed = 1;
    return CL_OK;
}

bool signal_installed(void)
{
    return installed != 0;
}

void stop_request(int number)
{
    if (!requested) requested = number;
}

int stop_signal(void)
{
    return requested;
}

bool stop_requested(void)
{
    return requested != 0;
}

const char *stop_reason(void)
{
    return requested == SIGTERM ? "SIGTERM" : requested == SIGUSR1 ? "SIGUSR1" : requested == SIGINT ? "SIGINT" : "";
}
