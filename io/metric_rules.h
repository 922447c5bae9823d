/* metric_rules.h - the rules behind the names of metric.c, one file per family (private to io/metric*.c and io/judge.c).
 *
 * Rules are functions of texts: no state, callable from any thread. Two results are not scores: NaN stands for "no memory".
 */
#ifndef CLLAVA_IO_METRIC_RULES_H
#define CLLAVA_IO_METRIC_RULES_H

#include "io/metric.h"

/* Best of a comparison over the references; NaN when one of them is. fit: one reference. */
typedef double metric_fit_fn(const char *prediction, const char *reference, const struct metric_options *o);
double metric_best(metric_fit_fn *fit, const char *prediction, const char *const *references, int n,
                   const struct metric_options *o);
/* Are two texts equal? Frees both; NaN when one is NULL (no memory). */
double metric_equal(char *a, char *b);

metric_score_fn metric_exact, metric_lowered, metric_gqa, metric_coin_exact, metric_coin_imagenet, metric_coin_ocrvqa,
    metric_mcit_contains, metric_pathvqa;                                                            // metric_equal.c
metric_score_fn metric_first_word;                                                                   // metric_first.c
metric_score_fn metric_relaxed_accuracy;                                                             // metric_number.c
metric_score_fn metric_anls, metric_anls_paper, metric_anls_mpdocvqa;                                // metric_edit.c
metric_score_fn metric_vqa, metric_vqa_always, metric_vqa_evalai;                                    // metric_vqa.c
metric_form_fn metric_normalize_vqa, metric_normalize_evalai;                                        //
metric_score_fn metric_scienceqa_llava, metric_scienceqa_coin, metric_scienceqa_lmms, metric_iconqa; // metric_choice.c
metric_score_fn metric_iou, metric_refcoco_acc50, metric_coin_grounding;                             // metric_box.c
metric_form_fn metric_pad_square_box;                                                                //
metric_score_fn metric_bleu1, metric_bleu2, metric_bleu3, metric_bleu4;                              // metric_ngram.c
metric_parts_fn metric_bleu1_parts, metric_bleu2_parts, metric_bleu3_parts, metric_bleu4_parts;      //
metric_score_fn metric_rouge_l, metric_token_f1, metric_pathvqa_word_em, metric_pathvqa_f1;          // metric_words.c
metric_form_fn metric_llava_bench_parse;                                                             // metric_verdict.c
metric_score_fn metric_coin_gk_parse, metric_yes_no_parse;                                           //
metric_form_fn metric_continual; // metric_continual.c

/* The two scores of a reply by LLaVA-Bench's judge, -1, -1 when it gives none. CL_ENOMEM. */
int metric_pair_of(const char *s, double v[2]);

#endif
