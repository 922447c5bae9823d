/* plan_job.c - the plan of a run that begins, on the ranks and the memory that are there. */
#include <omp.h>
#include <string.h>

#include "io/err.h"
#include "jobs/plan.h"
#include "mpi/ranks.h"

/* Where least memory is left to a rank. */
static int tightest_host(struct machine *m)
{
    int rc, n = ranks_size();
    const char **host = mem_new((size_t)n, sizeof *host);
    double *memory = mem_new((size_t)n, sizeof *memory);

    if (!host || !memory) FAIL(CL_ENOMEM, "no memory for %d ranks", n);
    for (int r = 0; r < n; r++) host[r] = ranks_host(r), memory[r] = ranks_memory(r);
    machine_tightest(m, n, host, memory);
    rc = CL_OK;
done:
    mem_free(host), mem_free(memory);
    return rc;
}

int plan_of_job(struct plan *p, const struct job *j, const struct task_data *train, const struct task_data *test)
{
    int rc;
    struct machine *m = &p->machine;

    *p = (struct plan){.cfg = j->cfg};
    machine_assumed(m); // rates do not matter here
    TRY(tightest_host(m));
    m->cores = omp_get_max_threads() * m->ranks_per_node;
    TRY(plan_base(p));
    plan_data_of(&p->data, train, test, j->cfg.stream.tasks, p->base.has_vision);
    p->data.new_tokens = j->cfg.eval.max_new_tokens;
    TRY(plan_method(p, false));
    TRY(plan_encoder(p));
done:
    return rc;
}

int plan_job_row(struct plan_row *r, const struct job *j, const struct task_data *train, const struct task_data *test)
{
    int rc;
    struct plan p;
    struct plan_layout l = {.ranks = ranks_size() > 0 ? ranks_size() : 1,
                            .tensor = j->cfg.parallel.tensor,
                            .micro = j->cfg.stage2.micro_batch,
                            .own = true};

    l.dedicated = l.ranks > 1 && !strcmp(j->cfg.parallel.coordinator, "dedicated");
    l.groups = (l.ranks - l.dedicated) / l.tensor;
    TRY(plan_of_job(&p, j, train, test));
    TRY(plan_row(r, &p, &l));
done:
    return rc;
}
