/* imagenet.c - ImageNet (ILSVRC 2012): folders of pictures, one per class; the name of the class is the answer.
 *
 * A class is a number of WordNet (n01440764); its names stand in LOC_synset_mapping.txt or synset_words.txt, the first one
 * is learned, all of them are references. A two-column file (--names) names classes otherwise, as somebody else's stream
 * did. Validation pictures lie in folders of classes, too, or flat with LOC_val_solution.csv beside them.
 */
#include "jobs/convert/families.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/err.h"
#include "jobs/convert/index.h"

struct classes {
    struct index *names; // "tench, Tinca tinca" by class
    struct index *own;   // of --names
    struct index *only;  // of --classes
    struct index *flat;  // class by picture
};

static const char prompt[] = "What is the object in the image?\nAnswer the question using a single word or phrase.";

/* ---- files of names */

/* Lines "KEY rest": separated by blanks, a tab, or a comma where comma says so. */
static int read_lines(struct index **ix, const char *path, bool comma)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int rc = index_new(ix);

    if (rc) goto done;
    if (!f) FAIL(CL_EIO, "%s: %s", path, strerror(errno));
    while ((n = getline(&line, &room, f)) > 0) {
        char *end, *rest;

        while (n && strchr(" \t\r\n", line[n - 1])) line[--n] = 0;
        if (!n) continue;
        if (n > 4096 || memchr(line, 0, (size_t)n))
            FAIL(CL_EFORMAT, "%s: a line of %zd bytes (expected a class and its name)", path, n);
        end = line + strcspn(line, comma ? "," : " \t");
        rest = end + (*end != 0);
        *end = 0;
        rest += strspn(rest, " \t");
        TRY(index_add(*ix, line, rest, strlen(rest) + 1));
    }
    if (ferror(f)) FAIL(CL_EIO, "%s: %s", path, strerror(errno));
done:
    free(line);
    if (f) fclose(f);
    return rc;
}

/* ---- one picture */

/* The names in a list "tench, Tinca tinca", cut apart in place. */
static int split_names(char *list, const char *name[ANSWERS])
{
    int n = 0;

    for (char *s = list; s && n < ANSWERS;) {
        char *comma = strchr(s, ',');

        if (comma) *comma = 0;
        s += strspn(s, " ");
        for (char *end = s + strlen(s); end > s && end[-1] == ' ';) *--end = 0;
        if (*s) name[n++] = s;
        s = comma ? comma + 1 : NULL;
    }
    return n;
}

static int picture(struct convert *c, const struct classes *k, const char *class, const char *name, const char *file)
{
    const char *answers[ANSWERS + 1], *known, *own;
    char list[4200] = "", id[ID_ROOM];
    size_t at = 0, own_at = 0, n = strcspn(file, ".");
    int count = 0;

    known = index_find(k->names, class, &at);
    own = k->own ? index_find(k->own, class, &own_at) : NULL;
    if (own && *own) answers[count++] = own;
    if (known) {
        snprintf(list, sizeof list, "%s", known);
        count += split_names(list, answers + count);
    }
    if (!count) return left_out(c, LEFT_ANSWER, "%s: class %s has no name", name, class);
    if (n >= ID_ROOM) return left_out(c, LEFT_BROKEN, "a file name of %zu bytes", n);
    snprintf(id, sizeof id, "%.*s", (int)n, file);
    return convert_write(c, &(struct item){.id = id,
                                           .question = prompt,
                                           .answer = answers[0],
                                           .answers = answers,
                                           .n_answers = count > ANSWERS ? ANSWERS : count,
                                           .picture = name});
}

static bool wanted(const struct classes *k, const char *class)
{
    size_t at = 0;

    return !k->only || index_find(k->only, class, &at);
}

/* ---- folders */

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void free_list(struct dirent **list, int n)
{
    for (int i = 0; i < n; i++) free(list[i]);
    free(list);
}

