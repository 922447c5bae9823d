#!/usr/bin/env bash
# test_ranks_resume.sh - runs on several ranks that are stopped or killed, and go on: on as many ranks bit for bit, on other
# numbers of ranks to the golden numbers.
source "$SOURCE_DIR/run_lib.sh"
source "$SOURCE_DIR/ranks_lib.sh"

# on N TENSOR COORDINATOR STATUS [OPTIONS]: x.yaml so, to that status.
on() {
    local n=$1 tensor=$2 coordinator=$3 want=$4 how=(ranks $1) status=0
    shift 4
    [[ $n != 1 ]] || how=()
    "${how[@]}" "$CLLAVA" train x.yaml --set parallel.tensor=$tensor --set parallel.coordinator=$coordinator "$@" >out \
        2>err </dev/null || status=$?
    [[ $status == "$want" ]] || fail "train on $n ranks, tensor $tensor, $coordinator $*: status $status, expected $want"
}

# From one number of ranks to the next, in stage 1, in stage 2, between tasks: the golden run in the end.
configuration a run 'eval: {max_new_tokens: 12, batch: 4}' >x.yaml
on 2 1 shared 75 --max-steps 2
on 4 2 shared 75 --max-steps 7
on 3 1 dedicated 75 --max-steps 8
grep -q 'going on from' err || fail 'nothing was resumed'
on 4 4 shared 75 --stop-after-task 0
on 1 1 shared 75 --max-steps 13
on 5 2 dedicated 75 --max-steps 17
on 2 2 shared 0
"$PROGRAMS/test_golden" a . >checked 2>&1 || { grep -v '^\[' checked | tail -n 5; fail 'over many numbers of ranks: not the golden run'; }

# Stopped at steps, on the same ranks.
configuration b calm >calm.yaml
configuration b x >x.yaml
layout=(--set parallel.tensor=2)
ranks 4 "$CLLAVA" train calm.yaml "${layout[@]}" >out 2>err </dev/null || fail calm
for steps in 3 6 8 16; do on 4 2 shared 75 --max-steps $steps; done
on 4 2 shared 0
same calm x

# Killed: the coordinator, a member, a leader, at several points.
kill_at() { # N RANK PATTERN OPTIONS..
    local n=$1 rank=$2 pattern=$3
    shift 3
    rm -rf x
    begin $n "$CLLAVA" train x.yaml "$@"
    until_line "$pattern" x/log.jsonl
    kill -9 $(pid_of $rank) 2>/dev/null || fail "no rank $rank to be killed at $pattern"
    ended '[1-9]*'
    ranks $n "$CLLAVA" train x.yaml "$@" >out 2>err </dev/null || fail "rank $rank killed at $pattern: does not go on"
}
longer='stage2: {epochs: 12, batch: 3, micro_batch: 1, lr: 1e-2, shuffle: true}'
configuration b long "$longer" >long.yaml
configuration b x "$longer" >x.yaml
ranks 4 "$CLLAVA" train long.yaml "${layout[@]}" >out 2>err </dev/null || fail long
kill_at 4 0 '"event":"stage2".*"step":4,' "${layout[@]}"
same long x
kill_at 4 1 '"event":"stage1"' "${layout[@]}"
same long x
kill_at 4 2 '"event":"stage2".*"step":9,' "${layout[@]}"
same long x
kill_at 4 3 '"event":"eval"' "${layout[@]}"
same long x
rm -rf long dump
layout=(--set parallel.coordinator=dedicated)
ranks 3 "$CLLAVA" train long.yaml "${layout[@]}" >out 2>err </dev/null || fail 'long, dedicated'
kill_at 3 0 '"event":"stage2".*"step":7,' "${layout[@]}"
same long x
kill_at 3 2 '"event":"stage2".*"step":2,' "${layout[@]}"
same long x

# A wish to stop reaches the coordinator from any rank.
stop_at() { # SIGNAL RANK
    rm -rf x
    begin 3 "$CLLAVA" train x.yaml "${layout[@]}"
    until_line '"event":"stage2"' x/log.jsonl
    kill -$1 $(pid_of $2) || fail "no rank $2 to be told"
    ended 75
    grep -q "^cllava: stopped at step [0-9]* on SIG$1; hint" err || fail "SIG$1 at rank $2: message"
    ranks 3 "$CLLAVA" train x.yaml "${layout[@]}" >out 2>err </dev/null || fail "SIG$1 at rank $2: does not go on"
    same long x
}
stop_at TERM 0
stop_at USR1 1
stop_at TERM 2

# The disk of the coordinator gets full, and it dies in the middle of a write.
configuration b x >x.yaml
rm -rf calm dump x
ranks 3 "$CLLAVA" train calm.yaml "${layout[@]}" >out 2>err </dev/null || fail 'calm, dedicated'
broken_ranks() { # STATUS HOW N: break_at.c at change N of x, which the coordinator alone changes
    local status=0
    rm -rf x
    ranks 3 env LD_PRELOAD=$BREAK_AT_LIB ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 BREAK_IN=$PWD/x BREAK_HOW=$2 \
        BREAK_AT=$3 "$CLLAVA" train x.yaml "${layout[@]}" >out 2>err </dev/null || status=$?
    [[ $status == $1 ]] || fail "$2 at change $3: status $status, expected $1"
    [[ $2 != full ]] || [[ $(grep -c '^cllava: error: .*No space left' err) == 1 ]] || fail 'disk full: not one message'
    ranks 3 "$CLLAVA" train x.yaml "${layout[@]}" >out 2>err </dev/null || fail "$2 at change $3: does not go on"
    same calm x
}
for at in 20 170 330; do broken_ranks 1 full $at; done
for at in 50 210 300; do broken_ranks '[1-9]*' kill $at; done
echo 'all passed'
