/* refcoco.c - RefCOCO, RefCOCO+, RefCOCOg: where in the picture is what a sentence describes?
 *
 * A reference (pickle) names an annotation of instances.json, which has the box; every sentence of it becomes a sample. Boxes
 * are corners divided by the longer side of the picture, after padding to a square as LLaVA-1.5 sees it; `--box plain`
 * divides by width and height, for bases whose pictures are not padded. SOURCE is the folder of one set, or of several.
 */
#include "jobs/convert/families.h"

#include <stdio.h>
#include <string.h>

#include "io/err.h"
#include "jobs/convert/index.h"

struct refs {
    const char *set;        // "refcoco+"
    struct index *boxes;    // double[4] by annotation
    struct index *pictures; // double[2], width and height, by picture
};

/* ---- instances.json */

static int add_box(struct convert *c, const char *key, const json_t *o, void *with)
{
    const json_t *bbox = json_object_get(o, "bbox");
    struct refs *r = with;
    char id[ID_ROOM];
    double box[4];

    (void)key;
    if (!id_of(id, json_object_get(o, "id")) || json_array_size(bbox) != 4)
        return left_out(c, LEFT_BROKEN, "an annotation without \"id\", or without four numbers in \"bbox\"");
    for (size_t i = 0; i < 4; i++) box[i] = json_number_value(json_array_get(bbox, i));
    return index_add(r->boxes, id, box, sizeof box);
}

static int add_picture(struct convert *c, const char *key, const json_t *o, void *with)
{
    const double size[2] = {json_number_value(json_object_get(o, "width")),
                            json_number_value(json_object_get(o, "height"))};
    struct refs *r = with;
    char id[ID_ROOM];

    (void)key;
    if (!id_of(id, json_object_get(o, "id")) || !(size[0] >= 1 && size[0] < 1e6) || !(size[1] >= 1 && size[1] < 1e6))
        return left_out(c, LEFT_BROKEN, "a picture without \"id\", \"width\" or \"height\"");
    return index_add(r->pictures, id, size, sizeof size);
}

/* ---- references */

/* "[0.16, 0.20, 0.47, 0.36]" of x, y, width, height in pixels. Halves of the padding are kept exact, as in LLaVA's data. */
static void write_box(char out[64], const double box[4], const double size[2], bool plain)
{
    const double longer = size[0] > size[1] ? size[0] : size[1];
    const double left = plain ? 0 : (longer - size[0]) / 2, above = plain ? 0 : (longer - size[1]) / 2;
    const double w = plain ? size[0] : longer, h = plain ? size[1] : longer;

    snprintf(out, 64, "[%.2f, %.2f, %.2f, %.2f]", (box[0] + left) / w, (box[1] + above) / h,
             (box[0] + box[2] + left) / w, (box[1] + box[3] + above) / h);
}

static int sentence(struct convert *c, const json_t *o, const char *name, const char *box, const double size[2],
                    const struct refs *r, const char *type)
{
    static const char *const pictures[] = {"train2014/{name}",
                                           "images/train2014/{name}",
                                           "COCO2014/train2014/{name}",
                                           "coco/train2014/{name}",
                                           "images/mscoco/images/train2014/{name}",
                                           NULL};
    const char *text = text_of(o, "sent");
    const bool describe = c->form && !strcmp(c->form, "describe");
    char id[ID_ROOM], sent[ID_ROOM];
    const char *question;

    if (!text || !id_of(sent, json_object_get(o, "sent_id")))
        return left_out(c, LEFT_BROKEN, "a sentence without \"%s\"", text ? "sent_id" : "sent");
    snprintf(id, sizeof id, "%s-%.200s", r->set, sent);
    if (describe)
        question = prompt_of(c, "%s\nProvide a short description for this region.", box);
    else if (c->form && !strcmp(c->form, "llava"))
        question = prompt_of(c, "%s\nProvide the bounding box coordinate of the region this sentence describes.", text);
    else
        question =
            prompt_of(c, "Please provide the bounding box coordinate of the region this sentence describes: %s", text);
    return convert_write(c, &(struct item){.id = id,
                                           .question = question,
                                           .answer = describe ? text : box,
                                           .picture = name,
                                           .patterns = pictures,
                                           .question_type = type,
                                           .width = (int)size[0],
                                           .height = (int)size[1]});
}

