/* pictures.c - see pictures.h. */
#include "jobs/convert/pictures.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/err.h"
#include "jobs/run_dir.h"

struct pictures {
    const struct convert_options *how;
    char (*root)[PATH_ROOM]; // (roots) absolute
    int roots;
    char base[PATH_ROOM];
    char dest[PATH_ROOM]; // folder of copies
    char name[PATH_ROOM]; // that was found last, and what it became: questions about one picture stand together
    char found[PATH_ROOM];
    const char *split;           // of it
    int last_root, last_pattern; // where: the next one mostly lies there too
    int64_t copied;
};

/* ---- names */

bool picture_name_safe(const char *name)
{
    if (!*name || *name == '/' || strlen(name) >= PATH_ROOM / 2) return false;
    for (const char *s = name; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127) return false;
    for (const char *s = name; s; s = strchr(s, '/')) {
        s += *s == '/';
        if (!strncmp(s, "..", 2) && (s[2] == '/' || !s[2])) return false;
    }
    return true;
}

bool pattern_expand(char out[PATH_ROOM], const char *pattern, const char *split, const char *name)
{
    const char *slash = name ? strrchr(name, '/') : NULL, *base = slash ? slash + 1 : name;
    const char *dot = base ? strrchr(base, '.') : NULL, *first = name ? strchr(name, '/') : NULL;
    const struct {
        const char *place, *text;
        int n;
    } places[] = {
        {"{split}", split, split ? (int)strlen(split) : 0},
        {"{name}", name, name ? (int)strlen(name) : 0},
        {"{base}", base, base ? (int)strlen(base) : 0},
        {"{stem}", base,
         !base               ? 0
         : dot && dot > base ? (int)(dot - base)
                             : (int)strlen(base)},
        {"{folder}", slash ? name : ".", slash ? (int)(slash - name) : 1},
        {"{tail}", first ? first + 1 : name,
         first  ? (int)strlen(first + 1)
         : name ? (int)strlen(name)
                : 0},
    };
    size_t n = 0;

    while (*pattern) {
        const char *text = pattern;
        size_t k = 1, step = 1;

        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            if (!strncmp(pattern, places[i].place, strlen(places[i].place))) {
                text = places[i].text;
                k = (size_t)places[i].n;
                step = strlen(places[i].place);
            }
        if (n + k >= PATH_ROOM) return false;
        if (k) memcpy(out + n, text, k);
        n += k;
        pattern += step;
    }
    out[n] = 0;
    return true;
}

/* ---- roots */

/* The deepest folder above (or equal to) both: base becomes it. */
static void share(char base[PATH_ROOM], const char *path)
{
    size_t same = 0;

    for (size_t i = 0;; i++) {
        const bool end_base = !base[i] || base[i] == '/', end_path = !path[i] || path[i] == '/';

        if (end_base && end_path) same = i;
        if (base[i] != path[i] || !base[i]) break;
    }
    base[same ? same : 1] = 0; // "/" at least
}

static int add_root(struct pictures *p, const char *path)
{
    char *root = p->root[p->roots];
    struct stat st;

    if (!realpath(path, root) || stat(root, &st))
        return err_set(CL_EIO, "pictures: %s: %s; hint: --images DIR names the folder that holds them", path,
                       strerror(errno));
    if (!S_ISDIR(st.st_mode)) *strrchr(root, '/') = 0; // SOURCE is a file: its folder
    if (!*root) strcpy(root, "/");
    if (p->roots++)
        share(p->base, root);
    else
        strcpy(p->base, root);
    return CL_OK;
}

int pictures_open(struct pictures **out, const struct convert_options *how, const char *source, const char *dest)
{
    struct pictures *p = calloc(1, sizeof *p);
    int rc;

    *out = NULL;
    if (!p || !(p->root = calloc(how->n_images + 1, sizeof *p->root))) FAIL(CL_ENOMEM, "out of memory");
    p->how = how;
    for (size_t i = 0; i < how->n_images; i++) TRY(add_root(p, how->images[i]));
    if (!how->n_images) TRY(add_root(p, source));
    TRY(path_print(p->dest, "%s/images", dest));
    *out = p;
    return CL_OK;
done:
    pictures_close(p);
    return rc;
}

void pictures_close(struct pictures *p)
{
    if (!p) return;
    free(p->root);
    free(p);
}

const char *pictures_base(const struct pictures *p)
{
    return p->how->copy ? "images" : p->base;
}

int64_t pictures_copied(const struct pictures *p)
{
    return p->copied;
}

/* ---- finding */

/* Tries one pattern below one root. */
static bool try(struct pictures *p, char out[PATH_ROOM], int root, const char *pattern, const char *split,
                const char *name)
{
    char relative[PATH_ROOM], path[PATH_ROOM];
    const size_t above = strlen(p->base) > 1 ? strlen(p->base) : 0;
    struct stat st;
    const char *rest;

    if (!pattern_expand(relative, pattern, split, name)) return false;
    if (snprintf(path, sizeof path, "%s/%s", strcmp(p->root[root], "/") ? p->root[root] : "", relative) >= PATH_ROOM)
        return false;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) return false;
    rest = path + above + (path[above] == '/');
    memmove(out, rest, strlen(rest) + 1);
    return true;
}

