/* dataset.h - a task file: conversations and pictures, read record by record.
 *
 * A task file is LLaVA conversation JSON, as one array or as JSONL (one record per line), plain or gzipped; what it is shows
 * in its first bytes, not in its name. It may be larger than memory: opening goes through it once, checks every record and
 * keeps only where each one lies; dataset_get reads one record again. (A gzipped file is unpacked once, into an unlinked
 * temporary file in $TMPDIR, which takes disk but no memory.)
 *
 * A record, unknown keys ignored:
 *
 *     {"id": "17", "image": "a/17.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat is it?"},
 *      {"from": "gpt", "value": "a cat"}, ..], "answers": ["a cat", "cat"], "question_type": "what"}
 *
 *   id              string or number; else question_id; else the record's number
 *   image           optional (absent, null or ""); relative to the images folder. Absolute paths and ".." are followed: data
 *                   sets share picture folders that way, and a picture is only ever read
 *   conversations   from: human or user, gpt or assistant; a first turn that is not human is dropped, then they alternate
 *   answers         optional: several references for evaluation (a box as a list of numbers, too); else answer_bbox
 *   question_type   optional; else answer_type
 *   choices, size   optional, for metrics: a list or a number; [width, height] of the picture
 *   key_parts       optional, for replay.choose kpig: a list of what in the first question says what is wanted, as it stands there
 *
 * or, shorter, {"id", "image", "question" (or "text"), "answer"}, which stands for a conversation of one question.
 *
 * <image> says where the picture goes. One marker in the first human turn stays where it stands. Several of them become one
 * in front, as LLaVA does it. A picture without a marker gets "<image>\n" in front of the first question, so that it is
 * seen (LLaVA's evaluation adds it, its training would silently ignore the picture). A marker without a picture, in a
 * later turn or in an answer is an error.
 */
#ifndef CLLAVA_IO_DATASET_H
#define CLLAVA_IO_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#define PICTURE_MARKER "<image>" // where in a question the picture goes

struct turn {
    bool human;
    char *text; // UTF-8; "<image>" in the first one where the picture goes
};

struct record {
    char *id;
    char *image;       // path of the picture, NULL: none
    int turns;         // human, gpt, human, gpt, ..: at least one
    struct turn *turn; // (turns)
    char **answers;    // (n_answers) references: the record's own, else the first answer of the conversation
    int n_answers;
    char *question_type;  // NULL: none
    int choices;          // how many answers the record offers, 0: it does not say
    double width, height; // of the picture in pixels, 0: the record does not say
    char **key_parts;     // (n_key_parts) parts of the first turn's text; NULL: the record does not say
    int n_key_parts;
    int64_t number; // in the file, from 1
};

/* What a record must have: an answer after every question; a reference to score against; a question only. */
enum dataset_use { DATASET_TRAIN, DATASET_TEST, DATASET_ASK };

struct dataset_options {
    const char *images; // folder that image paths are relative to; NULL: the file's own
    const char *suffix; // put behind the first question; NULL: nothing
    enum dataset_use use;
    bool skip;     // broken records are dropped and counted; else the first one is the end
    int64_t limit; // that many records at most, the first good ones; 0: all
};

struct dataset; // read only after opening, but for dataset_drop: dataset_get may be called from several threads

/* CL_EIO: cannot be read; CL_EFORMAT: no such file, or one that ends early; CL_EDATA: a broken record ("FILE: record 17:
 * .."), or none at all. Pictures are looked for, not opened. */
int dataset_open(struct dataset **out, const char *path, const struct dataset_options *how);
void dataset_close(struct dataset *ds);

int64_t dataset_size(const struct dataset *ds);
const char *dataset_path(const struct dataset *ds);

/* Record i, from 0. Release with record_free. CL_EDATA: the file has changed since it was opened. */
int dataset_get(const struct dataset *ds, int64_t i, struct record *r);
void record_free(struct record *r);

/* Takes record i out (found too long, say); later ones move up. */
int dataset_drop(struct dataset *ds, int64_t i, const char *reason);
/* For a fault found after opening, with its text set: where broken records are skipped, drops record i and gives CL_OK;
 * else puts file and record in front of the text and gives the code back. */
int dataset_reject(struct dataset *ds, int64_t i, int code);

/* What was dropped: how many in all, and the first few with number and reason. */
enum { DATASET_LISTED = 20 };
struct dataset_dropped {
    int64_t number;
    char *reason;
};
int64_t dataset_dropped(const struct dataset *ds, const struct dataset_dropped **first, int *listed);

/* The first human turn without <image>, white space trimmed at both ends as Python's str.strip does: what routing embeds.
 * malloc'ed. */
int dataset_first_question(const struct record *r, char **question);

#endif
