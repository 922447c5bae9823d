/* instruct.c - files that are instructions already: LLaVA's conversations and question files, and the same of CoIN, UCIT,
 * MLLM-CL. They are brought into one form: a marker in front of the first question where there is a picture, roles by one
 * name, references beside the answer.
 *
 * A conversation whose first turn is not human loses it, as in LLaVA. Qwen-style copies write the picture into the text
 * (<img>path</img>). Grounding has its box under answer_bbox. References may stand in another file, by question_id:
 * captions in COCO's form, TextVQA's annotations, or --answers FILE.
 */
#include "jobs/convert/instruct.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"
#include "jobs/convert/families.h"
#include "jobs/convert/index.h"

enum { TURNS = 512 };

struct instructions {
    struct index *answers; // further references by question_id; NULL: none
    double hold_out;       // of ten thousand pictures
    char picture[PATH_ROOM];
    int turns;
    const char *turn[2 * TURNS]; // human, gpt, human, ..
    char *owned[2 * TURNS];      // texts that had to be changed
    int n_owned;
};

/* ---- files */

static bool ends_in(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);

    return n >= k && !strcmp(s + n - k, end);
}

static bool is_json(const char *name)
{
    return ends_in(name, ".json") || ends_in(name, ".jsonl") || ends_in(name, ".json.gz") || ends_in(name, ".jsonl.gz");
}

/* The JSON file of a folder whose name begins so: PREFIX.json, else the first one by name. coco: only files of captions in
 * COCO's form, which are never taken otherwise. */
static bool file_of(char out[PATH_ROOM], const char *folder, const char *prefix, bool coco)
{
    struct dirent *d;
    char best[PATH_ROOM] = "";
    DIR *dir = opendir(folder);

    while (dir && (d = readdir(dir))) {
        const char *name = d->d_name;
        const size_t n = strlen(prefix);

        if (*name == '.' || strncmp(name, prefix, n) || !is_json(name) || (strstr(name, "coco_type") != NULL) != coco)
            continue;
        if (name[n] == '.' || !*best || (best[n] != '.' && strcmp(name, best) < 0))
            snprintf(best, sizeof best, "%s", name);
    }
    if (dir) closedir(dir);
    return *best && snprintf(out, PATH_ROOM, "%s/%s", folder, best) < PATH_ROOM;
}

bool instructions_in(const char *folder)
{
    char path[PATH_ROOM];

    return file_of(path, folder, "train", false);
}

