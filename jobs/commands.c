/* commands.c - the table of commands. Help, manual page, completion and parser follow it.
 *
 * A row: name, arguments, one line, details, options, function (cli.h says what each means). Rows stand in the order of a
 * user's way through the program.
 */
#include "jobs/commands.h"

#include "demo/generate.h"
#include "io/judge.h"

static const struct cli_option train_options[] = {
    OPTION_SET,
    OPTION_FLAG("fresh", "begins anew; a run that the output folder holds is moved aside"),
    OPTION_INT("stop-after-task", 0, 100000, "stops at the checkpoint of task N (counted from 0)"),
    OPTION_INT("max-steps", 1, INT64_MAX, "stops at a checkpoint when the run has taken N optimizer steps"),
    OPTION_QUIET,
    OPTIONS_END,
};
static const struct cli_option eval_options[] = {
    OPTION_SET,
    OPTION_WORD("routing", "free, oracle, random, mean_key",
                "which slots compete: all, the task's own, chance, or those of the task whose mean key is nearest"),
    OPTION_TEXT("tasks", "a,b", "only these tasks"),
    OPTION_FILE("output", "DIR", "where predictions go; default: beside the checkpoint"),
    OPTION_QUIET,
    OPTIONS_END,
};
static const struct cli_option score_options[] = {
    OPTION_SET,
    OPTION_FLAG("base-only", "the first argument is a configuration: scores its base without increments"),
    OPTION_FILE("config", "CONFIG", "a configuration in place of the one in the checkpoint"),
    OPTION_FILE("images", "DIR", "folder that the records' image paths are relative to; default: the file's own"),
    OPTIONS_END,
};
static const struct cli_option generate_options[] = {
    OPTION_SET,
    OPTION_FILE("image", "FILE", "the picture that is talked about"),
    OPTION_FLAG("base-only", "the first argument is a configuration: the base without increments answers"),
    OPTION_FILE("config", "CONFIG", "a configuration in place of the one in the checkpoint"),
    OPTIONS_END,
};
static const struct cli_option judge_options[] = {
    OPTION_WORD("form", JUDGE_FORMS, "what the judge is told and how it replies; default llava_bench"),
    OPTION_FILE("output", "FILE", "export: where the requests go"),
    OPTION_FILE("rule", "FILE", "export: your own words in place of the form's rule"),
    OPTION_FILE("run", "DIR", "import: the run whose answers were judged"),
    OPTIONS_END,
};
static const struct cli_option encode_options[] = {OPTION_SET, OPTIONS_END};
static const struct cli_option inspect_options[] = {
    OPTION_JSON,
    OPTION_FLAG("layers", "the norm of every slot's increment in every layer"),
    OPTIONS_END,
};
static const struct cli_option export_options[] = {
    OPTION_WORD("format", "peft", "form of the export: peft, a LoRA directory that Hugging Face loads"),
    OPTION_TEXT("task", "T", "exports the mixture of a task, by name or number (from 0)"),
    OPTION_INT("slot", 0, INT32_MAX, "exports one slot with coefficient 1"),
    OPTION_FILE("output", "DIR", "folder to write (default: peft-task<t>-<name> or peft-slot<n>)"),
    OPTIONS_END,
};
static const struct cli_option demo_options[] = {
    OPTION_SET,
    OPTION_WORD("stream", GENERATE_STREAMS,
                "what is learned: four kinds of pictures (domain, default), three ways of "
                "answering, or eight data sets"),
    OPTION_FILE("base", "DIR", "another base than the embedded one"),
    OPTION_INT("train", 1, 99999, "training records per task; default 1000"),
    OPTION_INT("test", 1, 99999, "test records per task; default 200"),
    OPTION_INT("seed", 0, INT64_MAX, "of stream and training; default 0"),
    OPTION_FLAG("write-only", "writes base, stream and configurations, trains nothing"),
    OPTION_FLAG("fresh", "begins anew; runs that the folder holds are moved aside"),
    OPTIONS_END,
};
static const struct cli_option plan_options[] = {
    OPTION_SET,
    OPTION_TEXT("ranks", "1,2,4", "numbers of ranks to look at; default 1,2,4,8,16,32,64"),
    OPTION_FILE("machine", "FILE",
                "what `cllava bench --machine FILE` measured; without it a typical cluster is assumed"),
    OPTION_INT("ranks-per-node", 1, 4096, "ranks that share a node's cores and memory"),
    OPTION_INT("tokens", 2, 10000000, "tokens of a sample, in place of the task files' or of stage2.max_length"),
    OPTION_INT("answers", 1, 10000000, "answer tokens of a sample; default 32, or a quarter of a short one"),
    OPTION_INT("samples", 1, INT64_MAX, "training records of a task; default 10000 (and a tenth of it questions)"),
    OPTION_INT("tasks", 1, 4096, "tasks of the stream; default: as configured, else 4"),
    OPTION_FLAG("eval", "what `cllava eval` takes, not `cllava train`"),
    OPTION_FLAG("scaling", "weak and strong scaling to 512 ranks instead, as Markdown"),
    OPTION_FILE("svg", "FILE", "with --scaling: a picture of it"),
    OPTION_JSON,
    OPTIONS_END,
};
static const struct cli_option bench_options[] = {
    OPTION_TEXT(
        "shape", "s,m",
        "sizes of base: s (width 512), m (width 2048, a real ViT-L/14-336), l (LLaVA-1.5-7B), tiny; default s,m"),
    OPTION_TEXT("precision", "f32,bf16", "default both"),
    OPTION_TEXT(
        "rows", "GROUPS",
        "what is measured, some of device, training, forward, prefill, decode, evaluation, routing; default all"),
    OPTION_TEXT("batch", "1,4", "samples in a step, sequences decoded at once; default 1,4"),
    OPTION_INT("seconds", 0, 3600, "for that long a measurement is repeated; 0: once more; default 2"),
    OPTION_INT("samples", 1, 64, "questions of an evaluation; default 64, of shapes m and l 8"),
    OPTION_FILE("base", "DIR", "a base of the one --shape (--write-base), in place of one made for the time being"),
    OPTION_FLAG("growth", "measures instead what a step costs where one size grows"),
    OPTION_SET,
    OPTION_FILE("machine", "FILE", "measures only what `cllava plan` needs to know of a node, and writes it there"),
    OPTION_FLAG("collectives", "measures sums, gathers and broadcasts over all ranks (mpirun -n P cllava bench ..)"),
    OPTION_FLAG("cpu-time", "counts the processors' time, not elapsed time: for one thread where others work too"),
    OPTION_FLAG("profile", "shows which operations the time goes to"),
    OPTION_FILE("csv", "FILE", "writes the figures as CSV too"),
    OPTION_FILE("write-base", "DIR", "writes the random base of --shape there, to keep, and measures nothing"),
    OPTIONS_END,
};
static const struct cli_option convert_options[] = {
    OPTION_LIST("images", "DIR", "folder that holds the pictures (repeatable); default: SOURCE"),
    OPTION_LIST("split", "NAME", "only this split of the release; test=val makes test.jsonl of val (repeatable)"),
    OPTION_INT("limit", 1, INT64_MAX, "the first N samples of each file"),
    OPTION_FLAG("copy", "copies the pictures to DEST/images; default: they stay where they are"),
    OPTION_FLAG("strict", "the first sample that cannot be used is an error; default: counted and left out"),
    OPTION_LIST("map", "OLD=NEW", "replaces a begin of picture names, e.g. ImageNet/=ImageNet_withlabel/ (repeatable)"),
    OPTION_TEXT("prompt", "FORM", "form of the instruction where a kind has several (convert list KIND)"),
    OPTION_TEXT("hold-out", "PERCENT", "LLaVA-Instruct, llava-json: pictures whose samples become test.jsonl"),
    OPTION_FILE("answers", "FILE", "question files: references by question_id, JSONL or TextVQA's annotations"),
    OPTION_FILE("ocr", "FILE", "textvqa: tokens read by OCR, put into the prompt"),
    OPTION_FILE("names", "FILE", "imagenet: other names of classes, lines `wnid name`"),
    OPTION_FILE("classes", "FILE", "imagenet: only these classes, a wnid per line"),
    OPTION_WORD("by", "unc, umd, google", "refcoco: whose references; default: the first of these that is there"),
    OPTION_WORD("box", "pad, plain",
                "refcoco: boxes on the picture padded to a square (default), or on the picture itself"),
    OPTION_FLAG("choose-img", "iconqa: takes choices between pictures, too, as one picture of all (with --copy)"),
    OPTION_FILE("base", "DIR", "stream: the base that the file names"),
    OPTION_FILE("encoder", "DIR", "stream: the encoder that the file names"),
    OPTION_FLAG("force", "stream: replaces a file that is there"),
    OPTION_QUIET,
    OPTIONS_END,
};
static const struct cli_option sweep_options[] = {
    OPTION_FLAG("local", "runs what is not done yet, on this machine"),
    OPTION_FLAG("dry-run", "lists the runs, what each changes and its state; runs nothing"),
    OPTION_INT("jobs", 1, 1024, "runs at a time, in place of the file's `jobs`"),
    OPTION_TEXT("by", "key,key",
                "table: a row for each value of these, `order` too; default: all that differs but seed"),
    OPTION_FILE("csv", "FILE", "table: means and deviations as CSV"),
    OPTION_FILE("latex", "FILE", "table: as LaTeX"),
    OPTION_FILE("markdown", "FILE", "table: as Markdown"),
    OPTIONS_END,
};
static const struct cli_option report_options[] = {
    OPTION_FILE("output", "FILE", "where the report goes; default: report.html, of a single run in its folder"),
    OPTION_FILE("csv", "FILE", "every cell of the matrices, one a line"),
    OPTION_FILE("latex", "FILE", "the tables as LaTeX"),
    OPTIONS_END,
};
static const struct cli_option config_options[] = {OPTION_SET, OPTION_JSON, OPTIONS_END};

