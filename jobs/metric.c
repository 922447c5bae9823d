/* metric.c - `cllava metric NAME FILE`: scores answers that are already there, whoever gave them. */
#include "io/bootstrap.h"
#include "io/err.h"
#include "io/jsonl.h"
#include "io/metric_record.h"
#include "jobs/commands.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPES = 64, TYPE = 64 }; // kinds of question that are told apart; bytes of a name

/* What is known when all lines were read. */
struct tally {
    const struct metric *metric;
    double *score; // (n)
    int64_t n, room, records;
    struct {
        char name[TYPE];
        double sum;
        int64_t n;
    } type[TYPES];
    int types;
    struct metric_parts parts;
};

static int add_score(struct tally *t, double score)
{
    if (t->n == t->room) {
        int64_t room = 2 * t->room + 1024;
        double *more = realloc(t->score, (size_t)room * sizeof *more);

        if (!more) return err_set(CL_ENOMEM, "no memory for %lld scores", (long long)room);
        t->score = more, t->room = room;
    }
    t->score[t->n++] = score;
    return CL_OK;
}

/* Types beyond the table count in the whole alone. */
static void add_type(struct tally *t, const char *name, double score)
{
    int i = 0;

    if (!name) return;
    while (i < t->types && strncmp(t->type[i].name, name, TYPE - 1)) i++;
    if (i == TYPES) return;
    if (i == t->types) snprintf(t->type[t->types++].name, TYPE, "%s", name);
    t->type[i].sum += score;
    t->type[i].n++;
}

/* One record: its line on stdout. */
static int score_line(void *context, const char *line)
{
    int rc;
    struct tally *t = context;
    struct metric_record r = {0};
    struct text json = {0};
    double score;

    TRY(metric_record_read(&r, t->metric, line));
    TRY(metric_record_score(&r, t->metric, &json, &score, &t->parts));
    puts(json.s);
    t->records++;
    if (isnan(score)) goto done;
    TRY(add_score(t, score));
    add_type(t, r.options.question_type, score);
done:
    text_free(&json);
    metric_record_free(&r);
    return rc;
}

/* The mean and what belongs to it, on stderr: stdout holds one line per record. */
static int say_total(const struct tally *t, const struct metric *m)
{
    int rc;
    struct bootstrap_interval b;

    if (m->form) {
        fprintf(stderr, "%lld records\n", (long long)t->records);
        return CL_OK;
    }
    TRY(bootstrap_mean(&b, t->score, t->n));
    fprintf(stderr, "mean %.6f over %lld records, 95 %% interval %.6f to %.6f\n", b.mean, (long long)t->n, b.low,
            b.high);
    for (int i = 0; i < t->types && t->types > 1; i++)
        fprintf(stderr, "  %-24s %.6f over %lld\n", t->type[i].name, t->type[i].sum / (double)t->type[i].n,
                (long long)t->type[i].n);
    if (m->parts) fprintf(stderr, "corpus %.6f\n", metric_corpus(&t->parts));
done:
    return rc;
}

static int list_metrics(void)
{
    for (size_t i = 0; metric_at(i); i++) printf("%-32s %s\n", metric_at(i)->name, metric_at(i)->help);
    return CL_OK;
}

int command_metric(const struct command_args *a)
{
    int rc;
    const char *name = args_positional(a, 0), *file = args_positional(a, 1);
    const struct metric *m;
    FILE *f = NULL;
    struct tally t = {0};

    if (!strcmp(name, "list")) return list_metrics();
    if (!(m = metric_find(name))) return CL_EUSAGE; // the text is set
    if (!file) FAIL(CL_EUSAGE, "metric %s of which file? hint: cllava metric NAME FILE, - for standard input", name);
    if (!(f = strcmp(file, "-") ? fopen(file, "r") : stdin)) FAIL(CL_EIO, "cannot read %s: %s", file, strerror(errno));
    t.metric = m;
    TRY(jsonl_each(f, file, score_line, &t));
    if (!t.records) FAIL(CL_EDATA, "%s holds no record", file);
    TRY(say_total(&t, m));
done:
    if (f && f != stdin) fclose(f);
    free(t.score);
    return rc;
}
