#!/usr/bin/env bash
# test_bf16_loss.sh - training in bf16 against training in f32: 50 steps on the embedded base, the same samples.
#
# What is learned is f32 in both, so losses part only as far as the frozen base rounds. A single step of four samples differs by
# some percent once the increments have drifted apart; the mean of all steps must not, nor the first step, where nothing has.
. "$(dirname "${BASH_SOURCE[0]}")/run_lib.sh"

grep -q avx512bw /proc/cpuinfo || skip 'bf16 needs AVX-512'
"$CLLAVA" demo demo --write-only --train 200 --test 4 >out 2>err || fail 'writing the stream'

# losses METHOD PRECISION: of 50 steps of the first task.
losses() {
    local status=0
    "$CLLAVA" train "demo/$1.yaml" --set precision="$2" --set stage1.epochs=0 --set stage2.batch=4 --set stage2.micro_batch=4 \
        --set eval.zero_shot=false --set output="$work/run" --fresh --max-steps 50 --quiet >out 2>err || status=$?
    [[ $status == 75 ]] || fail "$1 in $2"
    grep '"event":"stage2"' run/log.jsonl | grep -o '"loss":[0-9.e-]*' | cut -d: -f2
}

for method in continual_llava; do
    losses $method f32 >f32
    losses $method bf16 >bf16
    paste f32 bf16 | awk -v name=$method '
        function off(a, b) { return a > b ? a / b - 1 : b / a - 1 }
        NR == 1 { first = off($1, $2) }
        { f += $1; b += $2; if (NR <= 10) early += $2; if (NR > 40) late += $2; same += $1 == $2 }
        END {
            printf "%-16s %d steps, mean loss %.4f in f32, %.4f in bf16; first step differs by %.2f %%\n", name, NR, f / NR, b / NR, 100 * first
            exit !(NR == 50 && off(f, b) < 0.01 && first < 0.01 && late < 0.6 * early && same < 5)
        }' || fail "$method: losses part"
done
echo 'all passed'
