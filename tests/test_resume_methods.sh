#!/usr/bin/env bash
# test_resume_methods.sh - every method, shuffled orders over several epochs, two threads: killed and resumed, the same bits.
source "$SOURCE_DIR/run_lib.sh"

# compare SET LINES: an undisturbed run against one that is killed several times on its way.
compare() {
    local at
    rm -rf calm x dump x.yaml
    configuration "$1" calm "$2" >calm.yaml
    broken 0 none 0 calm calm.yaml
    configuration "$1" x "$2" >x.yaml
    for at in $(($(<count) / 7)) $(($(<count) / 2)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
    train 0 x.yaml
    same calm x
    [[ $(head -1 out) == "${method:-continual_llava}" ]] || fail 'another method'
}

plain='pool: {slots_per_task: 3, top_m: 2}
lora: {rank: 4}
stage2: {epochs: 2, batch: 4, micro_batch: 3, lr: 1e-2, shuffle: true}
replay: {budget: 4, ratio: 0.5}
ewc: {lambda: 20, gamma: 0.8, samples: 5}
moe_lora: {experts: 5, rank: 2, top_k: 3, router_lr: 1e-2}
l2p: {prompts: 4, length: 2, top_m: 2, key_lr: 3e-2, diversity: true}'
for method in sequential_lora replay joint taskwise_lora lwf ewc o_lora moe_lora l2p; do
    compare a "method: $method
$plain"
done
method=
compare a 'pool: {slots_per_task: 3, rank: 2, top_m: 2, key_groups: 4}
stage1: {epochs: 3, batch: 4, lr: 1e-2, shuffle: true}
stage2: {epochs: 3, batch: 4, micro_batch: 3, lr: 1e-2, shuffle: true}
seed: 5'
compare b 'eval: {max_new_tokens: 8, batch: 4, after_each_task: false, zero_shot: false, next_task: false, routing: oracle}
checkpoint: {every_steps: 0}'
OMP_NUM_THREADS=2 compare b 'context: {enabled: false}'

# The base alone has nothing to train, and a matrix all the same.
for zero in true false; do
    rm -rf calm x dump
    more="method: zero_shot
$plain
eval: {zero_shot: $zero, max_new_tokens: 4}"
    configuration a calm "$more" >calm.yaml
    broken 0 none 0 calm calm.yaml
    [[ $(wc -l <calm/accuracy.csv) == 4 && $(tail -1 calm/accuracy.csv) == shape,0*,0* ]] || fail 'matrix of zero_shot'
    configuration a x "$more" >x.yaml
    for at in 12 $(($(<count) / 2)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
    train 0 x.yaml
    same calm x
    train 0 x.yaml
    grep -q 'holds a finished run' err || fail 'zero_shot: does not say that it is finished'
    same calm x
done
echo 'all passed'
