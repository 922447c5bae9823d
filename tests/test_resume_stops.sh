#!/usr/bin/env bash
# test_resume_stops.sh - stops on request, second starts, and folders that are not as a run left them.
source "$SOURCE_DIR/run_lib.sh"

configuration b calm >calm.yaml
train 0 calm.yaml
configuration b x >x.yaml

# At a number of steps: within stage 1, at its end, within stage 2, at a task's end, at the end of all.
for steps in 1 6 7 9 13 18; do
    rm -rf x
    train 75 x.yaml --max-steps $steps
    grep -q "^cllava: stopped at step $steps by --max-steps" err || fail 'message of --max-steps'
    [[ -e x/checkpoint-step$steps.h5 ]] || fail 'no checkpoint'
    train 0 x.yaml --max-steps $steps
    same calm x
done

# Activations that are computed again, from the middle of a task on and back: the same bits.
rm -rf x
train 75 x.yaml --max-steps 7 --set activations=recompute_layer
grep -q '| activations  | recompute_layer: ' err || fail 'settings do not name it'
train 75 x.yaml --max-steps 8 --set activations=recompute_mlp
train 75 x.yaml --max-steps 9 --set memory_limit=0.001
grep -q '| activations  | recompute_layer (auto): .* over memory_limit' err || fail 'auto'
train 0 x.yaml
grep -q '| activations  | keep (auto): ' err || fail 'auto keeps'
same calm x

# Step by step.
rm -rf x
for steps in {1..18}; do train 75 x.yaml --max-steps $steps; done
train 0 x.yaml --quiet
same calm x

# After a task.
rm -rf x
train 75 x.yaml --stop-after-task 0
grep -q '^cllava: stopped after task 0 colour' err || fail 'message of --stop-after-task'
[[ -e x/checkpoint-task0-colour.h5 && ! -e x/checkpoint-task1-shape.h5 ]] || fail 'stopped elsewhere'
train 0 x.yaml --stop-after-task 0
same calm x

# Before the first step there is a checkpoint too: of an empty pool, which is the base alone.
rm -rf x
broken 137 kill 60 x x.yaml --set checkpoint.keep=9 2>/dev/null
"$CLLAVA" inspect x/checkpoint-step0.h5 >out 2>err || fail 'inspect of an empty pool'
"$CLLAVA" eval x/checkpoint-step0.h5 --quiet >out 2>err || fail 'eval of an empty pool'
diff <(sed 's/"selected":.*//' x/checkpoint-step0-eval-free/predictions/on0.jsonl) \
    <(sed 's/"selected":.*//' calm/predictions/afterzero-on0.jsonl) || fail 'an empty pool answers unlike the base'

# On a signal, in a run that is long enough to be met.
longer='stage2: {epochs: 20, batch: 3, micro_batch: 2, lr: 1e-2}'
configuration b long "$longer" >long.yaml
train 0 long.yaml
configuration b x "$longer" >y.yaml
for signal in TERM USR1 INT; do
    rm -rf x
    env --default-signal=INT "$CLLAVA" train y.yaml >out 2>err </dev/null &
    pid=$!
    until grep -qs '"event":"stage1"' x/log.jsonl || ! kill -0 $pid; do :; done
    kill -$signal $pid
    status=0
    wait $pid || status=$?
    [[ $status == 75 ]] || fail "SIG$signal: status $status"
    grep -q "on SIG$signal" err || fail "SIG$signal: message"
    train 0 y.yaml
    same long x
done
train 0 x.yaml --fresh --quiet
rm -rf x.old-*

# A finished run says so and stays as it is.
cp -r x was
train 0 x.yaml
grep -q 'holds a finished run' err || fail 'does not say that it is finished'
same was x

# Other settings do not get in; where it does not matter for the numbers, they do.
error 2 'x holds a run with other settings .*hint: choose another output, or --fresh' "$CLLAVA" train x.yaml --set seed=1 --quiet
train 0 x.yaml --set checkpoint.every_steps=5 --set stream.name=other
same was x

