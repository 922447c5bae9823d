/* config.h - the configuration: one table gives parser, ranges, defaults, help and the resolved file.
 *
 * YAML, then --set key=value, checked against OPTIONS in io/config_options.h; what is not given has its default. An unknown
 * key, a wrong type, a value out of range, a missing file is CL_ECONFIG with file, line, key and the valid values, before
 * any work. Paths are relative to the YAML file (those of --set to the working folder) and absolute after loading.
 */
#ifndef CLLAVA_IO_CONFIG_H
#define CLLAVA_IO_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "io/text.h"

struct task_config {
    char *name;          // plain: letters, digits, - _ . ; used in file names
    char *train, *test;  // task files; train may be NULL for eval-only streams
    char *images;        // folder that records' image paths are relative to; NULL: each task file's own
    char *metric;        // "exact"
    char *prompt_suffix; // text put behind every first question, or NULL
};

struct config {
    char *base, *encoder; // directories; encoder may be "base"
    struct {
        char *name;
        struct task_config *task;
        int tasks;
    } stream;
    char *method; // "continual_llava"
    struct {
        char *template_, *system;
        bool legacy;
        char *instruction; // as_is, before, after
    } prompt;              // system NULL: the template's own
    struct {
        char *aspect;
        bool exif;
        int64_t cache_mib;
    } image; // aspect NULL: what the base says
    struct {
        int slots_per_task, rank, top_m, key_groups;
        double scale, temperature;
        char *a_init, *init;
        char *query, *mix; // question, picture, both; cosine, softmax, uniform
    } pool;
    struct {
        char *projections; // names as in model/projections.h, in that order
    } adapter;
    struct {
        bool enabled;
        char *weights; // learned, uniform, fixed
        double value;
    } context;
    struct {
        double first, last;
    } lines;
    struct {
        double scale, lr;
    } taskres; // of residuals of the logits; scale 0: none; lr 0: that of stage 2
    struct {
        double threshold;
        int64_t samples;
        int rank;
    } lw2g; // degrees, 0: every task grows; records looked at; vectors of a task's basis
    struct {
        int epochs, batch;
        double lr, weight_decay, lr_decay, clip;
        bool shuffle;
    } stage1;
    struct {
        int epochs, batch, micro_batch;
        double lr, weight_decay, warmup_ratio, clip, beta1, beta2, eps;
        char *schedule; // cosine, linear, constant
        bool shuffle;
        int64_t max_length;
    } stage2;
    struct {
        int rank;
        double alpha;
        char *a_init;
    } lora; // sequential_lora, joint, replay; alpha 0: scale 1
    struct {
        int budget;
        double ratio;
        char *choose; // random, kpig
    } replay;         // samples kept per task; replayed per own sample of a step
    struct {
        double share;
        int64_t every;
        double weight, margin;
    } kpig; // of what is kept, those with the lowest gain; steps between two measurements, 0: one a task; pool/kpig.h
    struct {
        int seeds;
        char *questions; // kept, written
    } self_guide;        // questions that are kept of a task
    struct {
        double lambda, gamma;
        int64_t samples;
    } ewc; // of the penalty; decay of earlier Fisher sums; records per task, 0: all
    struct {
        double lambda;
    } o_lora; // of the penalty
    struct {
        int experts, rank, top_k;
        double router_lr;
    } moe_lora; // top_k 0: all experts; highest learning rate of the router
    struct {
        int prompts, length, top_m;
        double lambda, key_lr, init;
        bool diversity;
    } l2p; // key_lr 0: that of stage 2
    struct {
        double lambda, temperature;
    } lwf;
    struct {
        bool after_each_task, zero_shot, next_task, share_prefix;
        int max_new_tokens, batch;
        char *routing, *decode_weights;
        int64_t limit, loss_samples;
    } eval;
    struct {
        int tensor;
        char *coordinator, *wire;
        bool overlap;
    } parallel;
    struct {
        double seconds;
    } watchdog; // 0: never
    struct {
        int64_t every_steps;
        int keep;
    } checkpoint;
    struct {
        char *on_error;
        int64_t limit;
    } data;                   // stop, skip; train records per task, 0: all
    char *precision, *device; // bf16, f32; auto, cpu, cuda
    char *activations;        // "auto", or a name of enum recompute (model/lvlm.h)
    double memory_limit;      // GiB of a rank; 0: what there is
    int threads;              // 0: all
    int64_t seed;
    char *output; // run directory
    char *file;   // path of the YAML
    void *internal;
};

/* What the command needs to be there: paths are checked only where used. */
enum config_need { NEED_BASE = 1, NEED_ENCODER = 2, NEED_STREAM = 4, NEED_TRAIN = 8, NEED_OUTPUT = 16 };

/* sets: n strings "key=value" (dotted keys, YAML values), applied in order. */
int config_load(struct config *c, const char *yaml_path, const char *const *sets, size_t n, unsigned needs);
/* From resolved text (a checkpoint's config attribute, JSON) with sets on top; paths in it are absolute. */
int config_load_text(struct config *c, const char *text, const char *name, const char *const *sets, size_t n,
                     unsigned needs);
void config_free(struct config *c);

/* For checks that only the caller can make (names of methods, metrics, templates): CL_ECONFIG with the file and line where
 * key was given in front of the text. Keys of tasks: "stream.tasks.0.metric". */
int config_error(const struct config *c, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same for a value that is not in a list "a, b, c"; names the list and the nearest word. */
int config_check_listed(const struct config *c, const char *key, const char *value, const char *list);

/* The resolved configuration: every key, as YAML (run directory) or JSON (checkpoint). malloc'ed. */
int config_yaml(const struct config *c, char **text);
int config_json(const struct config *c, char **text);
/* Hash over the keys that decide results (not output, threads, checkpoint, eval paths ..): same hash, same numbers. */
uint64_t config_hash(const struct config *c);

/* Appends one key's value as it stands in the resolved YAML; false: there is no such key. */
bool config_value(struct text *t, const struct config *c, const char *key);
/* Whether a key's value is a path (relative ones are resolved), and whether it decides results (config_hash). */
bool config_is_path(const char *key);
bool config_decides(const char *key);

/* Help of all keys from the table: key, type, range, default, meaning. */
void config_help(FILE *to);
/* The i-th dotted key ("stage2.lr"), NULL beyond the last; tasks have none. */
const char *config_key(size_t i);

#endif
