#!/usr/bin/env bash
# methods_table.sh - every method on the embedded domain stream with three seeds, as one sweep; writes what came out into
# docs/methods-table.md, between its markers. Goes on where it was stopped.
#
#   tests/long/methods_table.sh [FOLDER]     default build/methods-table; CLLAVA, SEEDS, JOBS, METHODS, TRAIN, TEST and PAGE
#                                            change program, seeds, runs at a time, methods, records per task, the page
set -euo pipefail
root=$(cd "${BASH_SOURCE%/*}/../.." && pwd)
program=${CLLAVA:-$root/build/cllava} folder=${1:-$root/build/methods-table} page=${PAGE:-$root/docs/methods-table.md}
seeds=${SEEDS:-0 1 2} jobs=${JOBS:-1} train=${TRAIN:-1000} test=${TEST:-200}
mkdir -p "$folder"
[[ -e $folder/stream/medical/test.json ]] ||
    "$program" demo "$folder" --write-only --train "$train" --test "$test" --base "$root/demo/base"

# The program's own list of methods, unless told otherwise.
methods=${METHODS:-$("$program" config "$folder/sequential_lora.yaml" --set method=? 2>&1 | sed -nE 's/.*expected one of ([a-z0-9_, ]*)\).*/\1/p' | tr -d ,)}
[[ -n $methods ]] || { echo "no list of methods from $program" >&2; exit 1; }

# What a method has beside the settings of demo's sequential_lora.yaml.
declare -A settings=(
    [continual_llava]='pool.slots_per_task: 8, pool.rank: 8, pool.top_m: 4, stage1.epochs: 3, stage1.batch: 32, stage1.lr: 1e-2, stage1.lr_decay: 1.0, stage1.clip: 0.0, stage2.lr: 1e-2'
    [replay]='replay.budget: 50, replay.ratio: 0.25'
)
{
    echo "base: sequential_lora.yaml"
    echo "output: sweep"
    echo "jobs: $jobs"
    echo "seeds: [${seeds// /, }]"
    echo "list:"
    for method in $methods; do echo "  - {method: $method${settings[$method]:+, ${settings[$method]}}}"; done
} >"$folder/methods.yaml"
"$program" sweep "$folder/methods.yaml" --local || status=$?
case ${status:-0} in
0) ;;
75) exit 75 ;; # stopped: the same command goes on
*) echo "some runs failed: the table says of how many runs each row is" >&2 ;;
esac
"$program" sweep table "$folder/methods.yaml" --by method --markdown "$folder/table.md" --csv "$folder/table.csv" >&2

# The page: its own words outside of the markers, the table and how it was made between them.
{
    sed '/^<!-- begin -->$/q' "$page"
    echo
    cat "$folder/table.md"
    echo
    echo "Seeds ${seeds// /, }; $train training and $test test records per task; $("$program" --version)" \
        "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || true). Settings of each method beside those of" \
        "\`sequential_lora.yaml\` of \`cllava demo\`:"
    echo
    for method in $methods; do [[ -z ${settings[$method]-} ]] || echo "* \`$method\`: ${settings[$method]}"; done
    echo
    sed -n '/^<!-- end -->$/,$p' "$page"
} >"$folder/page.md"
grep -qx '<!-- end -->' "$folder/page.md" || { echo "$page has no <!-- begin --> and <!-- end -->" >&2; exit 1; }
cp "$folder/page.md" "$page"
exit "${status:-0}"
