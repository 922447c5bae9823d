#!/usr/bin/env bash
# test_convert_kinds.sh - every kind of release, small, in the official shape and made here: what it becomes to the last byte, what
# is left out and why, what is refused; then the ready streams over the results.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAIL: $*"; cat out err 2>/dev/null; exit 1; }

# picture FILE..: a file that is there; convert never looks inside.
picture() {
    local file
    for file in "$@"; do
        mkdir -p "$(dirname "$file")"
        echo picture >"$file"
    done
}

# convert KIND ARGUMENTS..: must work.
convert() { "$CLLAVA" convert "$@" --quiet >out 2>err </dev/null || fail "convert $*: status $?"; }

# is FILE: compares with what stands on stdin.
is() { diff "$1" - >difference || { cat difference; fail "$1 is not what was expected"; }; }

# says WORDS: a line of the summary.
says() { grep -qF -- "$1" out || fail "no '$1' in the summary"; }

# refused STATUS WORDS ARGUMENTS..: one message, nothing on stdout.
refused() {
    local want=$1 words=$2 status=0
    shift 2
    "$CLLAVA" convert "$@" --quiet >out 2>err </dev/null || status=$?
    [[ $status == "$want" ]] || fail "convert $*: status $status, expected $want"
    [[ $(grep -c '^cllava: error: ' err) == 1 ]] || fail "convert $*: not one error message"
    grep -qF -- "$words" err || fail "convert $*: no '$words' on stderr"
    [[ ! -s out ]] || fail "convert $*: something on stdout"
}

short='\nAnswer the question using a single word or phrase.'

# ---- ChartQA: the blank in the folder's name, U+FFFD in texts, a number as label
chart="charts/ChartQA Dataset"
picture "$chart"/{train,test}/png/{1,2}.png
cat >"$chart/train/train_human.json" <<'JSON'
[{"imgname": "1.png", "query": "How many bars?", "label": "3"},
 {"imgname": "9.png", "query": "Gone?", "label": "1"},
 {"imgname": "2.png", "query": "No label?", "label": ""},
 {"imgname": "2.png", "query": NaN, "label": "1"},
 {"imgname": "../../../../etc/passwd", "query": "Outside?", "label": "1"},
 {"imgname": "/etc/passwd", "query": "Absolute?", "label": "1"},
 {"imgname": "2.png", "query": "caf\u00e9 \ufffd \"x\"?", "label": 0.63}]
JSON
echo '[{"imgname": "2.png", "query": "Which year?", "label": "2014"}]' >"$chart/train/train_augmented.json"
echo '[{"imgname": "1.png", "query": "Top?", "label": "a"}, {"imgname": "2.png", "query": "Last?", "label": "b"}]' |
    gzip >"$chart/test/test_human.json.gz"
echo '[]' >"$chart/test/test_augmented.json"
convert chartqa charts made/chartqa
is made/chartqa/train.jsonl <<'JSON'
{"id": "train-human-1", "image": "ChartQA Dataset/train/png/1.png", "conversations": [{"from": "human", "value": "<image>\nHow many bars?\nAnswer the question with a single word."}, {"from": "gpt", "value": "3"}], "answers": ["3"], "question_type": "human"}
{"id": "train-human-7", "image": "ChartQA Dataset/train/png/2.png", "conversations": [{"from": "human", "value": "<image>\ncafé � \"x\"?\nAnswer the question with a single word."}, {"from": "gpt", "value": "0.63"}], "answers": ["0.63"], "question_type": "human"}
{"id": "train-augmented-1", "image": "ChartQA Dataset/train/png/2.png", "conversations": [{"from": "human", "value": "<image>\nWhich year?\nAnswer the question with a single word."}, {"from": "gpt", "value": "2014"}], "answers": ["2014"], "question_type": "augmented"}
JSON
is made/chartqa/test.jsonl <<'JSON'
{"id": "test-human-1", "image": "ChartQA Dataset/test/png/1.png", "conversations": [{"from": "human", "value": "<image>\nTop?\nAnswer the question with a single word."}, {"from": "gpt", "value": "a"}], "answers": ["a"], "question_type": "human"}
{"id": "test-human-2", "image": "ChartQA Dataset/test/png/2.png", "conversations": [{"from": "human", "value": "<image>\nLast?\nAnswer the question with a single word."}, {"from": "gpt", "value": "b"}], "answers": ["b"], "question_type": "human"}
JSON
says 'train.jsonl           3 samples, 3 with a picture (split train), 5 left out:'
says '         3  broken record'
says "train_human.json: record 4: not JSON: "
says 'train_human.json: record 5: train-human-5: a picture name that leads out of its folder, or is none'
says '         1  picture missing'
says 'train_human.json: record 2: 9.png'
says 'train_human.json: record 3: train-human-3'
says 'test.jsonl            2 samples'
grep -qF '"picture missing": {' made/chartqa/convert.json || fail 'convert.json: nothing of what was left out'
# all or nothing: a file that was cut off changes neither file
cp -r made/chartqa before
head -c 60 "$chart/train/train_augmented.json" >cut
mv cut "$chart/train/train_augmented.json"
refused 1 'train_augmented.json: ends early' chartqa charts made/chartqa
diff -r before made/chartqa || fail 'a failed conversion changed its folder'
[[ -z $(find made -name '*.tmp*') ]] || fail 'temporary files are left'
refused 1 'record 2: 9.png (picture missing)' chartqa "$chart" made/strict --strict
[[ -z $(find made/strict -type f) ]] || fail 'a failed conversion left files'
# --limit, --copy, --split, --images
convert chartqa "$chart" made/limited --limit 1 --split train --copy
[[ $(wc -l <made/limited/train.jsonl) == 1 && ! -e made/limited/test.jsonl ]] || fail 'limit or split'
cmp "$chart/train/png/1.png" made/limited/images/train/png/1.png || fail 'copy'
[[ $(find made/limited/images -type f | wc -l) == 1 ]] || fail 'more was copied than is used'
grep -qF '"images": "images"' made/limited/convert.json || fail 'convert.json: copied pictures'
convert chartqa "$chart" made/limited --limit 1 --split test --copy
grep -qF '"train.jsonl"' made/limited/convert.json || fail 'convert.json: the split made earlier is lost'
picture elsewhere/{a,b}/png/x
mv "$chart/test/png/1.png" elsewhere/a/1.png
convert chartqa "$chart" made/roots --split test --images elsewhere/a --images "$chart"/test/png
grep -qF '"image": "elsewhere/a/1.png"' made/roots/test.jsonl || fail 'pictures in several roots: the first'
grep -qF '"image": "charts/ChartQA Dataset/test/png/2.png"' made/roots/test.jsonl || fail 'pictures in several roots: the second'
grep -qF "\"images\": \"$work\"" made/roots/convert.json || fail 'pictures in several roots: what they share'

