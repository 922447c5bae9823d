/* config_options.h - every key of the configuration, once.
 *
 * The rows give the parser its types and ranges, struct config its defaults, `--help` and the manual page their text, and
 * the resolved file its order. A new key is a field in struct config and a row here.
 *
 *     X(kind, key, field, default, least, most, choices, decides, help)
 *
 * kind      INT, INT64, DOUBLE, BOOL, TEXT, NAME (letters, digits, - _ . ; usable as a file name), WORD (one of choices),
 *           PATH (relative to the file; choices: words that are no paths)
 * default   as it would stand in the file; NULL: null, and only then may a file say null
 * decides   RESULT: part of config_hash, since it decides what numbers come out; PLACE: it does not (beyond rounding)
 */
#ifndef CLLAVA_IO_CONFIG_OPTIONS_H
#define CLLAVA_IO_CONFIG_OPTIONS_H

// clang-format off
#define CONFIG_OPTIONS(X) \
    X(PATH,   "base",                  base,                  NULL,    0, 0,    NULL, PLACE, \
      "base model: Hugging Face LLaVA directory (config.json, *.safetensors, tokenizer, preprocessor_config.json)") \
    X(PATH,   "encoder",               encoder,               "base",  0, 0,    "base", PLACE, \
      "sentence encoder: sentence-transformers directory (BERT or RoBERTa), or `base`: mean of the base's token embeddings") \
    X(NAME,   "stream.name",           stream.name,           "stream", 0, 0,   NULL, PLACE, \
      "name of the stream of tasks") \
    X(TEXT,   "method",                method,                "continual_llava", 0, 0, NULL, RESULT, \
      "what is learned and how: continual_llava, or a baseline (`cllava --help` lists them)") \
    X(TEXT,   "prompt.template",       prompt.template_,      "vicuna_v1", 0, 0, NULL, RESULT, \
      "vicuna_v1, llava_hf, plain, or a text with {question}, used for every turn") \
    X(TEXT,   "prompt.system",         prompt.system,         NULL,    0, 0,    NULL, RESULT, \
      "text before the first turn; null: the template's own") \
    X(BOOL,   "prompt.legacy",         prompt.legacy,         "true",  0, 0,    NULL, RESULT, \
      "later turns of a conversation are tokenised as SentencePiece's `legacy: true` does") \
    X(WORD,   "prompt.instruction",    prompt.instruction,    "as_is", 0, 0,    "as_is, before, after", RESULT, \
      "where the first question stands: as the file has it, or before or after the picture") \
    X(WORD,   "image.aspect",          image.aspect,          NULL,    0, 0,    "pad, crop", RESULT, \
      "pad to a square or crop the centre; null: what preprocessor_config.json says, else pad") \
    X(BOOL,   "image.exif",            image.exif,            "false", 0, 0,    NULL, RESULT, \
      "turn pictures as their EXIF orientation says (LLaVA's own code does not)") \
    X(INT64,  "image.cache_mib",       image.cache_mib,       "1024",  0, 1e9,  NULL, PLACE, \
      "memory for picture features that are kept, in MiB") \
    X(INT,    "pool.slots_per_task",   pool.slots_per_task,   "8",     1, 4096, NULL, RESULT, \
      "slots that each task adds to the pool") \
    X(INT,    "pool.rank",             pool.rank,             "8",     1, 4096, NULL, RESULT, \
      "rank of a slot's low-rank increment") \
    X(INT,    "pool.top_m",            pool.top_m,            "4",     1, 4096, NULL, RESULT, \
      "slots selected for a sample; at most slots_per_task") \
    X(INT,    "pool.key_groups",       pool.key_groups,       "1",     1, 4096, NULL, RESULT, \
      "equal parts of a key whose cosines are averaged; divides the width of the embeddings") \
    X(WORD,   "pool.query",            pool.query,            "question", 0, 0, "question, picture, both", RESULT, \
      "what keys are compared with: the question's embedding, the picture's mean feature, or both side by side") \
    X(DOUBLE, "pool.scale",            pool.scale,            "1.0",   0, 1e6,  NULL, RESULT, \
      "factor on every increment") \
    X(WORD,   "pool.a_init",           pool.a_init,           "kaiming", 0, 0,  "kaiming, normal", RESULT, \
      "initial A of a slot: Kaiming's uniform distribution, or N(0,1)") \
    X(PATH,   "pool.init",             pool.init,             NULL,    0, 0,    NULL, RESULT, \
      "checkpoint whose keys, A, B and w are taken as initial values") \
    X(WORD,   "pool.mix",              pool.mix,              "cosine", 0, 0,   "cosine, softmax, uniform", RESULT, \
      "weights of the selected slots: cosines over their sum, their softmax, or all alike") \
    X(DOUBLE, "pool.temperature",      pool.temperature,      "0.1",   1e-6, 1e6, NULL, RESULT, \
      "cosines are divided by it for the softmax") \
    X(TEXT,   "adapter.projections",   adapter.projections,   "o_proj", 0, 0,   NULL, RESULT, \
      "linear maps of every decoder layer that have increments: some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, " \
      "down_proj with commas between, or all") \
    X(BOOL,   "context.enabled",       context.enabled,       "true",  0, 0,    NULL, RESULT, \
      "contextual increments of earlier tasks") \
    X(WORD,   "context.weights",       context.weights,       "learned", 0, 0,  "learned, uniform, fixed", RESULT, \
      "w[t,l] of task l in task t: learned from 1/t, 1/t for good, or context.value") \
    X(DOUBLE, "context.value",         context.value,         "0.5",   0, 1,    NULL, RESULT, \
      "every w where context.weights is fixed") \
    X(DOUBLE, "lines.first",           lines.first,           "1.0",   0, 100,  NULL, RESULT, \
      "LiNeS: factor on the first layer's increments once a task is learned; those between lie on a line") \
    X(DOUBLE, "lines.last",            lines.last,            "1.0",   0, 100,  NULL, RESULT, \
      "LiNeS: factor on the last layer's increments") \
    X(DOUBLE, "taskres.scale",         taskres.scale,         "0.0",   0, 1e6,  NULL, RESULT, \
      "TaskRes: factor on a task's own vector that is added to the logits of its answers; 0: none") \
    X(DOUBLE, "taskres.lr",            taskres.lr,            "0.0",   0, 1e3,  NULL, RESULT, \
      "highest learning rate of these vectors, which rises and falls as that of stage 2 does; 0: stage2.lr") \
    X(DOUBLE, "lw2g.threshold",        lw2g.threshold,        "0.0",   0, 180,  NULL, RESULT, \
      "LW2G: a task goes on with an earlier one's slots where they hinder it by less than so many degrees; 0: never") \
    X(INT64,  "lw2g.samples",          lw2g.samples,          "32",    1, 1e6,  NULL, RESULT, \
      "records of a task whose gradients LW2G looks at, one by one, before and after it is learned") \
    X(INT,    "lw2g.rank",             lw2g.rank,             "16",    1, 4096, NULL, RESULT, \
      "directions that LW2G keeps of a task's gradients in each layer, at most") \
    X(INT,    "stage1.epochs",         stage1.epochs,         "3",     0, 1e6,  NULL, RESULT, \
      "passes of stage 1 (keys) over a task's questions") \
    X(INT,    "stage1.batch",          stage1.batch,          "128",   1, 1e6,  NULL, RESULT, \
      "questions per step of stage 1") \
    X(DOUBLE, "stage1.lr",             stage1.lr,             "1e-3",  0, 1e3,  NULL, RESULT, \
      "learning rate of stage 1") \
    X(DOUBLE, "stage1.weight_decay",   stage1.weight_decay,   "0.01",  0, 1e3,  NULL, RESULT, \
      "weight decay of stage 1 (AdamW)") \
    X(DOUBLE, "stage1.lr_decay",       stage1.lr_decay,       "0.1",   0, 1,    NULL, RESULT, \
      "factor on the learning rate after each epoch of stage 1") \
    X(DOUBLE, "stage1.clip",           stage1.clip,           "0.1",   0, 1e6,  NULL, RESULT, \
      "largest gradient norm in stage 1; 0: any") \
    X(BOOL,   "stage1.shuffle",        stage1.shuffle,        "true",  0, 0,    NULL, RESULT, \
      "new order in every epoch of stage 1; false: order of the file") \
    X(INT,    "stage2.epochs",         stage2.epochs,         "1",     0, 1e6,  NULL, RESULT, \
      "passes of stage 2 (increments and context weights) over a task's samples") \
    X(INT,    "stage2.batch",          stage2.batch,          "32",    1, 1e6,  NULL, RESULT, \
      "samples per optimizer step of stage 2, over all ranks") \
    X(INT,    "stage2.micro_batch",    stage2.micro_batch,    "4",     1, 1e6,  NULL, PLACE, \
      "samples that go through the model at a time; at most batch") \
    X(DOUBLE, "stage2.lr",             stage2.lr,             "2e-5",  0, 1e3,  NULL, RESULT, \
      "highest learning rate of stage 2") \
    X(DOUBLE, "stage2.weight_decay",   stage2.weight_decay,   "0.0",   0, 1e3,  NULL, RESULT, \
      "weight decay of stage 2 (AdamW)") \
    X(WORD,   "stage2.schedule",       stage2.schedule,       "cosine", 0, 0,   "cosine, linear, constant", RESULT, \
      "how the learning rate falls after the warm-up") \
    X(DOUBLE, "stage2.warmup_ratio",   stage2.warmup_ratio,   "0.03",  0, 1,    NULL, RESULT, \
      "share of the steps in which the learning rate rises") \
    X(DOUBLE, "stage2.clip",           stage2.clip,           "1.0",   0, 1e6,  NULL, RESULT, \
      "largest gradient norm in stage 2; 0: any") \
    X(DOUBLE, "stage2.beta1",          stage2.beta1,          "0.9",   0, 0.999999, NULL, RESULT, \
      "AdamW's decay of the mean gradient, both stages") \
    X(DOUBLE, "stage2.beta2",          stage2.beta2,          "0.999", 0, 0.99999999, NULL, RESULT, \
      "AdamW's decay of the mean squared gradient, both stages") \
    X(DOUBLE, "stage2.eps",            stage2.eps,            "1e-8",  1e-30, 1, NULL, RESULT, \
      "AdamW's epsilon, both stages") \
    X(BOOL,   "stage2.shuffle",        stage2.shuffle,        "true",  0, 0,    NULL, RESULT, \
      "new order in every epoch of stage 2; false: order of the file") \
    X(INT64,  "stage2.max_length",     stage2.max_length,     "2048",  8, 1e7,  NULL, RESULT, \
      "tokens of the longest sample that is taken, picture positions included") \
    X(INT,    "lora.rank",             lora.rank,             "32",    1, 4096, NULL, RESULT, \
      "rank of a plain LoRA: of every method but continual_llava and moe_lora") \
    X(DOUBLE, "lora.alpha",            lora.alpha,            "0.0",   0, 1e6,  NULL, RESULT, \
      "its scale is alpha / rank; 0: scale 1") \
    X(WORD,   "lora.a_init",           lora.a_init,           "kaiming", 0, 0,  "kaiming, normal", RESULT, \
      "its initial A: Kaiming's uniform distribution, or N(0,1)") \
    X(INT,    "replay.budget",         replay.budget,         "50",    0, 1e8,  NULL, RESULT, \
      "samples of each finished task that replay keeps, or that self_guide writes when a task begins") \
    X(DOUBLE, "replay.ratio",          replay.ratio,          "0.25",  0, 100,  NULL, RESULT, \
      "of them, those that join a step per sample of its own") \
    X(WORD,   "replay.choose",         replay.choose,         "random", 0, 0,   "random, kpig", RESULT, \
      "which kept samples join: all in a random order, or those whose questions' key parts tell the model least") \
    X(DOUBLE, "kpig.share",            kpig.share,            "0.5",   0, 1,    NULL, RESULT, \
      "part of the kept samples that replay.choose: kpig takes, those with the lowest gain first; 1: all") \
    X(INT64,  "kpig.every",            kpig.every,            "0",     0, 1e15, NULL, RESULT, \
      "optimizer steps after which replay.choose: kpig measures and chooses anew; 0: once, when a task begins") \
    X(DOUBLE, "kpig.weight",           kpig.weight,           "0.0",   0, 1e9,  NULL, RESULT, \
      "weight of a term that keeps answers apart from those to questions without their key parts, any method; 0: none") \
    X(DOUBLE, "kpig.margin",           kpig.margin,           "0.5",   0, 1,    NULL, RESULT, \
      "how far apart is enough for an answer token: Jensen-Shannon divergence in bits, 1 at most") \
    X(INT,    "self_guide.seeds",      self_guide.seeds,      "8",     1, 1e8,  NULL, RESULT, \
      "questions of each finished task, texts alone, that self_guide writes samples from") \
    X(WORD,   "self_guide.questions",  self_guide.questions,  "kept",  0, 0,    "kept, written", RESULT, \
      "what self_guide's samples ask: the kept questions, or those on pictures that the model writes by their example") \
    X(DOUBLE, "ewc.lambda",            ewc.lambda,            "100",   0, 1e15, NULL, RESULT, \
      "weight of ewc's penalty: lambda / 2 times the sum of Fisher x (distance from the last task's values) squared") \
    X(DOUBLE, "ewc.gamma",             ewc.gamma,             "0.9",   0, 1,    NULL, RESULT, \
      "what ewc keeps of the earlier tasks' Fisher information when a task ends; 1: their plain sum") \
    X(INT64,  "ewc.samples",           ewc.samples,           "200",   0, 1e15, NULL, RESULT, \
      "records of a learned task that ewc takes its Fisher information from, one by one; 0: all") \
    X(DOUBLE, "o_lora.lambda",         o_lora.lambda,         "0.5",   0, 1e15, NULL, RESULT, \
      "weight of o_lora's penalty: lambda times the sum of squared entries of A_earlier A_new^T, over layers and tasks") \
    X(INT,    "moe_lora.experts",      moe_lora.experts,      "8",     1, 4096, NULL, RESULT, \
      "increments that moe_lora mixes; all tasks share them") \
    X(INT,    "moe_lora.rank",         moe_lora.rank,         "4",     1, 4096, NULL, RESULT, \
      "rank of an expert") \
    X(INT,    "moe_lora.top_k",        moe_lora.top_k,        "0",     0, 4096, NULL, RESULT, \
      "experts that a question gets, those its router weighs most; 0: all") \
    X(DOUBLE, "moe_lora.router_lr",    moe_lora.router_lr,    "1e-3",  0, 1e3,  NULL, RESULT, \
      "highest learning rate of moe_lora's router, which rises and falls as that of stage 2 does") \
    X(INT,    "l2p.prompts",           l2p.prompts,           "10",    1, 4096, NULL, RESULT, \
      "prompts of l2p's pool, which all tasks share") \
    X(INT,    "l2p.length",            l2p.length,            "5",     1, 4096, NULL, RESULT, \
      "learned rows of a prompt, each as wide as an embedding") \
    X(INT,    "l2p.top_m",             l2p.top_m,             "5",     1, 4096, NULL, RESULT, \
      "prompts in front of a question: those with the nearest keys; their rows count in stage2.max_length") \
    X(DOUBLE, "l2p.lambda",            l2p.lambda,            "0.5",   0, 1e9,  NULL, RESULT, \
      "weight of the term that draws the keys of chosen prompts to their questions: the sum of 1 - cosine, a sample's mean") \
    X(DOUBLE, "l2p.key_lr",            l2p.key_lr,            "0.0",   0, 1e3,  NULL, RESULT, \
      "highest learning rate of l2p's keys, which rises and falls as that of stage 2 does; 0: stage2.lr, the prompts' own") \
    X(DOUBLE, "l2p.init",              l2p.init,              "0.02",  0, 1e3,  NULL, RESULT, \
      "standard deviation of the normal distribution that prompts begin with") \
    X(BOOL,   "l2p.diversity",         l2p.diversity,         "false", 0, 0,    NULL, RESULT, \
      "in training a key's distance counts times how often earlier tasks chose its prompt, so that new tasks take others") \
    X(DOUBLE, "lwf.lambda",            lwf.lambda,            "1.0",   0, 1e9,  NULL, RESULT, \
      "weight of lwf's penalty: how far answers are from those that the LoRA gave when the task began") \
    X(DOUBLE, "lwf.temperature",       lwf.temperature,       "2.0",   0.01, 100, NULL, RESULT, \
      "logits are divided by it before lwf compares them; the penalty is multiplied by its square") \
    X(BOOL,   "eval.after_each_task",  eval.after_each_task,  "true",  0, 0,    NULL, PLACE, \
      "evaluate every task seen after each task; false: only at the end") \
    X(BOOL,   "eval.zero_shot",        eval.zero_shot,        "true",  0, 0,    NULL, PLACE, \
      "evaluate the base before any training (first row of the matrix)") \
    X(BOOL,   "eval.next_task",        eval.next_task,        "true",  0, 0,    NULL, PLACE, \
      "also evaluates the task that comes next, before it is learned: what forward transfer (FWT) is computed from") \
    X(INT,    "eval.max_new_tokens",   eval.max_new_tokens,   "128",   1, 1e6,  NULL, RESULT, \
      "longest answer in tokens") \
    X(INT,    "eval.batch",            eval.batch,            "16",    1, 65536, NULL, PLACE, \
      "answers that are generated side by side") \
    X(BOOL,   "eval.share_prefix",     eval.share_prefix,     "true",  0, 0,    NULL, PLACE, \
      "prompts that begin alike (system prompt, picture) under the same coefficients share that work") \
    X(WORD,   "eval.decode_weights",   eval.decode_weights,   "same",  0, 0,    "same, int8", RESULT, \
      "weights that an answer's tokens are decoded with; int8: rounded copies, half as many bytes to read as bf16") \
    X(WORD,   "eval.routing",          eval.routing,          "free",  0, 0,    "free, oracle, random, mean_key", RESULT, \
      "slots that compete: all of them, only the task's own, a random choice, or those of the task whose mean key is nearest") \
    X(INT64,  "eval.limit",            eval.limit,            "0",     0, 1e15, NULL, RESULT, \
      "test records per task; 0: all") \
    X(INT64,  "eval.loss_samples",     eval.loss_samples,     "32",    0, 1e6,  NULL, PLACE, \
      "training records of each task seen whose loss is measured after each task; 0: none") \
    X(INT,    "parallel.tensor",       parallel.tensor,       "1",     1, 1024, NULL, PLACE, \
      "ranks that share one copy of the base; data-parallel size = ranks / tensor") \
    X(WORD,   "parallel.coordinator",  parallel.coordinator,  "shared", 0, 0,   "shared, dedicated", PLACE, \
      "rank 0 also computes, or only coordinates") \
    X(WORD,   "parallel.wire",         parallel.wire,         "f32",   0, 0,    "f32, bf16", PLACE, \
      "numbers that ranks of one copy of the base exchange: bf16 halves the bytes and rounds partial sums") \
    X(BOOL,   "parallel.overlap",      parallel.overlap,      "false", 0, 0,    NULL, PLACE, \
      "micro-batches are computed in two halves: what the ranks of a copy exchange for one travels while the other computes") \
    X(DOUBLE, "watchdog.seconds",      watchdog.seconds,      "120",   0, 1e9,  NULL, PLACE, \
      "a rank that stands so long in one exchange with others hangs: the job ends; 0: never") \
    X(INT64,  "checkpoint.every_steps", checkpoint.every_steps, "200", 0, 1e15, NULL, PLACE, \
      "optimizer steps between checkpoints inside a task; 0: none") \
    X(INT,    "checkpoint.keep",       checkpoint.keep,       "2",     1, 1e6,  NULL, PLACE, \
      "checkpoints inside a task that are kept") \
    X(WORD,   "data.on_error",         data.on_error,         "stop",  0, 0,    "stop, skip", RESULT, \
      "what a broken record does: end the run, or be left out, counted and listed") \
    X(INT64,  "data.limit",            data.limit,            "0",     0, 1e15, NULL, RESULT, \
      "training records per task; 0: all") \
    X(WORD,   "precision",             precision,             "bf16",  0, 0,    "bf16, f32", RESULT, \
      "numbers of the frozen base; what is learned is always f32") \
    X(WORD,   "device",                device,                "auto",  0, 0,    "auto, cpu, cuda", PLACE, \
      "where the base computes") \
    X(WORD,   "activations",           activations,           "auto",  0, 0,    "auto, keep, recompute_mlp, recompute_layer", PLACE, \
      "what training passes keep for the way back; what they do not they compute again, to the same bits; auto: as much as fits") \
    X(DOUBLE, "memory_limit",          memory_limit,          "0.0",   0, 1e6,  NULL, PLACE, \
      "memory of a rank in GiB, which `activations: auto` keeps to; 0: its share of what the machine or its cgroup has") \
    X(INT,    "threads",               threads,               "0",     0, 4096, NULL, PLACE, \
      "threads of a rank; 0: all processors it may use") \
    X(INT64,  "seed",                  seed,                  "0",     0, 9e18, NULL, RESULT, \
      "of everything random") \
    X(PATH,   "output",                output,                NULL,    0, 0,    NULL, PLACE, \
      "run directory; null: runs/<stream.name> beside the file")

/* Of each entry of stream.tasks. */
#define TASK_OPTIONS(X) \
    X(NAME,   "name",                  name,                  NULL,    0, 0,    NULL, RESULT, \
      "name of the task, used in file names; no two alike") \
    X(PATH,   "train",                 train,                 NULL,    0, 0,    NULL, RESULT, \
      "training records: LLaVA conversation JSON or JSONL, .gz too") \
    X(PATH,   "test",                  test,                  NULL,    0, 0,    NULL, RESULT, \
      "test records, in the same form") \
    X(PATH,   "images",                images,                NULL,    0, 0,    NULL, PLACE, \
      "folder that the records' picture paths are relative to; null: each file's own folder") \
    X(TEXT,   "metric",                metric,                "exact", 0, 0,    NULL, RESULT, \
      "how answers are scored (`cllava metric list`)") \
    X(TEXT,   "prompt_suffix",         prompt_suffix,         NULL,    0, 0,    NULL, RESULT, \
      "text put behind every first question")
// clang-format on

#endif
