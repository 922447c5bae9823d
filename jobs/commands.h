/* commands.h - every command of the program. Each has a file of its own: command_train stands in jobs/train.c.
 *
 * A new command: its function in jobs/NAME.c, its declaration here, its row in jobs/commands.c.
 */
#ifndef CLLAVA_JOBS_COMMANDS_H
#define CLLAVA_JOBS_COMMANDS_H

#include "jobs/cli.h"

extern const struct command commands[]; // ends with name NULL

int command_train(const struct command_args *a);
int command_eval(const struct command_args *a);
int command_score(const struct command_args *a);
int command_generate(const struct command_args *a);
int command_encode(const struct command_args *a);
int command_metric(const struct command_args *a);
int command_judge(const struct command_args *a);
int command_inspect(const struct command_args *a);
int command_export(const struct command_args *a);
int command_config(const struct command_args *a);
int command_convert(const struct command_args *a);
int command_demo(const struct command_args *a);
int command_plan(const struct command_args *a);
int command_bench(const struct command_args *a);
int command_sweep(const struct command_args *a);

#endif
