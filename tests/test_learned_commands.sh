#!/usr/bin/env bash
# test_learned_commands.sh - what a short run wrote, from outside: score reads all of a file whatever the run's limits were,
# generate routes on the question without <image>, a prompt in parts is the prompt of the template's name.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "FAIL: $*"; cat err 2>/dev/null; exit 1; }
a=$SOURCE_DIR/golden/a
cat >run.yaml <<YAML
base: $a/base
encoder: $a/encoder
stream: {tasks: [{name: colour, train: $a/data/task0.json, test: $a/data/task0.json}, {name: shape, train: $a/data/task1.json, test: $a/data/task1.json}]}
pool: {slots_per_task: 3, rank: 4, top_m: 2, init: $a/init.h5}
stage2: {batch: 3}
data: {limit: 4}
eval: {limit: 2, max_new_tokens: 4}
precision: f32
output: run
YAML
"$CLLAVA" train run.yaml --quiet >out 2>err || fail 'train'
last=run/checkpoint-task1-shape.h5

"$CLLAVA" score "$last" "$a/data/task0.json" >out 2>err || fail 'score'
[[ $(wc -l <out) == 9 ]] || fail "score: $(wc -l <out) of 9 records"

for i in 0 3; do
    for question in 'What colour is the shape?' 'Which shape is shown in the picture?'; do
        "$CLLAVA" generate "$last" --image "$a/data/images/t0_$i.png" "$question" >out 2>err </dev/null || fail 'generate'
        "$CLLAVA" generate "$last" --image "$a/data/images/t0_$i.png" $'<image>\n'"$question" >out2 2>err2 </dev/null || fail 'generate'
        cmp -s err err2 || fail "other slots where <image> is written out: $(cat err2)"
        cmp -s out out2 || fail 'other answer where <image> is written out'
    done
done

"$CLLAVA" score --base-only run.yaml "$a/data/task1.json" >out 2>err || fail 'score --base-only'
"$CLLAVA" score --base-only run.yaml "$a/data/task1.json" --set 'prompt.template=USER: {question} ASSISTANT:' \
    --set "prompt.system=A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. " \
    >out2 2>err || fail 'score --base-only, prompt in parts'
cmp -s out out2 || fail 'vicuna_v1 and its parts differ'
echo 'all passed'