# ---- DocVQA: several answers, test without, both layouts
picture docs/spdocvqa_images/abcd0001_1.png old/val/documents/abcd0001_1.png
mkdir -p docs/spdocvqa_qas
head='{"dataset_name": "SP-DocVQA", "dataset_version": "1.0", "dataset_split": "val", "data": ['
one='"question_types": ["form", "table/list"], "image": "documents/abcd0001_1.png", "docId": 3, "ucsf_document_id": "abcd0001", "ucsf_document_page_no": "1"'
echo "$head{\"questionId\": 7, \"question\": \"What is the date?\", $one, \"answers\": [\"1/2/90\", \"1/2/1990\"], \"data_split\": \"val\"}]}" |
    tee docs/spdocvqa_qas/val_v1.0_withQT.json old/val/val_v1.0.json >docs/spdocvqa_qas/train_v1.0_withQT.json
echo "$head{\"questionId\": \"8\", \"question\": \"Who?\", $one, \"data_split\": \"test\"}]}" >docs/spdocvqa_qas/test_v1.0.json
convert docvqa docs made/docvqa
is made/docvqa/test.jsonl <<JSON
{"id": "7", "image": "spdocvqa_images/abcd0001_1.png", "conversations": [{"from": "human", "value": "<image>\nWhat is the date?$short"}, {"from": "gpt", "value": "1/2/90"}], "answers": ["1/2/90", "1/2/1990"], "question_type": "form, table/list"}
JSON
cmp made/docvqa/test.jsonl made/docvqa/train.jsonl || fail 'docvqa: train'
convert docvqa old made/old --split test=val
grep -qF '"image": "val/documents/abcd0001_1.png"' made/old/test.jsonl || fail 'docvqa: older layout'
refused 1 'published without answers, take another one: --split test=val' docvqa docs made/none --split test
refused 2 'unknown split (got dev, expected one of train, val, test)' docvqa docs made/none --split dev

# ---- IconQA: three types, one of them left out, ids in pid_splits.json
picture icon/iconqa_data/iconqa/train/{choose_txt/5,fill_in_blank/6}/image.png icon/iconqa_data/iconqa/test/choose_txt/7/image.png
cat >icon/iconqa_data/problems.json <<'JSON'
{"4": {"question": "Which is longer?", "choices": ["choice_0.png", "choice_1.png"], "answer": 1, "ques_type": "choose_img", "split": "train", "grade": "prek", "label": "S2"},
 "5": {"question": "What shape is this", "choices": ["circle", "square", "cube"], "answer": 2, "ques_type": "choose_txt", "split": "train", "grade": "k", "label": "S"},
 "6": {"question": "How many?", "choices": [], "answer": "10", "ques_type": "fill_in_blank", "split": "train", "grade": "k", "label": "S"},
 "7": {"question": "Up?", "choices": ["yes", "no"], "answer": 0, "ques_type": "choose_txt", "split": "test", "grade": "k", "label": "S"},
 "8": {"question": "Off?", "choices": ["yes", "no"], "answer": 2, "ques_type": "choose_txt", "split": "test", "grade": "k", "label": "S"}}
JSON
echo '{"choose_txt_train": ["5"], "choose_txt_minitrain": ["5"], "fill_in_blank_train": [6], "fill_in_blank_minitrain": []}' >icon/iconqa_data/pid_splits.json
convert iconqa icon made/iconqa
lead='Given a set of images and a question, please provide the answer to the question.\nQuestion: '
is made/iconqa/train.jsonl <<JSON
{"id": "5", "image": "iconqa_data/iconqa/train/choose_txt/5/image.png", "conversations": [{"from": "human", "value": "<image>\n${lead}What shape is this.\nOptions:\nA. circle\nB. square\nC. cube\nPlease answer with the option letter from the given choices directly."}, {"from": "gpt", "value": "C"}], "answers": ["C"], "question_type": "choose_txt", "choices": 3}
{"id": "6", "image": "iconqa_data/iconqa/train/fill_in_blank/6/image.png", "conversations": [{"from": "human", "value": "<image>\n${lead}How many?.\nPlease answer the question using a single word or phrase."}, {"from": "gpt", "value": "10"}], "answers": ["10"], "question_type": "fill_in_blank"}
JSON
says '4: choose_img, its choices are pictures (a record has one)'
says 'record 5: 8: "answer" is no index of "choices"'
convert iconqa icon/iconqa_data made/icon-ucit --prompt ucit --split train=minitrain
is made/icon-ucit/train.jsonl <<'JSON'
{"id": "5", "image": "iconqa/train/choose_txt/5/image.png", "conversations": [{"from": "human", "value": "<image>\nWhat shape is this\nA. circle\nB. square\nC. cube\nAnswer with the option's letter from the given choices directly."}, {"from": "gpt", "value": "C"}], "answers": ["C"], "question_type": "choose_txt", "choices": 3}
JSON
convert iconqa icon made/icon-strict --strict --split train
# choices between pictures, asked for: one picture of all of them
pixels() { # FILE WIDTH HEIGHT GREY: a PNG
    "$python" - "$@" <<'PYTHON'
import struct, sys, zlib
name, width, height, grey = sys.argv[1], *map(int, sys.argv[2:])
def chunk(kind, data): return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
rows = (b'\0' + bytes([grey]) * width) * height
open(name, 'wb').write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
PYTHON
}
refused 2 '--choose-img wants --copy' iconqa icon made/none --choose-img
python=$(command -v python3 || true)
if [[ -n $python ]]; then
    folder=icon/iconqa_data/iconqa/train/choose_img/4
    mkdir -p $folder
    pixels $folder/image.png 30 20 10
    pixels $folder/choice_0.png 8 6 20
    pixels $folder/choice_1.png 12 4 30
    convert iconqa icon made/sheet --choose-img --copy --split train
    head -n 1 made/sheet/train.jsonl >first
    is first <<JSON
{"id": "4", "image": "choose_img/4.png", "conversations": [{"from": "human", "value": "<image>\n${lead}Which is longer?.\nOptions:\nA. picture 1 of the lower row\nB. picture 2 of the lower row\nPlease answer with the option letter from the given choices directly."}, {"from": "gpt", "value": "B"}], "answers": ["B"], "question_type": "choose_img", "choices": 2}
JSON
    # 30 x 20 above, a gap of 16, 8 x 6 and 12 x 4 with a gap below: 36 x 42
    [[ $("$python" -c 'import struct; print(*struct.unpack(">II", open("made/sheet/images/choose_img/4.png", "rb").read()[16:24]))') == '36 42' ]] || fail 'iconqa: the sheet'
    rm $folder/choice_1.png
    convert iconqa icon made/sheet --choose-img --copy --split train
    says 'choose_img/4/choice_1.png'
