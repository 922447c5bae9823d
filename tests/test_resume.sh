#!/usr/bin/env bash
# test_resume.sh - a run that is killed, stopped or out of disk space at any point goes on and ends with the same bits.
source "$SOURCE_DIR/run_lib.sh"

configuration a calm >calm.yaml
broken 0 none 0 calm calm.yaml
changes=$(<count)
configuration a x >x.yaml

# Killed in the middle of file changes all over the run: log lines, checkpoints half written, predictions, renames.
disturbed() { # STATUS HOW FIRST STEP
    local at
    for ((at = $3; at <= changes; at += $4)); do
        rm -rf x
        broken "$1" "$2" $at x x.yaml 2>/dev/null
        train 0 x.yaml
        same calm x
    done
}
disturbed 137 kill 3 89
disturbed 75 term 5 331
disturbed 1 full 7 263
grep -q 'going on from' err || fail 'nothing was resumed'

# Killed again and again, the same run.
rm -rf x
for at in 60 150 260 190 400; do broken 137 kill $at x x.yaml 2>/dev/null; done
train 0 x.yaml
same calm x

# A killed writer, from outside: when a line of the log has come.
for pattern in '"event":"stage1","time":[0-9.]*,"task":0,"step":3' '"event":"stage2"' '"event":"eval".*"after":0,"on":0' '"task":1'; do
    rm -rf x
    "$CLLAVA" train x.yaml >out 2>err </dev/null &
    pid=$!
    until grep -qs "$pattern" x/log.jsonl || ! kill -0 $pid 2>/dev/null; do :; done
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    train 0 x.yaml
    same calm x
done

# On a slow disk the steps go on while a checkpoint is written; older ones are there until it is.
rm -rf x
broken 0 slow 0 x x.yaml
same calm x
line() { grep -nE "$1" x/log.jsonl | sed -n 1p | cut -d: -f1; }
(($(line '"checkpoint".*"step":2,') > $(line '"stage1".*"task":0,"step":3,'))) || fail 'a step has waited for the checkpoint'
rm -rf x
LD_PRELOAD=$BREAK_AT_LIB ASAN_OPTIONS=verify_asan_link_order=0 BREAK_IN=$PWD/x BREAK_HOW=slow "$CLLAVA" train x.yaml >out 2>err </dev/null &
pid=$!
until grep -qs '"stage1".*"step":3,' x/log.jsonl || ! kill -0 $pid 2>/dev/null; do :; done
kill -9 $pid
wait $pid 2>/dev/null || true
[[ -e x/checkpoint-step0.h5 && ! -e x/checkpoint-step2.h5 ]] || fail 'not killed while a checkpoint was written'
train 0 x.yaml
grep -q 'going on from .*checkpoint-step0.h5' err || fail 'not the checkpoint before'
same calm x

# h5diff agrees.
for name in /pool/keys /pool/A /pool/B /pool/use /context/w /metrics/accuracy /stream/done /history/1/loss /history/1/selected /history/1/weight; do
    h5diff calm/checkpoint-task1-shape.h5 x/checkpoint-task1-shape.h5 $name || fail "h5diff: $name"
done
echo 'all passed'
