/* metric.c - the table of metrics. A new rule is one function (metric_rules.h) and one line of METRICS. */
#include "io/metric.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "io/err.h"
#include "io/metric_rules.h"
#include "io/text.h"

/* RULE: 0 to 1, for tasks. CORPUS: a rule with a corpus score. POINTS: another scale. FORM: JSON, no score.
 * Name, function (behind metric_), what it takes, help. */
#define METRICS(RULE, CORPUS, POINTS, FORM)                                                                            \
    RULE(exact, exact, TEXTS, "equal to a reference; white space around both does not count, case does")               \
    RULE(first_word, first_word, TEXTS,                                                                                \
         "format-free: the first content word, number or letter of a choice is that of a reference")                   \
    RULE(relaxed_accuracy, relaxed_accuracy, TEXTS,                                                                    \
         "ChartQA: numbers within 5 % of the reference, texts equal but for case")                                     \
    RULE(anls, anls, TEXTS, "DocVQA: 1 - edit distance / length, case and blank runs aside, below 0.5 nothing")        \
    RULE(anls_paper, anls_paper, TEXTS, "DocVQA as in pix2struct: lower case alone, exactly 0.5 is nothing too")       \
    RULE(anls_mpdocvqa, anls_mpdocvqa, TEXTS, "MP-DocVQA: trimmed and lower-cased, an empty answer is nothing")        \
    RULE(vqa, vqa, TEXTS, "the same as vqa_accuracy")                                                                  \
    RULE(vqa_accuracy, vqa, TEXTS,                                                                                     \
         "VQAv2, official: 3 of 10 people, each left out in turn; normalised unless all ten agree")                    \
    RULE(vqa_accuracy_always_normalised, vqa_always, TEXTS, "VQAv2 as in lmms-eval: always normalised")                \
    RULE(vqa_accuracy_evalai, vqa_evalai, TEXTS, "TextVQA, VizWiz as in LLaVA: EvalAI's normaliser, always")           \
    RULE(gqa, gqa, TEXTS, "GQA: the prediction without periods at its end, lower-cased, equals a reference")           \
    RULE(scienceqa, scienceqa_llava, CHOICE, "the same as scienceqa_llava")                                            \
    RULE(scienceqa_llava, scienceqa_llava, CHOICE, "ScienceQA: B, `B. ..` or `The answer is B.`, once")                \
    RULE(scienceqa_coin, scienceqa_coin, CHOICE, "CoIN: B, `B. ..` or the first word of one letter, capital or not")   \
    RULE(scienceqa_lmms, scienceqa_lmms, CHOICE, "lmms-eval: the letter, case aside, or `B.` and anything behind it")  \
    RULE(iconqa, iconqa, CHOICE, "IconQA: letters by the rules of LLaVA or lmms-eval, filled-in texts lower-cased")    \
    RULE(pathvqa, pathvqa, TEXTS, "PathVQA: yes or no by the first word, others lower-cased without a last period")    \
    RULE(pathvqa_word_em, pathvqa_word_em, TEXTS, "PathVQA's script: words of the reference found / words said")       \
    RULE(pathvqa_f1, pathvqa_f1, TEXTS, "PathVQA's script: F1 of words, letters alone")                                \
    RULE(ocrvqa, lowered, TEXTS, "OCR-VQA: equal after lower case and trimming")                                       \
    RULE(imagenet, lowered, TEXTS, "ImageNet: equal to one of the class's names after lower case and trimming")        \
    RULE(iou, iou, BOXES, "overlap over union of two boxes x1, y1, x2, y2")                                            \
    RULE(refcoco_acc50, refcoco_acc50, BOXES, "RefCOCO: the first [x1, y1, x2, y2] in the text has an IoU of >= 0.5")  \
    RULE(coin_grounding, coin_grounding, BOXES, "CoIN: IoU > 0.5, after its cut of the first and last character")      \
    RULE(coin_vqa_exact, coin_exact, TEXTS, "CoIN: VQAv2 and VizWiz, equal in capitals")                               \
    RULE(coin_imagenet, coin_imagenet, TEXTS, "CoIN: one contains the other, case counts, nothing said is right")      \
    RULE(coin_ocrvqa, coin_ocrvqa, TEXTS, "CoIN: equal in lower case, `Unanswerable` is wrong")                        \
    RULE(mcit_exact, coin_exact, TEXTS, "MCITlib: equal in capitals")                                                  \
    RULE(mcit_contains, mcit_contains, TEXTS, "MCITlib: lower-cased prediction contains it, `Unanswerable` is wrong")  \
    RULE(token_f1, token_f1, TEXTS, "SQuAD: F1 of words, without case, punctuation and articles")                      \
    RULE(rouge_l, rouge_l, TEXTS, "ROUGE-L: F1 of the longest common subsequence of words")                            \
    CORPUS(bleu, bleu4, TEXTS, "BLEU of 1 to 4 words, lower-cased, no smoothing; also of the corpus")                  \
    CORPUS(bleu1, bleu1, TEXTS, "BLEU of single words; also of the corpus")                                            \
    CORPUS(bleu2, bleu2, TEXTS, "BLEU of 1 and 2 words; also of the corpus")                                           \
    CORPUS(bleu3, bleu3, TEXTS, "BLEU of 1 to 3 words; also of the corpus")                                            \
    POINTS(coin_gk_parse, coin_gk_parse, ALONE, "no rule: points out of 10 in the reply of CoIN's judge")              \
    POINTS(yes_no_parse, yes_no_parse, ALONE, "no rule: 1, 0 or -1 (neither) for a judge's yes or no")                 \
    FORM(llava_bench_parse, llava_bench_parse, ALONE, "no rule: the two scores in the reply of LLaVA-Bench's judge")   \
    FORM(normalize_vqa, normalize_vqa, ALONE, "no rule: the text as the VQA challenge compares it")                    \
    FORM(normalize_evalai, normalize_evalai, ALONE, "no rule: the text as EvalAI compares it")                         \
    FORM(pad_square_box, pad_square_box, BOXES, "no rule: a pixel box [x, y, w, h] on the picture padded to a square") \
    FORM(continual, continual, MATRIX, "no rule: AA, MAA, BWT, AF .. of an accuracy matrix")

