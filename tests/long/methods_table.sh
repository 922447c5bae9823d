#!/usr/bin/env bash
# methods_table.sh - every method on the embedded domain stream with three seeds.
#
#   tests/long/methods_table.sh [FOLDER]     default build/methods-table; METHODS chooses some; for the rest see table_lib.sh
source "${BASH_SOURCE%/*}/table_lib.sh"
folder=${1:-$root/build/methods-table}
write_demo

# The program's own list of methods, unless told otherwise.
methods=${METHODS:-$({ "$program" config "$folder/sequential_lora.yaml" --set method=? 2>&1 || true; } | sed -nE 's/.*expected one of ([a-z0-9_, ]*)\).*/\1/p' | tr -d ,)}
[[ -n $methods ]] || { echo "no list of methods from $program" >&2; exit 1; }

# What a method has beside the settings of demo's sequential_lora.yaml.
declare -A settings=(
    [continual_llava]='pool.slots_per_task: 8, pool.rank: 8, pool.top_m: 4, stage1.epochs: 3, stage1.batch: 32, stage1.lr: 1e-2, stage1.lr_decay: 1.0, stage1.clip: 0.0, stage2.lr: 1e-2'
    [l2p]='stage2.lr: 3e-2'
    [replay]='replay.budget: 50, replay.ratio: 0.25'
    [self_guide]='replay.budget: 50, replay.ratio: 0.25'
)
{
    sweep_head sequential_lora.yaml sweep
    for method in $methods; do
        echo "  - {method: $method${settings[$method]:+, ${settings[$method]}}}"
        [[ $method != sequential_lora ]] || echo '  - {method: sequential_lora, adapter.projections: all}'
    done
} >"$folder/methods.yaml"
run_sweep "$folder/methods.yaml" method,adapter.projections
{
    cat "$folder/methods.yaml.md"
    echo
    echo "$(made_by) $train training and $test test records per task. Settings of each method beside those of" \
        "\`sequential_lora.yaml\` of \`cllava demo\`:"
    echo
    for method in $methods; do [[ -z ${settings[$method]-} ]] || echo "* \`$method\`: ${settings[$method]}"; done
} >"$folder/block.md"
put_block methods "$folder/block.md"
exit "${status:-0}"
