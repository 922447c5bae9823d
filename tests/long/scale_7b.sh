#!/usr/bin/env bash
# scale_7b.sh [SHAPE [RANKS]] - a rehearsal with the shapes of LLaVA-1.5-7B (SHAPE l; s and m are smaller): a base of random
# weights, a task of two samples (a picture, 64 tokens of question, 32 of answer: 672 tokens), one step over both, one test
# sample answered and scored. RANKS (default 2) share the base, a thread each; 1: one process with two threads.
# Prints how long each part took, the peak memory of every rank, the least memory that the machine had left; fails above 24
# GiB. Run from anywhere after ./run build, on a machine that does nothing else. The base stays in ${BASE:-/tmp/cllava-base-SHAPE} (shape l: 14 GB).
set -euo pipefail
shape=${1:-l} ranks=${2:-2}
most=$((24 * 1024 * 1024)) # KiB
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cllava=$root/build/cllava
base=${BASE:-${TMPDIR:-/tmp}/cllava-base-$shape}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAIL: $*"; tail -n 12 out err 2>/dev/null; exit 1; }
gib() { awk -v kib="$1" 'BEGIN { printf "%.2f GiB", kib / 1048576 }'; }
available() { awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo; }
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f s", b - a }'; }

# Ranks as root on one small machine, over shared memory. Waiting threads leave the processor to others.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl=self,vader
export OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl_vader_single_copy_mechanism=none OMP_WAIT_POLICY=passive
threads=1 run=(mpirun --bind-to none -n "$ranks" "$cllava")
((ranks > 1)) || { threads=2 run=("$cllava"); }

if [[ ! -e $base/config.json || ! -e $base/tokenizer.json ]]; then
    begun=$(now)
    "$cllava" bench --shape "$shape" --write-base "$base"
    echo "base written in $(since "$begun"): $(du -sh "$base" | cut -f 1)"
fi

# A question of 63 bytes, an answer of 31: a token each, with the marks of beginning and end and the picture's 576 (shape s: 64).
cp "$root"/tests/golden/a/data/images/t0_[01].png .
question='What is the colour of the largest shape in the picture, please?'
answer='It is yellow, with a thin edge.'
for i in 0 1; do
    printf '{"id": "%d", "image": "t0_%d.png", "conversations": [{"from": "human", "value": "<image>\\n%s"}, {"from": "gpt", "value": "%s"}]}\n' \
        $i $i "$question" "$answer"
done >train.jsonl
head -n 1 train.jsonl >test.jsonl
cat >run.yaml <<YAML
base: $base
encoder: base
method: continual_llava
stream: {name: rehearsal, tasks: [{name: only, train: train.jsonl, test: test.jsonl}]}
prompt: {template: "{question}"}
stage1: {epochs: 1, batch: 2}
stage2: {epochs: 1, batch: 2, micro_batch: 1, max_length: 704}
eval: {max_new_tokens: 8, batch: 1, zero_shot: false}
parallel: {tensor: $ranks}
precision: bf16
threads: $threads
output: run
YAML

# Peaks of the ranks while they run (KiB): /proc/PID/status has the highest so far.
declare -A resident anonymous
lowest=$(available)
watch_ranks() {
    local pid line now_free
    for pid in $(pgrep -f -- "$work/run.yaml" || true); do
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == cllava ]] || continue
        line=$(awk '/^VmHWM:/ { h = $2 } /^RssAnon:/ { a = $2 } /^RssShmem:/ { s = $2 } END { print h + 0, a + s }' "/proc/$pid/status" 2>/dev/null) || continue
        read -r h a <<<"$line"
        ((h > ${resident[$pid]:-0})) && resident[$pid]=$h
        ((a > ${anonymous[$pid]:-0})) && anonymous[$pid]=$a
    done
    now_free=$(available)
    ((now_free > lowest)) || lowest=$now_free
}

echo "shape $shape, $ranks rank(s) of $threads thread(s), $(gib "$lowest") of memory available"
begun=$(now)
"${run[@]}" train "$work/run.yaml" >out 2>err </dev/null &
program=$!
while kill -0 $program 2>/dev/null; do
    watch_ranks
    sleep 0.2
done
wait $program || fail "train: status $?"
echo "the whole run: $(since "$begun")"
cat run/log.jsonl
total=0
for pid in "${!resident[@]}"; do
    echo "process $pid: peak resident $(gib "${resident[$pid]}"), of that its own at most $(gib "${anonymous[$pid]}")"
    total=$((total + resident[$pid]))
done
echo "all ranks: $(gib $total); least available: $(gib "$lowest")"
((total > 0 && ${#resident[@]} == ranks)) || fail 'the ranks were not seen'
((total <= most)) || fail "more than $(gib $most)"
