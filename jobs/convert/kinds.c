/* kinds.c - every kind of release that `convert` knows: what it is, where it comes from, what it must look like. */
#include <string.h>

#include "io/err.h"
#include "io/text.h"
#include "jobs/convert/families.h"

// clang-format off
const struct kind kinds[] = {
    {.name = "chartqa", .title = "ChartQA: questions about charts, human and augmented",
     .where = "github.com/vis-nlp/ChartQA (ChartQA Dataset.zip)",
     .layout = "SOURCE/{train,val,test}/{train,val,test}_{human,augmented}.json   SOURCE/<split>/png/NAME\n"
               "(or SOURCE/ChartQA Dataset/..)",
     .becomes = "{query}\\nAnswer the question with a single word.   answer: label   question_type: human, augmented",
     .metric = "relaxed_accuracy", .splits = "train, val, test", .train = "train", .test = "test", .run = convert_chartqa},
    {.name = "docvqa", .title = "DocVQA, single page: questions about scanned documents",
     .where = "rrc.cvc.uab.es, challenge 17, task 1 (registration)",
     .layout = "SOURCE/spdocvqa_qas/{train_v1.0_withQT,val_v1.0_withQT}.json   SOURCE/spdocvqa_images/NAME.png\n"
               "(older: SOURCE/<split>/<split>_v1.0.json, SOURCE/<split>/documents/NAME.png)",
     .becomes = "{question}\\nAnswer the question using a single word or phrase.   answer: the first   references: all\n"
                "question_type: question_types   (test has no answers: val is the test)",
     .metric = "anls", .splits = "train, val, test", .train = "train", .test = "val", .run = convert_docvqa},
    {.name = "iconqa", .title = "IconQA: abstract diagrams, fill-in-blank and choices of texts",
     .where = "iconqa.github.io (iconqa_data.zip)",
     .layout = "SOURCE/problems.json   SOURCE/pid_splits.json   SOURCE/iconqa/<split>/<type>/<pid>/image.png\n"
               "(or SOURCE/iconqa_data/..)",
     .becomes = "--prompt lmms: Given a set of images and a question, please provide the answer to the question.\\nQuestion: "
                "{q}.\\n..\n"
                "--prompt ucit: {q}\\nAnswer the question using a single word or phrase.\n"
                "answer: letter (choose_txt) or text (fill_in_blank); choose_img is left out: its choices are pictures.\n"
                "--choose-img --copy makes one picture of each: the question's above, the choices in a row below it",
     .metric = "iconqa", .splits = "train, val, test, trainval, minitrain, minival, minitest", .train = "train",
     .test = "test", .forms = "lmms, ucit", .options = "choose-img", .run = convert_iconqa},
    {.name = "pathvqa", .title = "PathVQA: pathology pictures (COAST's MedicalQA)",
     .where = "github.com/UCSD-AI4H/PathVQA",
     .layout = "SOURCE/qas/<split>_vqa.pkl (or qas/<split>/<split>_qa.pkl, or the same as .json)   "
               "SOURCE/images/<split>/NAME.jpg\n"
               "pickles are read without Python: plain data only",
     .becomes = "{q}\\nAnswer the question using a single word or phrase.   question_type: closed (yes, no), open",
     .metric = "pathvqa", .splits = "train, val, test", .train = "train", .test = "test", .run = convert_pathvqa},
    {.name = "scienceqa", .title = "ScienceQA: school questions with choices, half of them with a picture",
     .where = "github.com/lupantech/ScienceQA",
     .layout = "SOURCE/problems.json   SOURCE/pid_splits.json   SOURCE/[images/]<split>/<pid>/image.png\n"
               "(or SOURCE/data/scienceqa/..)",
     .becomes = "--prompt letter: [Context: {hint}\\n]{q}\\nA. {c0}\\nB. {c1}\\nAnswer with the option's letter from the given "
                "choices directly.\n"
                "--prompt cqm-a: Context: {hint}\\nQuestion: {q}\\nOptions: (A) {c0} (B) {c1}   answer: The answer is A.\n"
                "question_type: subject   choices: how many",
     .metric = "scienceqa_llava", .splits = "train, val, test, trainval, minitrain, minival, minitest", .train = "train",
     .test = "test", .forms = "letter, cqm-a", .run = convert_scienceqa},
    {.name = "textvqa", .title = "TextVQA: reading text in photographs",
     .where = "textvqa.org/dataset (version 0.5.1)",
     .layout = "SOURCE/TextVQA_0.5.1_{train,val}.json   SOURCE/train_images/ID.jpg (train and val)",
     .becomes = "{q}\\nAnswer the question using a single word or phrase.   answer: most common   references: ten\n"
                "--ocr FILE (TextVQA_Rosetta_OCR_v0.2_*.json) adds the line: Reference OCR token: t1, t2",
     .metric = "vqa_accuracy_evalai", .splits = "train, val, test", .train = "train", .test = "val", .options = "ocr",
     .run = convert_textvqa},
    {.name = "imagenet", .title = "ImageNet (ILSVRC 2012): naming the object",
     .where = "image-net.org or kaggle.com/c/imagenet-object-localization-challenge",
     .layout = "SOURCE/{train,val}/<wnid>/NAME.JPEG   SOURCE/LOC_synset_mapping.txt or synset_words.txt\n"
               "(val may be flat, with LOC_val_solution.csv; or SOURCE/ILSVRC/Data/CLS-LOC/..)",
     .becomes = "What is the object in the image?\\nAnswer the question using a single word or phrase.\n"
                "answer: the first name of the class   references: all its names\n"
                "--names FILE: other names, lines `wnid name`   --classes FILE: only these classes, a wnid per line\n"
                "pictures come class by class: --limit takes the first classes",
     .metric = "imagenet", .splits = "train, val", .train = "train", .test = "val", .options = "names, classes",
     .run = convert_imagenet},
    {.name = "gqa", .title = "GQA: compositional questions about scenes",
     .where = "cs.stanford.edu/people/dorarad/gqa (questions1.2.zip, images.zip)",
     .layout = "SOURCE/questions1.2/{train,val,testdev}_balanced_questions.json   SOURCE/images/ID.jpg\n"
               "--split train=train_all takes train_all_questions.json, or the folder of ten",
     .becomes = "{q}\\nAnswer the question using a single word or phrase.   question_type: structural type (query: open)",
     .metric = "gqa", .splits = "train, val, testdev, test, train_all, val_all, testdev_all", .train = "train",
     .test = "testdev", .run = convert_gqa},
    {.name = "vizwiz", .title = "VizWiz-VQA: pictures and questions of blind people",
     .where = "vizwiz.org/tasks-and-datasets/vqa",
     .layout = "SOURCE/Annotations/{train,val}.json   SOURCE/{train,val}/VizWiz_<split>_NUMBER.jpg",
     .becomes = "{q}\\nWhen the provided information is insufficient, respond with 'Unanswerable'.\\nAnswer the question "
                "using a single word or phrase.\n"
                "answer: most common   references: ten   id: the picture's name   question_type: answer_type",
     .metric = "vqa_accuracy_evalai", .splits = "train, val, test", .train = "train", .test = "val", .run = convert_vizwiz},
    {.name = "refcoco", .title = "RefCOCO, RefCOCO+, RefCOCOg: the box of what a sentence describes",
     .where = "github.com/lichengunc/refer (refcoco.zip, refcoco+.zip, refcocog.zip), COCO train2014",
     .layout = "SOURCE/instances.json   SOURCE/refs(unc).p, refs(umd).p or refs(google).p\n"
               "(or SOURCE/{refcoco,refcoco+,refcocog}/..: all that are there)   --images COCO/train2014",
     .becomes = "--prompt coin: Please provide the bounding box coordinate of the region this sentence describes: {sentence}\n"
                "--prompt llava: {sentence}\\nProvide the bounding box coordinate of the region this sentence describes.\n"
                "--prompt describe: {box}\\nProvide a short description for this region.\n"
                "answer: [x1, y1, x2, y2] on the picture padded to a square; --box plain: of the picture itself\n"
                "test is testA and testB where a set has these   question_type: set and split   size: of the picture",
     .metric = "refcoco_acc50", .splits = "train, val, test, testA, testB", .train = "train", .test = "test",
     .forms = "coin, llava, describe", .options = "by, box", .run = convert_refcoco},
    {.name = "vqav2", .title = "VQAv2: questions about COCO pictures",
     .where = "visualqa.org/download.html, COCO train2014 and val2014",
     .layout = "SOURCE/v2_OpenEnded_mscoco_{train,val}2014_questions.json   SOURCE/v2_mscoco_{train,val}2014_annotations.json\n"
               "SOURCE/{train,val}2014/COCO_<split>2014_NUMBER.jpg (or --images COCO)",
     .becomes = "{q}\\nAnswer the question using a single word or phrase.   answer: multiple_choice_answer   references: ten\n"
                "question_type: answer_type",
     .metric = "vqa_accuracy", .splits = "train, val", .train = "train", .test = "val", .run = convert_vqav2},
    {.name = "ocrvqa", .title = "OCR-VQA: book covers",
     .where = "ocr-vqa.github.io (dataset.json; pictures by its addresses)",
     .layout = "SOURCE/dataset.json   SOURCE/images/ID.ENDING (or all renamed to .jpg, as LLaVA does)",
     .becomes = "{q}\\nAnswer the question using a single word or phrase.   id: ID-1, ID-2, ..",
     .metric = "ocrvqa", .splits = "train, val, test", .train = "train", .test = "test", .run = convert_ocrvqa},
    {.name = "llava-conversation", .title = "LLaVA-Instruct, conversations (58k)",
     .where = "huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K, COCO train2017",
     .layout = "SOURCE/conversation_58k.json, or SOURCE is that file   --images COCO/train2017",
     .becomes = "the conversation as it is; no test was published: 1 % of the pictures is held out (--hold-out PERCENT),\n"
                "the same ones in all three subsets",
     .metric = "rouge_l", .train = "train", .file = true, .hold_out = 100, .options = "hold-out", .run = convert_instructions},
    {.name = "llava-reasoning", .title = "LLaVA-Instruct, complex reasoning (77k)",
     .where = "huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K, COCO train2017",
     .layout = "SOURCE/complex_reasoning_77k.json, or SOURCE is that file   --images COCO/train2017",
     .becomes = "as llava-conversation", .metric = "rouge_l", .train = "train", .file = true, .hold_out = 100,
     .options = "hold-out", .run = convert_instructions},
    {.name = "llava-detail", .title = "LLaVA-Instruct, detail description (23k)",
     .where = "huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K, COCO train2017",
     .layout = "SOURCE/detail_23k.json, or SOURCE is that file   --images COCO/train2017",
     .becomes = "as llava-conversation", .metric = "rouge_l", .train = "train", .file = true, .hold_out = 100,
     .options = "hold-out", .run = convert_instructions},
    {.name = "llava-json", .title = "any training file in LLaVA's form (a JSON array of conversations)",
     .where = "llava_v1_5_mix665k.json and its like",
     .layout = "SOURCE is the file, or a folder with train*.json (and test*.json: --split train --split test)\n"
               "--images: the folder that image is relative to",
     .becomes = "roles human and gpt, <image> in front of the first question; --hold-out PERCENT makes a test split",
     .metric = "exact", .train = "train", .file = true, .options = "hold-out, answers", .run = convert_instructions},
    {.name = "llava-jsonl", .title = "question files in LLaVA's form (JSONL of question_id, image, text)",
     .where = "LLaVA's evaluation data, e.g. its 90 questions qa90_questions.jsonl",
     .layout = "SOURCE is the file   --answers FILE: references by question_id (JSONL, or TextVQA's annotations)",
     .becomes = "text as it is, test.jsonl only   question_type: category",
     .metric = "exact", .test = "test", .file = true, .options = "answers", .run = convert_instructions},
    {.name = "coin", .title = "CoIN: instruction files of its eight tasks",
     .where = "huggingface.co/datasets/Zacks-Chen/CoIN",
     .layout = "SOURCE/<Task>/{train,test}.json (val.json is scored for TextVQA, VizWiz, VQAv2), each to DEST/<Task>;\n"
               "or SOURCE is one such folder   --images cl_dataset   --map OLD=NEW for folders named otherwise",
     .becomes = "text as it is   references: answer, answer_bbox, or all ten of TextVQA_0.5.1_val.json beside test.json",
     .metric = "exact", .train = "train", .test = "test", .file = true, .folders = true, .options = "answers",
     .run = convert_instructions},
    {.name = "ucit", .title = "UCIT (HiDe-LLaVA, MCITlib): instruction files of its six tasks",
     .where = "huggingface.co/datasets/HaiyangGuo/UCIT",
     .layout = "SOURCE/<Task>/{train*,test*}.json (and val_coco_type*.json: captions), each to DEST/<Task>;\n"
               "or SOURCE is one such folder   --images datasets",
     .becomes = "text as it is   references: answer, or all captions by question_id",
     .metric = "exact", .train = "train", .test = "test", .file = true, .folders = true, .options = "answers",
     .run = convert_instructions},
    {.name = "mllm-cl", .title = "MLLM-CL: instruction files of its domains and abilities",
     .where = "huggingface.co/datasets/MLLM-CL/MLLM-CL",
     .layout = "SOURCE/<Domain>/{train,test}.json   SOURCE/<Domain>/images (abilities: SOURCE/<Ability>_test/*.json), each to\n"
               "DEST/<Domain>; or SOURCE is one such folder",
     .becomes = "text as it is   references: answer", .metric = "exact", .train = "train", .test = "test", .file = true,
     .folders = true, .options = "answers", .run = convert_instructions},
    {.name = NULL},
};
// clang-format on

const struct kind *kind_find(const char *name)
{
    struct text t = {0};
    char meant[64] = "";

    for (const struct kind *k = kinds; k->name; k++)
        if (!strcmp(k->name, name)) return k;
    for (const struct kind *k = kinds; k->name; k++) text_add(&t, "%s%s", k == kinds ? "" : ", ", k->name);
    if (!t.s || t.failed) {
        err_set(CL_ENOMEM, "out of memory");
        return NULL;
    }
    text_listed(name, t.s, meant, sizeof meant);
    err_set(CL_EUSAGE, "convert: unknown kind (got %.60s, expected list, stream, or one of %s)%s%s%s", name, t.s,
            *meant ? "; hint: did you mean " : "", meant, *meant ? "?" : "");
    text_free(&t);
    return NULL;
}
