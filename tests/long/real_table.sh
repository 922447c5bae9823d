#!/usr/bin/env bash
# real_table.sh - the four main methods on three small real data sets one after the other: easy-VQA, Cornell NLVR, the closed
# questions of VQA-RAD (split by picture). Skipped without the data.
#
#   tests/long/real_table.sh [FOLDER]     default build/methods-table; DATA: folder of the sets; for the rest see table_lib.sh
source "${BASH_SOURCE%/*}/table_lib.sh"
folder=${1:-$root/build/methods-table} data=${DATA:-$root/../shared/data}
for need in "$data"/{easyvqa,nlvr,vqarad/by_image}/{train,test}.jsonl; do
    [[ -e $need ]] || { echo "skipped: no $need (DATA)"; exit 77; }
done
command -v jq >/dev/null || { echo "skipped: no jq"; exit 77; }
data=$(cd "$data" && pwd)
mkdir -p "$folder/real"

# Closed questions alone, their answers in lower case as the other sets have theirs.
for part in train test; do
    jq -c 'select(.answer_type == "CLOSED") | .answer |= ascii_downcase' "$data/vqarad/by_image/$part.jsonl" >"$folder/real/vqarad-$part.jsonl"
done
task() { echo "    - {name: $1, train: $2, test: $3, images: $data/$1, metric: exact}"; }
{
    cat <<YAML
base: $root/demo/base
encoder: base
method: continual_llava
stream:
  name: real
  tasks:
$(task easyvqa "$data/easyvqa/train.jsonl" "$data/easyvqa/test.jsonl")
$(task nlvr "$data/nlvr/train.jsonl" "$data/nlvr/test.jsonl")
$(task vqarad "$folder/real/vqarad-train.jsonl" "$folder/real/vqarad-test.jsonl")
prompt: {template: "USER: {question}\nASSISTANT:"}
pool: {slots_per_task: 8, rank: 8, top_m: 4}
lora: {rank: 32}
replay: {budget: 50, ratio: 0.25}
stage1: {epochs: 3, batch: 32, lr: 1e-2, lr_decay: 1.0, clip: 0.0}
stage2: {epochs: 3, batch: 32, micro_batch: 32, lr: 5e-3, beta2: 0.99, warmup_ratio: 0.05}
eval: {max_new_tokens: 8, batch: 64, limit: 300}
data: {limit: 1000}
precision: f32
output: runs/real
YAML
} >"$folder/real.yaml"
{
    sweep_head real.yaml real-sweep
    echo '  - {method: continual_llava, stage2.lr: 1e-2}'
    for method in sequential_lora replay joint; do echo "  - {method: $method}"; done
} >"$folder/real-sweep.yaml"
run_sweep "$folder/real-sweep.yaml" method
{
    cat "$folder/real-sweep.yaml.md"
    echo
    echo "$(made_by) At most 1000 training and 300 test records per task. Settings:"
    echo
    echo '```yaml'
    sed -n '/^prompt:/,/^precision:/p' "$folder/real.yaml"
    echo '```'
} >"$folder/block.md"
put_block real "$folder/block.md"
exit "${status:-0}"
