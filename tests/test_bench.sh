#!/usr/bin/env bash
# test_bench.sh - `cllava bench` on a tiny base: the form of its table and CSV, its messages. Never how fast.
. "$(dirname "${BASH_SOURCE[0]}")/run_lib.sh"
mkdir tmp
export TMPDIR=$work/tmp CLLAVA_COMMIT=abc1234 OMP_WAIT_POLICY=passive

"$CLLAVA" bench --shape tiny --seconds 0 --profile --csv bench.csv >out 2>err || fail 'the command'
[[ ! -s err ]] || fail 'something on stderr'
[[ -z $(ls tmp) ]] || fail 'its folder stays behind'
head -1 bench.csv | grep -qx 'what,shape,precision,batch,value,unit,share,commit,machine' || fail 'first line of the CSV'
form='^"[^"]+",(tiny)?,(f32|bf16)?,(1|4|16)?,[0-9.e+-]+,(GFLOP/s|GB/s|tokens/s|samples/s|MiB|s|us),(-?[0-9.]+)?,abc1234,"[^"]+; [0-9]+ threads; [^"]+"$'
if tail -n +2 bench.csv | grep -vE "$form"; then fail 'lines of the CSV'; fi

precisions=f32
grep -q '^bf16 is left out: ' out || precisions='f32 bf16'
for precision in $precisions; do
    for batch in 1 4; do
        decode=decode
        [[ $batch == 4 ]] || decode='decode, one sequence'
        for what in 'training' 'training, cached features' 'forward' 'prefill' 'prefill, cached features' "$decode"; do
            [[ $(grep -c "^\"$what\",tiny,$precision,$batch,.*,tokens/s," bench.csv) == 1 ]] || fail "$what $precision $batch"
        done
        for what in 'training' 'training, usual count' 'forward, usual count' 'prefill, usual count'; do
            grep -q "^\"$what\",tiny,$precision,$batch,.*,GFLOP/s,[0-9.]*,abc" bench.csv || fail "share of $what"
        done
        # the stages are the step: seconds and shares add up
        grep "^\"stage [^\"]*\",tiny,$precision,$batch," bench.csv | sed 's/^"stage \([^"]*\)"/\1/; s/norms, /norms /; s/copies, /copies /' |
            awk -F, '$1 == "all" { all = $5 } $1 != "all" { sum += $5; share += $7; n++ }
                END { exit !(n == 10 && all > 0 && (sum / all - 1) ^ 2 < 1e-6 && (share - 1) ^ 2 < 1e-5) }' || fail "stages $precision $batch"
    done
    for what in 'evaluation, own picture' 'evaluation, 4 a picture'; do
        [[ $(grep -c "^\"$what\",tiny,$precision,16,.*,samples/s," bench.csv) == 1 ]] || fail "$what $precision"
    done
    for what in 'loading' 'load to first step' 'peak resident, training' 'peak, evaluation' 'routing, 1024 slots, 32 tasks'; do
        grep -q "^\"$what\",tiny,$precision," bench.csv || fail "$what $precision"
    done
    grep -q "^training step, shape tiny, $precision, batch 4: [0-9.]* s in operations$" out || fail 'profile'
    grep -qE "^training +tiny +$precision +4 +[0-9.]+ GFLOP/s +[0-9.]+%$" out || fail 'table'
done
grep -q '^"multiply-adds in registers",tiny,f32,,[0-9.]*,GFLOP/s,[0-9.]*,' bench.csv || fail 'multiply-adds alone'
grep -qE '^ +[0-9.]+% +linear_back +64 +128 +[0-9]+ ' out || fail 'a row of the profile'

# One row, of a base that is there; the useful operations follow from the sizes alone, so two rates of a row are as their tokens.
"$CLLAVA" bench --shape tiny --write-base kept >out 2>err || fail 'a base to keep'
"$CLLAVA" bench --shape tiny --base kept --precision f32 --rows decode --batch 2 --seconds 0 --csv decode.csv >out 2>err || fail 'rows'
[[ $(cut -d, -f1 decode.csv | sort -u | tr '\n' ' ') == '"decode" "loading" "memory read "memory read" "product what ' ]] || fail 'rows that nobody asked for'
grep -q '^"decode",tiny,f32,2,.*,GB/s,[0-9.]*,' decode.csv || fail 'share of the decode row'
"$CLLAVA" bench --shape tiny --base kept --precision f32 --rows decode --batch 1 --seconds 0 --set eval.batch=2 --csv set.csv >out 2>err ||
    fail 'a row with settings'