#define ROW_RULE(name, f, takes, help) {#name, help, METRIC_##takes, true, metric_##f, NULL, NULL},
#define ROW_CORPUS(name, f, takes, help) {#name, help, METRIC_##takes, true, metric_##f, NULL, metric_##f##_parts},
#define ROW_POINTS(name, f, takes, help) {#name, help, METRIC_##takes, false, metric_##f, NULL, NULL},
#define ROW_FORM(name, f, takes, help) {#name, help, METRIC_##takes, false, NULL, metric_##f, NULL},
static const struct metric metrics[] = {METRICS(ROW_RULE, ROW_CORPUS, ROW_POINTS, ROW_FORM)};

#define NAME(name, f, takes, help) ", " #name
#define NO_NAME(name, f, takes, help)
static const char rules[] = METRICS(NAME, NAME, NO_NAME, NO_NAME), names[] = METRICS(NAME, NAME, NAME, NAME);

enum { COMMA = 2 }; // in front of the first name

const char *metric_names(void)
{
    return rules + COMMA;
}

const struct metric *metric_at(size_t i)
{
    return i < sizeof metrics / sizeof *metrics ? &metrics[i] : NULL;
}

const struct metric *metric_find(const char *name)
{
    char nearest[64];

    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (!strcmp(metrics[i].name, name)) return &metrics[i];
    text_listed(name, names + COMMA, nearest, sizeof nearest);
    err_set(CL_EUSAGE, "unknown metric '%s'%s%s%s; hint: one of %s", name, *nearest ? " (did you mean " : "", nearest,
            *nearest ? "?)" : "", names + COMMA);
    return NULL;
}

static const struct metric_options none = {0};

double metric_score(const struct metric *m, const char *prediction, const char *const *references, int n,
                    const struct metric_options *o)
{
    assert(m->score);
    return m->score(prediction, references, n, o ? o : &none);
}

int metric_form(const struct metric *m, struct text *json, const char *prediction, const char *const *references, int n,
                const struct metric_options *o)
{
    assert(m->form);
    return m->form(json, prediction, references, n, o ? o : &none);
}

int metric_add_parts(const struct metric *m, struct metric_parts *p, const char *prediction,
                     const char *const *references, int n)
{
    assert(m->parts);
    return m->parts(p, prediction, references, n);
}
