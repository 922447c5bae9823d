#!/usr/bin/env bash
# test_lw2g_runs.sh - learning whether to grow over whole runs: off is as before, above and below the threshold, resumed, on ranks.
source "$SOURCE_DIR/run_lib.sh"

data=$golden/a/data
plain='pool: {slots_per_task: 3, rank: 4, top_m: 2, key_groups: 1}
stage2: {epochs: 2, batch: 4, micro_batch: 3, lr: 1e-2, shuffle: true}'
look='samples: 5, rank: 6'

one() {
    rm -rf "$1"
    configuration a "$1" "$2" >run.yaml
    train 0 run.yaml
}
slots() { h5dump -H -d /pool/task "$1" | sed -nE 's/.*SIMPLE \{ \( ([0-9]+) \).*/\1/p'; }
of_log() { sed -nE "s/.*\"$2\":([^,}]*).*/\1/p" "$1/log.jsonl"; }

# Off: nothing changes.
one calm "$plain"
one x "$plain
lw2g: {threshold: 0, samples: 3, rank: 2}"
same calm x
h5dump -n calm/checkpoint-task1-shape.h5 | grep -q lw2g && fail 'bases in the checkpoint of a run without'

# The angle is above the threshold: measured, and no more than that.
one apart "$plain
lw2g: {threshold: 0.01, $look}"
grep -q '"event":"hindrance".*"task":1,"of":0' apart/log.jsonl || fail 'the hindrance is not in the log'
[[ $(of_log apart slots_of) == 1 ]] || fail 'grows: not in the log'
diff <(events calm) <(events apart | grep -vE '"event":"(hindrance|grow)"') >/dev/null || fail 'measured, but not only'
h5diff calm/checkpoint-task1-shape.h5 apart/checkpoint-task1-shape.h5 /pool /pool || fail 'measured, but another pool'
[[ $(slots apart/checkpoint-task1-shape.h5) == 6 ]] || fail 'a task that is hindered does not grow'

# Below: the second task goes on with the slots of the first.
one run "$plain
lw2g: {threshold: 179, $look}"
[[ $(of_log run slots_of) == 0 && $(of_log run angle) == $(of_log apart angle) ]] || fail 'shares: not in the log'
[[ $(slots run/checkpoint-task1-shape.h5) == 3 ]] || fail 'a task that is not hindered grows'
h5diff -q run/checkpoint-task0-colour.h5 run/checkpoint-task1-shape.h5 /pool/B /pool/B || fail 'B of shared slots learned'
h5diff -q run/checkpoint-task0-colour.h5 run/checkpoint-task1-shape.h5 /pool/A /pool/A && fail 'A of shared slots did not'
grep '"event":"eval"' run/log.jsonl | grep '"after":1,"on":1' | grep -qE '"routed":(1.0e\+02|100)' || fail 'routing: shared slots are not its own'
alike_on lw2g '3 1 dedicated' '4 2 shared'

# Killed and resumed: the same bits.
configuration a calm "$plain
lw2g: {threshold: 179, $look}" >run.yaml && rm -rf calm dump
broken 0 none 0 calm run.yaml
sed 's/^output: .*/output: x/' run.yaml >x.yaml && rm -rf x
for at in $(($(<count) / 4)) $(($(<count) / 2)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
train 0 x.yaml
same calm x

# Commands on what shares its slots.
checkpoint=run/checkpoint-task1-shape.h5
"$CLLAVA" eval $checkpoint --routing oracle --quiet --output oracle >out 2>err || fail 'eval --routing oracle'
"$CLLAVA" score $checkpoint "$data/task1.json" >out 2>err || fail 'score'
"$CLLAVA" generate $checkpoint 'which shape is it' >out 2>err || fail 'generate'
grep -q 'slots:.*colour' err || fail 'generate: slots of nobody'
"$CLLAVA" export $checkpoint --task shape --output peft >out 2>err || fail 'export of a task that shares'
"$CLLAVA" inspect $checkpoint --json >out 2>err || fail 'inspect --json'
grep -q '"slots_of": *0' out || fail 'inspect --json: no slots_of'
"$CLLAVA" inspect $checkpoint >out 2>err || fail 'inspect'

# Where it cannot work.
configuration a x 'method: sequential_lora
lw2g: {threshold: 30}' >x.yaml
error 2 'lw2g.threshold: method sequential_lora adds no slots' "$CLLAVA" train x.yaml --quiet
error 2 'lw2g.threshold.*lines' "$CLLAVA" train run.yaml --quiet --set lines.last=0.5
error 2 'lw2g.threshold.*200' "$CLLAVA" train run.yaml --quiet --set lw2g.threshold=200
echo 'all passed'
