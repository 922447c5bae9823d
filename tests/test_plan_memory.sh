#!/usr/bin/env bash
# test_plan_memory.sh - what `cllava plan` says of a rank's memory against what the rank takes, within 10 %.
#
# Counted is a process's own memory, anonymous and shared: what a cluster's limit counts and cannot take back. Pages of the
# base's files are the system's cache and are left out (memory_of.c).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=1 OMPI_MCA_mpi_yield_when_idle=1

fail() { echo "FAIL: $*"; tail -n 5 err 2>/dev/null; exit 1; }
if ldd "$CLLAVA" | grep -q libasan; then
    echo 'skipped: a build with AddressSanitizer keeps books of its own in memory'
    exit 77
fi
memory_of=$PROGRAMS/memory_of

"$CLLAVA" demo demo --write-only --train 120 --test 32 >out 2>err || fail 'writing the stream'
mkdir wide
"$CLLAVA" bench --write-base wide --shape s >out 2>err || fail 'writing a base'
cp demo/base/{tokenizer.json,tokenizer_config.json,generation_config.json} wide/
sed -E 's/(shortest_edge|height|width)": 64/\1": 112/' demo/base/preprocessor_config.json >wide/preprocessor_config.json
sed -i -E 's/"image_token_index": [0-9]+/"image_token_index": 3/' wide/config.json

# settings BASE PRECISION TENSOR: of plan and of the run.
settings() {
    echo "--set base=$work/$1 --set encoder=base --set precision=$2 --set parallel.tensor=$3 --set output=$work/run --set threads=1"
    echo "--set stage1.epochs=1 --set stage2.epochs=1"
    [[ $1 != wide ]] || echo "--set stage2.batch=16 --set stage2.micro_batch=4 --set eval.batch=16 --set data.limit=60 --set eval.limit=16"
}

# compare NAME RANKS COMMAND..: the last run's memory against the plan in `planned` (JSON).
compare() {
    local name=$1 rank own plan peaks
    mapfile -t peaks < <(grep -o '"peak": [0-9.e+]*' planned | cut -d' ' -f2)
    while read -r rank own _; do
        plan=${peaks[$((rank > 0))]}
        awk -v name="$name" -v rank="$rank" -v own="$own" -v plan="$plan" 'BEGIN {
            off = plan / (own * 1024) - 1
            printf "%-24s rank %d: %7.1f MiB, planned %7.1f MiB, %+.1f %%\n", name, rank, own / 1024, plan / 1048576, 100 * off
            exit off > 0.1 || off < -0.1 }' || fail "$name: rank $rank"
    done < <(sort -n memory)
}

# train NAME RANKS BASE PRECISION TENSOR
train() {
    local name=$1 ranks=$2 launch=() sets
    shift 2
    sets=$(settings "$@")
    rm -rf run memory
    if ((ranks > 1)); then launch=("$MPIRUN" --bind-to none -n "$ranks"); fi
    # shellcheck disable=SC2086 # words of settings
    "${launch[@]}" "$memory_of" memory "$CLLAVA" train demo/continual_llava.yaml $sets --quiet >out 2>err || fail "$name: run"
    # shellcheck disable=SC2086
    "$CLLAVA" plan demo/continual_llava.yaml $sets --ranks "$ranks" --ranks-per-node "$ranks" --json >plans 2>err || fail "$name: plan"
    grep "\"tensor\": $3," plans >planned || fail "$name: no such layout"
    compare "$name"
}

train 'demo f32' 1 demo/base f32 1
train 'wide f32' 1 wide f32 1
if grep -q avx512bw /proc/cpuinfo; then
    train 'demo bf16' 1 demo/base bf16 1
    train 'wide bf16' 1 wide bf16 1
    checkpoint=$(ls run/checkpoint-task3-*.h5)
    # shellcheck disable=SC2046
    "$memory_of" evaluated "$CLLAVA" eval "$checkpoint" --output answers --quiet >out 2>err || fail 'evaluation'
    mv evaluated memory
    # shellcheck disable=SC2046
    "$CLLAVA" plan demo/continual_llava.yaml $(settings wide bf16 1) --ranks 1 --eval --json >planned 2>err || fail 'plan of an evaluation'
    compare 'wide bf16, eval'
fi
[[ -n ${MPIRUN-} ]] || { echo 'skipped: several ranks: no mpirun'; exit 0; }
train 'wide f32, tensor 2' 2 wide f32 2
train 'wide f32, data 2' 2 wide f32 1
echo 'all passed'