fi

# ---- PathVQA: a pickle of protocol 0, as Python 2 wrote it, with memo; a pickle that would run something
picture path/images/{train,test}/p_0422.jpg
mkdir -p path/qas
{
    printf "(lp0\n(dp1\nS'img_id'\np2\nS'p_0422'\np3\nsS'sent'\np4\nS'Where is it?'\nsS'label'\n(dS'liver'\nI1\nsS'the \\\\xe9 liver'\nF0.5\nssS'answer_type'\nS'other'\nsS'question_type'\nS'where'\nsS'question_id'\nI100422000\nsa"
    printf "(dg2\ng3\nsg4\nVIs it \\\\u00e9?\nsS'label'\n(dS'yes'\nI1\nssS'question_id'\nL100422001L\nsa"
    printf "(dg2\ng3\nsg4\nS'Empty?'\nsS'label'\n(dssa" | sed 's/(dssa$/(dsa/'
    printf "."
} >path/qas/train_vqa.pkl
printf '[{"image": "p_0422", "question": "Is it?", "answer": "no"}]' >path/qas/test_vqa.json
convert pathvqa path made/pathvqa
is made/pathvqa/train.jsonl <<JSON
{"id": "100422000", "image": "images/train/p_0422.jpg", "conversations": [{"from": "human", "value": "<image>\nWhere is it?$short"}, {"from": "gpt", "value": "liver"}], "answers": ["liver", "the é liver"], "question_type": "open"}
{"id": "100422001", "image": "images/train/p_0422.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it é?$short"}, {"from": "gpt", "value": "yes"}], "answers": ["yes"], "question_type": "closed"}
JSON
says 'train_vqa.pkl: record 3: train-3'
is made/pathvqa/test.jsonl <<JSON
{"id": "test-1", "image": "images/test/p_0422.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it?$short"}, {"from": "gpt", "value": "no"}], "answers": ["no"], "question_type": "closed"}
JSON
printf "cos\nsystem\n(S'touch harm'\ntR." >path/qas/train_vqa.pkl
refused 1 'instruction GLOBAL of os.system at byte 0 would create an object' pathvqa path made/harm
[[ ! -e harm ]] || fail 'a pickle ran something'

# ---- ScienceQA: without picture, with hint, both forms
picture sqa/images/train/1/image.png
cat >sqa/problems.json <<'JSON'
{"1": {"question": "Which is warm?", "choices": ["ice", "fire"], "answer": 1, "hint": "", "image": "image.png", "task": "closed choice", "grade": "grade2", "subject": "natural science", "topic": "physics", "category": "Heat", "skill": "..", "lecture": "..", "solution": "..", "split": "train"},
 "2": {"question": "Who  wrote it?", "choices": ["Ann", "Bob"], "answer": 0, "hint": "A text.\nBy Ann.", "image": null, "task": "closed choice", "grade": "grade2", "subject": "language science", "topic": "t", "category": "c", "skill": "s", "lecture": "", "solution": "", "split": "test"}}
JSON
convert scienceqa sqa made/scienceqa
is made/scienceqa/train.jsonl <<'JSON'
{"id": "1", "image": "images/train/1/image.png", "conversations": [{"from": "human", "value": "<image>\nWhich is warm?\nA. ice\nB. fire\nAnswer with the option's letter from the given choices directly."}, {"from": "gpt", "value": "B"}], "answers": ["B"], "question_type": "natural science", "choices": 2}
JSON
is made/scienceqa/test.jsonl <<'JSON'
{"id": "2", "conversations": [{"from": "human", "value": "Context: A text.\nBy Ann.\nWho  wrote it?\nA. Ann\nB. Bob\nAnswer with the option's letter from the given choices directly."}, {"from": "gpt", "value": "A"}], "answers": ["A"], "question_type": "language science", "choices": 2}
JSON
convert scienceqa sqa made/cqm --prompt cqm-a
is made/cqm/test.jsonl <<'JSON'
{"id": "2", "conversations": [{"from": "human", "value": "Context: A text.\nBy Ann.\nQuestion: Who wrote it?\nOptions: (A) Ann (B) Bob"}, {"from": "gpt", "value": "The answer is A."}], "answers": ["A"], "question_type": "language science", "choices": 2}
JSON
grep -qF 'value": "<image>\nContext: N/A\nQuestion: Which is warm?\nOptions: (A) ice (B) fire"' made/cqm/train.jsonl || fail 'cqm-a without hint'
refused 2 'unknown form (got cqma, expected letter, cqm-a)' scienceqa sqa made/none --prompt cqma
refused 2 'not an option of this kind (expected none beside the common ones)' scienceqa sqa made/none --ocr x

# ---- TextVQA: the most common of ten answers; OCR tokens
picture text/train_images/{ab12,cd34}.jpg
textvqa() { echo "{\"dataset_type\": \"$1\", \"dataset_name\": \"textvqa\", \"dataset_version\": \"0.5.1\", \"data\": [{\"question\": \"what brand?\", \"question_id\": $2, \"question_tokens\": [\"what\", \"brand\"], \"image_id\": \"$3\", \"image_classes\": [\"Camera\"], \"flickr_original_url\": \"u\", \"image_width\": 10, \"image_height\": 10, \"answers\": $4, \"set_name\": \"$1\"}]}"; }
textvqa train 1 ab12 '["x", "y", "y", "z", "y", "x", "q", "q", "", "y"]' >text/TextVQA_0.5.1_train.json
textvqa val 2 cd34 '["a", "b", "b", "a", "c", "d", "e", "f", "g", "h"]' >text/TextVQA_0.5.1_val.json
echo '{"data": [{"image_id": "cd34", "ocr_tokens": ["NI", "KON"], "ocr_info": []}]}' >text/ocr.json
convert textvqa text made/textvqa
is made/textvqa/train.jsonl <<JSON
{"id": "1", "image": "train_images/ab12.jpg", "conversations": [{"from": "human", "value": "<image>\nwhat brand?$short"}, {"from": "gpt", "value": "y"}], "answers": ["x", "y", "y", "z", "y", "x", "q", "q", "", "y"]}
JSON
convert textvqa text made/ocr --ocr text/ocr.json
is made/ocr/test.jsonl <<JSON
{"id": "2", "image": "train_images/cd34.jpg", "conversations": [{"from": "human", "value": "<image>\nwhat brand?\nReference OCR token: NI, KON$short"}, {"from": "gpt", "value": "a"}], "answers": ["a", "b", "b", "a", "c", "d", "e", "f", "g", "h"]}
JSON