/* --map: the first begin that fits is replaced. */
static bool map(const struct pictures *p, char out[PATH_ROOM], const char *name)
{
    while (!strncmp(name, "./", 2)) name += 2;
    for (size_t i = 0; i < p->how->n_maps; i++) {
        const char *equals = strchr(p->how->maps[i], '=');
        const size_t n = (size_t)(equals - p->how->maps[i]);

        if (!strncmp(name, p->how->maps[i], n))
            return snprintf(out, PATH_ROOM, "%s%s", equals + 1, name + n) < PATH_ROOM && picture_name_safe(out);
    }
    return snprintf(out, PATH_ROOM, "%s", name) < PATH_ROOM;
}

bool pictures_find(struct pictures *p, char out[PATH_ROOM], const char *split, const char *const *patterns,
                   const char *name)
{
    static const char *const plain[] = {"{name}", "{base}", NULL};
    const char *pattern[64];
    char mapped[PATH_ROOM];
    int n = 0;

    if (*p->name && !strcmp(name, p->name) && !strcmp(split, p->split)) return strcpy(out, p->found), true;
    if (!map(p, mapped, name)) return false;
    while (patterns && patterns[n] && n < 60) pattern[n] = patterns[n], n++;
    pattern[n++] = plain[0];
    if (p->how->n_images) pattern[n++] = plain[1]; // the very folder of the pictures was named
    for (int k = -1; k < p->roots * n; k++) {
        const int r = k < 0 ? p->last_root : k / n, t = k < 0 ? p->last_pattern : k % n;

        if (t >= n || !try(p, out, r, pattern[t], split, mapped)) continue;
        p->last_root = r, p->last_pattern = t;
        snprintf(p->name, sizeof p->name, "%s", name);
        strcpy(p->found, out);
        p->split = split;
        return true;
    }
    return false;
}

/* ---- copies */

static int copy_bytes(int to, int from, int64_t size, const char *path)
{
    char buf[1 << 16];
    int64_t all = 0;

    for (;;) {
        ssize_t n = read(from, buf, sizeof buf);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_set(CL_EIO, "%s: cannot be read: %s", path, strerror(errno));
        if (!n) break;
        for (ssize_t at = 0; at < n;) {
            ssize_t k = write(to, buf + at, (size_t)(n - at));

            if (k < 0 && errno == EINTR) continue;
            if (k < 0)
                return err_set(CL_EIO, "%s: cannot be copied: %s; hint: check free space", path, strerror(errno));
            at += k;
        }
        all += n;
    }
    if (all != size) return err_set(CL_EIO, "%s: changed while it was copied", path);
    return CL_OK;
}

/* A copy made earlier: same size, same time. */
static bool is_copied(const char *to, const struct stat *st)
{
    struct stat old;

    return !lstat(to, &old) && S_ISREG(old.st_mode) && old.st_size == st->st_size &&
           old.st_mtim.tv_sec == st->st_mtim.tv_sec && old.st_mtim.tv_nsec == st->st_mtim.tv_nsec;
}

static int copy_file(const char *from, const char *to, int64_t *copied)
{
    char temporary[PATH_ROOM] = "";
    int rc, in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
    struct stat st;

    if (in < 0 || fstat(in, &st)) FAIL(CL_EIO, "%s: cannot be read: %s", from, strerror(errno));
    if (is_copied(to, &st)) {
        rc = CL_OK;
        goto done;
    }
    TRY(path_print(temporary, "%s.tmp", to));
    unlink(temporary); // never write through a link that stands there
    out = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (out < 0) FAIL(CL_EIO, "%s: cannot be written: %s", temporary, strerror(errno));
    TRY(copy_bytes(out, in, st.st_size, from));
    if (futimens(out, (const struct timespec[]){st.st_atim, st.st_mtim}) || rename(temporary, to))
        FAIL(CL_EIO, "%s: cannot be written: %s", to, strerror(errno));
    ++*copied;
    rc = CL_OK;
done:
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    if (rc && out >= 0) unlink(temporary);
    return rc;
}

int pictures_path(const struct pictures *p, char out[PATH_ROOM], const char *relative)
{
    return path_print(out, "%s/%s", strcmp(p->base, "/") ? p->base : "", relative);
}

int pictures_copy(struct pictures *p, const char *relative)
{
    char from[PATH_ROOM], to[PATH_ROOM], folder[PATH_ROOM];
    int rc;

    if (!p->how->copy) return CL_OK;
    TRY(pictures_path(p, from, relative));
    TRY(path_print(to, "%s/%s", p->dest, relative));
    strcpy(folder, to);
    *strrchr(folder, '/') = 0;
    TRY(run_dir_make_folders(folder));
    TRY(copy_file(from, to, &p->copied));
done:
    return rc;
}
