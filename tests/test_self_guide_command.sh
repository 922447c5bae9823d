#!/usr/bin/env bash
# test_self_guide_command.sh - method self_guide in whole runs: what it writes and from what, what it comes to without samples, ranks,
# resume, what is refused.
source "$SOURCE_DIR/run_lib.sh"

common='method: self_guide
pool: {init: null}
lora: {rank: 4}
stage2: {epochs: 12, batch: 4, micro_batch: 2, lr: 2e-2, shuffle: true}
eval: {max_new_tokens: 8, batch: 4, zero_shot: false, loss_samples: 0}
checkpoint: {every_steps: 10}'
rehearse='replay: {budget: 12, ratio: 0.5}
self_guide: {seeds: 4}'

# run NAME LINES: into the folder NAME.
run() {
    configuration a "$1" "$common
$2" >"$1.yaml"
    train 0 "$1.yaml" --quiet
}
count() { sed -nE "s/.*\"event\":\"self_guide\".*\"$2\":([0-9]*).*/\1/p" "$1/log.jsonl"; }
lines() { cat "$1"/rehearsal/task1-of0.jsonl; }

# Nothing to rehearse: sequential LoRA.
run sequential 'method: sequential_lora'
run nothing 'replay: {budget: 0, ratio: 0.5}'
run never 'replay: {budget: 12, ratio: 0}'
for other in nothing never; do
    equal sequential $other || fail "$other: not sequential LoRA"
    [[ ! -e $other/rehearsal ]] || fail "$other: samples were written"
done

# What is written: questions of the earlier task, pictures of the new one, the model's own answers.
run run "$rehearse"
equal sequential run 2>/dev/null && fail 'what was written changes nothing'
kept=$(count run kept) sum=0
for fault in kept empty unfinished noise echo length twice limit; do sum=$((sum + $(count run $fault))); done
[[ $(count run asked) == 12 && $sum == 12 && $kept -ge 4 && $(lines run | wc -l) == "$kept" ]] || fail "counts: $kept kept of $sum"
lines run | sed 's/.*"from":"human","value":"//; s/".*//' | grep -vxE '<image>\\n(Look closely\. )?[wW]hat colour is the shape\?|Name one colour, please\.' &&
    fail 'another question'
lines run | grep '"image"' | grep -v "\"image\":\"$golden/a/data/images/t1_" && fail 'a picture of the earlier task'
[[ $(lines run | sed 's/.*"image":"//; s/"from":"gpt".*//' | sort | uniq -d | wc -l) == 0 ]] || fail 'one question twice on a picture'
lines run | sed -nE 's/.*"image":"([^"]*)".*"value":"<image>\\n([^"]*)"\},.*"value":"([^"]*)"\}\]\}/\1|\2|\3/p' | head -n 3 >some
[[ $(wc -l <some) == 3 ]] || fail 'three samples'
while IFS='|' read -r picture question answer; do
    [[ $("$CLLAVA" generate run/checkpoint-task0-colour.h5 --image "$picture" "$question" 2>/dev/null) == "$answer" ]] ||
        fail "$question on $picture is not answered with $answer"
done <some

# Pictures and answers of an earlier task may be others once it is learned: nothing but its questions is looked at.
stream="stream: {name: golden, tasks: [{name: colour, train: first.json, test: $golden/a/data/task0.json, images: $golden/a/data, metric: exact}, $(task shape 1 a)]}"
cp "$golden/a/data/task0.json" first.json
configuration a blind "$common
$rehearse
$stream" >blind.yaml
train 75 blind.yaml --quiet --stop-after-task 0
sed -E 's/"value": "(yellow|green|red)"/"value": "blue"/; s/t0_[1-9]\.png/t0_0.png/' "$golden/a/data/task0.json" >first.json
cmp -s first.json "$golden/a/data/task0.json" && fail 'the same records'
train 0 blind.yaml --quiet
cmp run/rehearsal/task1-of0.jsonl blind/rehearsal/task1-of0.jsonl || fail 'other samples without the records'
equal run blind || fail 'another run without the records'

# Killed and resumed: the same samples, the same bits. What was rehearsed must be there.
sed 's/^output: .*/output: calm/' run.yaml >calm.yaml
broken 0 none 0 calm calm.yaml
sed 's/^output: .*/output: x/' run.yaml >x.yaml
for at in $(($(<count) * 2 / 5)) $(($(<count) * 3 / 5)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
train 0 x.yaml
same calm x
diff -r calm/rehearsal x/rehearsal || fail 'other samples after a resume'
train 75 x.yaml --quiet --fresh --max-steps 50
cp x/rehearsal/task1-of0.jsonl saved
sed -i 1d x/rehearsal/task1-of0.jsonl
error 1 "$((kept - 1)) samples to rehearse, $kept when the task began" "$CLLAVA" train x.yaml --quiet
rm x/rehearsal/task1-of0.jsonl
error 1 'task1-of0.jsonl: what the running task rehearses is gone' "$CLLAVA" train x.yaml --quiet
mv saved x/rehearsal/task1-of0.jsonl
train 0 x.yaml --quiet
equal run x || fail 'another run with the samples restored'

# Several ranks agree, on the samples too.
for layout in '4 2 shared' '3 1 dedicated'; do
    alike_on self_guide "$layout"
    diff -r run/rehearsal again/rehearsal || fail "other samples on $layout"
done

# Questions of the model's own: here it has learned to say one thing, so that is what they are made of.
sed -E '/"from": "gpt"/{n;s/"value": .*/"value": "which shape is it?"/}' "$golden/a/data/task0.json" >first.json
run own "replay: {budget: 12, ratio: 0.5}
self_guide: {seeds: 4, questions: written}
eval: {max_new_tokens: 20, batch: 4, zero_shot: false}
$stream"
[[ $(count own asked) == 12 && $(count own kept) -ge 2 ]] || fail 'own questions: counts'
lines own | grep '"image"' | grep -v 'shape' && fail 'own questions: not its own'
lines own | grep '"image"' | grep -q 'colour is' && fail 'own questions: of the seeds'
lines own | sed -nE 's/.*"image":"([^"]*)".*"value":"<image>\\n([^"]*)"\},.*"value":"([^"]*)"\}\]\}/\1|\2|\3/p' | head -n 1 >some
IFS='|' read -r picture question answer <some
[[ $("$CLLAVA" generate own/checkpoint-task0-colour.h5 --image "$picture" "$question" 2>/dev/null) == "$answer" ]] || fail 'own question: another answer'

# A task without pictures can rehearse questions without: one here.
echo '[{"id": "1", "question": "say red", "answer": "red"}, {"id": "2", "question": "say blue", "answer": "blue"}]' >text.json
run words "$rehearse
self_guide: {seeds: 9}
stream: {name: golden, tasks: [$(task colour 0 a), {name: shape, train: text.json, test: text.json, metric: exact}]}"
[[ $(count words asked) == 1 && $(count words seeds) == 4 ]] || fail 'rehearsal without pictures'

error 2 'self_guide.seeds: ' "$CLLAVA" train run.yaml --set self_guide.seeds=0
error 2 'self_guide.questions: .*guessed.*kept, written' "$CLLAVA" train run.yaml --set self_guide.questions=guessed
echo 'all passed'
