/* sweep_local.c - the runs of a sweep on this machine, some at a time.
 *
 * Each run is this program again, `train RUN/config.yaml`, in a process group of its own with its output in a log file. A wish
 * to stop is passed on as SIGUSR1 (mpirun hands that to its ranks, and a Ctrl-C that the children got as well would end them
 * hard); they end with status 75 at a checkpoint. Should this process die, the kernel sends them the same.
 */
#include "jobs/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/err.h"
#include "io/path.h"
#include "io/signal.h"
#include "io/whole.h"
#include "jobs/run_dir.h"

enum { REASON = 512, STOPPED = 75 };

struct child {
    pid_t pid; // 0: free
    const struct sweep_run *run;
    double begun;
    off_t log_from; // of this start in the log file
};

struct local {
    const struct sweep *s;
    struct child *child; // (jobs)
    int jobs, live;
    int next, total, done, stopped; // runs looked at; to be started in this session; how they ended
    double seconds;                 // that the runs which are done took
    bool passed_on;                 // the wish to stop
    struct text failures;           // "NAME (why); .."
    int failed;
};

/* ---- starting one */

/* Threads of a process when nothing says: the processors, shared by all that run at a time. */
static int share_of_threads(const struct local *l)
{
    int n = omp_get_num_procs() / (l->jobs * l->s->ranks);

    return n > 1 ? n : 1;
}

static int write_config(const struct local *l, const struct sweep_run *r)
{
    int rc;
    char *yaml = NULL;
    struct config c = r->config; // a look at it: nothing is freed

    if (!c.threads) c.threads = share_of_threads(l);
    TRY(run_dir_make(r->dir));
    TRY(config_yaml(&c, &yaml));
    TRY(whole_write(r->dir, "config.yaml", yaml, strlen(yaml)));
done:
    free(yaml);
    return rc;
}

/* In the new process: nothing but system calls until exec. */
static void become(char *const *argv, const char *file, int log, pid_t parent) __attribute__((noreturn));
static void become(char *const *argv, const char *file, int log, pid_t parent)
{
    int null = open("/dev/null", O_RDONLY);

    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    signal(SIGHUP, SIG_IGN);                 // what a halted run would get too when the sweep dies, and end by instead
    if (getppid() != parent) _exit(STOPPED); // it died before that
    if (null >= 0 && dup2(null, 0) == 0 && dup2(log, 1) == 1 && dup2(log, 2) == 2) execvp(file, argv);
    dprintf(2, "cllava: error: cannot start %s: %s\n", file, strerror(errno));
    _exit(1);
}

static int spawn(struct local *l, struct child *c, char *config)
{
    int rc = CL_OK, log = -1;
    char path[PATH_ROOM], self[PATH_ROOM], ranks[16];
    char *alone[] = {"cllava", "train", config, NULL};
    char *many[] = {"mpirun", "--bind-to", "none", "-n", ranks, self, "train", config, NULL};
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    pid_t parent = getpid();

    if (n <= 0) FAIL(CL_EIO, "cannot tell where the program stands: %s", strerror(errno));
    self[n] = 0;
    snprintf(ranks, sizeof ranks, "%d", l->s->ranks);
    TRY(sweep_log_path(path, l->s, c->run, "log"));
    log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0) FAIL(CL_EIO, "cannot write %s: %s", path, strerror(errno));
    c->log_from = lseek(log, 0, SEEK_END);
    fflush(NULL);
    c->pid = fork();
    if (!c->pid) become(l->s->ranks > 1 ? many : alone, l->s->ranks > 1 ? "mpirun" : "/proc/self/exe", log, parent);
    if (c->pid < 0) {
        c->pid = 0;
        FAIL(CL_ELIB, "cannot start a process: %s", strerror(errno));
    }
    setpgid(c->pid, c->pid); // both sides do it: whoever comes first
    l->live++;
    c->begun = clock_seconds();
done:
    if (log >= 0) close(log);
    return rc;
}