# ---- ImageNet: names of classes, other names, some classes, flat validation
picture net/train/n01/n01_{2,10}.JPEG net/train/n02/n02_1.JPEG net/val/ILSVRC2012_val_0000000{1,2,3}.JPEG
printf 'n01 tench, Tinca tinca\nn02 goldfish, Carassius auratus\n' >net/LOC_synset_mapping.txt
printf 'ImageId,PredictionString\nILSVRC2012_val_00000001,n02 85 1 499 272\nILSVRC2012_val_00000003,n01 1 1 2 2 n01 3 3 4 4\n' >net/LOC_val_solution.csv
convert imagenet net made/imagenet
object="What is the object in the image?$short"
is made/imagenet/train.jsonl <<JSON
{"id": "n01_10", "image": "train/n01/n01_10.JPEG", "conversations": [{"from": "human", "value": "<image>\n$object"}, {"from": "gpt", "value": "tench"}], "answers": ["tench", "Tinca tinca"]}
{"id": "n01_2", "image": "train/n01/n01_2.JPEG", "conversations": [{"from": "human", "value": "<image>\n$object"}, {"from": "gpt", "value": "tench"}], "answers": ["tench", "Tinca tinca"]}
{"id": "n02_1", "image": "train/n02/n02_1.JPEG", "conversations": [{"from": "human", "value": "<image>\n$object"}, {"from": "gpt", "value": "goldfish"}], "answers": ["goldfish", "Carassius auratus"]}
JSON
[[ $(grep -o '"id": "[^"]*"\|"gpt", "value": "[^"]*"' made/imagenet/test.jsonl | tr '\n' ' ') == '"id": "ILSVRC2012_val_00000001" "gpt", "value": "goldfish" "id": "ILSVRC2012_val_00000003" "gpt", "value": "tench" ' ]] || fail 'imagenet: flat validation'
says 'val/ILSVRC2012_val_00000002.JPEG: of which class?'
printf 'n01\ta fish\n' >names
echo n01 >classes
convert imagenet net made/names --names names --classes classes
[[ $(grep -c '"answers": \["a fish", "tench", "Tinca tinca"\]' made/names/train.jsonl) == 2 ]] || fail 'imagenet: names'
! grep -q n02 made/names/train.jsonl || fail 'imagenet: classes'

# ---- GQA: keyed by id; the ten files of train_all; unbalanced questions
picture gqa/images/99.jpg
mkdir -p gqa/questions1.2/train_all_questions
gqa() { echo "\"$1\": {\"imageId\": \"99\", \"question\": \"Is it red?\", \"answer\": \"no\", \"fullAnswer\": \"No, it is blue.\", \"isBalanced\": $2, \"groups\": {\"global\": null, \"local\": \"}\"}, \"entailed\": [], \"equivalent\": [], \"types\": {\"structural\": \"verify\", \"semantic\": \"attr\", \"detailed\": \"..\"}, \"semantic\": [{\"operation\": \"..\", \"argument\": \"..\", \"dependencies\": []}], \"annotations\": {}, \"semanticStr\": \"..\"}"; }
echo "{$(gqa 0201 true)}" >gqa/questions1.2/train_balanced_questions.json
echo "{$(gqa 0202 true), $(gqa 0203 false)}" >gqa/questions1.2/testdev_balanced_questions.json
for i in {0..9}; do echo "{$(gqa 1$i false)}" >gqa/questions1.2/train_all_questions/train_all_questions_$i.json; done
convert gqa gqa made/gqa
is made/gqa/train.jsonl <<JSON
{"id": "0201", "image": "images/99.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it red?$short"}, {"from": "gpt", "value": "no"}], "answers": ["no"], "question_type": "verify"}
JSON
[[ $(wc -l <made/gqa/test.jsonl) == 1 ]] || fail 'gqa: unbalanced question in the test'
says '0203: not balanced, accuracy does not count it'
convert gqa gqa made/gqa-all --split train=train_all
[[ $(wc -l <made/gqa-all/train.jsonl) == 10 ]] || fail 'gqa: the ten files'

# ---- VizWiz: no question id; answers with confidence
picture viz/{train/VizWiz_train_00000000,val/VizWiz_val_00000001}.jpg
mkdir -p viz/Annotations
viz() { echo "[{\"image\": \"$1\", \"question\": \"What is this?\", \"answers\": [{\"answer\": \"unanswerable\", \"answer_confidence\": \"no\"}, {\"answer\": \"can\", \"answer_confidence\": \"yes\"}, {\"answer\": \"can\", \"answer_confidence\": \"maybe\"}], \"answer_type\": \"other\", \"answerable\": 1}]"; }
viz VizWiz_train_00000000.jpg >viz/Annotations/train.json
viz VizWiz_val_00000001.jpg >viz/Annotations/val.json
convert vizwiz viz made/vizwiz
is made/vizwiz/test.jsonl <<JSON
{"id": "VizWiz_val_00000001.jpg", "image": "val/VizWiz_val_00000001.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'.$short"}, {"from": "gpt", "value": "can"}], "answers": ["unanswerable", "can", "can"], "question_type": "other"}
JSON

# ---- RefCOCO: boxes in another file, wide and tall pictures, two sets, a sentence each
picture coco/train2014/COCO_train2014_00000000000{1,2}.jpg
for set in refcoco refcocog; do
    mkdir -p refs/$set
    echo '{"info": {}, "images": [{"id": 1, "width": 640, "height": 480, "file_name": "COCO_train2014_000000000001.jpg"}, {"id": 2, "width": 100, "height": 200, "file_name": "COCO_train2014_000000000002.jpg"}], "annotations": [{"id": 11, "image_id": 1, "category_id": 1, "bbox": [100, 50, 200, 100], "area": 1, "iscrowd": 0, "segmentation": [[1, 2]]}, {"id": 12, "image_id": 2, "category_id": 1, "bbox": [10.5, 20, 30, 40.25], "area": 1, "iscrowd": 0, "segmentation": []}], "categories": []}' >refs/$set/instances.json
