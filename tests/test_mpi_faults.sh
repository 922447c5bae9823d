#!/usr/bin/env bash
# test_mpi_faults.sh - ranks that die, fail, hang, or are not alike: within 10 s the whole job has ended, with one message that
# names rank, host, stage and collective, and no process is left. loop_job stands for the program.
source "$SOURCE_DIR/run_lib.sh"

job=$work/loop_job
cp "$PROGRAMS/loop_job" "$job"
host=$(hostname)
RANKS_LIMIT=60

# Processes of the job that run (not those that only wait to be collected).
left() { ps -eo stat=,args= | awk -v job="$job" '$1 !~ /^Z/ && $2 == job'; }

# ends WHAT: the job behind has ended in time, said one thing, and left nothing. $seconds counts from where the fault is.
ends() {
    local what=$1 words=$2 most=${3:-10} i
    awk -v s="$seconds" -v m="$most" 'BEGIN { exit s > m }' || fail "$what: took $seconds s, at most $most"
    [[ $(grep -c '^cllava: error: ' err) == 1 ]] || fail "$what: not one error message"
    grep '^cllava: error: ' err | grep -qE -- "$words" || fail "$what: no '$words' in the error message"
    for ((i = 0; i < 30; i++)); do
        [[ $(left) ]] || return 0
        sleep 0.1
    done
    fail "$what: processes are left: $(left)"
}

# fault RANKS FAULT WORDS [JOB'S WORDS]
fault() {
    local n=$1 fault=$2 words=$3 start status=0
    shift 3
    start=$(date +%s.%N)
    CLLAVA_FAULT=$fault ranks "$n" "$job" 100000 "$@" >out 2>err </dev/null || status=$?
    seconds=$(date +%s.%N | awk -v a="$start" '{ print $1 - a }')
    [[ $status != 0 && $status != 124 ]] || fail "$fault $*: status $status"
    ends "$fault $*" "$words"
}

# In order: nothing is wrong.
ranks 3 "$job" 50 >out 2>err </dev/null || fail 'a job without faults'
[[ $(<out) == 'done' && ! -s err ]] || fail 'a job without faults says something else'

at="in stage 2 of task 1, step [0-9]+"
for r in 0 1 2; do
    fault 3 "rank=$r at=tp_reduce:40 do=kill" "rank $r \($host\) died $at, in tp_reduce; hint: "
done
for r in 0 2; do
    fault 3 "rank=$r at=tp_reduce:40 do=exit" "rank $r \($host\) died $at, in tp_reduce; hint: "
    fault 3 "rank=$r at=tp_reduce:40 do=stop" "rank $r \($host\) has been silent for [0-9]+ s $at, in tp_reduce; hint: " limit=1
    fault 3 "rank=$r at=tp_reduce:40 do=hang" "rank $r \($host\) hangs in stage 2 of task 1, step 40: rank [0-9] has waited for it in tp_reduce" limit=1
    fault 3 "rank=$r at=tp_reduce:40 do=nan" "step 40: rank $r \($host\) gave a number to tp_reduce that is not finite"
done
fault 2 'rank=1 at=tp_reduce:1 do=kill' "rank 1 \($host\) died .*in tp_reduce"
fault 2 'rank=0 at=tp_reduce:1 do=kill' "rank 0 \($host\) died .*in tp_reduce"
fault 3 'rank=2 at=broadcast:30 do=kill' "rank 2 \($host\) died"
fault 3 'rank=1 at=tp_reduce:40 do=fail' "rank 1 \($host\) in stage 2 of task 1, step 40: tp_reduce fails on purpose"
fault 3 'rank=0 at=tp_reduce:40 do=fail' 'error: tp_reduce fails on purpose'
fault 3 '' "rank 2 \($host\) hangs $at: rank [01] has waited for it in tp_reduce" endless=2 limit=1
fault 3 '' "rank 2 \($host\) $at: base/model.safetensors cannot be read" give-up=2
fault 3 '' 'error: the disk is full' alone=1
fault 3 'rank=1 at=' "CLLAVA_FAULT is 'rank=1 at=' \(expected rank=R"