static int start(struct local *l, struct child *c, const struct sweep_run *r)
{
    int rc;
    char config[PATH_ROOM], failed[PATH_ROOM];

    c->run = r;
    TRY(write_config(l, r));
    TRY(sweep_log_path(failed, l->s, r, "failed"));
    if (unlink(failed) && errno != ENOENT) FAIL(CL_EIO, "cannot remove %s: %s", failed, strerror(errno));
    TRY(path_print(config, "%s/config.yaml", r->dir));
    TRY(spawn(l, c, config));
done:
    return rc;
}

/* ---- when one ends */

/* The last error message of this start, or what the status says. */
static void reason_of(char out[REASON], const struct local *l, const struct child *c, int status)
{
    static const char mark[] = "cllava: error: ";
    char path[PATH_ROOM], *line = NULL;
    size_t room = 0;
    FILE *f = sweep_log_path(path, l->s, c->run, "log") ? NULL : fopen(path, "r");

    if (WIFSIGNALED(status))
        snprintf(out, REASON, "ended by signal %d, %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, REASON, "status %d", WEXITSTATUS(status));
    if (f && !fseeko(f, c->log_from, SEEK_SET))
        while (getline(&line, &room, f) > 0)
            if (!strncmp(line, mark, sizeof mark - 1))
                snprintf(out, REASON, "%.*s", (int)strcspn(line + sizeof mark - 1, "\n"), line + sizeof mark - 1);
    free(line);
    if (f) fclose(f);
}

static int note_failure(struct local *l, const struct child *c, const char *why)
{
    int rc;
    char path[PATH_ROOM];

    text_add(&l->failures, "%s%s (%s)", l->failed++ ? "; " : "", c->run->name, why);
    TRY(sweep_log_path(path, l->s, c->run, "failed"));
    TRY(whole_write_path(path, why, strlen(why)));
done:
    return rc;
}

/* Seconds until the rest is done, from how long runs took so far; NaN while none is done. */
static double time_left(const struct local *l)
{
    double mean = l->done ? l->seconds / l->done : NAN, work = 0, now = clock_seconds();

    work = mean * (l->total - l->done - l->failed - l->stopped - l->live);
    for (int i = 0; i < l->jobs; i++)
        if (l->child[i].pid && mean > now - l->child[i].begun) work += mean - (now - l->child[i].begun);
    return work / l->jobs;
}

static void say(const struct local *l, const char *what, const struct child *c)
{
    double left = time_left(l), took = clock_seconds() - c->begun;
    char rest[64] = "";

    if (isfinite(left) && l->done + l->failed + l->stopped < l->total)
        snprintf(rest, sizeof rest, left < 90 ? ", about %.0f s left" : ", about %.0f min left",
                 left < 90 ? left : left / 60);
    fprintf(stderr, "[%d/%d] %-8s %s", l->done + l->failed + l->stopped, l->total, what, c->run->name);
    if (strcmp(what, "started")) fprintf(stderr, "  %.0f s%s", took, rest);
    fputc('\n', stderr);
}

static int reap(struct local *l, struct child *c, int status)
{
    int rc = CL_OK;
    char why[REASON];
    bool ended = WIFEXITED(status),
         stopped = ended ? WEXITSTATUS(status) == STOPPED : l->passed_on && WTERMSIG(status) == SIGUSR1;

    c->pid = 0;
    l->live--;
    if (ended && !WEXITSTATUS(status) && sweep_state(l->s, c->run) == SWEEP_DONE) {
        l->done++, l->seconds += clock_seconds() - c->begun;
        say(l, "done", c);
    } else if (stopped) {
        l->stopped++;
        say(l, "stopped", c);
    } else {
        reason_of(why, l, c, status);
        if (ended && !WEXITSTATUS(status)) snprintf(why, sizeof why, "ended without a whole summary.json");
        TRY(note_failure(l, c, why));
        say(l, "FAILED", c);
    }
done:
    return rc;
}

static int reap_all(struct local *l)
{
    int rc = CL_OK, status;

    for (int i = 0; i < l->jobs; i++) {
        struct child *c = &l->child[i];
        pid_t got = c->pid ? waitpid(c->pid, &status, WNOHANG) : 0;
        if (got > 0) TRY(reap(l, c, status));
    }
done:
    return rc;
}

/* ---- all of them */

static void pass_on_stop(struct local *l)
{
    if (l->passed_on || !stop_requested()) return;
    l->passed_on = true;
    fprintf(stderr, "%s: %d run%s go%s to a checkpoint\n", stop_reason(), l->live, l->live == 1 ? "" : "s",
            l->live == 1 ? "es" : "");
    for (int i = 0; i < l->jobs; i++)
        if (l->child[i].pid) kill(l->child[i].pid, SIGUSR1);
}

/* The next run that is not done, or NULL. */
static const struct sweep_run *next_run(struct local *l)
{
    while (l->next < l->s->runs) {
        const struct sweep_run *r = &l->s->run[l->next++];
        if (sweep_state(l->s, r) != SWEEP_DONE) return r;
    }
    return NULL;
}

static int fill(struct local *l)
{
    int rc = CL_OK;

    for (int i = 0; i < l->jobs && !stop_requested(); i++) {
        const struct sweep_run *r = l->child[i].pid ? NULL : next_run(l);
        if (!r) continue;
        TRY(start(l, &l->child[i], r));
        say(l, "started", &l->child[i]);
    }
done:
    return rc;
}

static int run_all(struct local *l)
{
    int rc;
    const struct timespec pause = {.tv_nsec = 20000000};

    do {
        TRY(fill(l));
        pass_on_stop(l);
        TRY(reap_all(l));
        if (l->live) nanosleep(&pause, NULL);
    } while (l->live || (l->next < l->s->runs && !stop_requested()));
done:
    if (rc) // a fault of this program: what runs is asked to stop and waited for
        for (int i = 0; i < l->jobs; i++)
            if (l->child[i].pid) kill(l->child[i].pid, SIGUSR1), waitpid(l->child[i].pid, NULL, 0);
    return rc;
}

static int check_mpirun(const struct sweep *s)
{
    const char *at = getenv("PATH");
    char path[PATH_ROOM];

    if (s->ranks == 1) return CL_OK;
    for (; at && *at; at += strcspn(at, ":"), at += *at == ':')
        if (!path_print(path, "%.*s/mpirun", (int)strcspn(at, ":"), at) && !access(path, X_OK)) return CL_OK;
    return err_set(CL_ECONFIG,
                   "%s: ranks: no mpirun in PATH (got %d ranks per run, expected Open MPI's mpirun); hint: install "
                   "openmpi-bin, or ranks: 1",
                   s->file, s->ranks);
}

static int verdict(const struct local *l)
{
    if (stop_requested())
        return err_set(CL_ESTOP, "stopped on %s with %d of %d runs to do; hint: the same command goes on from here",
                       stop_reason(), l->total - l->done - l->failed, l->total);
    if (l->failed)
        return err_set(CL_ELIB, "%d of %d runs failed: %.1200s; hint: see %s/logs, the same command tries them again",
                       l->failed, l->total, l->failures.s ? l->failures.s : "", l->s->output);
    if (l->stopped)
        return err_set(CL_ESTOP, "%d of %d runs were stopped at a checkpoint; hint: the same command goes on from here",
                       l->stopped, l->total);
    return CL_OK;
}

int sweep_local(const struct sweep *s, int jobs)
{
    int rc, lock = -1;
    char logs[PATH_ROOM];
    struct local l = {.s = s, .jobs = jobs, .child = calloc((size_t)jobs, sizeof *l.child)};

    if (!l.child) FAIL(CL_ENOMEM, "no memory for %d runs at a time", jobs);
    TRY(check_mpirun(s));
    TRY(signal_install());
    TRY(path_print(logs, "%s/logs", s->output));
    TRY(run_dir_make_folders(logs));
    TRY(run_dir_lock(s->output, &lock));
    for (int i = 0; i < s->runs; i++) l.total += sweep_state(s, &s->run[i]) != SWEEP_DONE;
    fprintf(stderr, "%d runs, %d done, %d to do, %d at a time\n", s->runs, s->runs - l.total, l.total, jobs);
    TRY(run_all(&l));
    rc = verdict(&l);
done:
    if (lock >= 0) close(lock);
    free(l.child);
    text_free(&l.failures);
    return rc;
}
