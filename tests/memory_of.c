/* memory_of FILE COMMAND ..: runs the command and appends to FILE a line of what it took of the machine's memory, in KiB:
 *
 *     RANK OWN FILE ALL   most that was held at once of its own (anonymous and shared memory), of mapped files, of all
 *
 * RANK is the number that mpirun gave, 0 alone. OWN is what a cluster's memory limit counts and cannot take back; pages of
 * mapped files are the system's cache. Looked at every few milliseconds, so a shorter peak may be missed; ALL is the kernel's
 * own peak (VmHWM), which misses nothing. Made for `mpirun -n P memory_of FILE cllava ..`: every rank appends its line. Ends
 * with the command's exit status. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void look(pid_t pid, long *own, long *file, long *all)
{
    char path[64], line[256];
    long anonymous = 0, shared = 0, mapped = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (!(f = fopen(path, "r"))) return;
    while (fgets(line, sizeof line, f)) {
        if (!strncmp(line, "RssAnon:", 8)) anonymous = strtol(line + 8, NULL, 10);
        if (!strncmp(line, "RssShmem:", 9)) shared = strtol(line + 9, NULL, 10);
        if (!strncmp(line, "RssFile:", 8)) mapped = strtol(line + 8, NULL, 10);
        if (!strncmp(line, "VmHWM:", 6)) *all = strtol(line + 6, NULL, 10);
    }
    fclose(f);
    if (anonymous + shared > *own) *own = anonymous + shared;
    if (mapped > *file) *file = mapped;
}

int main(int argc, char **argv)
{
    int status, out;
    long own = 0, file = 0, all = 0;
    char line[96];
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    pid_t pid;

    if (argc < 3) return fprintf(stderr, "usage: memory_of FILE COMMAND ..\n"), 2;
    if ((pid = fork()) < 0) return perror("fork"), 2;
    if (!pid) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    while (!waitpid(pid, &status, WNOHANG)) {
        look(pid, &own, &file, &all);
        nanosleep(&(struct timespec){0, 4000000}, NULL);
    }
    snprintf(line, sizeof line, "%s %ld %ld %ld\n", rank ? rank : "0", own, file, all);
    out = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (out < 0 || write(out, line, strlen(line)) < 0 || close(out)) return perror(argv[1]), 2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