/* Entries of folder/sub in the order of their names. */
static int list_folder(struct dirent ***list, int *n, const char *folder)
{
    *n = scandir(folder, list, visible, by_name);
    if (*n >= 0) return CL_OK;
    *list = NULL;
    return err_set(CL_EIO, "%s: cannot be listed: %s", folder, strerror(errno));
}

static int class_folder(struct convert *c, const struct classes *k, const char *class, const char *folder,
                        const char *relative)
{
    struct dirent **list = NULL;
    char path[PATH_ROOM], name[PATH_ROOM];
    int rc, n = 0;

    TRY(path_print(path, "%s/%s", folder, class));
    TRY(list_folder(&list, &n, path));
    for (int i = 0; i < n && !convert_enough(c); i++) {
        TRY(path_print(name, "%s/%s/%s", relative, class, list[i]->d_name));
        TRY(picture(c, k, class, name, list[i]->d_name));
    }
done:
    free_list(list, n > 0 ? n : 0);
    return rc;
}

static int flat_picture(struct convert *c, const struct classes *k, const char *file, const char *relative)
{
    char stem[ID_ROOM], name[PATH_ROOM], class[ID_ROOM];
    const char *solution;
    size_t at = 0;
    int rc;

    snprintf(stem, sizeof stem, "%.*s", (int)strcspn(file, "."), file);
    TRY(path_print(name, "%s/%s", relative, file));
    solution = k->flat ? index_find(k->flat, stem, &at) : NULL;
    if (!solution)
        return left_out(c, LEFT_ANSWER,
                        "%s: of which class? (expected a folder for each class, or LOC_val_solution.csv)", name);
    snprintf(class, sizeof class, "%.*s", (int)strcspn(solution, " "), solution); // boxes follow it
    if (wanted(k, class)) TRY(picture(c, k, class, name, file));
done:
    return rc;
}

static int each_picture(struct convert *c, const struct classes *k, const char *folder, const char *relative)
{
    struct dirent **list = NULL;
    struct stat st;
    char path[PATH_ROOM];
    int rc, n = 0;

    TRY(list_folder(&list, &n, folder));
    progress_begin(c->log, folder, n, "entries");
    for (int i = 0; i < n && !convert_enough(c); i++) {
        TRY(path_print(path, "%s/%s", folder, list[i]->d_name));
        if (stat(path, &st)) continue;
        if (!S_ISDIR(st.st_mode))
            TRY(flat_picture(c, k, list[i]->d_name, relative));
        else if (wanted(k, list[i]->d_name))
            TRY(class_folder(c, k, list[i]->d_name, folder, relative));
        progress_step(c->log, i + 1, NULL);
    }
done:
    progress_end(c->log);
    free_list(list, n > 0 ? n : 0);
    return rc;
}

int convert_imagenet(struct convert *c)
{
    static const char *const mapping[] = {"LOC_synset_mapping.txt", "synset_words.txt", NULL};
    static const char *const solution[] = {"LOC_{split}_solution.csv", NULL};
    static const char *const folders[] = {"{split}", "ILSVRC/Data/CLS-LOC/{split}", NULL};
    struct classes k = {0};
    char path[PATH_ROOM];
    int rc;

    if (release_has(c, path, mapping) || !c->how->names) {
        TRY(release_find(c, path, "names of classes", mapping));
        TRY(read_lines(&k.names, path, false));
    } else {
        TRY(index_new(&k.names));
    }
    if (c->how->names) TRY(read_lines(&k.own, c->how->names, false));
    if (c->how->classes) TRY(read_lines(&k.only, c->how->classes, false));
    if (release_has(c, path, solution)) TRY(read_lines(&k.flat, path, true));
    TRY(release_find(c, path, "pictures", folders));
    TRY(each_picture(c, &k, path, path + strlen(c->source) + 1));
done:
    index_free(k.names);
    index_free(k.own);
    index_free(k.only);
    index_free(k.flat);
    return rc;
}
