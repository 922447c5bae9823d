/* generate_words.c - every task of the embedded streams with its question types and wordings, and how a question is worded. */
#include "demo/generate_words.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

const struct generate_topic generate_topics[GENERATE_TASKS] = {
    /* ---- domain: a kind of picture each */
    [GENERATE_CHART] =
        {"chart",
         "exact",
         {{"tallest",
           1,
           {"which bar[| of the chart] is [tallest|highest] ?",
            "name the colour of the [tallest|highest] bar[| of the chart] .",
            "what colour has the [tallest|highest] bar[| of the chart] ?",
            "the [tallest|highest] bar[| of the chart] has which colour ?",
            "which colour is the [tallest|highest] bar[| of the chart] ?"}},
          {"shortest",
           1,
           {"which bar[| of the chart] is [shortest|lowest] ?",
            "name the colour of the [shortest|lowest] bar[| of the chart] .",
            "what colour has the [shortest|lowest] bar[| of the chart] ?",
            "the [shortest|lowest] bar[| of the chart] has which colour ?",
            "which colour is the [shortest|lowest] bar[| of the chart] ?"}},
          {"value",
           1,
           {"what is the value of the {} bar[| of the chart] ?",
            "how many percent does the {} bar[| of the chart] show ?", "give the value of the {} bar[| of the chart] .",
            "the {} bar[| of the chart] has which value ?", "what value does the {} bar[| of the chart] have ?"}}},
         generate_chart_item},
    [GENERATE_DOCUMENT] = {"document",
                           "exact",
                           {{"field",
                             2,
                             {"what is the {}[| on this form] ?", "read the {} field[| on this form] .",
                              "what number is written for {}[| on this form] ?", "find the {} entry[| on this form] .",
                              "what number stands in the {} field[| on this form] ?"}},
                            {"first",
                             1,
                             {"what is the number in the [first|top] field[| on this form] ?",
                              "read the [first|top] number[| on this form] .",
                              "what number is written in the [first|top] entry[| on this form] ?",
                              "find the [first|top] entry[| on this form] .",
                              "what number stands in the [first|top] field[| on this form] ?"}},
                            {"last",
                             1,
                             {"what is the number in the [last|bottom] field[| on this form] ?",
                              "read the [last|bottom] number[| on this form] .",
                              "what number is written in the [last|bottom] entry[| on this form] ?",
                              "find the [last|bottom] entry[| on this form] .",
                              "what number stands in the [last|bottom] field[| on this form] ?"}}},
                           generate_document_item},
    [GENERATE_ICON] = {"icon",
                       "exact",
                       {{"shape",
                         1,
                         {"where is the {} ? choose the letter .", "which option shows the {} ?",
                          "pick the option letter with the {} .", "choose A , B , C or D : the {} .",
                          "give the letter of the option with the {} ."}},
                        {"colour",
                         1,
                         {"where is the {} icon ? choose the letter .", "which option shows the {} icon ?",
                          "pick the option letter with the {} icon .", "choose A , B , C or D : the {} icon .",
                          "give the letter of the option with the {} icon ."}},
                        {"both",
                         1,
                         {"where is the {} ? choose the letter .", "which option shows the {} ?",
                          "pick the option letter with the {} .", "choose A , B , C or D : the {} .",
                          "give the letter of the option with the {} ."}}},
                       generate_icon_item},
    [GENERATE_MEDICAL] = {"medical",
                          "exact",
                          {{"lesion",
                            1,
                            {"is there a lesion in the {} lung[| of the patient] ?",
                             "does the scan show a nodule in the {} lung[| of the patient] ?",
                             "is the {} lung[| of the patient] abnormal ?",
                             "any lesion [in the {} lung|on the {} side][| of the patient] ?",
                             "do you find a lesion in the {} lung[| of the patient] ?"}},
                           {"side",
                            1,
                            {"which lung[| of the patient] has more lesions ?",
                             "on which side[| of the patient] are more nodules ?",
                             "are there more lesions in the left or the right lung[| of the patient] ?",
                             "in which lung[| of the patient] are more lesions ?"}},
                           {"count",
                            1,
                            {"how many lesions are in the {} lung[| of the patient] ?",
                             "number of nodules in the {} lung[| of the patient] ?",
                             "count the lesions in the {} lung[| of the patient] .",
                             "how many nodules does the {} lung[| of the patient] show ?",
                             "how many lesions has the {} lung[| of the patient] ?"}}},
                          generate_medical_item},
    /* ---- capability: a type per kind of picture */
    [GENERATE_CONVERSATION] =
        {"conversation",
         "token_f1",
         {{"chart",
           1,
           {"which bar would you call the [highest|tallest] one ?",
            "can you tell me which bar is the [highest|tallest] ?", "i wonder which bar is [highest|tallest] .",
            "please say which bar is the [highest|tallest] one .", "could you say which bar is [highest|tallest] ?"}},
          {"form",
           1,
           {"can you tell me the number of {} ?", "please say which number {} has .",
            "i wonder what number stands with {} .", "which number would you read for {} ?",
            "could you say which number {} has ?"}},
          {"icons",
           1,
           {"can you tell me where the {} is ?", "please say where you see the {} .", "i wonder where the {} is .",
            "where would you look for the {} ?", "could you say where the {} is ?"}},
          {"scan",
           1,
           {"can you tell me how many spots you see in the {} lung ?", "please say how many spots the {} lung has .",
            "i wonder how many spots are in the {} lung .", "how many spots would you count in the {} lung ?",
            "could you say how many spots the {} lung has ?"}}},
         generate_conversation_item},
    [GENERATE_REASONING] =
        {"reasoning",
         "exact",
         {{"chart",
           1,
           {"reason : is the {} bar higher than {} ?", "think about the {} bar : is its height above {} ?",
            "explain whether the {} bar goes beyond {} .", "find out whether the {} bar is higher than {} .",
            "think : is the {} bar higher than {} ?"}},
          {"form",
           1,
           {"reason : is the number of {} above {} ?", "think about the number of {} : is it more than {} ?",
            "explain whether the number of {} goes beyond {} .", "find out whether the number of {} is above {} .",
            "think : is the number of {} above {} ?"}},
          {"icons",
           1,
           {"reason : is the {} in the {} half ?", "think about the place of the {} : is it {} ?",
            "explain whether the {} is in the {} half .", "find out whether the {} is in the {} half .",
            "think : is the {} in the {} half ?"}},
          {"scan",
           1,
           {"reason : has the {} lung more than {} spot ?", "think about the {} lung : are its spots more than {} ?",
            "explain whether the {} lung holds more than {} spot .",
            "find out whether the {} lung has more than {} spot .", "think : has the {} lung more than {} spot ?"}}},
         generate_reasoning_item},
    [GENERATE_DETAIL] =
        {"detail",
         "rouge_l",
         {{"chart",
           1,
           {"describe the [picture|image] in detail .", "give a detailed description of the [picture|image] .",
            "what does the [picture|image] show in detail ?", "tell everything that the [picture|image] shows .",
            "give all details of the [picture|image] ."}},
          {"form",
           1,
           {"describe the [picture|image] in detail .", "give a detailed description of the [picture|image] .",
            "what does the [picture|image] show in detail ?", "tell everything that the [picture|image] shows .",
            "give all details of the [picture|image] ."}},
          {"icons",
           1,
           {"describe the [picture|image] in detail .", "give a detailed description of the [picture|image] .",
            "what does the [picture|image] show in detail ?", "tell everything that the [picture|image] shows .",
            "give all details of the [picture|image] ."}},
          {"scan",
           1,
           {"describe the [picture|image] in detail .", "give a detailed description of the [picture|image] .",
            "what does the [picture|image] show in detail ?", "tell everything that the [picture|image] shows .",
            "give all details of the [picture|image] ."}}},
         generate_detail_item},
    /* ---- data sets: their answer formats */
    [GENERATE_SCIENCE] = {"science",
                          "scienceqa_llava",
                          {{"side",
                            1,
                            {"which lung has more lesions ? options : A {} B {}",
                             "more lesions are in which lung ? options : A {} B {}",
                             "where are more lesions ? options : A {} B {}",
                             "in which lung do you see more lesions ? options : A {} B {}"}},
                           {"lesion",
                            1,
                            {"has the {} lung a lesion ? options : A yes B no",
                             "is there any lesion in the {} lung ? options : A yes B no",
                             "does the {} lung show a lesion ? options : A yes B no",
                             "do you see a lesion in the {} lung ? options : A yes B no"}},
                           {"count",
                            1,
                            {"how many lesions has the {} lung ? options : A none B one C two D three",
                             "count the lesions of the {} lung . options : A none B one C two D three",
                             "the {} lung has how many lesions ? options : A none B one C two D three",
                             "how many lesions do you see in the {} lung ? options : A none B one C two D three"}}},
                          generate_science_item},
    [GENERATE_TEXT] =
        {"text",
         "exact",
         {{"word",
           2,
           {"what word is printed beside {} ?", "which word does {} belong to ?", "read the word before {} .",
            "which word is printed before {} ?"}},
          {"first",
           1,
           {"what word is printed in the [first|top] line ?", "read the word of the [first|top] line .",
            "the [first|top] line begins with which word ?", "which word is printed in the [first|top] line ?"}},
          {"last",
           1,
           {"what word is printed in the [last|bottom] line ?", "read the word of the [last|bottom] line .",
            "the [last|bottom] line begins with which word ?", "which word is printed in the [last|bottom] line ?"}}},
         generate_text_item},
    [GENERATE_CLASSIFY] = {"classify",
                           "imagenet",
                           {{"class",
                             1,
                             {"what class of object is this ?", "name the class of the object .",
                              "to which class does the object belong ?", "classify the object .",
                              "which class of object is shown ?"}}},
                           generate_classify_item},
    [GENERATE_GQA] =
        {"gqa",
         "gqa",
         {{"place",
           1,
           {"on which side is the {} ?", "in what corner is the {} ?", "the {} is in which corner ?",
            "in which corner do you see the {} ?"}},
          {"object",
           1,
           {"which object is in the {} corner ?", "what thing is in the {} corner ?",
            "the {} corner holds which object ?", "which object do you see in the {} corner ?"}},
          {"colour",
           1,
           {"what colour does the {} have ?", "which colour is the {} ?", "the {} has what colour ?",
            "which colour do you see on the {} ?"}}},
         generate_gqa_item},
    [GENERATE_VIZWIZ] = {"vizwiz",
                         "exact",
                         {{"count",
                           1,
                           {"how many bars are on this ? thanks", "hi , how many bars are there ?",
                            "can you count the bars on this ?", "hello , how many bars are on this ?"}},
                          {"colour",
                           1,
                           {"what colour is the {} bar on this ? thanks", "hi , what is the colour of the {} bar ?",
                            "can you tell the colour of the {} bar on this ?",
                            "hello , what colour is the {} bar on this ?"}}},
                         generate_vizwiz_item},
    [GENERATE_GROUNDING] = {"grounding",
                            "refcoco_acc50",
                            {{"both",
                              1,
                              {"give the box of the {} .", "what are the box coordinates of the {} ?",
                               "locate the {} by its box .", "provide the box of the {} ."}},
                             {"shape",
                              1,
                              {"give the box of the {} .", "what are the box coordinates of the {} ?",
                               "locate the {} by its box .", "provide the box of the {} ."}}},
                            generate_grounding_item},
    [GENERATE_VQA] =
        {"vqa",
         "exact",
         {{"lines",
           1,
           {"how many lines are there ? answer with one word .", "how many lines do you see ? answer with one word .",
            "count the lines . answer with one word .", "how many lines are in the picture ? answer with one word ."}},
          {"present",
           1,
           {"is there a {} bar ? answer with one word .", "do you see a {} bar ? answer with one word .",
            "does it have a {} bar ? answer with one word .", "is a {} bar in the picture ? answer with one word ."}},
          {"shape",
           1,
           {"what shape is the {} icon ? answer with one word .",
            "which shape has the {} icon ? answer with one word .",
            "the {} icon is what shape ? answer with one word .",
            "what shape is the {} icon in the picture ? answer with one word ."}}},
         generate_vqa_item},
    [GENERATE_OCR] = {"ocr",
                      "ocrvqa",
                      {{"title",
                        1,
                        {"what is the title of this book ?", "what is written as the title ?",
                         "who can read the title of the book ?", "what is the title of the book ?"}},
                       {"author",
                        1,
                        {"who is the author of this book ?", "who wrote this book ?", "who is named as the author ?",
                         "who is the author of the book ?"}}},
                      generate_ocr_item},
};