[[ $(grep -cE '^"decode, one sequence(, as set)?",tiny,f32,1,.*,tokens/s,' set.csv) == 2 ]] || fail 'a row with and one without the settings'

# Growth: counts that are the same everywhere.
for i in 1 2; do
    "$CLLAVA" bench --growth --shape tiny --base kept --precision f32 --seconds 0 --csv growth$i.csv >out 2>err || fail 'growth'
done
[[ $(grep -c ': step",tiny,' growth1.csv) == 43 ]] || fail 'points of growth'
cmp <(grep -E ',(GFLOP|MiB),' growth1.csv) <(grep -E ',(GFLOP|MiB),' growth2.csv) || fail 'counts that change from run to run'
count() { grep "^\"$1: operations\"" growth1.csv | cut -d, -f5; }
awk -v a="$(count 'samples 1')" -v b="$(count 'samples 16')" 'BEGIN { exit !((b / a / 16 - 1) ^ 2 < 1e-6) }' ||
    fail 'operations that do not grow as the samples'
[[ $(count 'selected M 1') == "$(count 'selected M 32')" ]] || fail 'operations that depend on M'

OMP_NUM_THREADS=1 "$CLLAVA" bench --shape tiny --precision f32 --seconds 0 --cpu-time --csv one.csv >out 2>err || fail 'one thread'
grep -q '^"training",tiny,f32,4,.*; 1 threads; .*; processor time"$' one.csv || fail 'one thread, time of the processor'

"$CLLAVA" bench --shape tiny --write-base a/base >out 2>err || fail 'writing a base'
[[ $(ls a/base | sort | tr '\n' ' ') == 'config.json generation_config.json model.safetensors preprocessor_config.json tokenizer.json ' ]] ||
    fail 'files of a base'
echo 'base: a/base' >base.yaml
"$CLLAVA" generate --base-only base.yaml 'What is it?' --set eval.max_new_tokens=2 >out 2>err || fail 'a base that answers'

# Beside others: without them what is missing is said, our side is measured, and a second run goes on where the first ended.
if command -v python3 >/dev/null; then
    export MODELS=$work/models SHAPE=tiny THREADS=1 PEERS=$work/none CLLAVA
    peers() { env -u PY -u LLAMA_BENCH bash "$SOURCE_DIR/bench/peers.sh" --csv peers.csv --rows forward,load "$@" >out 2>err; }
    peers || fail 'beside others'
    grep -q '^skipped: Hugging Face: PY does not name a Python$' out || fail 'what is missing'
    grep -q '^skipped: llama.cpp: LLAMA_BENCH ' out || fail 'what else is missing'
    [[ $(grep -c ',ours,one process,1,[0-9.e+-]*,' peers.csv) == 2 ]] || fail 'figures of our side'
    grep -qE '^\| forward, m, bf16, batch 1, tokens/s \|  \|  \| [0-9.]+ \|' out || fail 'a row of the table'
    cp peers.csv before.csv
    peers || fail 'beside others, again'
    [[ $(grep -c 'ours one process: there$' out) == 2 ]] || fail 'figures that are there'
    cmp peers.csv before.csv || fail 'figures that were measured twice'
    sed -i 's/^\(forward-bf16-1\),ours,one process\(.*\)/&\n\1,peer,somebody\2/' peers.csv
    printf 'a\n<!-- peers -->\nold\n<!-- /peers -->\nb\n' >page.md
    peers --table --write page.md || fail 'a table in a page'
    [[ $(head -2 page.md | tail -1) == '<!-- peers -->' && $(tail -1 page.md) == b ]] || fail 'what stands around the table'
    grep -qE '^\| forward, .* \| somebody \| [0-9.]+ \| [0-9.]+ \| 1\.00 \|' page.md || fail 'a ratio'
    if peers --rows nothing; then fail 'a unit that is none'; fi
    grep -q 'unknown unit nothing (expected' err || fail 'what units there are'
    unset SHAPE MODELS PEERS THREADS
    # .. and the curves of growth
    printf 'a\n<!-- growth -->\n<!-- /growth -->\nb\n' >growth.md
    env CSV=growth1.csv DOCS=. bash "$SOURCE_DIR/bench/growth.sh" --draw >out 2>err || fail 'curves'
    grep -qE '^\| samples \| 1 \.\. 16 \| x [0-9.]+ \| x 16\.00 \|' growth.md || fail 'a row of the growth table'
    [[ $(tail -1 growth.md) == b ]] || fail 'what stands around the growth table'
    python3 -c 'import sys, xml.dom.minidom as x; sys.exit(len(x.parse("growth.svg").getElementsByTagName("polyline")) != 21)' ||
        fail 'curves in the picture'
