/* sweep_state.c - what the output folder holds of a run. A run is done when its summary is there and its own configuration is
 * the one that the sweep would give it now; whether one is running, the kernel's list of locks says (asking for the lock
 * itself could keep a run that just begins out of its own folder).
 */
#include "jobs/sweep.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "io/path.h"

const char *const sweep_state_names[SWEEP_STATES] = {"missing", "unfinished", "running", "failed", "done"};

int sweep_log_path(char out[], const struct sweep *s, const struct sweep_run *r, const char *ending)
{
    return path_print(out, "%s/logs/%s.%s", s->output, r->name, ending);
}

static bool exists(const char *path)
{
    return !access(path, F_OK);
}

/* Every task has its row of the matrix. */
static bool summary_is_whole(const char *path)
{
    json_t *o = json_load_file(path, 0, NULL);
    size_t tasks = json_array_size(json_object_get(o, "tasks"));
    bool whole = tasks > 0 && json_integer_value(json_object_get(o, "learned")) == (json_int_t)tasks;

    json_decref(o);
    return whole;
}

static bool same_settings(const char *path, const struct config *wanted)
{
    struct config c = {0};
    bool same = !config_load(&c, path, NULL, 0, 0) && config_hash(&c) == config_hash(wanted);

    config_free(&c);
    return same;
}

/* Does a process hold the lock of the folder (run_dir.h)? Its file names the process, /proc/locks confirms it. */
static bool is_locked(const char *dir)
{
    char path[PATH_ROOM], line[256];
    struct stat st;
    long pid = 0, holder;
    unsigned long inode;
    bool found = false;
    FILE *f;

    if (path_print(path, "%s/.lock", dir) || stat(path, &st) || !(f = fopen(path, "r"))) return false;
    if (fscanf(f, "pid %ld", &pid) != 1) pid = 0;
    fclose(f);
    if (!pid || !(f = fopen("/proc/locks", "r"))) return false;
    while (!found && fgets(line, sizeof line, f))
        found = sscanf(line, "%*d: FLOCK %*s %*s %ld %*x:%*x:%lu", &holder, &inode) == 2 && holder == pid &&
                inode == (unsigned long)st.st_ino;
    fclose(f);
    return found;
}

enum sweep_state sweep_state(const struct sweep *s, const struct sweep_run *r)
{
    char config[PATH_ROOM], summary[PATH_ROOM], failed[PATH_ROOM];

    if (path_print(config, "%s/config.yaml", r->dir) || path_print(summary, "%s/summary.json", r->dir) ||
        sweep_log_path(failed, s, r, "failed"))
        return SWEEP_MISSING;
    if (exists(config) && is_locked(r->dir)) return SWEEP_RUNNING;
    if (exists(config) && summary_is_whole(summary) && same_settings(config, &r->config)) return SWEEP_DONE;
    if (exists(failed)) return SWEEP_FAILED;
    return exists(config) ? SWEEP_UNFINISHED : SWEEP_MISSING;
}
