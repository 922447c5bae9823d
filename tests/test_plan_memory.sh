#!/usr/bin/env bash
# test_plan_memory.sh - what `cllava plan` says of a rank's memory against what the rank takes, within 10 %.
#
# Counted is a process's own memory, anonymous and shared: what a cluster's limit counts and cannot take back. Pages of the
# base's files are the system's cache and are left out (memory_of.c). Of a base of a few MiB most is program, libraries and
# compiled products, which differ from one processor to the next: 16 MiB are always allowed.
. "$(dirname "${BASH_SOURCE[0]}")/run_lib.sh"

if [[ $(ldd "$CLLAVA") == *libasan* ]]; then skip 'AddressSanitizer keeps books of its own in memory'; fi
memory_of=$PROGRAMS/memory_of

"$CLLAVA" demo demo --write-only --train 80 --test 24 >out 2>err || fail 'writing the stream'
"$CLLAVA" bench --write-base wide --shape s >out 2>err || fail 'writing a base'

# settings BASE PRECISION TENSOR: of plan and of the run.
settings() {
    echo "--set base=$work/$1 --set encoder=base --set precision=$2 --set parallel.tensor=$3 --set output=$work/run"
    echo "--set threads=1 --set stage1.epochs=1 --set stage2.epochs=1 --set adapter.projections=$maps"
    [[ $1 != wide ]] || echo '--set stage2.batch=16 --set stage2.micro_batch=4 --set eval.batch=16'
    [[ $1 != wide ]] || echo '--set data.limit=60 --set eval.limit=12'
}

# compare NAME: every rank's memory in the last run against the plan in `planned` (JSON).
compare() {
    local name=$1 rank own peaks
    mapfile -t peaks < <(grep -o '"peak": [0-9.e+]*' planned | cut -d' ' -f2)
    while read -r rank own _; do
        awk -v name="$name" -v rank="$rank" -v own="$own" -v plan="${peaks[$((rank > 0))]}" 'BEGIN {
            off = plan / (own * 1024) - 1
            printf "%-24s rank %d: %7.1f MiB, planned %7.1f MiB, %+.1f %%\n", name, rank, own / 1024, plan / 1048576, 100 * off
            far = plan / 1024 - own
            exit (off > 0.1 || off < -0.1) && (far > 16384 || far < -16384) }' || fail "$name: rank $rank"
    done < <(sort -n memory)
}

# trained NAME RANKS BASE PRECISION TENSOR
trained() {
    local name=$1 n=$2 launch=() sets
    shift 2
    sets=$(settings "$@")
    rm -rf run memory
    if ((n > 1)); then launch=(ranks "$n"); fi
    # shellcheck disable=SC2086 # words of settings
    "${launch[@]}" "$memory_of" memory "$CLLAVA" train demo/continual_llava.yaml $sets --quiet >out 2>err || fail "$name: run"
    # shellcheck disable=SC2086
    "$CLLAVA" plan demo/continual_llava.yaml $sets --ranks "$n" --ranks-per-node "$n" --json >plans 2>err || fail "$name: plan"
    grep "\"tensor\": $3," plans >planned || fail "$name: no such layout"
    compare "$name"
}

RANKS_LIMIT=300
maps=o_proj
trained 'demo f32' 1 demo/base f32 1
trained 'wide f32' 1 wide f32 1
if grep -q avx512bw /proc/cpuinfo; then
    trained 'demo bf16' 1 demo/base bf16 1
    trained 'wide bf16' 1 wide bf16 1
    rm memory
    "$memory_of" memory "$CLLAVA" eval run/checkpoint-task3-*.h5 --output answers --quiet >out 2>err || fail 'evaluation'
    # shellcheck disable=SC2046
    "$CLLAVA" plan demo/continual_llava.yaml $(settings wide bf16 1) --ranks 1 --eval --json >planned 2>err || fail 'plan of an evaluation'
    compare 'wide bf16, eval'
fi
if [[ ! -x ${MPIRUN-} ]]; then
    echo 'skipped: several ranks: no mpirun'
    exit 0
fi
trained 'wide f32, tensor 2' 2 wide f32 2
trained 'wide f32, data 2' 2 wide f32 1
maps=all
trained 'wide f32, tensor 2, all maps' 2 wide f32 2
echo 'all passed'
