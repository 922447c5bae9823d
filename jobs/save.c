/* save.c - see save.h. */
#include "jobs/save.h"

#include "io/err.h"
#include "jobs/run_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int save_settle(struct saver *v, bool wait)
{
    int rc;

    if (!*v->path || (!wait && ckpt_writing())) return CL_OK;
    if ((rc = ckpt_wait())) {
        err_prefix(rc, "checkpoint %s", v->path);
        *v->path = 0;
        return rc;
    }
    strcpy(v->last, v->path);
    *v->path = 0;
    if (!v->inside) return CL_OK;
    TRY(run_dir_prune(v->j->cfg.output, v->j->cfg.checkpoint.keep));
    log_begin(v->j->log, "checkpoint");
    log_int(v->j->log, "task", v->task);
    log_int(v->j->log, "step", v->steps);
    log_str(v->j->log, "file", strrchr(v->last, '/') + 1);
    TRY(log_end(v->j->log));
done:
    return rc;
}

/* The log goes to disk first: a checkpoint says up to which byte it holds. Takes path over. */
static int save(struct saver *v, char *path, bool inside, bool now)
{
    int rc;
    struct run_state *s = v->s;

    if (!path) FAIL(CL_ENOMEM, "no memory for a path");
    TRY(save_settle(v, true)); // one at a time
    TRY(log_sync(v->j->log));
    s->log_offset = log_offset(v->j->log);
    TRY(path_print(v->path, "%s", path));
    v->inside = inside, v->task = s->task, v->steps = s->steps;
    TRY(state_save(s, v->j, path, inside, !now, inside ? v->t->order : NULL, inside ? v->t->n : 0));
    rc = save_settle(v, now);
done:
    if (rc) *v->path = 0; // none is being written
    free(path);
    return rc;
}

int save_begin(struct saver *v)
{
    return save(v, run_dir_step_checkpoint(&v->j->cfg, 0), false, true);
}

int save_task(struct saver *v, int task)
{
    return save(v, run_dir_task_checkpoint(&v->j->cfg, task), false, true);
}

int save_step(struct saver *v, bool now)
{
    return save(v, run_dir_step_checkpoint(&v->j->cfg, v->s->steps), true, now);
}

int save_end(struct saver *v, int rc)
{
    char text[ERR_ROOM];
    int written;

    snprintf(text, sizeof text, "%s", err_text());
    written = save_settle(v, true);
    return rc ? err_set(rc, "%s", text) : written;
}