done
# ref SPLIT ANN PICTURE SENTENCE-ID SENTENCE..
ref() {
    local split=$1 ann=$2 image=$3 id=$4
    printf "(dS'ref_id'\nI1\nsS'ann_id'\nI%d\nsS'category_id'\nI1\nsS'image_id'\nI%d\nsS'file_name'\nS'COCO_train2014_%012d_%d.jpg'\nsS'split'\nS'%s'\nsS'sent_ids'\n(lI%d\nasS'sentences'\n(l" "$ann" "$image" "$image" "$ann" "$split" "$id"
    shift 4
    for sentence in "$@"; do
        printf "(dS'sent_id'\nI%d\nsS'raw'\nS'%s!'\nsS'sent'\nS'%s'\nsS'tokens'\n(lS'x'\nasa" "$id" "$sentence" "$sentence"
        id=$((id + 1))
    done
    printf "sa"
}
{ printf '(l'; ref train 11 1 1 'the cup' 'red one'; ref testA 12 2 3 'man'; ref testB 11 1 4 'cat'; ref val 11 1 5 'dog'; ref test 99 1 6 'none'; printf '.'; } >'refs/refcoco/refs(unc).p'
{ printf '(l'; ref train 12 2 1 'tree'; ref test 12 2 2 'bush'; printf '.'; } >'refs/refcocog/refs(umd).p'
convert refcoco refs made/refcoco --images coco
ask='Please provide the bounding box coordinate of the region this sentence describes:'
is made/refcoco/train.jsonl <<JSON
{"id": "refcoco-1", "image": "train2014/COCO_train2014_000000000001.jpg", "conversations": [{"from": "human", "value": "<image>\n$ask the cup"}, {"from": "gpt", "value": "[0.16, 0.20, 0.47, 0.36]"}], "answers": ["[0.16, 0.20, 0.47, 0.36]"], "question_type": "refcoco train", "size": [640, 480]}
{"id": "refcoco-2", "image": "train2014/COCO_train2014_000000000001.jpg", "conversations": [{"from": "human", "value": "<image>\n$ask red one"}, {"from": "gpt", "value": "[0.16, 0.20, 0.47, 0.36]"}], "answers": ["[0.16, 0.20, 0.47, 0.36]"], "question_type": "refcoco train", "size": [640, 480]}
{"id": "refcocog-1", "image": "train2014/COCO_train2014_000000000002.jpg", "conversations": [{"from": "human", "value": "<image>\n$ask tree"}, {"from": "gpt", "value": "[0.30, 0.10, 0.45, 0.30]"}], "answers": ["[0.30, 0.10, 0.45, 0.30]"], "question_type": "refcocog train", "size": [100, 200]}
JSON
[[ $(grep -o '"question_type": "[^"]*"' made/refcoco/test.jsonl | tr '\n' ' ') == '"question_type": "refcoco testA" "question_type": "refcoco testB" "question_type": "refcocog test" ' ]] || fail 'refcoco: splits'
says 'annotation 99 is not in instances.json'
convert refcoco refs/refcoco made/plain --images coco/train2014 --box plain --prompt describe --split train
is made/plain/train.jsonl <<JSON
{"id": "refcoco-1", "image": "COCO_train2014_000000000001.jpg", "conversations": [{"from": "human", "value": "<image>\n[0.16, 0.10, 0.47, 0.31]\nProvide a short description for this region."}, {"from": "gpt", "value": "the cup"}], "answers": ["the cup"], "question_type": "refcoco train", "size": [640, 480]}
{"id": "refcoco-2", "image": "COCO_train2014_000000000001.jpg", "conversations": [{"from": "human", "value": "<image>\n[0.16, 0.10, 0.47, 0.31]\nProvide a short description for this region."}, {"from": "gpt", "value": "red one"}], "answers": ["red one"], "question_type": "refcoco train", "size": [640, 480]}
JSON
convert refcoco refs/refcoco made/llava --images coco --prompt llava --split train --limit 1
grep -qF '<image>\nthe cup\nProvide the bounding box coordinate of the region this sentence describes."' made/llava/train.jsonl || fail 'refcoco: llava'
refused 1 'expected refs(google).p' refcoco refs/refcoco made/none --by google --images coco

# ---- VQAv2: questions and annotations in two files, in another order
picture vqa/train2014/COCO_train2014_000000000009.jpg vqa/val2014/COCO_val2014_000000000042.jpg
for split in train val; do
    image=9 && [[ $split == train ]] || image=42
    echo "{\"info\": {}, \"task_type\": \"Open-Ended\", \"data_type\": \"mscoco\", \"data_subtype\": \"${split}2014\", \"license\": {}, \"questions\": [{\"image_id\": $image, \"question\": \"Is it\\tred?\", \"question_id\": ${image}000}, {\"image_id\": $image, \"question\": \"How many?\", \"question_id\": ${image}001}]}" >vqa/v2_OpenEnded_mscoco_${split}2014_questions.json
    ten='[{"answer": "no", "answer_confidence": "yes", "answer_id": 1}, {"answer": "yes", "answer_confidence": "yes", "answer_id": 2}]'
    echo "{\"info\": {\"x\": [1]}, \"license\": {}, \"annotations\": [{\"question_id\": ${image}001, \"image_id\": $image, \"question_type\": \"how many\", \"answer_type\": \"number\", \"multiple_choice_answer\": \"2\", \"answers\": $ten}, {\"question_id\": ${image}000, \"image_id\": $image, \"question_type\": \"is\", \"answer_type\": \"yes/no\", \"multiple_choice_answer\": \"yes\", \"answers\": $ten}, {\"question_id\": 5, \"image_id\": 1, \"answers\": []}], \"data_type\": \"mscoco\"}" >vqa/v2_mscoco_${split}2014_annotations.json
done
convert vqav2 vqa made/vqav2
is made/vqav2/test.jsonl <<JSON
{"id": "42001", "image": "val2014/COCO_val2014_000000000042.jpg", "conversations": [{"from": "human", "value": "<image>\nHow many?$short"}, {"from": "gpt", "value": "2"}], "answers": ["no", "yes"], "question_type": "number"}
{"id": "42000", "image": "val2014/COCO_val2014_000000000042.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it\u0009red?$short"}, {"from": "gpt", "value": "yes"}], "answers": ["no", "yes"], "question_type": "yes/no"}
JSON
says 'record 3: 5: no question of that id in the file of questions'

# ---- OCR-VQA: keyed by book; endings; dead links
picture ocr/images/{000195850X.jpg,0123.gif,77.jpg}
cat >ocr/dataset.json <<'JSON'
{"000195850X": {"imageURL": "http://x/a.b/51.jpg", "questions": ["Who wrote this book?", "What is the title?"], "answers": ["A. Author", "T"], "title": "T", "authorName": "A. Author", "genre": "G", "split": 1},
 "0123": {"imageURL": "http://x/51.gif", "questions": ["Who?"], "answers": ["B"], "split": 3},
 "77": {"imageURL": "http://x/51.png", "questions": ["Where?"], "answers": ["C"], "split": 3},
 "88": {"imageURL": "http://x/51.png", "questions": ["Dead?", "Really?"], "answers": ["C", "D"], "split": 3},
 "../9": {"imageURL": "http://x/51.jpg", "questions": ["Out?"], "answers": ["C"], "split": 3}}
