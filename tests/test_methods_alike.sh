#!/usr/bin/env bash
# test_methods_alike.sh - settings in which one method comes to the same as another, to the last bit: what is learned and what is
# answered.
source "$SOURCE_DIR/run_lib.sh"

common='pool: {init: null}
lora: {rank: 4}
stage2: {epochs: 2, batch: 5, micro_batch: 2, lr: 1e-2, shuffle: true}'

# run NAME METHOD [LINES]: trains into the folder NAME.
run() {
    configuration a "$1" "method: $2
$common
${3-}" >"$1.yaml"
    train 0 "$1.yaml" --quiet
}

# The pool of a checkpoint, and nothing of how it came about.
pool_of() { for array in A B; do h5dump -m %.17g -d /pool/$array "$1" | tail -n +2; done; }

# alike A B TASK..: the same pool and answers after these tasks.
alike() {
    local a=$1 b=$2 task
    shift 2
    for task in "$@"; do
        cmp <(pool_of $a/checkpoint-task$task.h5) <(pool_of $b/checkpoint-task$task.h5) || fail "$b: another pool than $a"
    done
    diff -r $a/predictions $b/predictions || fail "$b: other answers than $a"
}

run plain sequential_lora
run stored replay 'replay: {budget: 0, ratio: 0.5}'
alike plain stored 0-colour 1-shape
run free ewc 'ewc: {lambda: 0, samples: 3}'
alike plain free 0-colour 1-shape
run untaught lwf 'lwf: {lambda: 0}'
alike plain untaught 0-colour 1-shape
run taught lwf 'lwf: {lambda: 1}'
cmp -s <(pool_of plain/checkpoint-task0-colour.h5) <(pool_of taught/checkpoint-task0-colour.h5) ||
    fail 'lwf: something to forget in the first task'
cmp -s <(pool_of plain/checkpoint-task1-shape.h5) <(pool_of taught/checkpoint-task1-shape.h5) && fail 'lwf: lambda does nothing'

# All tasks at once are one task of all records, shuffled.
mkdir both
for t in 0 1; do sed '1s/^\[//; $s/\]$//' "$golden/a/data/task$t.json"; [[ $t == 1 ]] || echo ,; done |
    { echo '['; cat; echo ']'; } >both/train.json
run joint joint
configuration a single "method: sequential_lora
stream: {name: golden, tasks: [{name: both, train: both/train.json, test: $golden/a/data/task0.json, images: $golden/a/data, metric: exact}]}
$common" >single.yaml
train 0 single.yaml --quiet
cmp <(pool_of joint/checkpoint-task1-shape.h5) <(pool_of single/checkpoint-task0-both.h5) || fail 'joint: another pool than of one task'
echo 'all passed'
