/* stream.c - ready streams: order, metric and settings of the benchmarks that people compare on, over folders that convert
 * made. The instruction of each sample stands in the task files; here stands what surrounds it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/err.h"
#include "io/whole.h"
#include "jobs/convert/convert.h"
#include "jobs/convert/manifest.h"

enum { TASKS = 8 };

struct stream_task {
    const char *name, *kind, *metric;
};

static const struct ready {
    const char *name, *about;
    bool by_task; // folders are named by task, all of one kind
    int max_new_tokens;
    struct stream_task task[TASKS + 1];
} streams[] = {
    {"coast-domain",
     "COAST, domains: charts, documents, icons, pathology",
     false,
     64,
     {{"chartqa", "chartqa", "relaxed_accuracy"},
      {"docvqa", "docvqa", "anls"},
      {"iconqa", "iconqa", "iconqa"},
      {"medicalqa", "pathvqa", "pathvqa"}}},
    {"coast-capability",
     "COAST, capabilities: conversation, complex reasoning, detail description. The figures of the literature come "
     "from\n"
     "# judges; rouge_l is a rule and only orders runs of this program",
     false,
     512,
     {{"conversation", "llava-conversation", "rouge_l"},
      {"reasoning", "llava-reasoning", "rouge_l"},
      {"detail", "llava-detail", "rouge_l"}}},
    {"coast-dataset",
     "COAST, data sets: the eight of CoIN in its order, from the official releases, each with its official metric",
     false,
     128,
     {{"scienceqa", "scienceqa", "scienceqa_llava"},
      {"textvqa", "textvqa", "vqa_accuracy_evalai"},
      {"imagenet", "imagenet", "imagenet"},
      {"gqa", "gqa", "gqa"},
      {"vizwiz", "vizwiz", "vqa_accuracy_evalai"},
      {"grounding", "refcoco", "refcoco_acc50"},
      {"vqav2", "vqav2", "vqa_accuracy"},
      {"ocrvqa", "ocrvqa", "ocrvqa"}}},
    {"coin",
     "CoIN: its instruction files, order and scoring rules, defects included, for comparison with published tables.\n"
     "# Where CoIN's own answering crops pictures (ScienceQA, ImageNet, Grounding, VQAv2), this stream pads as in "
     "training",
     true,
     128,
     {{"ScienceQA", "coin", "scienceqa_coin"},
      {"TextVQA", "coin", "vqa_accuracy_evalai"},
      {"ImageNet", "coin", "coin_imagenet"},
      {"GQA", "coin", "gqa"},
      {"VizWiz", "coin", "coin_vqa_exact"},
      {"Grounding", "coin", "coin_grounding"},
      {"VQAv2", "coin", "coin_vqa_exact"},
      {"OCRVQA", "coin", "coin_ocrvqa"}}},
    {"ucit",
     "UCIT: its instruction files and order. Captions (VizWiz, Flickr30k) are published with CIDEr and others; rouge_l "
     "stands\n"
     "# in for them here",
     true,
     128,
     {{"ImageNet-R", "ucit", "coin_imagenet"},
      {"ArxivQA", "ucit", "mcit_exact"},
      {"VizWiz", "ucit", "rouge_l"},
      {"IconQA", "ucit", "mcit_exact"},
      {"CLEVR-Math", "ucit", "mcit_exact"},
      {"Flickr30k", "ucit", "rouge_l"}}},
};
enum { STREAMS = sizeof streams / sizeof *streams };

const char *convert_stream_names(void)
{
    return "coast-domain, coast-capability, coast-dataset, coin, ucit";
}

static const struct ready *find(const char *name)
{
    char meant[64] = "";

    for (int i = 0; i < STREAMS; i++)
        if (!strcmp(streams[i].name, name)) return &streams[i];
    text_listed(name, convert_stream_names(), meant, sizeof meant);
    err_set(CL_EUSAGE, "convert stream: unknown stream (got %.60s, expected one of %s)%s%s%s", name,
            convert_stream_names(), *meant ? "; hint: did you mean " : "", meant, *meant ? "?" : "");
    return NULL;
}

/* A side of a task: NULL where the folder has none. */
static const char *file_of(const json_t *m, const char *side)
{
    return json_string_value(json_object_get(json_object_get(json_object_get(m, "files"), side), "file"));
}

static void add_path(struct text *t, const char *key, const char *folder, const char *name)
{
    struct text path = {0};

    text_add(&path, *name == '/' ? "%.0s%s" : "%s/%s", folder, name);
    text_add(t, ", %s: ", key);
    t->failed |= path.failed;
    if (!path.failed) text_json(t, path.s);
    text_free(&path);
}

