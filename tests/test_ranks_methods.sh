#!/usr/bin/env bash
# test_ranks_methods.sh - the baselines on several ranks, against one process; several jobs in one program.
source "$SOURCE_DIR/run_lib.sh"

# alike A B: the same events, losses to 1e-4, norms to 1e-3 and penalties to 2e-3 of each other, the same predictions.
alike() {
    local figures='s/"(loss|grad_norm|penalty)":[^,}]*/"\1"/g' name
    diff <(events $1 | sed -E "$figures") <(events $2 | sed -E "$figures") >difference || { head -n 4 difference; return 1; }
    for name in loss=1e-4 grad_norm=1e-3 penalty=2e-3; do
        events $1 | grep -q "\"${name%=*}\"" || continue
        paste -d ' ' <(events $1 | sed -nE "s/.*\"${name%=*}\":([^,]*).*/\1/p") \
            <(events $2 | sed -nE "s/.*\"${name%=*}\":([^,]*).*/\1/p") |
            awk -v most=${name#*=} '{ d = $1 - $2; m = $1 < 0 ? -$1 : $1; if (d < 0) d = -d; if (d > most * m) { print; bad = 1 } }
                END { exit bad || !NR }' || return 1
    done
    diff -r $1/predictions $2/predictions
}

for method in sequential_lora replay joint taskwise_lora lwf ewc o_lora moe_lora; do
    rm -rf run again dump
    configuration b run "method: $method
pool: {init: null}
lora: {rank: 4}
replay: {budget: 4, ratio: 0.7}
ewc: {lambda: 20, gamma: 0.8, samples: 7}
moe_lora: {experts: 5, rank: 2, top_k: 3, router_lr: 1e-2}
stage2: {epochs: 2, batch: 5, micro_batch: 2, lr: 1e-2, shuffle: true}" >run.yaml
    train 0 run.yaml
    for layout in '4 2 shared' '3 1 dedicated'; do
        read -r n tensor coordinator <<<"$layout"
        rm -rf again
        ranks $n "$CLLAVA" train run.yaml --quiet --set output=again --set parallel.tensor=$tensor \
            --set parallel.coordinator=$coordinator >out 2>err </dev/null || fail "$method on $layout"
        alike run again || fail "$method on $layout: another run"
    done
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
