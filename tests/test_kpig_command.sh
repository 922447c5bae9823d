#!/usr/bin/env bash
# test_kpig_command.sh - replay.choose: kpig in whole runs: what it comes to at both ends, the gains that it logs against those of
# `cllava score`, ranks, resume, what is refused.
source "$SOURCE_DIR/run_lib.sh"

# run NAME LINES: replay into the folder NAME.
run() {
    configuration a "$1" "method: replay
pool: {init: null}
lora: {rank: 4}
stage2: {epochs: 2, batch: 4, micro_batch: 2, lr: 1e-2, shuffle: true}
eval: {max_new_tokens: 4, batch: 4}
${2-}" >"$1.yaml"
    train 0 "$1.yaml" --quiet
}

field() { sed -nE "s/.*\"event\":\"kpig\".*\"$2\":([^,}]*).*/\1/p" "$1/log.jsonl"; }

# All of what is kept is what plain replay takes, nothing of it is sequential LoRA.
run plain 'replay: {budget: 4, ratio: 0.5}'
run all 'replay: {budget: 4, ratio: 0.5, choose: kpig}
kpig: {share: 1}'
run half 'replay: {budget: 4, ratio: 0.5, choose: kpig}'
run none 'replay: {budget: 4, ratio: 0.5, choose: kpig}
kpig: {share: 0}'
run sequential 'method: sequential_lora'
equal plain all || fail 'share 1 is not plain replay'
equal plain half 2>/dev/null && fail 'kpig changes nothing'
equal sequential none || fail 'share 0 is not sequential LoRA'
[[ $(field half records) == 4 && $(field half chosen) == 2 && $(field none chosen) == 0 ]] || fail 'counts in the log'
[[ -z $(field plain records) ]] || fail 'plain replay weighs'

# The mean gain is that of the answers' losses with and without the words that most first questions have: of a later one only as
# one record's first.
run whole 'replay: {budget: 9, ratio: 0.5, choose: kpig}'
sed -E 's/What colour is the shape|what colour is the shape/_ _ _ _ _/; /t0-text/,$ s/colour/_/' "$golden/a/data/task0.json" >masked.json
for file in "$golden/a/data/task0.json" masked.json; do
    "$CLLAVA" score whole/checkpoint-task0-colour.h5 $file --images "$golden/a/data" 2>err |
        sed -nE 's/.*"nll":([^,]*),"tokens":([^,]*),.*/\1 \2/p' >${file##*/}.nll || fail "score $file"
done
paste -d ' ' task0.json.nll masked.json.nll | awk -v logged=$(field whole gain) '{ sum += ($3 - $1) / $2; n++ }
    END { d = sum / n - logged; print sum / n, logged; exit !(n == 9 && d < 2e-4 && d > -2e-4 && sum != 0) }' || fail 'mean gain'

# Parts that records name instead.
sed 's/"image": "images/"key_parts": ["colour"], &/' "$golden/a/data/task0.json" >named.json
stream="stream: {name: golden, tasks: [{name: colour, train: named.json, test: $golden/a/data/task0.json, images: $golden/a/data, metric: exact}, $(task shape 1 a)]}"
run named "replay: {budget: 9, ratio: 0.5, choose: kpig}
$stream"
[[ $(field named gain) != $(field whole gain) ]] || fail 'key_parts change nothing'
sed -i 's/"colour"\]/"color"]/' named.json
error 1 'record 1: .*"color" does not stand in the first question' "$CLLAVA" train named.yaml --quiet --fresh

# Killed and resumed, the same bits; several ranks agree: with gains that are measured anew every two steps, too.
compare='replay: {budget: 6, ratio: 0.5, choose: kpig}
kpig: {every: 2}
checkpoint: {every_steps: 1}'
configuration a calm "method: replay
pool: {init: null}
lora: {rank: 4}
$compare" >calm.yaml
broken 0 none 0 calm calm.yaml
sed 's/^output: .*/output: x/' calm.yaml >x.yaml
for at in $(($(<count) / 3)) $(($(<count) * 2 / 5)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
train 0 x.yaml
same calm x
[[ $(field calm step | tr '\n' ' ') == '0 2 ' && $(field calm chosen | tr '\n' ' ') == '3 3 ' ]] || fail 'when gains are measured'
[[ $(field calm gain | uniq | wc -l) == 2 ]] || fail 'gains do not change with the model'
cp -r calm run && sed 's/^output: .*/output: run/' calm.yaml >run.yaml
alike_on kpig '4 2 shared' '3 1 dedicated'

error 2 'replay.choose: .*lowest.*random, kpig' "$CLLAVA" train calm.yaml --set replay.choose=lowest
error 2 'kpig.every: ' "$CLLAVA" train calm.yaml --set kpig.every=-1
error 2 'kpig.share: ' "$CLLAVA" train calm.yaml --set kpig.share=1.5
echo 'all passed'