const struct command commands[] = {
    {"train", "CONFIG", "learns a stream of tasks one after another and prints the accuracy matrix",
     "For each task: stage 1 (keys), stage 2 (increments), a checkpoint, evaluation of every task seen. What the "
     "output folder\n"
     "holds unfinished is resumed by itself, bit for bit. SIGTERM or SIGUSR1 finish the step, write a checkpoint and "
     "end with\n"
     "exit status 75; so do --max-steps and --stop-after-task while work is left.",
     train_options, command_train},
    {"eval", "CHECKPOINT [CONFIG]", "evaluates a checkpoint on every task of its stream: predictions, scores, routing",
     NULL, eval_options, command_eval},
    {"score", "CHECKPOINT FILE", "negative log-likelihood of every answer in a task file, one JSON line per sample",
     "{id, nll (natural log, sum over answer tokens), tokens, selected, intrinsic, context (coefficient per slot)}.\n"
     "With --base-only: cllava score --base-only CONFIG FILE.",
     score_options, command_score},
    {"generate", "CHECKPOINT [QUESTION]",
     "answers a question about a picture, streaming; without QUESTION reads them line by line",
     "The slots that an answer used follow on stderr. With --base-only the first argument is a configuration.",
     generate_options, command_generate},
    {"metric", "NAME [FILE]",
     "scores a JSONL of {id, prediction, references}: {id, score} per line, the mean on stderr",
     "`cllava metric list` names the metrics; FILE - reads standard input. references are texts, {choices, answer},\n"
     "boxes or a matrix, whatever the metric takes; question_type, choices and size may stand beside them.\n"
     "With the mean come its 95 % bootstrap interval, each question_type's mean and BLEU's corpus score.",
     NULL, command_metric},
    {"judge", "ACTION PATH ..", "export: answers as requests for a language model that judges; import: its verdicts",
     "cllava judge export RUN-OR-PREDICTIONS .. --output FILE; cllava judge import FILE .. --run RUN.\n"
     "Requests are {id, question_id, question, reference, prediction, messages}, verdicts {id, content}. An id is made "
     "of what\n"
     "is judged: equal answers are asked once, and RUN/judge-cache.jsonl keeps every verdict. The matrix goes to "
     "judge.csv and\n"
     "judge.json, never among the scores of rules. The rules are our own words: scores do not compare with published "
     "ones.",
     judge_options, command_judge},
    {"encode", "CONFIG TEXT ..", "what routing sees of a text: {text, tokens, embedding} per line", NULL,
     encode_options, command_encode},
    {"inspect", "CHECKPOINT", "shows what a checkpoint holds: tasks, pool, context weights, history, accuracy",
     "Reads the whole file, so that every checksum in it is verified. Needs no base model.", inspect_options,
     command_inspect},
    {"export", "CHECKPOINT", "writes a slot, or a task's mixture, as a LoRA directory of PEFT",
     "A LoRA cannot route: the mixture of a task is the mean increment over its own training samples,\n"
     "its slots weighted by their use and those of earlier tasks by the context weights.",
     export_options, command_export},
    {"config", "[CONFIG]", "checks a configuration and writes it out resolved; alone: describes every key",
     "Everything that `train` would refuse is refused here: unknown keys, wrong types, missing files.", config_options,
     command_config},
    {"convert", "KIND [SOURCE] [DEST]", "turns an official data set release into task files",
     "  cllava convert list                      names the kinds of releases\n"
     "  cllava convert list docvqa               where to get it, the layout expected, what a record becomes\n"
     "  cllava convert docvqa SOURCE DEST        writes DEST/train.jsonl, DEST/test.jsonl, DEST/convert.json\n"
     "  cllava convert stream coast-domain ROOT  writes ROOT/coast-domain.yaml over tasks converted to ROOT/chartqa, "
     "..\n"
     "Files may be gzipped and larger than memory. What cannot be used (picture missing, no answer, broken record) is\n"
     "counted with file and record number. DEST is complete or not changed. Ready streams: coast-domain, "
     "coast-capability,\n"
     "coast-dataset, coin, ucit. Parquet copies: tools/parquet.py unpacks them first.",
     convert_options, command_convert},
    {"demo", "DIR", "writes an embedded stream and base, trains three methods on them and compares",
     "Sequential LoRA, a small replay and Continual LLaVA on small tasks like COAST's; a few minutes on two cores.",
     demo_options, command_demo},
    {"plan", "CONFIG", "what a run would take on so many ranks: memory, operations, bytes on the wire, time",
     "Nothing is run: config.json of the base is enough. The model's own code is asked what it would hold and compute, "
     "for "
     "every\n"
     "split of the ranks into copies of the base (data) that so many ranks share (tensor). Lengths are those of the "
     "task files "
     "where\n"
     "they and the tokenizer are there. Memory is what a cluster's limit counts; time is a model's that knows rates of "
     "products,\n"
     "memory and collectives: measure yours, on one node and then over all kinds of links, and plan with it:\n"
     "  cllava bench --machine my.json\n"
     "  mpirun -n 2 cllava bench --collectives --machine my.json     (once inside a node, once over two)\n"
     "  cllava plan CONFIG --machine my.json --ranks 8,16 --ranks-per-node 2",
     plan_options, command_plan},
    {"sweep", "[ACTION] SPEC", "many runs over one configuration: a grid, a list, seeds, orders of the tasks",
     "  cllava sweep SPEC --dry-run   lists the runs\n"
     "  cllava sweep SPEC --local     runs them; what is done is skipped, what is unfinished goes on\n"
     "  cllava sweep status SPEC      done, running, failed, unfinished, missing\n"
     "  cllava sweep table SPEC       mean and deviation over seeds and orders\n"
     "SPEC is YAML: base: CONFIG, output: DIR; grid: {key: [values]}, list: [{key: value}], seeds: [0, 1],\n"
     "orders: [[task, ..], ..] (every combination of them is a run), set: {key: value} for all; jobs, ranks, threads.\n"
     "Runs stand in DIR/runs, their output in DIR/logs. SIGTERM, SIGUSR1 and Ctrl-C let all of them write a checkpoint "
     "and end with\n"
     "status 75; the same command goes on.",
     sweep_options, command_sweep},
    {"report", "RUN ..", "runs side by side in one HTML file: matrices, forgetting, routing, context weights, losses",
     "The file needs nothing else. A run of `cllava train` has one of its own, report.html, when it ends.",
     report_options, command_report},
    {"bench", "", "measures this machine: products, memory, training steps, generation on bases of random weights",
     "A base is written below TMPDIR for as long as it takes (shape m: 2.1 GB,\nl: 14.1 GB). Close other programs "
     "first. Over several ranks (mpirun -n 2 cllava bench) it measures\nsteps, generation and evaluation of the ranks "
     "as "
     "one group, then as groups of one; --set gives\nkeys of the configuration for evaluation and generation.",
     bench_options, command_bench},
    {.name = NULL},
};
