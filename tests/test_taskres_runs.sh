#!/usr/bin/env bash
# test_taskres_runs.sh - residuals of the logits over whole runs: off is as before, on is learned, kept, resumed and the same on ranks.
source "$SOURCE_DIR/run_lib.sh"

data=$golden/a/data
plain='pool: {slots_per_task: 3, rank: 4, top_m: 2, key_groups: 1}
stage2: {epochs: 2, batch: 4, micro_batch: 3, lr: 1e-2, shuffle: true}'
on="$plain
taskres: {scale: 0.5, lr: 0.05}"

# one OUTPUT LINES: an undisturbed run.
one() {
    rm -rf "$1"
    configuration a "$1" "$2" >run.yaml
    train 0 run.yaml
}

# Off: nothing changes, whatever the rate.
one calm "$plain"
one x "$plain
taskres: {scale: 0, lr: 0.5}"
same calm x
h5dump -n calm/checkpoint-task1-shape.h5 | grep -q taskres && fail 'residuals in the checkpoint of a run without'
rm -rf dump

# On: another run; a row for each task begun; ranks agree.
one run "$on"
events run | diff -q <(events calm) - >/dev/null && fail 'residuals change nothing'
h5dump -H -d /taskres/r run/checkpoint-task0-colour.h5 | grep -q 'SIMPLE { ( 1, 448 )' || fail 'after a task: one residual'
h5dump -H -d /taskres/r run/checkpoint-task1-shape.h5 | grep -q 'SIMPLE { ( 2, 448 )' || fail 'after two tasks: two'
row() { h5dump -d /taskres/r -s "$2,0" -c '1,448' -m %.9g "$1" | sed -nE 's/^ *\([01],[0-9]+\): //p'; }
row run/checkpoint-task0-colour.h5 0 >first
[[ $(tr -cd , <first | wc -c) == 447 ]] || fail 'no row of 448 numbers'
diff first <(row run/checkpoint-task1-shape.h5 0) >/dev/null || fail "the second task changed the first one's"
diff -q first <(row run/checkpoint-task1-shape.h5 1) >/dev/null && fail 'one residual for both tasks'
alike_on taskres '3 1 dedicated' '4 2 shared'

# Killed and resumed: the same bits.
configuration a calm "$on" >run.yaml && rm -rf calm dump
broken 0 none 0 calm run.yaml
configuration a x "$on" >x.yaml && rm -rf x
for at in $(($(<count) / 5)) $(($(<count) / 2)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
train 0 x.yaml
same calm x

# What a checkpoint answers: score, generate and eval with them, on ranks too; without them otherwise.
checkpoint=run/checkpoint-task1-shape.h5
score() { "$CLLAVA" score $checkpoint "$data/task1.json" "$@" 2>err; }
score >with || fail 'score'
score --set taskres.scale=0 >without || fail 'score without residuals'
cmp -s with without && fail 'score: residuals do not count'
"$CLLAVA" eval $checkpoint --quiet --output eval-one >out 2>err || fail 'eval'
for layout in '2 --set parallel.tensor=2' '3 --set parallel.coordinator=dedicated'; do
    read -r n set <<<"$layout"
    ranks $n "$CLLAVA" score $checkpoint "$data/task1.json" $set >with-ranks 2>err </dev/null || fail "score on $layout"
    paste <(sed -E 's/.*"nll":([^,]*).*/\1/' with) <(sed -E 's/.*"nll":([^,]*).*/\1/' with-ranks) |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-4 * $1) exit 1 }' || fail "score on $layout: other losses"
    rm -rf eval-two
    ranks $n "$CLLAVA" eval $checkpoint --quiet --output eval-two $set >out 2>err </dev/null || fail "eval on $layout"
    diff -r eval-one/predictions eval-two/predictions || fail "eval on $layout: other answers"
done

# Where it cannot work.
configuration a x 'method: sequential_lora
taskres: {scale: 1}' >x.yaml
error 2 'taskres.scale: method sequential_lora has no slots of tasks' "$CLLAVA" train x.yaml --quiet
error 2 'taskres.scale.*-1' "$CLLAVA" train run.yaml --quiet --set taskres.scale=-1
error '[1-9]*' 'adds a vector to the logits' "$CLLAVA" export $checkpoint --task shape --output peft
configuration a none "$plain" >x.yaml
train 0 x.yaml --quiet
error '[1-9]*' 'holds no residuals, but taskres.scale is 0.5' "$CLLAVA" score none/checkpoint-task1-shape.h5 "$data/task1.json" --set taskres.scale=0.5
"$CLLAVA" inspect $checkpoint >out 2>err || fail 'inspect'
echo 'all passed'