JSON
convert ocrvqa ocr made/ocrvqa
is made/ocrvqa/train.jsonl <<JSON
{"id": "000195850X-1", "image": "images/000195850X.jpg", "conversations": [{"from": "human", "value": "<image>\nWho wrote this book?$short"}, {"from": "gpt", "value": "A. Author"}], "answers": ["A. Author"]}
{"id": "000195850X-2", "image": "images/000195850X.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat is the title?$short"}, {"from": "gpt", "value": "T"}], "answers": ["T"]}
JSON
[[ $(grep -o '"image": "[^"]*"' made/ocrvqa/test.jsonl | tr '\n' ' ') == '"image": "images/0123.gif" "image": "images/77.jpg" ' ]] || fail 'ocrvqa: endings'
says '         2  picture missing'
says '         1  broken record'

# ---- LLaVA-Instruct: conversations as they are, markers, roles, a held-out part
picture train2017/00000000000{1,2,3,4,5,6,7,8,9}.jpg
{
    echo '[{"id": "000000000001", "image": "000000000001.jpg", "conversations": [{"from": "human", "value": "What is it?\n<image>"}, {"from": "gpt", "value": "A cat."}, {"from": "human", "value": "Where?"}, {"from": "gpt", "value": "On a mat."}]}'
    for i in {2..9}; do echo ",{\"id\": $i, \"image\": \"00000000000$i.jpg\", \"conversations\": [{\"from\": \"gpt\", \"value\": \"dropped\"}, {\"from\": \"user\", \"value\": \"<image>\\nq$i\"}, {\"from\": \"assistant\", \"value\": \"a$i\"}]}"; done
    echo ',{"id": "x", "image": "000000000001.jpg", "conversations": [{"from": "human", "value": "<image>"}, {"from": "human", "value": "twice"}]}'
    echo ',{"id": "y", "image": "000000000001.jpg", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a"}]}'
    echo ',{"id": "z", "conversations": [{"from": "human", "value": "<image>\nno picture"}, {"from": "gpt", "value": "a"}]}'
    echo ',{"conversations": [{"from": "human", "value": "Only text?"}, {"from": "gpt", "value": "Yes."}]}]'
} >conversation_58k.json
convert llava-conversation . made/conversation --images train2017 --hold-out 30
[[ $(cat made/conversation/{train,test}.jsonl | grep -c .) == 10 && -s made/conversation/test.jsonl ]] || fail 'hold-out: not every sample once'
[[ -z $(comm -12 <(sort made/conversation/train.jsonl) <(sort made/conversation/test.jsonl)) ]] || fail 'hold-out: a sample in both'
cat made/conversation/{train,test}.jsonl | sort | sed -n '/"000000000001"/p;/"id": "2"/p;/Only text/p' >some
is some <<'JSON'
{"id": "000000000001", "image": "000000000001.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}, {"from": "human", "value": "Where?"}, {"from": "gpt", "value": "On a mat."}], "answers": ["A cat."]}
{"id": "13", "conversations": [{"from": "human", "value": "Only text?"}, {"from": "gpt", "value": "Yes."}], "answers": ["Yes."]}
{"id": "2", "image": "000000000002.jpg", "conversations": [{"from": "human", "value": "<image>\nq2"}, {"from": "gpt", "value": "a2"}], "answers": ["a2"]}
JSON
says 'x: roles are unknown or do not alternate'
says 'y: a picture in a later turn'
says 'z: <image> in the question, but no "image" in the record'
for kind in reasoning:complex_reasoning_77k detail:detail_23k; do
    cp conversation_58k.json "${kind#*:}.json"
    convert "llava-${kind%:*}" . "made/${kind%:*}" --images train2017 --hold-out 30
    cmp "made/${kind%:*}/test.jsonl" made/conversation/test.jsonl || fail 'hold-out: other pictures in another subset'
done
convert llava-json conversation_58k.json made/any --images train2017
[[ $(wc -l <made/any/train.jsonl) == 10 && ! -e made/any/test.jsonl ]] || fail 'llava-json'

# ---- LLaVA's question files
echo '{"question_id": 5, "image": "000000000001.jpg", "text": "Why?", "category": "complex"}
{"question_id": 6, "image": "000000000002.jpg", "text": "No answer?", "category": "conv"}' >questions.jsonl
echo '{"question_id": "5", "prompt": "Why?", "text": "Because.", "answer_id": "k", "model_id": "m", "metadata": {}}' >answers.jsonl
convert llava-jsonl questions.jsonl made/bench --answers answers.jsonl --images train2017
is made/bench/test.jsonl <<'JSON'
{"id": "5", "image": "000000000001.jpg", "conversations": [{"from": "human", "value": "<image>\nWhy?"}, {"from": "gpt", "value": "Because."}], "answers": ["Because."], "question_type": "complex"}
JSON
says '         1  no answer'

# ---- CoIN: tasks in folders, val.json for three of them, ten answers from TextVQA's file, Qwen's form, a path map
picture cl_dataset/{GQA/images/5.jpg,TextVQA/train_images/cd34.jpg,ImageNet_withlabel/val/n1.JPEG,OCR-VQA/images/7.jpg,COCO2014/train2014/1.jpg}
mkdir -p coin/{ScienceQA,TextVQA,ImageNet,GQA,VizWiz,Grounding,VQAv2,OCRVQA}
for task in coin/*; do
    echo '[{"id": "17", "image": "GQA/images/5.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it?\nAnswer."}, {"from": "gpt", "value": "no"}]}]' >"$task/train.json"
    echo '[{"question_id": "5", "image": "GQA/images/5.jpg", "text": "<image>\nIs it?\nAnswer.", "answer": "no"}]' >"$task/test.json"
done
echo '[{"question_id": 2, "image": "./TextVQA/train_images/cd34.jpg", "text": "what?", "answer": "b"}]' >coin/TextVQA/val.json
cp text/TextVQA_0.5.1_val.json coin/TextVQA
echo '[{"question_id": 3, "image": "COCO2014/train2014/1.jpg", "text": "where?", "answer": "[0.1, 0.2, 0.3, 0.4]", "answer_bbox": "[0.12, 0.30, 0.50, 0.91]", "size": [640, 480]}, {"question_id": 4, "image": "COCO2014/train2014/1.jpg", "text": "where?", "answer_bbox": [0.5, 0, 1, 0.25], "size": [640, 480]}]' >coin/Grounding/test.json
echo '[{"question_id": 1, "text": "What?\nA. x\nB. y\nAnswer with the option'"'"'s letter from the given choices directly.", "answer": "B"}]' >coin/ScienceQA/test.json
echo '[{"question_id": 1, "image": "ImageNet/val/n1.JPEG", "text": "Object?", "answer": "tench"}]' >coin/ImageNet/test.json
echo '[{"id": "q", "conversations": [{"from": "user", "value": "Picture 1: <img>./cl_dataset/OCR-VQA/images/7.png</img>\nWho?"}, {"from": "assistant", "value": "Me"}]}]' >coin/OCRVQA/train.json
convert coin coin made/coin --images cl_dataset
is made/coin/GQA/train.jsonl <<'JSON'
{"id": "17", "image": "GQA/images/5.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it?\nAnswer."}, {"from": "gpt", "value": "no"}], "answers": ["no"]}
JSON
is made/coin/GQA/test.jsonl <<'JSON'
{"id": "5", "image": "GQA/images/5.jpg", "conversations": [{"from": "human", "value": "<image>\nIs it?\nAnswer."}, {"from": "gpt", "value": "no"}], "answers": ["no"]}
JSON
is made/coin/TextVQA/test.jsonl <<'JSON'
{"id": "2", "image": "TextVQA/train_images/cd34.jpg", "conversations": [{"from": "human", "value": "<image>\nwhat?"}, {"from": "gpt", "value": "b"}], "answers": ["a", "b", "b", "a", "c", "d", "e", "f", "g", "h"]}
JSON
is made/coin/Grounding/test.jsonl <<'JSON'
{"id": "3", "image": "COCO2014/train2014/1.jpg", "conversations": [{"from": "human", "value": "<image>\nwhere?"}, {"from": "gpt", "value": "[0.1, 0.2, 0.3, 0.4]"}], "answers": ["[0.12, 0.30, 0.50, 0.91]"], "size": [640, 480]}
{"id": "4", "image": "COCO2014/train2014/1.jpg", "conversations": [{"from": "human", "value": "<image>\nwhere?"}, {"from": "gpt", "value": "[0.5, 0, 1, 0.25]"}], "answers": ["[0.5, 0, 1, 0.25]"], "size": [640, 480]}
JSON
is made/coin/ScienceQA/test.jsonl <<'JSON'
{"id": "1", "conversations": [{"from": "human", "value": "What?\nA. x\nB. y\nAnswer with the option's letter from the given choices directly."}, {"from": "gpt", "value": "B"}], "answers": ["B"], "choices": 2}
JSON
grep -qF '"image": "ImageNet_withlabel/val/n1.JPEG"' made/coin/ImageNet/test.jsonl || fail 'coin: ImageNet_withlabel'
is made/coin/OCRVQA/train.jsonl <<'JSON'
{"id": "q", "image": "OCR-VQA/images/7.jpg", "conversations": [{"from": "human", "value": "<image>\nWho?"}, {"from": "gpt", "value": "Me"}], "answers": ["Me"]}
JSON
convert coin coin/GQA made/mapped --images cl_dataset/GQA --map GQA/images=images --copy
grep -qF '"image": "images/5.jpg"' made/mapped/train.jsonl || fail 'coin: map'
[[ -s made/mapped/images/images/5.jpg ]] || fail 'coin: copy'
refused 1 '--images DIR names the folder that holds the pictures' coin coin/GQA made/none
refused 2 'expected OLD=NEW' coin coin/GQA made/none --map GQA

# ---- UCIT: captions by question_id; MLLM-CL: tests beside
picture datasets/{VizWiz/1.jpg,ImageNet-R/a.jpg}
for task in ImageNet-R ArxivQA VizWiz IconQA CLEVR-Math Flickr30k; do
    mkdir -p ucit/$task
    echo '[{"id": 1, "image": "./datasets/ImageNet-R/a.jpg", "conversations": [{"from": "human", "value": "<image>\nObject?"}, {"from": "gpt", "value": "hen"}]}]' >ucit/$task/train_4w.json
    echo '[{"question_id": 1, "image": "VizWiz/1.jpg", "text": "Caption?", "answer": "one"}]' >ucit/$task/test_3000.json
done
echo '{"images": [{"id": 1}], "annotations": [{"id": 10, "image_id": 1, "caption": "a can"}, {"id": 11, "image_id": 1, "caption": "a red can"}]}' >ucit/VizWiz/val_coco_type_3000.json
convert ucit ucit made/ucit --images datasets
is made/ucit/VizWiz/test.jsonl <<'JSON'
{"id": "1", "image": "VizWiz/1.jpg", "conversations": [{"from": "human", "value": "<image>\nCaption?"}, {"from": "gpt", "value": "one"}], "answers": ["a can", "a red can"]}
JSON
grep -qF '"image": "ImageNet-R/a.jpg"' made/ucit/ArxivQA/train.jsonl || fail 'ucit: datasets/ in front'
picture mllm/{OCR,OCR_test}/images/1.jpg
echo '[{"id": 1, "image": "1.jpg", "conversations": [{"from": "human", "value": "<image>\nq"}, {"from": "gpt", "value": "a"}]}]' | tee mllm/OCR/train.json >mllm/OCR_test/bench.json
convert mllm-cl mllm made/mllm
[[ -s made/mllm/OCR/test.jsonl && ! -e made/mllm/OCR_test ]] || fail 'mllm-cl: tests beside'

# ---- ready streams
cp -r made ready
mv ready/refcoco ready/grounding
for stream in coast-domain coast-capability coast-dataset; do
    "$CLLAVA" convert stream $stream ready >out 2>err || fail "stream $stream"
    [[ $(cat out) == ready/$stream.yaml ]] || fail "stream $stream: its name on stdout"
done
"$CLLAVA" convert stream coin ready/coin --base coco --encoder base >out 2>err || fail 'stream coin'
"$CLLAVA" convert stream ucit ready/ucit >out 2>err || fail 'stream ucit'
grep '{name' ready/coast-domain.yaml >tasks
is tasks <<YAML
    - {name: chartqa, train: "chartqa/train.jsonl", test: "chartqa/test.jsonl", images: "$work/charts", metric: relaxed_accuracy}
    - {name: docvqa, train: "docvqa/train.jsonl", test: "docvqa/test.jsonl", images: "$work/docs", metric: anls}
    - {name: iconqa, train: "iconqa/train.jsonl", test: "iconqa/test.jsonl", images: "$work/icon", metric: iconqa}
    - {name: medicalqa, train: "pathvqa/train.jsonl", test: "pathvqa/test.jsonl", images: "$work/path", metric: pathvqa}
YAML
order() { sed -n 's/.*{name: \([^,]*\),.*metric: \([^}]*\)}/\1:\2/p' "$1" | tr '\n' ' '; }
[[ $(order ready/coast-capability.yaml) == 'conversation:rouge_l reasoning:rouge_l detail:rouge_l ' ]] || fail 'coast-capability'
[[ $(order ready/coast-dataset.yaml) == 'scienceqa:scienceqa_llava textvqa:vqa_accuracy_evalai imagenet:imagenet gqa:gqa vizwiz:vqa_accuracy_evalai grounding:refcoco_acc50 vqav2:vqa_accuracy ocrvqa:ocrvqa ' ]] || fail 'coast-dataset'
[[ $(order ready/coin/coin.yaml) == 'ScienceQA:scienceqa_coin TextVQA:vqa_accuracy_evalai ImageNet:coin_imagenet GQA:gqa VizWiz:coin_vqa_exact Grounding:coin_grounding VQAv2:coin_vqa_exact OCRVQA:coin_ocrvqa ' ]] || fail 'coin'
[[ $(order ready/ucit/ucit.yaml) == 'ImageNet-R:coin_imagenet ArxivQA:mcit_exact VizWiz:rouge_l IconQA:mcit_exact CLEVR-Math:mcit_exact Flickr30k:rouge_l ' ]] || fail 'ucit'
grep -qx "base: \"$work/coco\"" ready/coin/coin.yaml || fail 'stream: base'
# a configuration of today takes the file once its metrics are known
known=$("$CLLAVA" metric list | awk '{print $1}')
for stream in ready/*.yaml ready/coin/coin.yaml ready/ucit/ucit.yaml; do
    sets=()
    i=0
    for task in $(order "$stream"); do
        grep -qx -- "${task#*:}" <<<"$known" || sets+=(--set "stream.tasks.$i.metric=exact")
        i=$((i + 1))
    done
    "$CLLAVA" config "$stream" --set base="$SOURCE_DIR/golden/a/base" --set encoder=base "${sets[@]}" >out 2>err || fail "config $stream"
done
refused 2 'is there already; hint: --force' stream coast-domain ready
"$CLLAVA" convert stream coast-domain ready --force >out 2>err || fail 'stream --force'
refused 1 'convert stream --base: nowhere: No such file' stream coast-domain ready --force --base nowhere
rm -r ready/docvqa
refused 1 'task docvqa is not there (expected ready/docvqa); hint: cllava convert docvqa SOURCE ready/docvqa' stream coast-domain ready --force
refused 2 'unknown stream (got coast, expected one of coast-domain' stream coast ready

# ---- help and usage
"$CLLAVA" convert list >out 2>err || fail 'list'
[[ $(grep -c '^[a-z]' out) == 20 ]] || fail 'list: not every kind'
for kind in $(awk '/^$/ { exit } { print $1 }' out); do
    "$CLLAVA" convert list "$kind" >one 2>err || fail "list $kind"
    grep -qx "  cllava convert $kind SOURCE DEST" one || fail "list $kind"
done
refused 2 'did you mean docvqa?' docqa docs made/none
refused 2 'missing arguments (got 1, expected SOURCE DEST)' docvqa docs
refused 1 'cannot open nowhere' docvqa nowhere made/none
refused 1 'no questions of split train there (expected spdocvqa_qas/train_v1.0_withQT.json, ' docvqa charts made/none
refused 1 'made/docvqa holds docvqa (got vizwiz)' vizwiz viz made/docvqa
refused 2 'expected NAME or FILE=NAME' docvqa docs made/none --split ../x=val

# ---- a line longer than any buffer, two writers, a full disk
{ printf '[{"imgname": "1.png", "label": "x", "query": "'; head -c 3000000 /dev/zero | tr '\0' q; printf '"}]'; } >"$chart/train/train_human.json"
echo '[]' >"$chart/train/train_augmented.json"
convert chartqa charts made/long --split train
[[ $(wc -c <made/long/train.jsonl) -gt 3000000 ]] || fail 'a long text'
mkdir -p made/locked
exec 9>made/locked/.train.jsonl.tmp
flock 9
refused 1 'is being written by another process' chartqa charts made/locked --split train
exec 9>&-
convert chartqa charts made/locked --split train
mkdir -p made/full
ln -s /dev/full made/full/.train.jsonl.tmp
refused 1 'cannot write' chartqa charts made/full --split train

# ---- killed, or the disk full, at every change of a file: the folder is complete, or it says that it is not
mkdir -p made/faults
convert docvqa docs made/faults --copy
cp -r made/faults whole
cp -r docs more
sed -i 's/What is the date/Which date/' more/spdocvqa_qas/*_withQT.json
touch -d yesterday more/spdocvqa_images/abcd0001_1.png
broken() { # HOW AT: converts the other release into the folder
    LD_PRELOAD=$BREAK_AT_LIB ASAN_OPTIONS=verify_asan_link_order=0 BREAK_IN=$PWD/made/faults BREAK_HOW=$1 BREAK_AT=$2 BREAK_COUNT=$PWD/count \
        "$CLLAVA" convert docvqa more made/faults --copy --quiet >out 2>err </dev/null
}
broken kill '' || fail 'nothing should break here'
changes=$(cat count)
((changes >= 8)) || fail "only $changes changes were counted"
cp -r made/faults other
for how in kill full; do
    for ((at = 1; at <= changes; at++)); do
        rm -rf made/faults
        cp -rp whole made/faults
        if broken $how $at 2>/dev/null; then continue; fi
        [[ $how == kill || -z $(find made/faults -name '*.tmp*') ]] || fail "$how at $at: temporary files are left"
        if [[ -e made/faults/convert.json ]]; then
            same=whole
            cmp -s made/faults/convert.json whole/convert.json || same=other
            cmp made/faults/train.jsonl $same/train.jsonl && cmp made/faults/test.jsonl $same/test.jsonl || fail "$how at $at: neither old nor new"
        fi
        convert docvqa more made/faults --copy
        for file in train.jsonl test.jsonl convert.json; do cmp made/faults/$file other/$file || fail "$how at $at: the next run"; done
        [[ -z $(find made/faults -name '*.tmp*') ]] || fail "$how at $at: the next run left temporary files"
    done
done
echo 'convert: every kind, every stream'
