/* convert.h - from an official release to task files: what the kinds of releases share.
 *
 * A kind (a row of kinds.c, a function in the file of its family) knows where a release keeps its records and what one of
 * them becomes. It goes through them with convert_each and hands over items; everything else happens here: pictures are
 * looked for, lines written, what cannot be used is counted with file and record number.
 *
 *     static int question(struct convert *c, const char *key, const json_t *o, void *with)
 *     {
 *         const char *query = text_of(o, "query"), *label = text_of(o, "label");
 *
 *         if (!query) return left_out(c, LEFT_BROKEN, "no text under \"query\"");
 *         return convert_write(c, &(struct item){.id = .., .question = .., .answer = label, .picture = .., ..});
 *     }
 *
 * Invariants of what is written: DEST/train.jsonl and its like appear under their names when every one of them is whole,
 * and DEST/convert.json, which says what they are, is there only with them; nothing is written outside DEST; a line is a record that
 * io/dataset.h takes; picture names stay below the images folder.
 */
#ifndef CLLAVA_JOBS_CONVERT_CONVERT_H
#define CLLAVA_JOBS_CONVERT_CONVERT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/jsonstream.h"
#include "io/log.h"
#include "io/path.h"
#include "io/text.h"

enum { ID_ROOM = 256, ANSWERS = 256, SIDES = 8 };

struct convert;

struct kind {
    const char *name;              // "docvqa"
    const char *title;             // one line
    const char *where;             // where users get it
    const char *layout;            // what SOURCE must look like, lines
    const char *becomes;           // what a record becomes, lines
    const char *metric;            // that scores it
    const char *splits;            // names that the release uses: "train, val, test"; NULL: any
    const char *train, *test;      // splits that train.jsonl and test.jsonl are made of; test NULL: see hold_out
    const char *forms;             // words of --prompt, the default first; NULL: one form
    const char *options;           // options beside those that all kinds have: "ocr, by"; NULL: none
    bool file;                     // SOURCE may be a file
    bool folders;                  // SOURCE may be a folder of folders, a task each
    int hold_out;                  // per ten thousand pictures that go to test.jsonl where there is no test split
    int (*run)(struct convert *c); // goes through c->split
};
extern const struct kind kinds[]; // ends with name NULL
/* NULL when unknown: CL_EUSAGE text with the nearest and all names is then set. */
const struct kind *kind_find(const char *name);

/* What the command line says; zero: nothing. */
struct convert_options {
    const char *const *images; // (n_images) folders that hold the pictures; none: SOURCE
    size_t n_images;
    const char *const *splits; // (n_splits) "train", "test=val"; none: the kind's own
    size_t n_splits;
    const char *const *maps; // (n_maps) "ImageNet/=ImageNet_withlabel/": begins of picture names that are replaced
    size_t n_maps;
    int64_t limit;    // samples per file; 0: all
    bool copy;        // pictures into DEST/images
    bool strict;      // the first sample that cannot be used is an error
    bool choose_img;  // IconQA's choices between pictures, as one picture
    double hold_out;  // percent of the pictures; < 0: the kind's own
    const char *form; // of --prompt, NULL: the kind's first
    const char *by, *box, *answers, *ocr, *names, *classes;
};

/* Converts SOURCE to DEST and says on stdout what was taken and what not. CL_EDATA: nothing usable in a split (then nothing
 * is written), or with strict a sample that cannot be used. CL_EUSAGE, CL_EIO, CL_EFORMAT, CL_ENOMEM. */
int convert_run(const struct kind *kind, const struct convert_options *how, const char *source, const char *dest,
                struct log *log);

/* Writes ROOT/NAME.yaml for a ready stream whose tasks were converted to ROOT/TASK. base, encoder: what the file says,
 * NULL: a place to fill in. force: an older file is replaced. CL_EUSAGE: unknown name; CL_EDATA: a task is missing. */
int convert_stream(const char *name, const char *root, const char *base, const char *encoder, bool force);
const char *convert_stream_names(void); // "coast-domain, .."

/* ---- for the kinds ---- */

struct pictures;
struct output;

struct convert {
    const struct kind *kind;
    const struct convert_options *how;
    char source[PATH_ROOM]; // absolute: a folder, or a file
    char dest[PATH_ROOM];
    const char *task;         // last component of SOURCE
    const char *side, *split; // "test", "val"
    const char *form;         // of the prompt
    const char *file;         // that is being read, for messages and progress
    int64_t number;           // record of it
    struct pictures *pictures;
    struct output *out;
    struct log *log;
    struct text line;   // scratch of the writer
    struct text prompt; // scratch of the kinds: the question
};

/* Patterns of file names: {split}, and for pictures {name}, {base} (its last component), {stem} (base without ending),
 * {folder} (name without base), {tail} (name without its first component). Lists end with NULL. */

/* Finds a file or folder of the release (also with .gz): the first of the patterns that is there. CL_EFORMAT: none is. */
int release_find(const struct convert *c, char out[PATH_ROOM], const char *what, const char *const *patterns);
bool release_has(const struct convert *c, char out[PATH_ROOM], const char *const *patterns);

/* Calls one for every record of a file (pickles of a list, by their ending .p or .pkl, too) until enough was written.
 * Broken records are counted. key: see jsonstream.h. */
typedef int convert_one(struct convert *c, const char *key, const json_t *record, void *with);
int convert_each(struct convert *c, const char *path, enum jsonstream_form form, const char *member, convert_one *one,
                 void *with);
bool convert_enough(const struct convert *c); // --limit is reached

/* One sample. */
struct item {
    const char *id;
    const char *question;       // whole instruction; "<image>\n" is put in front where there is a picture
    const char *answer;         // what is learned
    const char *const *answers; // (n_answers) references; NULL: the answer
    int n_answers;
    const char *const *more; // (2 * n_more) later questions and answers
    int n_more;
    const char *picture;         // its name in the release, NULL: none
    const char *const *patterns; // where it may lie; NULL: the name itself
    const char *made;            // else a picture that was made in DEST/images, relative to that
    const char *question_type;   // NULL: none
    int choices;                 // 0: none
    int width, height;           // of the picture where the metric needs it; 0
};
/* Writes it, or counts it as left out (picture missing, no answer). */
int convert_write(struct convert *c, const struct item *it);

enum left { LEFT_BROKEN, LEFT_PICTURE, LEFT_ANSWER, LEFT_CHOICE, LEFT_REASONS };
/* Counts the sample at hand as left out. CL_OK, unless strict. LEFT_CHOICE: by design, never an error. */
int left_out(struct convert *c, enum left why, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- fields of records (fields.c) ---- */

const char *text_of(const json_t *o, const char *key);   // NULL: not there, or no text
const char *word_of(const json_t *v, char out[ID_ROOM]); // a text, or a number as text (in out); NULL: neither
/* A text or whole number that can serve as id. */
bool id_of(char out[ID_ROOM], const json_t *v);
/* Texts of a list of texts or of {"answer": ..}; how many, -1: another form or more than ANSWERS. */
int texts_of(const json_t *list, const char *out[ANSWERS]);
/* The one that stands there most often, the first of several; NULL when n is 0. */
const char *most_common(const char *const *texts, int n);
/* The question in c->prompt, made by printf. NULL: out of memory. */
const char *prompt_of(struct convert *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
