#!/usr/bin/env bash
# test_demo.sh - the embedded stream from end to end at a tiny size: files, matrices, picture; again without training anew.
set -euo pipefail
export OMP_NUM_THREADS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "FAIL: $*"; tail -n 5 err; exit 1; }

"$CLLAVA" demo deep/demo --train 48 --test 8 --base "$SOURCE_DIR/../demo/base" >out 2>err </dev/null || fail 'status'
for method in sequential_lora replay continual_llava; do
    [[ -s deep/demo/runs/$method/summary.json ]] || fail "$method: no summary"
    [[ $(wc -l <deep/demo/runs/$method/accuracy.csv) == 6 ]] || fail "$method: not 1 + 5 lines of accuracy"
    [[ -s deep/demo/runs/$method/checkpoint-task3-medical.h5 ]] || fail "$method: no last checkpoint"
done
[[ $(grep -c '^zero-shot ' out) == 2 ]] || fail 'not two tables side by side'
grep -q 'Against sequential LoRA' out || fail 'no verdict'
grep -q '</svg>' deep/demo/accuracy.svg || fail 'no picture'

"$CLLAVA" demo deep/demo --train 48 --test 8 --base "$SOURCE_DIR/../demo/base" >again 2>err </dev/null || fail 'second status'
tail -n 26 out | cmp -s - <(tail -n 26 again) || fail 'a finished demo gives other numbers'
! grep -q "stage 2: [0-9]" err || fail "a finished demo trains again"

"$CLLAVA" demo nothing --write-only --train 4 --test 2 --base "$SOURCE_DIR/../demo/base" >out 2>err || fail 'write-only'
[[ -s nothing/continual_llava.yaml && -d nothing/stream/chart && ! -e nothing/runs ]] || fail 'write-only files'
"$CLLAVA" config nothing/continual_llava.yaml >out 2>err || fail 'its configuration is refused'
for stream in capability dataset; do # beside the domain stream, under names of their own
    "$CLLAVA" demo nothing --stream $stream --write-only --train 4 --test 2 --base "$SOURCE_DIR/../demo/base" >out 2>err || fail $stream
    "$CLLAVA" config nothing/replay-$stream.yaml >out 2>err || fail "$stream: its configuration is refused"
    grep -q "^output: .*nothing/runs/replay-$stream\$" out || fail "$stream: the folder of its runs"
done
[[ -d nothing/stream/chart && -d nothing/stream-capability/detail && $(ls nothing/stream-dataset | wc -l) == 8 ]] || fail 'folders of the streams'
! "$CLLAVA" demo nothing --stream capabilty >out 2>err || fail 'an unknown stream is accepted'
grep -q '^cllava: error: .*did you mean capability?' err || fail 'message of an unknown stream'
! "$CLLAVA" demo nothing --base "$work/absent" >out 2>err || fail "an absent base is accepted"
grep -q '^cllava: error: .*absent' err || fail 'message'
echo 'all passed'