const char *generate_task_name(int task)
{
    return generate_topics[task].name;
}

const char *generate_task_metric(int task)
{
    return generate_topics[task].metric;
}

const char *const *generate_wordings(int task, int k, const char **type, int *n)
{
    const struct generate_type *t;

    *n = 0;
    *type = NULL;
    if (task < 0 || task >= GENERATE_TASKS || k < 0 || k >= GENERATE_TYPES) return NULL;
    t = &generate_topics[task].type[k];
    if (!t->name) return NULL;
    *type = t->name;
    while (*n < GENERATE_WORDINGS && t->wordings[*n]) ++*n;
    return t->wordings;
}

int generate_pick_type(int task, struct generate_rng *rng)
{
    const struct generate_type *type = generate_topics[task].type;
    int sum = 0, k = 0, at;

    for (int i = 0; i < GENERATE_TYPES; i++) sum += type[i].share;
    at = generate_rng_range(rng, 0, sum - 1);
    while (at >= type[k].share) at -= type[k++].share;
    return k;
}

/* Words a question: of [a|b|c] one alternative is drawn, what is asked about takes the place of {}, the second thing that of
 * the second {}. Cut off at the size of out. */
static void word(char *out, size_t size, const char *pattern, const char *const about[2], struct generate_rng *rng)
{
    size_t n = 0;
    int things = 0;
    int skip = 0; // alternatives still to be passed over, -1 behind the one that was taken

    for (const char *p = pattern; *p; p++) {
        if (*p == '[') {
            const char *end = strchr(p, ']');
            int bars = 0;

            for (const char *q = p; q < end; q++) bars += *q == '|';
            skip = generate_rng_range(rng, 0, bars);
        } else if (*p == '|')
            skip--;
        else if (*p == ']')
            skip = 0;
        else if (skip)
            continue;
        else if (*p == '{')
            for (const char *q = about[things++]; *q && n + 1 < size; q++) out[n++] = *q;
        else if (*p != '}' && n + 1 < size)
            out[n++] = *p;
    }
    out[n] = 0;
}

void generate_ask(struct generate_item *item, int task, int k, const char *about, const char *other, bool test,
                  struct generate_rng *rng)
{
    const char *type, *const things[2] = {about, other ? other : about};
    int n;
    const char *const *wordings = generate_wordings(task, k, &type, &n);
    bool fresh = test && generate_rng_range(rng, 0, 1);
    int which = fresh ? n - 1 : generate_rng_range(rng, 0, n - 2);

    word(item->question, sizeof item->question, wordings[which], things, rng);
    snprintf(item->type, sizeof item->type, "%s%s", type, fresh ? "-new" : "");
}

void generate_item(struct generate_item *item, int task, bool test, struct generate_rng *rng)
{
    int k = generate_pick_type(task, rng);

    item->next_question[0] = item->next_answer[0] = 0;
    generate_topics[task].make(item, k, test, rng);
}
