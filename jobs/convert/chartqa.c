/* chartqa.c - ChartQA: human and augmented questions in a file each. Records have no id: file and number make one. */
#include "jobs/convert/families.h"

#include <stdio.h>

#include "io/err.h"

static const char *const pictures[] = {"{split}/png/{name}", "ChartQA Dataset/{split}/png/{name}", "png/{name}", NULL};

static int question(struct convert *c, const char *key, const json_t *o, void *with)
{
    const char *source = with, *query = text_of(o, "query"), *picture = text_of(o, "imgname");
    char id[ID_ROOM], label[ID_ROOM];

    (void)key;
    if (!query || !picture) return left_out(c, LEFT_BROKEN, "no text under \"%s\"", query ? "imgname" : "query");
    snprintf(id, sizeof id, "%s-%s-%lld", c->split, source, (long long)c->number);
    return convert_write(c,
                         &(struct item){.id = id,
                                        .question = prompt_of(c, "%s\nAnswer the question with a single word.", query),
                                        .answer = word_of(json_object_get(o, "label"), label),
                                        .picture = picture,
                                        .patterns = pictures,
                                        .question_type = source});
}

int convert_chartqa(struct convert *c)
{
    static char *const sources[] = {"human", "augmented"};
    static const char *const files[2][3] = {
        {"{split}/{split}_human.json", "ChartQA Dataset/{split}/{split}_human.json"},
        {"{split}/{split}_augmented.json", "ChartQA Dataset/{split}/{split}_augmented.json"}};
    char path[PATH_ROOM];
    int rc;

    for (int i = 0; i < 2; i++) {
        TRY(release_find(c, path, i ? "augmented questions" : "human questions", files[i]));
        TRY(convert_each(c, path, JSONSTREAM_LIST, NULL, question, sources[i]));
    }
done:
    return rc;
}