# background RANKS [JOB'S WORDS]: starts a job and waits until it works; its ranks in $pids.
background() {
    local n=$1 i
    shift
    ranks "$n" "$job" 100000 "$@" >out 2>err </dev/null &
    running=$!
    for ((i = 0; i < 300; i++)); do
        mapfile -t pids < <(left_pids)
        ((${#pids[@]} == n)) && sleep 1.5 && return 0
        sleep 0.1
    done
    fail 'the job does not begin'
}
left_pids() { ps -eo pid=,stat=,args= | awk -v job="$job" '$2 !~ /^Z/ && $3 == job { print $1 }' | sort -n; }

# finished STATUS: waits for it
finished() {
    local want=$1 status=0 start
    start=$(date +%s.%N)
    wait "$running" || status=$?
    seconds=$(date +%s.%N | awk -v a="$start" '{ print $1 - a }')
    [[ $status == "$want" ]] || fail "status $status, expected $want"
}

# kill -9 from outside; of two at once one is named.
background 4
kill -9 "${pids[2]}"
finished 137
ends 'kill -9' "rank [0-9] \($host\) died $at"
background 4
kill -9 "${pids[0]}" "${pids[1]}"
finished 137
ends 'kill -9 of two' "rank [0-9] \($host\) died"

# A wish to stop at any rank, or at all, is rank 0's; a job that does not know it ends as by the signal.
stops() { # RANK SIGNAL
    background 3 patient
    kill "-$2" "${pids[$1]}"
    finished 75
    [[ $(<err) == "cllava: stopped by SIG$2" ]] || fail "stop of rank $1 by $2: message"
}
stops 0 TERM
stops 1 USR1
stops 2 TERM
background 3
kill -TERM "${pids[1]}"
finished 143
! grep -q '^cllava: error' err || fail 'SIGTERM: an error message'
background 3
kill -INT "${pids[0]}"
finished 130
[[ -z $(left) ]] || sleep 1
[[ -z $(left) ]] || fail 'SIGINT: processes are left'

# Ranks that are not alike (the program itself).
cp "$CLLAVA" other && echo >>other
mkdir here there && echo 'output: a' >here/x.yaml && echo 'output: b' >there/x.yaml
alike() { # WORDS ARGUMENTS OF MPIRUN
    local words=$1 start status=0
    shift
    start=$(date +%s.%N)
    ranks 2 "$@" >out 2>err </dev/null || status=$?
    seconds=$(date +%s.%N | awk -v a="$start" '{ print $1 - a }')
    [[ $status == 2 && ! -s out ]] || fail "$words: status $status"
    ends "$words" "$words"
}
alike "rank 2 \($host\) runs another program than rank 0; hint: " "$CLLAVA" config : -n 1 "$work/other" config
alike "rank 2 \($host\) has another argument 2 than rank 0 \(expected 'a'\); hint" "$CLLAVA" config a : -n 1 "$CLLAVA" config b
alike "rank 2 \($host\) has other arguments than rank 0 \(got 2, expected 1\); hint" "$CLLAVA" config : -n 1 "$CLLAVA" config b
alike "rank 2 \($host\) reads another x.yaml than rank 0; hint" -wdir here "$CLLAVA" config x.yaml : -n 1 -wdir there "$CLLAVA" config x.yaml
alike 'train: missing arguments' "$CLLAVA" train
alike 'x.yaml: ' -wdir here "$CLLAVA" train x.yaml

# What needs no ranks works in them.
ranks 3 "$CLLAVA" --help >out 2>err || fail '--help'
[[ $(grep -c '^usage: ' out) == 1 && ! -s err ]] || fail '--help by several ranks'
