#!/usr/bin/env bash
# test_ablations.sh - every ablation that is an option: it changes the run, and where other ranks take part
# they do the same as one process.
source "$SOURCE_DIR/run_lib.sh"

data=$golden/a/data
image=$(printf '%s\n' "$data"/images/* | sed -n 1p)

# alone LINES: on one process, into `run`. both LINES: and on several ranks.
alone() {
    rm -rf run
    configuration a run "$1" >run.yaml
    train 0 run.yaml
}
both() {
    alone "$1"
    alike_on "$1" '2 2 shared' '3 1 dedicated'
}

free='pool: {slots_per_task: 3, rank: 4, top_m: 2, key_groups: 1'
alone "$free}"
mv run plain
while read -r what; do
    case $what in
    'pool query'*) both "$free, ${what#pool }}" ;; # what other ranks compute; the rest is the coordinator's arithmetic
    pool*) alone "$free, ${what#pool }}" ;;
    *) alone "$free}
$what" ;;
    esac
    events plain >plain.events
    events run | diff -q plain.events - >/dev/null && fail "$what: changes nothing"
done <<'OPTIONS'
pool query: picture
pool query: both
pool mix: softmax, temperature: 0.05
pool mix: uniform
context: {weights: uniform}
context: {weights: fixed, value: 0.9}
lines: {first: 0.2, last: 1}
prompt: {template: vicuna_v1, instruction: before}
stage1: {epochs: 0}
OPTIONS

# Routing by question and picture reaches every command, and ranks agree on it.
alone "$free, query: both}"
checkpoint=run/checkpoint-task1-shape.h5
"$CLLAVA" eval $checkpoint --routing mean_key --quiet --output eval-one >eval-one.out 2>err || fail 'eval --routing mean_key'
"$CLLAVA" score $checkpoint "$data/task1.json" >score-one 2>err || fail 'score, routed by pictures'
"$CLLAVA" generate $checkpoint --image "$image" 'which shape is it' >answer-one 2>slots-one || fail 'generate --image'
"$CLLAVA" generate $checkpoint 'which shape is it' >/dev/null 2>slots-none || fail 'generate without a picture'
cmp -s slots-one slots-none && fail 'the picture does not count in routing'
for layout in '2 --set parallel.tensor=2' '3 --set parallel.coordinator=dedicated'; do
    read -r n set <<<"$layout"
    rm -rf eval-two
    ranks $n "$CLLAVA" eval $checkpoint --routing mean_key --quiet --output eval-two $set >eval-two.out 2>err </dev/null ||
        fail "eval --routing mean_key on $layout"
    cmp -s eval-one.out eval-two.out && diff -r eval-one/predictions eval-two/predictions || fail "mean_key on $layout"
    ranks $n "$CLLAVA" score $checkpoint "$data/task1.json" $set >score-two 2>err </dev/null || fail "score on $layout"
    diff <(sed 's/"nll.*selected/"selected/; s/"intrinsic.*//' score-one) <(sed 's/"nll.*selected/"selected/; s/"intrinsic.*//' score-two) ||
        fail "score on $layout: other slots"
    ranks $n "$CLLAVA" generate $checkpoint --image "$image" 'which shape is it' $set >answer-two 2>slots-two </dev/null ||
        fail "generate on $layout"
    cmp -s answer-one answer-two && diff <(grep slots: slots-one) <(grep slots: slots-two) || fail "generate on $layout"
done

# A picture that breaks off is named before any training, by whichever rank reads it.
cp -r "$data" broken
for picture in broken/images/*; do
    head -c 60 "$picture" >cut && mv cut "$picture" # the header is whole
done
configuration a x "$free, query: picture}" | sed "s|$data|$PWD/broken|g" >x.yaml
error 1 'images/.*png' "$CLLAVA" train x.yaml --quiet
[[ ! -s x/log.jsonl ]] || ! grep -q stage1 x/log.jsonl || fail 'trained on broken pictures'
error 1 'images/.*png' ranks 3 "$CLLAVA" train x.yaml --quiet --fresh

configuration a x 'method: sequential_lora
lines: {first: 0.5}' >x.yaml
error 2 'lines.first: method sequential_lora adds no slots' "$CLLAVA" train x.yaml --quiet
echo 'all passed'
