#!/usr/bin/env bash
# test_sweep.sh - sweeps from outside: all runs, skipped when done, going on after a stop, a killed child and a killed sweep, one
# failing run, several ranks, status and table. What a disturbed sweep leaves is what an undisturbed run leaves, bit for bit.
source "${BASH_SOURCE%/*}/run_lib.sh"

# spec FILE OUTPUT LINES: over base.yaml.
spec() { printf 'base: base.yaml\noutput: %s\nthreads: 1\n%s\n' "$2" "$3" >"$1"; }
# sweep STATUS ARGS..: the status must be this.
sweep() {
    local want=$1 status=0
    shift
    "$CLLAVA" sweep "$@" >out 2>err </dev/null || status=$?
    [[ $status == "$want" ]] || fail "sweep $*: status $status, expected $want"
}
# Waits until the long run of a sweep takes steps, and halts it there (child: its id), so that nothing depends on how fast this
# script is. What never comes is a failure.
halt() {
    for ((i = 0; i < 6000; i++)); do
        if grep -q '"stage2"' "$1"/runs/*epochs=80*/log.jsonl 2>/dev/null; then
            child=$(sed -E 's/^pid ([0-9]+).*/\1/' "$1"/runs/*epochs=80*/.lock)
            kill -STOP "$child"
            return
        fi
        sleep 0.02
    done
    fail "$1: the long run takes no steps"
}
run_of() { (cd "$1/runs" && ls -d ./*"$2"* | sed 's,^\./,,'); } # OUTPUT PART: the run whose name has PART
# As the sweep's run, but alone: alone OUTPUT RUN FOLDER.
alone() { train 0 "$1/runs/$2/config.yaml" --set "output=$work/$3" --quiet; }

configuration a unused 'eval: {max_new_tokens: 3, batch: 4, zero_shot: false, next_task: false}
pool: {slots_per_task: 3, rank: 4, top_m: 2, key_groups: 1}' >base.yaml

# The list alone writes nothing; mistakes neither.
spec all.yaml all 'grid: {method: [sequential_lora, continual_llava]}
seeds: [0, 1]
jobs: 2'
sweep 0 all.yaml --dry-run
[[ $(grep -c '^missing  *method=' out) == 4 && ! -e all ]] || fail 'the list of runs'
grep -qx "4 runs in $work/all: 4 missing" out || fail 'the sum of the list'
error 2 'where to run is not said' "$CLLAVA" sweep all.yaml
error 2 'unknown action \(got stat,' "$CLLAVA" sweep stat all.yaml
error 2 '--csv: belongs to a table' "$CLLAVA" sweep all.yaml --local --csv x
error 2 'sweep table: runs nothing' "$CLLAVA" sweep table all.yaml --local
error 2 '--by: unknown key \(got lr,' "$CLLAVA" sweep table all.yaml --by method,lr
spec bad.yaml bad 'grid: {method: [replay], stage2.lr: [1e-3, -1]}'
error 2 'bad.yaml:4: stage2.lr: out of range \(got -1' "$CLLAVA" sweep bad.yaml --local
[[ ! -e bad && ! -e all ]] || fail 'a refused sweep has made a folder'
[[ -n ${MPIRUN-} ]] && RANKS_LIMIT=60 error 2 'starts the ranks of its runs itself' ranks 2 "$CLLAVA" sweep all.yaml --local

# All runs; then nothing is left to do.
sweep 0 all.yaml --local
grep -q '^\[4/4\] done ' err || fail 'no progress lines'
for run in all/runs/*/; do [[ -s ${run}summary.json ]] || fail "$run: no summary"; done
[[ $(ls all/logs/*.log | wc -l) == 4 ]] || fail 'not a log file for each run'
find all/runs -name summary.json -exec stat -c '%n %Y %i' {} + | sort >before
sweep 0 all.yaml --local
grep -q '^4 runs, 4 done, 0 to do' err || fail 'done runs are not skipped'
find all/runs -name summary.json -exec stat -c '%n %Y %i' {} + | sort | cmp -s - before || fail 'a done run was touched'
sweep 0 status all.yaml
grep -qx "4 runs in $work/all: 4 done" out || fail 'status of a done sweep'

# The table is the summaries' own numbers.
sweep 0 table all.yaml --csv t.csv --latex t.tex --markdown t.md
[[ $(wc -l <out) == 3 && $(wc -l <t.md) == 4 ]] || fail 'rows of the table'
head -1 t.csv | grep -q '^method,done,runs,AA,AA_deviation,MAA,' || fail 'head of the CSV'
grep -q '^sequential\\_lora & 2 & ' t.tex || fail 'the LaTeX table'
mean=$(jq -s '[.[] | select(.method == "continual_llava") | .AA] | add / length' all/runs/*/summary.json 2>/dev/null) || mean=
if [[ -n $mean ]]; then
    awk -F, -v mean="$mean" '$1 == "continual_llava" { d = $4 - mean; exit !(d * d < 1e-12) }' t.csv || fail "mean AA is not $mean"
fi
sweep 0 table all.yaml --by changes
grep -qx 'changes .*' out && grep -q '^method continual_llava  *2 ' out || fail 'rows by what they change'
sweep 0 table all.yaml --by seed
[[ $(wc -l <out) == 3 ]] || fail 'rows by seed'
sed -i 's/"learned": 2/"learned": 1/' "all/runs/$(run_of all method=sequential_lora,seed=1)/summary.json"
sweep 0 table all.yaml
grep -q '^sequential_lora  *1 of 2 ' out || fail 'a row of which a run is missing'
sweep 0 status all.yaml
grep -qx "4 runs in $work/all: 3 done, 1 unfinished" out || fail 'status with a run that is not done'

# A run long enough to be disturbed, and short ones.
long='list: [{stage2.epochs: 80, checkpoint.every_steps: 0}, {stage2.epochs: 1}, {stage2.epochs: 2}]'
spec stop.yaml stop "$long"
"$CLLAVA" sweep stop.yaml --local >out 2>err </dev/null &
halt stop
sweep 0 status stop.yaml
grep -q '^running  *epochs=80' out || fail 'a running run is not seen'
error 1 'is in use by another process' "$CLLAVA" sweep stop.yaml --local
kill -TERM %1
kill -CONT "$child"
status=0
wait %1 || status=$?
[[ $status == 75 ]] || fail "a stopped sweep ends with $status"
sweep 0 status stop.yaml
grep -q '^unfinished  *epochs=80' out || fail 'a stopped run is not unfinished'
grep -q 'stopped at step' stop/logs/*epochs=80*.log || fail 'the run itself was not told to stop'
sweep 0 stop.yaml --local
long_run=$(run_of stop epochs=80)
alone stop "$long_run" alone
same alone "stop/runs/$long_run"

# A child killed: the others go on, the error names it, the next start completes it.
spec kill.yaml kill "$long"
"$CLLAVA" sweep kill.yaml --local >out 2>err </dev/null &
halt kill
kill -9 "$child"
status=0
wait %1 || status=$?
[[ $status == 1 ]] || fail "a sweep with a killed run ends with $status"
grep -qE '^cllava: error: 1 of 3 runs failed: epochs=80[^ ]* \(ended by signal 9, Killed\)' err || fail 'the killed run is not named'
sweep 0 status kill.yaml
grep -qx "3 runs in $work/kill: 2 done, 1 failed" out || fail 'status with a failed run'
sweep 0 kill.yaml --local
same alone "kill/runs/$(run_of kill epochs=80)"
[[ -z $(ls kill/logs/*.failed 2>/dev/null) ]] || fail 'a failure is remembered for ever'

# The sweep itself killed: its run ends at a checkpoint, and the same command goes on.
spec orphan.yaml orphan "$long"
"$CLLAVA" sweep orphan.yaml --local >out 2>err </dev/null &
sweep_id=$!
halt orphan
kill -9 $sweep_id
wait $sweep_id 2>/dev/null || true
kill -CONT "$child"
for ((i = 0; i < 3000; i++)); do kill -0 "$child" 2>/dev/null || break; sleep 0.02; done
grep -q 'stopped at step .* on SIGUSR1' orphan/logs/*epochs=80*.log || fail 'the run outlived its sweep'
sweep 0 orphan.yaml --local
same alone "orphan/runs/$(run_of orphan epochs=80)"

# One run cannot: a broken record ends it where on_error says stop.
{ head -c -2 "$golden/a/data/task1.json" | sed '$s/]$//'; echo ', {"id": "broken"}]'; } >broken.json
python3 -c 'import json; json.load(open("broken.json"))' 2>/dev/null || printf '[{"id": "broken"}]' >broken.json
sed "s,train: $golden/a/data/task1.json,train: $work/broken.json," base.yaml >broken.yaml
printf 'base: broken.yaml\noutput: some\nthreads: 1\ngrid: {data.on_error: [stop, skip]}\n' >some.yaml
sed -i "s,images: ,&,; s,{name: shape\, ,&images: $golden/a/data\, ," broken.yaml
sweep 1 some.yaml --local
grep -q '1 of 2 runs failed: on_error=stop-[0-9a-f]* (.*broken.json' err || fail 'the failing run is not named with its reason'
sweep 0 status some.yaml
grep -qx "2 runs in $work/some: 1 done, 1 failed" out || fail 'the other run did not go on'

# Runs of several ranks.
if [[ -x ${MPIRUN-} ]]; then
    mkdir bin
    printf '#!/bin/sh\nexec "%s" -q "$@"\n' "$MPIRUN" >bin/mpirun
    chmod +x bin/mpirun
    spec ranks.yaml ranks 'ranks: 2
seeds: [0]'
    error 2 'ranks.yaml: ranks: no mpirun in PATH \(got 2 ranks' env PATH=/nonexistent "$CLLAVA" sweep ranks.yaml --local
    (
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
            OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo \
            OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_orte_tmpdir_base="$sessions" \
            OMPI_MCA_btl_vader_single_copy_mechanism=none OMP_WAIT_POLICY=passive PATH=$work/bin:$PATH \
            ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
        sweep 0 ranks.yaml --local
    )
    grep -q '| ranks  *| 2 on 1 host' ranks/logs/*.log || fail 'the run had not two ranks'
fi
echo 'all passed'
