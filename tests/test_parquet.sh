#!/usr/bin/env bash
# test_parquet.sh - tools/parquet.py: files as Hugging Face has them, made here, go through it and through convert. Without
# pyarrow only its message is looked at. PYTHON names another interpreter.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
script=$SOURCE_DIR/../tools/parquet.py
python=${PYTHON:-python3}
cd "$work"

fail() { echo "FAIL: $*"; cat out err 2>/dev/null; exit 1; }

command -v "$python" >/dev/null || { echo 'skipped: no python3'; exit 77; }
if ! "$python" -c 'import pyarrow' 2>/dev/null; then
    touch train-0.parquet
    ! "$python" "$script" chartqa made train-0.parquet >out 2>err || fail 'no pyarrow, and no error'
    grep -qx 'parquet.py: error: the Python package pyarrow is missing; hint: pip install pyarrow' err || fail 'the message'
    echo 'skipped: no Python package pyarrow (pip install pyarrow)'
    exit 77
fi

"$python" - <<'PYTHON'
import pyarrow as pa, pyarrow.parquet as pq
def picture(name): return {"bytes": b"picture " + name.encode(), "path": None}
def write(folder, split, rows):
    import os
    os.makedirs(folder, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), f"{folder}/{split}-00000-of-00001.parquet", compression="zstd")
ten = [{"answer": "no", "answer_confidence": "yes", "answer_id": i} for i in range(1, 11)]
for split in ("train", "validation", "test"):
    write("chartqa", split, [{"image": picture("a"), "query": "How many?", "label": ["3"], "human_or_machine": 0},
                             {"image": picture("a"), "query": "Which?", "label": ["x"], "human_or_machine": 1}])
    write("docvqa", split, [{"questionId": "7", "question": "Date?", "question_types": ["form"], "image": picture("d"), "docId": 3,
                             "ucsf_document_id": "abcd", "ucsf_document_page_no": "1", "answers": ["1", "2"], "data_split": split}])
    write("iconqa", split, [{"question_id": f"{split}4", "question": "What", "choices": "circle,square", "answer": "square", "query_image": picture("i"), "choice_image_0": None, "ques_type": "choose_txt"},
                            {"question_id": f"{split}5", "question": "Many?", "choices": "", "answer": "10", "query_image": picture("i"), "choice_image_0": None, "ques_type": "fill_in_blank"}])
    write("pathvqa", split, [{"image": picture("p"), "question": "Is it?", "answer": "yes"}])
    write("scienceqa", split, [{"image": picture("s"), "question": "Warm?", "choices": ["ice", "fire"], "answer": 1, "hint": "", "task": "closed choice", "subject": "natural science"},
                               {"image": None, "question": "Who?", "choices": ["A", "B"], "answer": 0, "hint": "h", "task": "closed choice", "subject": "language science"}])
    write("textvqa", split, [{"image_id": "ab", "question_id": 1, "question": "brand?", "image": picture("t"), "answers": ["x"] * 10, "set_name": split}])
    write("vizwiz", split, [{"question_id": f"VizWiz_{split}_00000000.jpg", "image": picture("v"), "question": "What?", "answers": ["can"] * 10, "category": "other"}])
    write("vqav2", split, [{"question_type": "is", "multiple_choice_answer": "no", "answers": ten, "image_id": 9, "answer_type": "yes/no", "question_id": 9000, "question": "Red?", "image": picture("q")}])
    write("ocrvqa", split, [{"image": picture("o"), "image_id": f"{split}1", "questions": ["Who?"], "answers": ["Me"], "title": "T", "authorName": "A", "genre": "G", "set_name": split}])
for split in ("train", "testdev"):
    write("gqa/questions", split, [{"id": "0201", "imageId": "99", "question": "Red?", "answer": "no", "fullAnswer": "No.", "isBalanced": True, "types": {"structural": "verify"}}])
    write("gqa/pictures", split, [{"id": "99", "image": picture("g")}])
write("evil", "train", [{"question_id": "../../out.jpg", "image": picture("e"), "question": "?", "answers": ["x"], "category": "other"}])
PYTHON

for kind in chartqa docvqa iconqa pathvqa scienceqa textvqa vizwiz gqa vqav2 ocrvqa; do
    mapfile -t files < <(find $kind -name '*.parquet' | sort)
    "$python" "$script" $kind unpacked/$kind "${files[@]}" >out 2>err || fail "parquet.py $kind"
    grep -qx "next: cllava convert $kind unpacked/$kind DEST" out || fail "parquet.py $kind: what comes next"
    "$CLLAVA" convert $kind unpacked/$kind made/$kind --strict --quiet >out 2>err || fail "convert $kind"
    [[ -s made/$kind/train.jsonl && -s made/$kind/test.jsonl ]] || fail "convert $kind: nothing"
done
[[ $(cat made/*/train.jsonl | wc -l) == 13 ]] || fail 'not every row'
grep -qF '"answers": ["3"], "question_type": "human"' made/chartqa/train.jsonl || fail 'chartqa'
grep -qF '{"from": "gpt", "value": "B"}], "answers": ["B"], "question_type": "choose_txt", "choices": 2' made/iconqa/train.jsonl || fail 'iconqa'
[[ $(find unpacked/chartqa/train/png -type f | wc -l) == 1 ]] || fail 'one picture was written twice'
[[ -z $(find unpacked -name '*.tmp') ]] || fail 'temporary files are left'

! "$python" "$script" vizwiz unpacked/evil evil/*.parquet >out 2>err || fail 'a picture out of its folder'
grep -q 'leads out of its folder' err || fail 'a picture out of its folder: the message'
[[ ! -e out.jpg && -z $(find unpacked -path '*/evil/*' -type f) ]] || fail 'a picture out of its folder was written'
! "$python" "$script" docvqa unpacked/wrong pathvqa/train-*.parquet >out 2>err || fail 'another data set'
grep -q "is none of docvqa: KeyError 'ucsf_document_id' (columns: image, question, answer)" err || fail 'another data set: the message'
cp pathvqa/train-*.parquet odd.parquet
! "$python" "$script" pathvqa unpacked/odd odd.parquet >out 2>err || fail 'no split'
grep -q 'of which split' err || fail 'no split: the message'
"$python" "$script" pathvqa unpacked/odd odd.parquet --split train >out 2>err || fail '--split'
echo 'parquet: ten kinds'
