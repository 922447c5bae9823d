#!/usr/bin/env bash
# test_kpig_listening.sh - answers kept apart from those to masked questions (kpig.weight) over whole runs: off is as before, on is
# learned and logged, resumed, the same on ranks, beside methods of every kind; where there are no key parts, nothing.
source "$SOURCE_DIR/run_lib.sh"

plain='method: replay
pool: {init: null}
lora: {rank: 4}
replay: {budget: 4, ratio: 0.5}
stage2: {epochs: 2, batch: 4, micro_batch: 2, lr: 1e-2, shuffle: true}
eval: {max_new_tokens: 4, batch: 4}'

# one OUTPUT LINES: an undisturbed run.
one() {
    rm -rf "$1"
    configuration a "$1" "$2" >run.yaml
    train 0 run.yaml --quiet
}
# field RUN NAME [TASK]: of every step.
field() { sed -nE "s/.*\"event\":\"stage2\".*\"task\":${3-[0-9]}.*\"$2\":([^,}]*).*/\1/p" "$1/log.jsonl"; }

# Off, whatever the other key says: nothing changes.
one calm "$plain"
one x "$plain
kpig: {weight: 0, margin: 0.1}"
same calm x
one x "$plain
kpig: {weight: 3, margin: 0}"
same calm x
[[ -z $(field calm jsd) && -z $(field calm penalty) ]] || fail 'a divergence in the log of a run without'
rm -rf dump

# On: another run; each step's divergence is a number, the penalty what is missing to the margin.
one run "$plain
kpig: {weight: 0.5, margin: 0.8}"
equal calm run 2>/dev/null && fail 'kpig.weight changes nothing'
[[ $(field run loss | head -1) == $(field calm loss | head -1) ]] || fail 'loss is not that of the answers alone'
# All questions of the first task have key parts, not all of the second.
paste -d ' ' <(field run jsd 0) <(field run penalty 0) | awk '{ d = 0.5 * (0.8 - $1) - $2; if (d < 0) d = -d
        if (!($1 > 0 && $1 < 0.8 && d < 1e-5)) { print; bad = 1 } } END { exit bad || !NR }' || fail 'divergence and penalty'
paste -d ' ' <(field run jsd 1) <(field run penalty 1) | awk '{ less += 0.5 * (0.8 - $1) - $2 > 1e-3 } END { exit !(less && less < NR) }' ||
    fail 'questions without key parts have a penalty'
alike_on kpig.weight '4 2 shared' '3 1 dedicated'
# However much of a pass is computed again: the same bits; however the step is cut: the same but for rounding.
for level in keep recompute_mlp recompute_layer; do
    rm -rf x && train 0 run.yaml --quiet --set output=x --set activations=$level
    equal run x || fail "activations: $level: another run"
done
rm -rf x && train 0 run.yaml --quiet --set output=x --set stage2.micro_batch=3
alike run x || fail 'other micro-batches: another run'

# Killed and resumed: the same bits.
configuration a calm "$plain
kpig: {weight: 0.5, margin: 0.8}
checkpoint: {every_steps: 1}" >run.yaml && rm -rf calm
broken 0 none 0 calm run.yaml
sed 's/^output: .*/output: x/' run.yaml >x.yaml && rm -rf x
for at in $(($(<count) / 3)) $(($(<count) * 2 / 3)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
train 0 x.yaml
same calm x
rm -rf dump

# Records without key parts: to the last bit what there is without the term.
for t in 0 1; do sed 's/"conversations"/"key_parts": [], &/' "$golden/a/data/task$t.json" >none$t.json; done
stream="stream: {name: golden, tasks: [{name: colour, train: none0.json, test: $golden/a/data/task0.json, images: $golden/a/data, metric: exact}, {name: shape, train: none1.json, test: $golden/a/data/task1.json, images: $golden/a/data, metric: exact}]}"
one none "$plain
$stream
kpig: {weight: 0.5}"
one calm "$plain
$stream"
equal calm none || fail 'records without key parts: another pool'
[[ $(field none jsd | sort -u) == null && $(field none penalty | tr -d '0.e+-' | sort -u) == '' ]] || fail 'records without key parts: a divergence'

# Beside rehearsal of what the model writes itself, of whose earlier tasks only questions are read.
one run "$plain
method: self_guide
replay: {budget: 12, ratio: 0.5}
stage2: {epochs: 12, batch: 4, micro_batch: 2, lr: 2e-2, shuffle: true}
eval: {max_new_tokens: 8, batch: 4, zero_shot: false}
kpig: {weight: 0.5}"
[[ $(wc -l <run/rehearsal/task1-of0.jsonl) -gt 3 && $(field run jsd 1 | grep -c '^[0-9]') == 36 ]] || fail 'self_guide: no divergence'

# Beside methods that route, teach, have prompts, see all tasks at once, and with residuals of the logits; two halves at a time.
for lines in 'method: continual_llava
taskres: {scale: 0.5}' 'method: lwf' 'method: l2p
l2p: {prompts: 4, length: 2, top_m: 2}' 'method: joint
parallel: {overlap: true}'; do
    one run "$plain
pool: {slots_per_task: 3, rank: 4, top_m: 2, key_groups: 1, init: null}
$lines
kpig: {weight: 0.5}"
    [[ $(field run jsd | grep -c '^[0-9]') == $(field run loss | wc -l) ]] || fail "$lines: no divergence"
    alike_on "$lines" '4 2 shared'
done

error 2 'kpig.weight: .*-1.*a number from 0' "$CLLAVA" train run.yaml --quiet --set kpig.weight=-1
error 2 'kpig.margin: .*1.5.*a number from 0 to 1' "$CLLAVA" train run.yaml --quiet --set kpig.margin=1.5
error 2 'kpig.weight: method zero_shot learns nothing' "$CLLAVA" train run.yaml --quiet --set method=zero_shot
echo 'all passed'
