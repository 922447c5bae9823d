#!/usr/bin/env bash
# test_ranks_faults.sh - runs whose ranks die, fail, hang or go astray: the job ends within 10 s with one message that says which
# rank, where and at what, no process is left, and the same command ends with the bits of a run that was never disturbed.
source "$SOURCE_DIR/run_lib.sh"

program=$work/cllava # told from other tests' processes
cp "$CLLAVA" "$program"
host=$(hostname)
more='stage2: {epochs: 2, batch: 3, micro_batch: 1, lr: 1e-2, shuffle: true}
parallel: {tensor: 2}
watchdog: {seconds: 2}'
configuration b calm "$more" >calm.yaml
configuration b x "$more" >x.yaml
ranks 4 "$program" train calm.yaml >out 2>err </dev/null || fail calm

left() { ps -eo stat=,args= | awk -v job="$program" '$1 !~ /^Z/ && $2 == job'; }

# ends WHAT WORDS: what has just ended did so in time, with one message, and left nothing.
ends() {
    local i
    awk -v s="$seconds" 'BEGIN { exit s > 10 + 5 }' || fail "$1: took $seconds s" # the run before the fault is 1 to 2 s
    [[ $(grep -c '^cllava: error: ' err) == 1 ]] || fail "$1: not one error message"
    grep '^cllava: error: ' err | grep -qE -- "$2" || fail "$1: no '$2' in the error message"
    for ((i = 0; i < 30; i++)); do
        [[ $(left) ]] || return 0
        sleep 0.1
    done
    fail "$1: processes are left: $(left)"
}

timed() {
    local start
    start=$(date +%s.%N)
    status=0
    "$@" >out 2>err </dev/null || status=$?
    seconds=$(date +%s.%N | awk -v a="$start" '{ print $1 - a }')
}

# fault FAULT WORDS: in x, which then goes on.
fault() {
    rm -rf x
    CLLAVA_FAULT=$1 timed ranks 4 "$program" train x.yaml
    [[ $status != 0 && $status != 124 ]] || fail "$1: status $status"
    ends "$1" "$2"
    ranks 4 "$program" train x.yaml >out 2>err </dev/null || fail "$1: does not go on"
    same calm x
}

stage='stage 2 of task [01] (colour|shape), step [0-9]+'
anywhere='(stage|evaluation|waiting)[^;]*'
# Members and leaders of both groups, in the middle of a sum; the coordinator.
fault 'rank=1 at=tp_reduce:300 do=kill' "rank 1 \($host\) died in .*, in tp_reduce; hint: "
fault 'rank=2 at=tp_copy_back:30 do=exit' "rank 2 \($host\) died in $stage, in tp_copy_back; hint: "
fault 'rank=0 at=tp_copy_back:30 do=kill' "rank 0 \($host\) died in $stage, in tp_copy_back; hint: "
fault 'rank=2 at=sum_to_root:3 do=kill' "rank 2 \($host\) died in $stage, in sum_to_root; hint: "
fault 'rank=0 at=broadcast:5 do=kill' "rank 0 \($host\) died in $anywhere; hint: "
# One that stops, one that hangs.
fault 'rank=3 at=tp_copy_back:40 do=stop' "rank 3 \($host\) has been silent for [0-9]+ s in .*tp_copy_back; hint: "
fault 'rank=2 at=sum_to_root:4 do=hang' "rank 2 \($host\) hangs in $stage: rank [0-9] has waited for it in sum_to_root"
fault 'rank=1 at=tp_reduce:320 do=hang' "rank 1 \($host\) hangs .*: rank 0 has waited for it in tp_reduce"
# A call that fails, at a leader, a member and the coordinator.
fault 'rank=2 at=sum_to_root:2 do=fail' "rank 2 \($host\) in $stage: sum_to_root fails on purpose"
fault 'rank=3 at=tp_reduce:310 do=fail' "rank 3 \($host\)( in $anywhere)?: tp_reduce fails on purpose"
fault 'rank=0 at=sum_to_root:2 do=fail' 'error: .*sum_to_root fails on purpose'
# A number that is none: where it came up, in which samples, what is left of the run.
fault 'rank=3 at=tp_reduce:200 do=nan' \
    "stage 2, step [0-9]+: loss is not finite in a batch of 1 samples \(t[01]-[0-9]\), first in rank 3 \($host\), in tp_reduce .*; hint: .*the last good checkpoint is .*x/checkpoint-"
fault 'rank=1 at=tp_copy_back:40 do=nan' \
    "stage 2, step [0-9]+: gradients are not finite in a batch of 3 samples \(t[01]-[0-9], .*\), first in rank 1 \($host\), in tp_copy_back .*; hint: "
fault 'rank=2 at=sum_to_root:3 do=nan' \
    "stage 2, step [0-9]+: gradients are not finite .*, first in .*rank 2 \($host\), in sum_to_root"
fault 'rank=3 at=tp_reduce:300 do=nan' \
    "evaluation on shape: rank 2 \($host\): .*NaN, first in rank 3 \($host\), in tp_reduce .*; hint: .*\(while answering t1-0, .*x/checkpoint-task0-colour.h5"

# A rank whose share of the base cannot be read: each rank finds the base in its own working folder.
for folder in good cut; do
    mkdir $folder
    cp -r "$golden/b/base" $folder/base
    chmod -R u+w $folder
done
for file in cut/base/*.safetensors; do truncate -s -2000 $file; done
configuration b x "$more
base: /proc/self/cwd/base" >x.yaml
broken_share() { # WHICH RANKS OF MPIRUN.., as its arguments
    rm -rf x
    timed ranks "$@"
    [[ $status == 1 ]] || fail "$*: status $status"
    [[ ! -e x ]] || fail 'an output folder is left'
}
run=("$program" train "$work/x.yaml" --quiet)
broken_share 1 -wdir $work/good "${run[@]}" : -n 1 -wdir $work/cut "${run[@]}" : -n 2 -wdir $work/good "${run[@]}"
ends 'a member without its share' "rank 1 \($host\).*base .*(cut short|fetch)"
broken_share 2 -wdir $work/good "${run[@]}" : -n 1 -wdir $work/cut "${run[@]}" : -n 1 -wdir $work/good "${run[@]}"
ends 'a leader without its share' "rank 2 \($host\).*base .*(cut short|fetch)"
broken_share 4 -wdir $work/cut "${run[@]}"
ends 'all ranks without their shares' 'error: base .*(cut short|fetch)'
(cd good && ranks 4 "${run[@]}" --set output=$work/good/x >out 2>err </dev/null) || fail 'a base in the working folder'

# A picture that a leader cannot read.
cp -r "$golden/a" set
chmod -R u+w set
configuration a x "stream: {name: s, tasks: [$(task colour 0 a | sed "s|$golden/a|$work/set|g")]}
parallel: {coordinator: dedicated}" >x.yaml
head -c 60 "$golden/a/data/images/t0_2.png" >set/data/images/t0_2.png
rm -rf x
timed ranks 3 "$program" train x.yaml --quiet
[[ $status == 1 ]] || fail "a broken picture: status $status"
ends 'a broken picture' "rank [12] \($host\).*: .*images/t0_2.png"
echo 'all passed'
