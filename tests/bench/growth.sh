#!/usr/bin/env bash
# growth.sh - what a training step costs where one size grows (samples, tokens, slots, selected slots, rank, tasks, ranks of the
# job): docs/growth.md and docs/growth.svg of tests/bench/growth.csv.
#
# usage: tests/bench/growth.sh [--draw]        --draw: only the page and the picture, of the CSV that is there
# Times are processor time of one thread, best of each, so other work on the machine hardly shows; operations and memory are counts,
# the same on every machine. What ranks share is counted by `cllava plan`. environment: SHAPE (s), CLLAVA (build/cllava)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
CLLAVA=${CLLAVA:-$root/build/cllava} SHAPE=${SHAPE:-s} csv=${CSV:-$here/growth.csv} docs=${DOCS:-$root/docs}
if [[ ${1-} != --draw ]]; then
    CLLAVA_COMMIT=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
    export CLLAVA_COMMIT OMP_NUM_THREADS=1
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$CLLAVA" bench --shape "$SHAPE" --write-base "$work/base"
    "$CLLAVA" bench --growth --shape "$SHAPE" --base "$work/base" --precision f32 --cpu-time --seconds "${SECONDS_EACH:-1}" --csv "$work/growth.csv"
    echo "base: $work/base" >"$work/plan.yaml"
    "$CLLAVA" plan "$work/plan.yaml" --json --ranks 1,2,4,8 --tokens 160 --answers 32 --set precision=f32 --set stage2.batch=8 \
        --set stage2.micro_batch=1 >"$work/plan.json"
    python3 "$here/growth.py" ranks "$work/plan.json" "$work/growth.csv"
    mv "$work/growth.csv" "$csv"
fi
python3 "$here/growth.py" draw "$csv" "$docs/growth.md" "$docs/growth.svg"
