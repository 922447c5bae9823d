/* bench.h - what the parts of `cllava bench` share.
 *
 *     bench.c            the command, its table and CSV
 *     bench_device.c     what the machine can do: products, memory
 *     bench_step.c       what the model does with it: training step, forward pass, generation
 *     bench_work.c       the base, the method and the samples that these steps run on
 *     bench_stages.c     a step's time by what it was spent on
 *     bench_job.c        the program's own paths: evaluation, and steps over several ranks
 *     bench_growth.c     what a step costs where one size grows
 *     bench_rates.c      what plans believe of a node        bench_collectives.c   .. and of collectives
 *     bench_model.c      a base of random weights            bench_flop.c          what work on it amounts to
 *     bench_files.c      its configuration and tokenizer; records and pictures
 *
 * Every figure is the best of its repetitions: other work on the machine can only lengthen a run. Shares relate figures
 * of one run, so they hold on a machine whose speed differs from day to day.
 */
#ifndef CLLAVA_JOBS_BENCH_H
#define CLLAVA_JOBS_BENCH_H

#include <time.h>

#include "jobs/machine.h"
#include "model/backend.h"
#include "mpi/message.h"

/* Sizes of a base in the manner of LLaVA-1.5. */
struct bench_shape {
    const char *name;
    int d, layers, heads, ff, vocab;            // decoder
    int vd, vlayers, vheads, vff, image, patch; // tower; the last but one layer's output is used
    int prompt, answer;                         // text tokens of a sample, beside its picture
};
const struct bench_shape *bench_shape_find(const char *name); // NULL: none
int64_t bench_pictures_tokens(const struct bench_shape *s);   // of one picture
int64_t bench_tokens(const struct bench_shape *s);            // of one sample

/* Useful floating-point operations, 2 per multiply-add: products and attention that a sample of so many tokens, the last
 * `rows` of which are looked at, cannot do without. Causal attention counts its lower half; in the last layer keys and values
 * come from every token, all else from the rows; nothing is counted below layer 0's o_proj on the way back; increments are
 * not counted. */
double bench_flop_tower(const struct bench_shape *s);
double bench_flop_forward(const struct bench_shape *s, int64_t tokens, int64_t rows); // decoder and projector
double bench_flop_backward(const struct bench_shape *s, int64_t tokens, int64_t rows);
/* The same of a whole sample, tower included, as programs are compared that run every token through the last layer: it
 * counts there as in the others, and a LoRA of rank 32 on every o_proj counts too. */
double bench_flop_usual(const struct bench_shape *s, int64_t tokens, int64_t rows, bool train);

/* Writes a base of the shape into dir, which is there: weights (bf16), config.json, tokenizer and what else `train` wants. */
int bench_model_write(const char *dir, const struct bench_shape *s);
int bench_model_write_shards(const char *dir, const struct bench_shape *s,
                             double shard);                          // files of so many bytes at most
int bench_files_write(const char *dir, const struct bench_shape *s); // all but the weights
/* CL_EIO when the file system of the folder has no room for it. */
int bench_model_check_room(const char *where, const struct bench_shape *s);
/* A new folder below TMPDIR with such a base; bench_model_remove takes it away. */
int bench_model_make(char **dir, const struct bench_shape *s);
void bench_model_remove(char *dir);
/* An empty one; bench_model_remove takes it away with its files. */
int bench_folder_make(char **dir);

/* Records for a base of the shape: own.jsonl, a picture each; shared.jsonl, `sharing` questions about each; first.jsonl, one
 * record; no picture stands in two of them. A record is as many tokens as a sample of the shape. */
int bench_data_write(const char *dir, const struct bench_shape *s, int records, int sharing);

/* What a figure is a share of. */
enum bench_yardstick {
    YARD_NONE,
    YARD_PRODUCT, // the best product of oneDNN in this precision
    YARD_READ     // reading memory
};

struct bench_row {
    char what[48];
    const char *shape, *precision; // "" where they do not matter
    int batch;                     // 0 where it does not matter
    double value, share;           // share NAN: none
    const char *unit;
    enum bench_yardstick yard;
};

/* Groups of rows that --rows chooses among. */
enum bench_group {
    BENCH_DEVICE = 1, // products and loops
    BENCH_TRAINING = 2,
    BENCH_FORWARD = 4,
    BENCH_PREFILL = 8,
    BENCH_DECODE = 16,
    BENCH_EVALUATION = 32,
    BENCH_ROUTING = 64
};

enum { BENCH_BATCHES = 4, BENCH_MOST_BATCH = 16 };

struct bench {
    double seconds;  // at least, of a measurement that repeats
    unsigned groups; // enum bench_group: what is measured
    int batch[BENCH_BATCHES], batches;
    int64_t samples;         // of an evaluation; 0: as many as the shape allows in little time
    const char *base;        // a base of the shape that is there already; NULL: one is made
    const char *const *sets; // --set, for what runs as a job
    size_t n_sets;
    clockid_t clock; // elapsed time, or that of the processors
    bool profile, growth;
    const struct bench_shape *shape;
    const char *precision;
    double product, read; // GFLOP/s of this precision, GB/s: the yardsticks
    struct bench_row *row;
    size_t rows, room;
};

int bench_add(struct bench *b, const char *what, int batch, double value, const char *unit, enum bench_yardstick yard);
int bench_add_share(struct bench *b, const char *what, int batch, double value, const char *unit, double share);
/* The shortest time of a call: repeats f for the given seconds, at least twice unless the first takes
 * four times as long. */
int bench_best(const struct bench *b, double *best, double seconds, int (*f)(void *), void *x);
double bench_now(const struct bench *b);

int bench_memory(struct bench *b);                     // a row of reading memory
int bench_read_peak(struct bench *b);                  // reading memory: raises b->read
int bench_registers(struct bench *b, enum dtype t);    // multiply-adds alone, where they are of one kind
int bench_product_peak(struct bench *b, enum dtype t); // oneDNN alone at its best: raises b->product
int bench_products(struct bench *b, const struct backend *be);
int bench_loops(struct bench *b, const struct backend *be);
int bench_steps(struct bench *b, const struct backend *be, const char *dir);
/* Evaluation of 64 questions with short answers, as `cllava eval` does it; over several ranks also training steps, forward
 * passes and generation, the ranks as one group and as groups of one. */
int bench_jobs(struct bench *b, const char *dir);
/* A step's cost where one size grows and the others stay. */
int bench_growth(struct bench *b, const struct backend *be, const char *dir);

/* A matrix of the device with small numbers in it; the caller frees t->data. */
int bench_random(struct tensor *t, const struct backend *be, enum dtype type, int64_t rows, int64_t cols);
/* best: seconds of y = x W^T and of dx = dy W over so many rows. */
int bench_linear(struct bench *b, const struct backend *be, int64_t rows, int64_t out, int64_t in, double best[2]);

/* Measures what a machine file says of a node (in b's precision's place) .. */
int bench_node(struct bench *b, struct machine *m);
int bench_rates(struct bench *b, const struct backend *be, struct machine_rates *r);
/* .. and of collectives over all ranks: rank 0's side, which prints and adds rows and the link to m. CL_EUSAGE alone. */
int bench_collectives(struct bench *b, struct machine *m);
/* The other ranks' side of it, told by a message (jobs/crew_serve.c). */
int bench_collectives_member(struct message *m);

#endif
