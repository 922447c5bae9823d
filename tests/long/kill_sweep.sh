#!/usr/bin/env bash
# kill_sweep.sh [EVERY] - kills a golden run at every EVERY-th of its file changes, resumes it, compares it bit by bit with an
# undisturbed run. Run from anywhere after ./run build (which makes the preloaded breaker too).
every=${1:-11}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export CLLAVA=$root/build/cllava SOURCE_DIR=$root/tests
BREAK_AT_LIB=$(find "$root/build" -name '*break_at*.so' | head -n 1)
export BREAK_AT_LIB
source "$SOURCE_DIR/run_lib.sh"

configuration a calm >calm.yaml
broken 0 none 0 calm calm.yaml
changes=$(<count)
configuration a x >x.yaml
points=0
for ((at = 1; at <= changes; at += every)); do
    rm -rf x
    broken 137 kill $at x x.yaml 2>/dev/null
    train 0 x.yaml
    same calm x
    points=$((points + 1))
done
echo "$points points of $changes file changes: all equal"
