/* train_command.c - `cllava train`. */
#include "io/err.h"
#include "jobs/commands.h"
#include "jobs/train.h"

int command_train(const struct command_args *a)
{
    int rc;
    struct config cfg = {0};
    size_t n_sets;
    const char *const *sets = args_sets(a, &n_sets);
    struct train_options options = {.fresh = args_flag(a, "fresh"),
                                    .stop_after_task = (int)args_int(a, "stop-after-task", -1),
                                    .max_steps = args_int(a, "max-steps", -1),
                                    .quiet = args_flag(a, "quiet")};

    TRY(config_load(&cfg, args_positional(a, 0), sets, n_sets, NEED_BASE | NEED_STREAM | NEED_TRAIN | NEED_OUTPUT));
    TRY(train_run(&cfg, &options, NULL));
done:
    config_free(&cfg);
    return rc;
}
