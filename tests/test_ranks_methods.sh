#!/usr/bin/env bash
# test_ranks_methods.sh - the baselines on several ranks, against one process; several jobs in one program.
source "$SOURCE_DIR/run_lib.sh"

layouts=('4 2 shared' '3 1 dedicated')
[[ ! ${SANITIZED-} ]] || layouts=('4 2 shared') # there a run takes five times as long
for method in sequential_lora replay joint taskwise_lora lwf ewc o_lora moe_lora l2p; do
    rm -rf run again dump
    configuration b run "method: $method
pool: {init: null}
lora: {rank: 4}
replay: {budget: 4, ratio: 0.7}
ewc: {lambda: 20, gamma: 0.8, samples: 7}
moe_lora: {experts: 5, rank: 2, top_k: 3, router_lr: 1e-2}
l2p: {prompts: 4, length: 2, top_m: 2, key_lr: 3e-2, diversity: true}
stage2: {epochs: 2, batch: 5, micro_batch: 2, lr: 1e-2, shuffle: true}" >run.yaml
    train 0 run.yaml
    alike_on "$method" "${layouts[@]}"
    # One group computes just as one process does, whoever tells it to.
    rm -rf again
    ranks 2 "$CLLAVA" train run.yaml --quiet --set output=again --set parallel.coordinator=dedicated >out 2>err </dev/null ||
        fail "$method on a coordinator and one rank"
    same run again
done

# Nothing is learned: the last row is the first.
configuration b zero 'method: zero_shot
pool: {init: null}' >zero.yaml
ranks 3 "$CLLAVA" train zero.yaml --quiet >out 2>err </dev/null || fail zero_shot
[[ -s zero/summary.json && -s zero/predictions/afterzero-on1.jsonl ]] || fail 'zero_shot: no answers'

# Several jobs in one program.
ranks 3 "$CLLAVA" demo demo --train 24 --test 4 --base "$SOURCE_DIR/../demo/base" --set parallel.coordinator=dedicated >out \
    2>err </dev/null || fail demo
[[ $(grep -c '^| ranks  *| 3 on 1 host, 1 thread each; 2 groups of 1, coordinator dedicated' err) == 3 ]] || fail 'demo: not three runs on three ranks'
grep -q 'Against sequential LoRA' out || fail 'demo: no verdict'
echo 'all passed'