/* Folders are called like the task, or like the kind. */
static int find_folder(const struct ready *s, const struct stream_task *task, const char *root, const char **folder,
                       json_t **m)
{
    char dest[PATH_ROOM];
    int rc;

    *m = NULL;
    *folder = task->name;
    TRY(path_print(dest, "%s/%s/convert.json", root, task->name));
    if (access(dest, F_OK)) *folder = s->by_task ? task->name : task->kind;
    TRY(path_print(dest, "%s/%s/convert.json", root, *folder));
    if (access(dest, F_OK))
        FAIL(CL_EDATA, "%s: task %s is not there (expected %s/%s); hint: cllava convert %s SOURCE %s%s%s", s->name,
             task->name, root, *folder, task->kind, root, s->by_task ? "" : "/", s->by_task ? "" : *folder);
    TRY(path_print(dest, "%s/%s", root, *folder));
    TRY(manifest_read(m, dest));
    if (strcmp(json_string_value(json_object_get(*m, "kind")), task->kind))
        FAIL(CL_EMISMATCH, "%s holds %s (expected %s)", dest, json_string_value(json_object_get(*m, "kind")),
             task->kind);
    if (!file_of(*m, "train") || !file_of(*m, "test"))
        FAIL(CL_EDATA, "%s has no %s; hint: cllava convert %s SOURCE %s makes both", dest,
             file_of(*m, "train") ? "test.jsonl" : "train.jsonl", task->kind, dest);
done:
    return rc;
}

static int add_task(struct text *t, const struct ready *s, const struct stream_task *task, const char *root)
{
    const char *folder;
    json_t *m;
    int rc = find_folder(s, task, root, &folder, &m);

    if (!rc) {
        text_add(t, "    - {name: %s", task->name);
        add_path(t, "train", folder, file_of(m, "train"));
        add_path(t, "test", folder, file_of(m, "test"));
        add_path(t, "images", folder, json_string_value(json_object_get(m, "images")));
        text_add(t, ", metric: %s}\n", task->metric);
    }
    json_decref(m);
    return rc;
}

/* Paths in the file are relative to it, those of a command to the working folder: absolute is right for both. */
static int absolute(char out[PATH_ROOM], const char *option, const char *path)
{
    if (realpath(path, out)) return CL_OK;
    return err_set(CL_EIO, "convert stream --%s: %s: %s", option, path, strerror(errno));
}

static void add_head(struct text *t, const struct ready *s, const char *base, const char *encoder)
{
    text_add(t,
             "# %s\n# Made by `cllava convert stream %s`. `cllava config` describes every key; paths are relative to "
             "this file.\n",
             s->about, s->name);
    text_add(t, "base: ");
    text_json(t, base ? base : "models/llava-1.5-7b-hf");
    text_add(t, "%s\nencoder: ", base ? "" : "   # a Hugging Face LLaVA directory: put yours here");
    text_json(t, encoder ? encoder : "base");
    text_add(t, "%s\nstream:\n  name: %s\n  tasks:\n",
             encoder ? "" : "   # or a sentence-transformers directory, e.g. models/nli-roberta-base-v2", s->name);
}

int convert_stream(const char *name, const char *root, const char *base, const char *encoder, bool force)
{
    const struct ready *s = find(name);
    struct text t = {0};
    char file[PATH_ROOM], yaml[64], base_path[PATH_ROOM], encoder_path[PATH_ROOM];
    int rc;

    if (!s) return CL_EUSAGE;
    if (base) TRY(absolute(base_path, "base", base));
    if (encoder && strcmp(encoder, "base")) TRY(absolute(encoder_path, "encoder", encoder));
    TRY(path_print(file, "%s/%s.yaml", root, name));
    if (!force && !access(file, F_OK))
        FAIL(CL_EUSAGE, "%s is there already; hint: --force writes it anew, your changes in it are lost then", file);
    add_head(&t, s, base ? base_path : NULL, !encoder || !strcmp(encoder, "base") ? encoder : encoder_path);
    for (const struct stream_task *task = s->task; task->name; task++) TRY(add_task(&t, s, task, root));
    text_add(&t, "method: continual_llava\nprompt: {template: vicuna_v1}\nimage: {aspect: pad}\n");
    text_add(&t, "eval: {max_new_tokens: %d}\n", s->max_new_tokens);
    if (t.failed) FAIL(CL_ENOMEM, "out of memory");
    snprintf(yaml, sizeof yaml, "%s.yaml", name);
    TRY(whole_write(root, yaml, t.s, t.len));
    printf("%s\n", file);
done:
    text_free(&t);
    return rc;
}
