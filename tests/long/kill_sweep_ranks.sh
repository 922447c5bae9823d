#!/usr/bin/env bash
# kill_sweep_ranks.sh [TIMES] - kills one rank of a run on several ranks, every rank in turn, TIMES times at moments spread over the
# run, resumes it, compares it bit by bit with an undisturbed run. Run from anywhere after ./run build.
times=${1:-30}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export CLLAVA=$root/build/cllava SOURCE_DIR=$root/tests MPIRUN
MPIRUN=$(command -v mpirun)
source "$SOURCE_DIR/run_lib.sh"
source "$SOURCE_DIR/ranks_lib.sh"

more='stage2: {epochs: 6, batch: 3, micro_batch: 1, lr: 1e-2, shuffle: true}'
for layout in '4 2 shared' '3 1 dedicated' '5 2 dedicated'; do
    read -r n tensor coordinator <<<"$layout"
    rm -rf calm dump
    for name in calm x; do
        configuration a $name "$more
parallel: {tensor: $tensor, coordinator: $coordinator}" >$name.yaml
    done
    start=$(date +%s%N)
    ranks $n "$CLLAVA" train calm.yaml >out 2>err </dev/null || fail "calm on $layout"
    took=$(($(date +%s%N) - start))
    killed=0
    for ((i = 0; i < times / 3; i++)); do
        rm -rf x
        begin $n "$CLLAVA" train x.yaml
        sleep "$(awk -v t=$took -v i=$i -v n=$((times / 3)) 'BEGIN { print t / 1e9 * (i + 0.5) / n }')"
        pid=$(pid_of $((i % n)))
        if [[ $pid ]] && kill -9 "$pid"; then
            killed=$((killed + 1))
            ended '[1-9]*'
            # before and after the run there is no watchdog: mpirun ends the others
            [[ $(grep -c '^cllava: error: ' err) == 1 || ! -e x/log.jsonl || -e x/summary.json ]] || fail "rank $((i % n)) killed: not one message"
        else
            ended 0 60
        fi
        ranks $n "$CLLAVA" train x.yaml >out 2>err </dev/null || fail "on $layout: does not go on"
        same calm x
    done
    echo "$layout: killed $killed times, all equal"
done