# --fresh begins anew; the older run is whole beside it.
train 0 x.yaml --fresh
same was x
[[ $(echo x.old-*) =~ ^x.old-[0-9TZ-]*$ ]] || fail 'not moved aside'
same was x.old-*
train 75 x.yaml --fresh --max-steps 3
train 0 x.yaml --fresh
same was x
[[ $(echo x.old-* | wc -w) == 3 ]] || fail 'not three older runs'
mkdir mine
touch mine/notes
train 0 x.yaml --fresh --set output=mine
[[ -e mine/notes && ! -e $(echo mine.old-*) ]] || fail 'a folder without a run was moved'

# The newest checkpoint is damaged: the one before it serves.
damage() { printf '\xff\xff\xff\xff\xff\xff\xff\xff' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
for how in flip cut empty; do
    rm -rf x
    train 75 x.yaml --max-steps 13
    [[ -e x/checkpoint-step12.h5 ]] || fail 'no earlier checkpoint'
    case $how in
    flip) damage x/checkpoint-step13.h5 $(($(stat -c %s x/checkpoint-step13.h5) / 2)) ;;
    cut) truncate -s -1000 x/checkpoint-step13.h5 ;;
    empty) : >x/checkpoint-step13.h5 ;;
    esac
    train 0 x.yaml
    grep -q 'cllava: warning: .*checkpoint-step13.h5 is passed over: ' err || fail "$how: no warning"
    grep -q 'going on from .*checkpoint-step12.h5' err || fail "$how: not the one before"
    same calm x
done
damage x/checkpoint-task1-shape.h5 $(($(stat -c %s x/checkpoint-task1-shape.h5) / 2))
train 0 x.yaml
grep -q 'going on from .*checkpoint-task0-colour.h5' err || fail 'not the task before'
same calm x
for file in x/*.h5; do : >"$file"; done
error 1 'none of its 2 checkpoints can be read; hint: .*--fresh' "$CLLAVA" train x.yaml --quiet

# More steps, no more memory.
if [[ -x /usr/bin/time && $(ldd "$CLLAVA") != *libasan* ]]; then
    peak() { # EPOCHS
        rm -rf x
        /usr/bin/time -o peak -f %M "$CLLAVA" train x.yaml --quiet --set stage1.epochs=$1 --set stage2.epochs=$1 \
            --set checkpoint.every_steps=0 >out 2>err || fail "run of $1 epochs"
        cat peak
    }
    few=$(peak 10)
    many=$(peak 60)
    ((many < few + few / 20)) || fail "peak memory grows with the steps: from $few to $many KiB"
else
    echo 'skipped: peak memory (no /usr/bin/time, or a sanitizer is built in)'
fi

# What processes that died left behind is swept up.
rm -rf x
train 75 x.yaml --max-steps 4
touch x/.checkpoint-step9.h5.tmp-host-1-0 x/.config.yaml.tmp-1 x/predictions/.after0-on0.jsonl.tmp-1
train 0 x.yaml
[[ -z $(find x -name '*.tmp*') ]] || fail 'temporary files are left'
same calm x

# A log that is not the checkpoint's.
rm -rf x
train 75 x.yaml --max-steps 8
sed -i 's/,"loss"/, "loss"/' x/log.jsonl
error 1 'log.jsonl: byte [0-9]* of the log ends no line; hint: it belongs to another run' "$CLLAVA" train x.yaml --quiet
: >x/log.jsonl
error 1 'log.jsonl: shorter than the checkpoint says' "$CLLAVA" train x.yaml --quiet

# One process at a time.
rm -rf x
mkdir x
exec 9>x/.lock
flock 9
echo 'pid 17 on other' >&9
error 1 'x is in use by another process \(pid 17 on other\); hint: wait' "$CLLAVA" train x.yaml --quiet
[[ $(ls x) == predictions ]] || fail 'the second process wrote something'
touch x/log.jsonl
error 1 'in use by another process' "$CLLAVA" train x.yaml --quiet --fresh
exec 9>&-
rm -r x
"$CLLAVA" train x.yaml >out 2>err </dev/null &
first=$!
until grep -qs pid x/.lock; do kill -0 $first || break; done
second=0
"$CLLAVA" train x.yaml >out2 2>err2 </dev/null || second=$?
wait $first || fail 'the first of two processes'
if [[ $second != 0 ]]; then grep -q "in use by another process (pid $first on" err2 || fail 'message of the second process'; fi
same calm x
echo 'all passed'