else
    echo 'skipped: beside others: no python3'
fi

# What plans need: a node's rates, then collectives beside them, each read back by plan.
"$CLLAVA" bench --machine machine.json --precision f32 --seconds 0 --csv rates.csv >out 2>err || fail 'rates for plans'
grep -q '^"product 512 wide",m,f32,,[0-9.e+]*,GFLOP/s,' rates.csv || fail 'rates in the CSV'
grep -q '"f32": {"product_gflops": \[\[128, ' machine.json || fail 'rates in the machine file'
if grep -q bf16 machine.json; then fail 'a precision that was not asked for'; fi
"$CLLAVA" plan base.yaml --tokens 40 --machine machine.json --set precision=f32 >out 2>err || fail 'a plan with a machine file'
grep -q 'f32 products .* GB/s$' out || fail 'rates that are called assumed'
grep -q 'sums inside a node.*(assumed)' out || fail 'sums that are not called assumed'
if [[ -x ${MPIRUN-} ]]; then
    ranks 2 "$CLLAVA" bench --collectives --machine machine.json --seconds 0 --csv sums.csv >out 2>err || fail 'collectives'
    for what in sum 'bf16 sum' gather broadcast; do
        [[ $(grep -c "^\"$what over 2 ranks, [0-9]* KiB\",,,,[0-9.e+]*,us," sums.csv) == 8 ]] || fail "$what over 2 ranks"
    done
    grep -q '"between_nodes": false, "ranks": 2, "sum": {"latency_us": [0-9.]*, "gbs": [0-9.]*}' machine.json || fail 'a link in the machine file'
    grep -q '"f32": {"product_gflops"' machine.json || fail 'rates that were there before'
    ranks 2 "$CLLAVA" bench --shape tiny --base kept --precision f32 --seconds 0 --batch 2 --csv two.csv >out 2>err || fail 'two ranks'
    for layout in 'tensor 2 of 2' 'tensor 1 of 2'; do
        for what in 'training' 'training, cached features' 'forward, cached features' 'prefill, cached features' decode; do
            [[ $(grep -c "^\"$what, $layout\",tiny,f32,2,.*,tokens/s," two.csv) == 1 ]] || fail "$what, $layout"
        done
        grep -q "^\"evaluation, own picture, $layout\",tiny,f32,16,.*; 2 ranks, each 1 threads; " two.csv || fail "evaluation, $layout"
    done
    [[ $(ls tmp) == '' ]] || fail 'folders of two ranks stay behind'
else
    echo 'skipped: collectives: no mpirun'
fi

# expect STATUS WORDS-ON-STDERR ARGUMENTS..
expect() {
    local status=0
    "$CLLAVA" bench "${@:3}" >out 2>err </dev/null || status=$?
    [[ $status == "$1" ]] || fail "${*:3}: status $status, expected $1"
    grep -qF -- "$2" err || fail "${*:3}: no '$2'"
}
expect 2 'unknown shape (got huge, expected some of s, m, l, tiny)' --shape tiny,huge
expect 2 'unknown precision (got f16, expected some of f32, bf16)' --precision f16
expect 2 '--write-base needs one --shape (got s,m)' --write-base a/base
expect 2 '--shape is empty' --shape=
expect 2 'unknown rows (got all, expected some of device, training, forward, prefill, decode, evaluation, routing)' --rows all
expect 2 '--batch 1,17 (expected up to 4 numbers from 1 to 16, e.g. 1,4)' --batch 1,17
expect 2 '--batch 4x (expected' --batch 4x
expect 2 '--base needs one --shape (got s,m)' --base a/base
expect 2 'eval.batch: out of range (got 0' --shape tiny --set eval.batch=0
[[ ! -s out ]] || fail 'settings that are checked after the first row'
expect 2 '--collectives needs several ranks (got one process)' --collectives
expect 1 'cannot write' --machine none/machine.json --precision f32 --seconds 0
TMPDIR=$work/none expect 1 'none: No such file or directory; hint: set TMPDIR' --shape tiny
expect 1 'cannot write none/bench.csv' --shape tiny --csv none/bench.csv
echo 'all passed'