static bool is_folder(const char *path)
{
    struct stat st;

    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* CoIN scores three tasks on their val.json. */
static bool scored_on_val(const struct convert *c)
{
    static const char *const tasks[] = {"TextVQA", "VizWiz", "VQAv2"};

    for (size_t i = 0; i < 3; i++)
        if (!strcmp(c->task, tasks[i])) return !strcmp(c->kind->name, "coin");
    return false;
}

/* The three subsets of LLaVA-Instruct, by the kind's name. */
static const char *subset_prefix(const struct convert *c)
{
    if (!strcmp(c->kind->name, "llava-conversation")) return "conversation";
    if (!strcmp(c->kind->name, "llava-reasoning")) return "complex_reasoning";
    return !strcmp(c->kind->name, "llava-detail") ? "detail" : NULL;
}

static int find_instructions(const struct convert *c, char out[PATH_ROOM])
{
    const char *subset = subset_prefix(c), *prefix = subset ? subset : c->split;
    char beside[PATH_ROOM];
    int rc;

    if (!is_folder(c->source)) return path_print(out, "%s", c->source);
    if (!strcmp(c->split, "test") && scored_on_val(c) && file_of(out, c->source, "val", false)) return CL_OK;
    if (file_of(out, c->source, prefix, false)) return CL_OK;
    TRY(path_print(beside, "%s_%s", c->source, c->split)); // MLLM-CL: OCR/ and OCR_test/
    if (is_folder(beside) && (file_of(out, beside, prefix, false) || file_of(out, beside, "", false))) return CL_OK;
    rc = err_set(CL_EFORMAT,
                 "%s: no instructions of split %s there (expected %s*.json or .jsonl); hint: SOURCE may also be "
                 "the file itself",
                 c->source, c->split, prefix);
done:
    return rc;
}

/* ---- further references */

/* Which member holds the records: TextVQA and COCO keep them in an object. */
static const char *member_of(const char *path)
{
    static const char *const members[] = {"data", "annotations"};
    struct jsonstream *s;

    for (size_t i = 0; i < 2; i++) {
        if (jsonstream_open(&s, path, JSONSTREAM_LIST, members[i])) continue;
        jsonstream_close(s);
        return members[i];
    }
    return NULL;
}

static int add_reference(struct convert *c, const char *key, const json_t *o, void *with)
{
    const json_t *id_value = json_object_get(o, "question_id"), *list = json_object_get(o, "answers");
    static const char *const one[] = {"caption", "text", "answer"};
    const char *answers[ANSWERS];
    char id[ID_ROOM];
    int rc = CL_OK, n = 0;

    (void)key;
    if (!id_value) id_value = json_object_get(o, "id");
    if (json_is_string(json_object_get(o, "caption")))
        id_value = json_object_get(o, "image_id"); // its id is the caption's
    if (list) n = texts_of(list, answers);
    for (int i = 0; !list && i < 3 && !n; i++)
        if (text_of(o, one[i])) answers[n++] = text_of(o, one[i]);
    if (n < 0 || !id_of(id, id_value))
        return left_out(c, LEFT_BROKEN, "a reference without id, or another form of answers");
    for (int i = 0; !rc && i < n; i++) rc = index_add(with, id, answers[i], strlen(answers[i]) + 1);
    return rc;
}

static int read_references(struct convert *c, struct instructions *in)
{
    char path[PATH_ROOM];
    const bool folder = is_folder(c->source), train = !strcmp(c->side, "train");
    int rc;

    if (c->how->answers)
        TRY(path_print(path, "%s", c->how->answers));
    else if (train || !folder ||
             !(file_of(path, c->source, "", true) || file_of(path, c->source, "TextVQA_0.5.1_val", false)))
        return CL_OK;
    TRY(index_new(&in->answers));
    TRY(convert_each(c, path, JSONSTREAM_LIST, member_of(path), add_reference, in->answers));
done:
    return rc;
}

/* ---- texts */

static bool is_white(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Cuts [from, to) out of s. */
static void cut(char *s, size_t from, size_t to)
{
    memmove(s + from, s + to, strlen(s + to) + 1);
}

/* A path inside of a text is relative to the folder that holds the images folder: "./cl_dataset/GQA/images/5.jpg". */
static void keep_picture(struct instructions *in, const char *path, size_t n)
{
    static const char *const folders[] = {"./", "cl_dataset/", "datasets/"};

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const size_t k = strlen(folders[i]);

        if (n > k && !strncmp(path, folders[i], k)) path += k, n -= k;
    }
    snprintf(in->picture, sizeof in->picture, "%.*s", (int)n, path);
}

/* Takes every marker out of a text; a picture written into it goes to in->picture. True: there was one. */
static bool take_markers(struct instructions *in, char *s)
{
    char *at;
    bool any = false;

    while ((at = strstr(s, "<image>"))) {
        cut(s, (size_t)(at - s), (size_t)(at - s) + 7);
        any = true;
    }
    while ((at = strstr(s, "<img>"))) {
        char *end = strstr(at, "</img>"), *lead = strstr(s, "Picture ");

        if (!end) break;
        keep_picture(in, at + 5, (size_t)(end - at) - 5);
        if (lead && lead < at && at - lead < 16) at = lead; // "Picture 1: <img>..</img>\n"
        cut(s, (size_t)(at - s), (size_t)(end - s) + 6);
        any = true;
    }
    if (any) {
        size_t n = strlen(s), begin = strspn(s, " \t\r\n");

        while (n > begin && is_white(s[n - 1])) n--;
        s[n] = 0;
        cut(s, 0, begin);
    }
    return any;
}

static bool has_mark(const char *s)
{
    return strstr(s, "<image>") || strstr(s, "<img>");
}

/* Adds a turn; *marked: it had a place for the picture. */
static int add_turn(struct instructions *in, const char *text, bool *marked)
{
    char *own;

    *marked = has_mark(text);
    in->turn[in->turns++] = text;
    if (!*marked) return CL_OK;
    own = strdup(text);
    if (!own) return err_set(CL_ENOMEM, "out of memory for a record");
    in->owned[in->n_owned++] = own;
    *marked = take_markers(in, own);
    in->turn[in->turns - 1] = own;
    return CL_OK;
}

static void forget(struct instructions *in)
{
    for (int i = 0; i < in->n_owned; i++) free(in->owned[i]);
    in->n_owned = in->turns = 0;
    *in->picture = 0;
}

/* ---- conversations */

enum role { HUMAN, GPT, OTHER };

static enum role role_of(const char *s)
{
    if (!s) return OTHER;
    if (!strcmp(s, "human") || !strcmp(s, "user")) return HUMAN;
    return !strcmp(s, "gpt") || !strcmp(s, "assistant") ? GPT : OTHER;
}

/* *marked: the first question has a place for a picture. *fault: what is wrong with it, NULL: nothing. */
static int read_conversation(struct instructions *in, const json_t *list, bool *marked, const char **fault)
{
    int rc = CL_OK;

    *fault = NULL;
    for (size_t i = 0; i < json_array_size(list) && !*fault; i++) {
        const json_t *t = json_array_get(list, i);
        const enum role role = role_of(text_of(t, "from"));
        const char *value = text_of(t, "value");
        bool mark;

        if (!i && role != HUMAN) continue; // as LLaVA does
        if (!value) *fault = "a turn is no {\"from\": .., \"value\": ..} of texts";
        if (role != (in->turns % 2 ? GPT : HUMAN)) *fault = "roles are unknown or do not alternate";
        if (in->turns == 2 * TURNS) *fault = "more than 512 questions";
        if (*fault) break;
        TRY(add_turn(in, value, &mark));
        if (in->turns == 1)
            *marked = mark;
        else if (mark)
            *fault = "a picture in a later turn";
    }
    if (!*fault && !in->turns) *fault = "no question in \"conversations\"";
done:
    return rc;
}

/* ---- records */

/* How many options "A. ..", "B. ..", .. a multiple-choice question lists, a line each. */
static int count_options(const char *question)
{
    int n = 0;

    if (!strstr(question, "option's letter") && !strstr(question, "option letter")) return 0;
    for (const char *line = question; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (line[0] == 'A' + n && line[1] == '.' && line[2] == ' ') n++;
    }
    return n;
}

/* Text of a box: a text already, or a list of numbers. */
static char *box_text(const json_t *v)
{
    struct text t = {0};

    if (json_is_string(v)) return strdup(json_string_value(v));
    if (json_array_size(v) != 4) return NULL;
    for (size_t i = 0; i < 4; i++) {
        const json_t *x = json_array_get(v, i);

        text_add(&t, i ? ", " : "[");
        if (json_is_integer(x))
            text_add(&t, "%lld", (long long)json_integer_value(x));
        else
            text_number(&t, json_number_value(x));
    }
    text_add(&t, "]");
    return text_take(&t);
}

/* References, in this order of preference: the record's own list, another file's, its box, its one answer. */
static int find_references(const struct instructions *in, const json_t *o, const char *id, const char *box,
                           const char *answers[ANSWERS], char number[ID_ROOM])
{
    const json_t *list = json_object_get(o, "answers");
    const char *s;
    size_t at = 0;
    int n = list ? texts_of(list, answers) : 0;

    if (n) return n;
    while (in->answers && n < ANSWERS && (s = index_find(in->answers, id, &at))) answers[n++] = s;
    if (!n && box) answers[n++] = box;
    s = word_of(json_object_get(o, "answer"), number);
    if (!n && s) answers[n++] = s;
    if (!n && in->turns > 1) answers[n++] = in->turn[1];
    return n;
}

/* Pictures that are held out of training, and only these in the test: by name, so that subsets agree. */
static bool in_side(const struct convert *c, const struct instructions *in, const char *picture, const char *id)
{
    uint64_t h = 0xcbf29ce484222325u;

    if (in->hold_out <= 0) return true;
    for (const char *s = picture ? picture : id; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return ((double)((h >> 20) % 10000) < in->hold_out) == !strcmp(c->side, "test");
}

/* Width or height in [width, height], 0: none that could be one. */
static int side_of(const json_t *size, size_t i)
{
    const double v = json_number_value(json_array_get(size, i));

    return v >= 1 && v < 1e6 ? (int)v : 0;
}

static int write_instruction(struct convert *c, struct instructions *in, const json_t *o, const char *id, bool marked)
{
    static const char *const pictures[] = {"{name}",
                                           "{folder}/{stem}.jpg", // LLaVA keeps all covers of OCR-VQA as .jpg
                                           "images/{name}",
                                           "{tail}", // cl_dataset/ or datasets/ in front
                                           "ImageNet_withlabel/{tail}",
                                           "train2017/{base}",
                                           "coco/train2017/{base}",
                                           "train2014/COCO_train2014_{base}",
                                           NULL};
    const char *answers[ANSWERS], *named = text_of(o, "image"), *type = text_of(o, "question_type");
    char number[ID_ROOM], learned[ID_ROOM], *box = box_text(json_object_get(o, "answer_bbox"));
    const json_t *size = json_object_get(o, "size");
    int rc, n;

    if (!named || !*named) named = *in->picture ? in->picture : NULL;
    if (!type) type = text_of(o, "answer_type");
    if (!type) type = text_of(o, "category");
    n = find_references(in, o, id, box, answers, number);
    if (in->turns == 1 && n > 0) { // a question file: its own answer is learned, if that were asked for
        const char *answer = word_of(json_object_get(o, "answer"), learned);

        in->turn[in->turns++] = answer ? answer : answers[0];
    }
    if (!in_side(c, in, named, id))
        rc = CL_OK;
    else if (n < 0)
        rc = left_out(c, LEFT_BROKEN, "%s: \"answers\" is no list of texts", id);
    else if (marked && !named)
        rc = left_out(c, LEFT_BROKEN, "%s: <image> in the question, but no \"image\" in the record", id);
    else if (in->turns % 2)
        rc = left_out(c, LEFT_ANSWER, "%s", id);
    else
        rc = convert_write(c, &(struct item){.id = id,
                                             .question = in->turn[0],
                                             .answer = in->turn[1],
                                             .answers = answers,
                                             .n_answers = n,
                                             .more = in->turn + 2,
                                             .n_more = in->turns / 2 - 1,
                                             .picture = named,
                                             .patterns = pictures,
                                             .question_type = type,
                                             .choices = count_options(in->turn[0]),
                                             .width = side_of(size, 0),
                                             .height = side_of(size, 1)});
    free(box);
    return rc;
}

static int instruction(struct convert *c, const char *key, const json_t *o, void *with)
{
    const json_t *list = json_object_get(o, "conversations"), *own = json_object_get(o, "id");
    struct instructions *in = with;
    const char *question = text_of(o, "text"), *fault = NULL;
    char id[ID_ROOM];
    bool marked = false;
    int rc;

    (void)key;
    if (!own || json_is_null(own)) own = json_object_get(o, "question_id");
    if (!id_of(id, own)) snprintf(id, sizeof id, "%lld", (long long)c->number);
    if (!question) question = text_of(o, "question");
    if (json_is_array(list))
        TRY(read_conversation(in, list, &marked, &fault));
    else if (question)
        TRY(add_turn(in, question, &marked));
    else
        fault = "neither \"conversations\" nor \"text\"";
    TRY(fault ? left_out(c, LEFT_BROKEN, "%s: %s", id, fault) : write_instruction(c, in, o, id, marked));
done:
    forget(in);
    return rc;
}

int convert_instructions(struct convert *c)
{
    struct instructions *in = calloc(1, sizeof *in);
    char path[PATH_ROOM];
    int rc;

    if (!in) return err_set(CL_ENOMEM, "out of memory");
    if (!c->kind->test) in->hold_out = c->how->hold_out < 0 ? c->kind->hold_out : 100 * c->how->hold_out;
    TRY(find_instructions(c, path));
    TRY(read_references(c, in));
    TRY(convert_each(c, path, JSONSTREAM_LIST, NULL, instruction, in));
done:
    index_free(in->answers);
    free(in);
    return rc;
}
