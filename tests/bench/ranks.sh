#!/usr/bin/env bash
# ranks.sh [SHAPE [MICRO_BATCH [ROUNDS]]] - training on 2 ranks x 1 thread against 1 rank x 2 threads: tokens/s of the same run, by
# turns. SHAPE m (default) is width 2048, 12 layers, a real ViT-L/14-336; each step takes 2 samples of 674 tokens whose pictures'
# features are cached from the first epoch on (so the steps that count are the decoder's), and their medians are compared.
# Further layouts: LAYOUTS="1 tensor data overlap wire". Run from anywhere after ./run build, on a machine that does nothing else.
set -euo pipefail
shape=${1:-m} micro=${2:-1} rounds=${3:-3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cllava=$root/build/cllava
base=${BASE:-${TMPDIR:-/tmp}/cllava-base-$shape}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl=self,vader
export OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl_vader_single_copy_mechanism=none
[[ -e $base/config.json && -e $base/tokenizer.json ]] || "$cllava" bench --shape "$shape" --write-base "$base"
cp "$root"/tests/golden/a/data/images/t0_[01].png .
for i in 0 1; do
    printf '{"id": "%d", "image": "t0_%d.png", "conversations": [{"from": "human", "value": "<image>\\n%s"}, {"from": "gpt", "value": "%s"}]}\n' \
        $i $i 'What is the colour of the largest shape in the picture, please?' 'It is yellow, with a thin edge.'
done >train.jsonl
cat >run.yaml <<YAML
base: $base
encoder: base
stream: {name: rates, tasks: [{name: only, train: train.jsonl, test: train.jsonl}]}
prompt: {template: "{question}"}
stage1: {epochs: 1, batch: 2}
stage2: {epochs: 5, batch: 2, micro_batch: $micro, max_length: 704}
eval: {max_new_tokens: 1, batch: 1, zero_shot: false, limit: 1}
checkpoint: {every_steps: 0}
precision: ${PRECISION:-bf16}
output: run
YAML

run() { # LAYOUT
    local two=(mpirun --bind-to none -n 2 "$cllava" train run.yaml --quiet --fresh --set threads=1)
    rm -rf run run.old-*
    case $1 in
    1) "$cllava" train run.yaml --quiet --fresh --set threads=2 ;;
    tensor) "${two[@]}" --set parallel.tensor=2 ;;
    data) "${two[@]}" --set parallel.tensor=1 ;;
    overlap) "${two[@]}" --set parallel.tensor=2 --set parallel.overlap=true ;;
    wire) "${two[@]}" --set parallel.tensor=2 --set parallel.wire=bf16 ;;
    esac >out 2>&1 </dev/null || { cat out && exit 1; }
    # the first step computes the pictures' features
    grep '"event":"stage2"' run/log.jsonl | tail -n +2 | sed -E 's/.*"tokens_per_s":([0-9.]+).*/\1/' | sort -n |
        awk '{ v[NR] = $1 } END { printf "%.1f\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

layouts=${LAYOUTS:-1 tensor data}
echo "shape $shape, ${PRECISION:-bf16}, micro_batch $micro: tokens/s in a training step"
for ((r = 0; r < rounds; r++)); do
    for layout in $layouts; do run "$layout" >>"rates-$layout"; done
done
for layout in $layouts; do
    sort -n "rates-$layout" | awk -v l="$layout" '{ v[NR] = $1 } END { printf "%-8s median %7.1f   (%.1f .. %.1f)\n", l, v[int((NR + 1) / 2)], v[1], v[NR] }'
done
