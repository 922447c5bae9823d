#!/usr/bin/env bash
# test_real_data.sh - EasyVQA and VQA-RAD as a stream of two tasks, end to end with the small base of demo/base: every method,
# then eval, score, inspect and generate on what it wrote. Limits keep it short; nothing is said about how well it learns.
set -euo pipefail
data=$SHARED_DIR/data base=$SOURCE_DIR/../demo/base
for need in "$data/easyvqa/train.jsonl" "$data/vqarad/train.jsonl" "$base/model.safetensors"; do
    [[ -e $need ]] || { echo "skipped: $need is absent"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAIL: $*"; cat err 2>/dev/null; exit 1; }
quiet() { "$@" >out 2>err </dev/null || fail "$*: status $?"; }

# {"id", "image", "question", "answer", ..} to conversations; the picture is the whole of VQA-RAD's question on its first line
text='"(([^"\\]|\\.)*)"'
for set in easyvqa vqarad; do
    for part in train test; do
        head -n 12 "$data/$set/$part.jsonl" | sed -E \
            "s/\"question\": $text, \"answer\": $text/\"conversations\": [{\"from\": \"human\", \"value\": \"<image>\\\\n\1\"}, {\"from\": \"gpt\", \"value\": \"\3\"}]/" \
            >$set-$part.jsonl
        [[ $(grep -c '"conversations"' $set-$part.jsonl) == 12 ]] || fail "$set-$part.jsonl: not every line has become a conversation"
    done
done
cat >run.yaml <<YAML
base: $base
encoder: base
stream:
  name: real
  tasks:
    - {name: easyvqa, train: easyvqa-train.jsonl, test: easyvqa-test.jsonl, images: $data/easyvqa}
    - {name: vqarad, train: vqarad-train.jsonl, test: vqarad-test.jsonl, images: $data/vqarad}
prompt: {template: "USER: {question}\nASSISTANT:"}
pool: {slots_per_task: 3, rank: 4, top_m: 2}
stage1: {epochs: 1, batch: 8}
stage2: {batch: 8, micro_batch: 4, lr: 1e-3}
data: {limit: 9}
eval: {limit: 3, max_new_tokens: 4}
lora: {rank: 4}
replay: {budget: 4}
precision: f32
YAML

for method in zero_shot sequential_lora replay joint continual_llava; do
    quiet "$CLLAVA" train run.yaml --set method=$method --set output=$method
    [[ $(wc -l <$method/accuracy.csv) == 4 ]] || fail "$method: accuracy.csv has not 4 lines"
    awk -F, 'NF != 3 { exit 1 }' $method/accuracy.csv || fail "$method: accuracy.csv has not 3 columns"
    grep -q '"AA"' $method/summary.json || fail "$method: no AA in summary.json"
    [[ $(tail -c 2 $method/summary.json | tr -d '\n') == '}' ]] || fail "$method: summary.json does not end"
    ls $method/predictions/*.jsonl >files || fail "$method: no predictions"
    while read -r file; do
        [[ $(wc -l <"$file") == 3 ]] || fail "$file: not 3 predictions"
    done <files
    last=$method/checkpoint-task1-vqarad.h5
    [[ -e $last ]] || last=$(ls -t $method/checkpoint-task*.h5 | sed -n 1p)
    quiet "$CLLAVA" eval "$last" --output $method-eval
    # evaluating what the run has evaluated gives the same words
    for on in 0 1; do
        again=$(find $method-eval -name "*on$on.jsonl" | sed -n 1p)
        [[ -s $again ]] || fail "$method: eval wrote nothing about task $on"
        if [[ -e $method/predictions/after1-on$on.jsonl ]]; then
            cmp -s "$again" $method/predictions/after1-on$on.jsonl || fail "$method: eval and train differ on task $on"
        fi
    done
    quiet "$CLLAVA" inspect "$last"
    quiet "$CLLAVA" inspect "$last" --json
    quiet "$CLLAVA" score "$last" "$work/vqarad-test.jsonl" --images "$data/vqarad"
    [[ $(grep -c '"nll"' out) == 12 ]] || fail "$method: score gave not 12 lines"
    if grep -qiE '"nll":-?(nan|inf)' out; then fail "$method: a likelihood is not finite"; fi
    # the file is one of the stream's: its pictures are found without being told
    mv out told
    quiet "$CLLAVA" score "$last" vqarad-test.jsonl
    cmp -s out told || fail "$method: score with and without --images differ"
    quiet "$CLLAVA" generate "$last" --image "$(ls "$data"/vqarad/images/*.jpg | sed -n 1p)" 'Is this a picture of the brain?'
    [[ $(wc -l <out) == 1 ]] || fail "$method: the answer is not one line"
    echo "ok $method: $(tail -n 1 $method/accuracy.csv)"
done
