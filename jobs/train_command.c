/* train_command.c - `cllava train`. */
#include "io/err.h"
#include "io/signal.h"
#include "jobs/commands.h"
#include "jobs/settings.h"
#include "jobs/train.h"

int command_train(const struct command_args *a)
{
    int rc;
    struct config cfg = {0};
    struct train_options options = {.fresh = args_flag(a, "fresh"),
                                    .stop_after_task = (int)args_int(a, "stop-after-task", -1),
                                    .max_steps = args_int(a, "max-steps", -1),
                                    .quiet = args_flag(a, "quiet")};

    TRY(settings_load(&cfg, a, args_positional(a, 0), NEED_BASE | NEED_STREAM | NEED_TRAIN | NEED_OUTPUT));
    TRY(signal_install());
    TRY(train_run(&cfg, &options, NULL));
done:
    config_free(&cfg);
    return rc;
}
