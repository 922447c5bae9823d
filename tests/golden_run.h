/* golden_run.h - configurations over the golden sets, as spec/make_golden.py trains them. Include after golden_file.h. */
#ifndef CLLAVA_TESTS_GOLDEN_RUN_H
#define CLLAVA_TESTS_GOLDEN_RUN_H

#include "io/config.h"
#include "outcome.h"
#include "folder.h"

/* A temporary folder; the test leaves it behind only when it fails. */
GOLDEN_FN const char *golden_temporary(char path[64])
{
    if (folder_new(path)) fail_msg("no temporary folder");
    return path;
}

GOLDEN_FN void golden_remove(const char *dir)
{
    if (folder_remove(dir)) fail_msg("cannot remove %s", dir);
}

/* DIR/golden.yaml for a set; more: further YAML lines. Loads it. */
GOLDEN_FN void golden_config(struct config *cfg, const char *dir, const char *set, const char *more,
                             const char *const *sets, size_t n_sets)
{
    char path[128];
    bool a = !strcmp(set, "a");
    snprintf(path, sizeof path, "%s/golden.yaml", dir);
    FILE *f = fopen(path, "w");
    if (!f) fail_msg("cannot write %s", path);
    fprintf(f, "base: %s/golden/%s/base\nencoder: %s/golden/%s/encoder\n", SOURCE_DIR, set, SOURCE_DIR, set);
    fprintf(f, "stream:\n  name: golden\n  tasks:\n");
    for (int t = 0; t < 2; t++)
        fprintf(f,
                "    - {name: %s, train: %s/golden/%s/data/task%d.json, test: %s/golden/%s/data/task%d.json, metric: "
                "exact}\n",
                t ? "shape" : "colour", SOURCE_DIR, set, t, SOURCE_DIR, set, t);
    fprintf(f, "prompt: {template: %s}\n", a ? "vicuna_v1" : "llava_hf");
    fprintf(f, "pool: {slots_per_task: %d, rank: %d, top_m: %d, key_groups: %d, init: %s/golden/%s/init.h5}\n",
            a ? 3 : 4, a ? 4 : 2, a ? 2 : 3, a ? 1 : 4, SOURCE_DIR, set);
    fprintf(f,
            "stage1: {epochs: 2, batch: 3, lr: 1e-2, weight_decay: 0.01, lr_decay: 0.1, clip: 0.1, shuffle: false}\n");
    fprintf(f, "stage2: {epochs: 1, batch: 3, micro_batch: 2, lr: 1e-2, weight_decay: 0.0, schedule: cosine, "
               "warmup_ratio: 0.03, "
               "clip: 1.0, shuffle: false}\n");
    fprintf(f, "eval: {max_new_tokens: 12, batch: 4}\nprecision: f32\noutput: run\n%s", more);
    fclose(f);
    OK(config_load(cfg, path, sets, n_sets, NEED_BASE | NEED_ENCODER | NEED_STREAM | NEED_TRAIN | NEED_OUTPUT));
}

/* Largest |x - y| / max |y| over n numbers. */
GOLDEN_FN double golden_distance(const float *x, const float *y, size_t n)
{
    double most = 0, far = 0;
    for (size_t i = 0; i < n; i++) {
        double d = x[i] > y[i] ? (double)x[i] - (double)y[i] : (double)y[i] - (double)x[i];
        double m = y[i] < 0 ? -(double)y[i] : (double)y[i];
        if (!(d <= far)) far = d;
        if (m > most) most = m;
    }
    return most > 0 ? far / most : far;
}

#endif
