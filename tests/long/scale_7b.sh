#!/usr/bin/env bash
# scale_7b.sh [SHAPE [RANKS]] - a rehearsal with the shapes of LLaVA-1.5-7B (SHAPE l, the default; m, s and tiny are smaller): a
# base of random weights, a task of two samples (a picture, 64 tokens of question, 31 of answer: 674 tokens), one optimizer step
# over both, one test sample answered. RANKS (default 2) share the base, a thread each; 1: one process with two threads.
# Prints how long each part took, every rank's peak memory and the least that the machine had left; fails above 24 GiB, or when
# less than 1 GiB is left. Run from anywhere after ./run build, on a machine that does nothing else. The base stays in
# ${BASE:-/tmp/cllava-base-SHAPE} (shape l: 14 GB).
set -euo pipefail
shape=${1:-l} ranks=${2:-2}
most=$((24 * 1024 * 1024)) least=$((1024 * 1024)) # KiB
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cllava=$root/build/cllava
base=${BASE:-${TMPDIR:-/tmp}/cllava-base-$shape}
work=$(mktemp -d)
program=
finish() {
    [[ -z $program ]] || kill "$program" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
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

# Of the ranks so far: peaks in KiB, processor time in s.
declare -A resident own busy
lowest=$(available) before=$lowest
look() {
    local pid peak anonymous left
    for pid in $(pgrep -f -- "$work/run.yaml" || true); do
        [[ $(cat "/proc/$pid/comm" 2>/dev/null) == cllava ]] || continue
        read -r peak anonymous < <(awk '/^VmHWM:/ { p = $2 } /^Rss(Anon|Shmem):/ { a += $2 } END { print p + 0, a + 0 }' \
            "/proc/$pid/status" 2>/dev/null) || continue
        ((peak <= ${resident[$pid]:-0})) || resident[$pid]=$peak
        ((anonymous <= ${own[$pid]:-0})) || own[$pid]=$anonymous
        busy[$pid]=$(awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) / ticks) }' "/proc/$pid/stat" 2>/dev/null) || true
    done
    left=$(available)
    ((left >= lowest)) || lowest=$left
    ((left > least)) || fail "only $(gib "$left") of memory are left"
}

echo "shape $shape, $ranks rank(s), $threads thread(s) each; $(gib "$before") of memory available"
begun=$(now)
"${run[@]}" train "$work/run.yaml" >out 2>err </dev/null &
program=$!
while kill -0 "$program" 2>/dev/null; do
    look
    sleep 0.2
done
wait "$program" || fail "train: status $?"
program=

# How long each part took: from the times of the log's events.
awk -v begun="$begun" -v ended="$(now)" '
    function field(name,   v) { v = $0; sub(".*\"" name "\":", "", v); return v + 0 }
    function part(what, from, to, more) { printf "  %-42s %8.1f s%s\n", what, to - from, more }
    /"event":"start"/ { start = field("time"); part("opening: the base read, packed, hashed", begun, start) }
    /"event":"stage1"/ { keys = field("time"); part("stage 1, memory of a step", start, keys) }
    /"event":"stage2"/ { step = field("time")
        part("step of two samples, tower included", keys, step, sprintf("   %.1f tokens/s, loss %.4f", field("tokens_per_s"), field("loss"))) }
    /"event":"eval"/ { answer = field("time"); part("an answer of 8 tokens", step, answer) }
    END { part("the rest", answer, ended); part("the whole run", begun, ended) }' run/log.jsonl
total=0 alone=0
for pid in "${!resident[@]}"; do
    echo "  a rank: at most $(gib "${resident[$pid]}") resident, $(gib "${own[$pid]}") of its own; ${busy[$pid]} s of processor time"
    total=$((total + resident[$pid])) alone=$((alone + own[$pid]))
done
echo "  together: at most $(gib $total) resident, $(gib $alone) of their own; the machine had $(gib "$lowest") left ($(gib $((before - lowest))) less)"
((${#resident[@]} == ranks)) || fail 'ranks were not seen'
((total <= most)) || fail "more than $(gib $most)"