/* "test" stands for testA and testB, too. */
static bool in_split(const struct convert *c, const char *split)
{
    return !strcmp(split, c->split) ||
           (!strcmp(c->split, "test") && (!strcmp(split, "testA") || !strcmp(split, "testB")));
}

static int reference(struct convert *c, const char *key, const json_t *o, void *with)
{
    const char *split = text_of(o, "split");
    const json_t *sentences = json_object_get(o, "sentences"), *image = json_object_get(o, "image_id");
    const struct refs *r = with;
    char ann[ID_ROOM], picture[ID_ROOM], name[64], box_text[64], type[64];
    const double *box, *size;
    size_t at = 0, size_at = 0;
    int rc = CL_OK;

    (void)key;
    if (!split) return left_out(c, LEFT_BROKEN, "no text under \"split\"");
    if (!in_split(c, split)) return CL_OK;
    if (!id_of(ann, json_object_get(o, "ann_id")) || !json_is_integer(image) || !id_of(picture, image) ||
        !json_is_array(sentences))
        return left_out(c, LEFT_BROKEN, "no \"ann_id\", \"image_id\" or list of \"sentences\"");
    box = index_find(r->boxes, ann, &at);
    size = index_find(r->pictures, picture, &size_at);
    if (!box || !size)
        return left_out(c, LEFT_BROKEN, "%s %s is not in instances.json", box ? "picture" : "annotation",
                        box ? picture : ann);
    // the references' own file_name carries the annotation's number and is no picture's name
    snprintf(name, sizeof name, "COCO_train2014_%012lld.jpg", (long long)json_integer_value(image));
    snprintf(type, sizeof type, "%s %.30s", r->set, split);
    write_box(box_text, box, size, c->how->box && !strcmp(c->how->box, "plain"));
    for (size_t i = 0; !rc && i < json_array_size(sentences); i++)
        rc = sentence(c, json_array_get(sentences, i), name, box_text, size, r, type);
    return rc;
}

/* ---- sets */

static int convert_set(struct convert *c, const char *folder, const char *set)
{
    static const char *const by[] = {"unc", "umd", "google"};
    char pattern[2][PATH_ROOM], path[PATH_ROOM];
    const char *patterns[4] = {0};
    char refs_name[3][64];
    struct refs r = {.set = set};
    int rc, n = 0;

    for (int i = 0; i < 3; i++) {
        if (c->how->by && strcmp(c->how->by, by[i])) continue;
        snprintf(refs_name[n], sizeof refs_name[n], "%s%srefs(%s).p", folder, *folder ? "/" : "", by[i]);
        patterns[n] = refs_name[n];
        n++;
    }
    TRY(path_print(pattern[0], "%s%sinstances.json", folder, *folder ? "/" : ""));
    TRY(release_find(c, path, "boxes", (const char *const[]){pattern[0], NULL}));
    TRY(index_new(&r.boxes));
    TRY(index_new(&r.pictures));
    TRY(convert_each(c, path, JSONSTREAM_LIST, "images", add_picture, &r));
    TRY(convert_each(c, path, JSONSTREAM_LIST, "annotations", add_box, &r));
    TRY(release_find(c, path, "references", patterns));
    TRY(convert_each(c, path, JSONSTREAM_LIST, NULL, reference, &r));
done:
    index_free(r.boxes);
    index_free(r.pictures);
    return rc;
}

int convert_refcoco(struct convert *c)
{
    static const char *const sets[] = {"refcoco", "refcoco+", "refcocog"};
    static const char *const here[] = {"instances.json", NULL};
    char path[PATH_ROOM];
    int rc, found = 0;

    if (release_has(c, path, here)) return convert_set(c, "", c->task);
    for (int i = 0; i < 3; i++) {
        char name[64];

        snprintf(name, sizeof name, "%s/instances.json", sets[i]);
        if (!release_has(c, path, (const char *const[]){name, NULL})) continue;
        TRY(convert_set(c, sets[i], sets[i]));
        found++;
    }
    if (!found)
        FAIL(CL_EFORMAT,
             "%s: no instances.json there (expected it, or folders refcoco, refcoco+, refcocog with one); hint: cllava "
             "convert list refcoco shows the layout",
             c->source);
    rc = CL_OK;
done:
    return rc;
}
