#!/usr/bin/env bash
# test_metric_commands.sh - `cllava metric` and `cllava judge` from outside: totals, errors, requests and verdicts of a small run.
. "$SOURCE_DIR/run_lib.sh"

# Totals on stderr, one line per record on stdout.
printf '%s\n' '{"id": 1, "prediction": "a", "references": ["a"], "question_type": "human"}' '' \
    '{"id": "x", "prediction": "b", "references": ["a"], "question_type": "augmented"}' >lines
"$CLLAVA" metric exact lines >out 2>err || fail 'metric'
[[ $(<out) == '{"id":1,"score":1.0}'$'\n''{"id":"x","score":0.0}' ]] || fail 'lines of metric'
grep -qE '^mean 0\.500000 over 2 records, 95 % interval 0\.0+ to 1\.0+$' err || fail 'mean of metric'
grep -qE '^  human +1\.000000 over 1$' err || fail 'mean by question type'
"$CLLAVA" metric exact - <lines >second 2>/dev/null && cmp -s out second || fail 'standard input'
printf '%s\n' '{"id": 1, "prediction": "the cat sat on a mat", "references": ["the cat sat on the mat"]}' \
    '{"id": 2, "prediction": "no", "references": ["no"]}' >lines
"$CLLAVA" metric bleu lines >out 2>err || fail 'bleu'
grep -qxF '{"id":2,"score":0.0,"matches":[1,0,0,0],"totals":[1,0,0,0],"words":1,"reference_words":1}' out || fail 'parts of bleu'
grep -qE '^corpus 0\.[0-9]{6}$' err || fail 'corpus figure'
"$CLLAVA" metric list >out
grep -q '^relaxed_accuracy  *ChartQA' out || fail 'list'
printf '%s\n' '{"id": 1, "prediction": "a", "references": ["a"]}' '{"id": 2}' >lines
status=0
"$CLLAVA" metric exact lines >out 2>err || status=$?
[[ $status == 1 ]] || fail "broken record: status $status"
grep -qF 'lines: record 2: no text under `prediction`' err || fail 'broken record'
error 2 "did you mean exact\?" "$CLLAVA" metric exat lines
error 1 'no-such-file: No such file' "$CLLAVA" metric exact no-such-file
: >empty
error 1 'empty holds no record' "$CLLAVA" metric exact empty
# forms do not score tasks
configuration a run >run.yaml
sed 's/metric: exact/metric: normalize_vqa/' run.yaml >form.yaml
error 2 'metric: unknown value \(got normalize_vqa' "$CLLAVA" config form.yaml
sed 's/metric: exact/metric: vqa_accuracy_evalai/' run.yaml >other.yaml
"$CLLAVA" config other.yaml >/dev/null || fail 'names of rules are taken'

# A run: intervals in summary.json, questions in its predictions.
train 0 run.yaml --quiet
grep -q '"accuracy_low": \[\[' run/summary.json && grep -q '"accuracy_high": \[\[' run/summary.json || fail 'intervals'
grep -c '"event":"eval".*"low":.*"high":' run/log.jsonl >count
cells=$(<count)
[[ $cells -ge 4 ]] || fail 'intervals of events'
cp run/accuracy.csv before.csv
[[ $(head -1 run/predictions/after0-on0.jsonl) == *'"question":'* ]] || fail 'question of a prediction'

# What a run scores is what `metric` scores.
train 0 run.yaml --quiet --set stream.tasks.0.metric=anls --set stream.tasks.1.metric=anls --set output=anls
for file in anls/predictions/after*.jsonl; do
    "$CLLAVA" metric anls "$file" 2>/dev/null | sed 's/.*"score"://; s/}//' >out
    sed 's/.*"score"://; s/,.*//' "$file" | diff - out || fail "$file: other scores"
done

# Export: equal answers once; the requests are lines of JSON.
error 2 'no --output' "$CLLAVA" judge export run
error 2 'no --run' "$CLLAVA" judge import x
error 2 'unknown action \(got ask' "$CLLAVA" judge ask x
error 1 'cannot read folder .*predictions' "$CLLAVA" judge export . --output requests
"$CLLAVA" judge export run --output requests --form coin >out || fail 'export'
n=$(wc -l <requests)
answers=$(cat run/predictions/*.jsonl | wc -l)
((n > 0 && n <= answers)) || fail "$n requests of $answers answers"
grep -qF "$n requests; $((answers - n)) answers more" out || fail 'what export says'
sed -E 's/^\{"id":"([0-9a-f]{16})".*/\1/' requests | sort -u >ids
[[ $(wc -l <ids) == "$n" ]] || fail 'ids of requests'
"$CLLAVA" judge export run/predictions/after1-on0.jsonl --output part --form coin --rule <(echo 'MY RULE') >/dev/null
grep -qF '[System]\nMY RULE\n\n' part || fail 'own rule'

# Import: half of the verdicts leave cells empty, all of them fill the matrix; rule scores stay.
verdict() { sed -E "s|.*|{\"id\": \"&\", \"content\": \"$1\"}|"; }
head -n $((n / 2)) ids | verdict 5/10 >some
"$CLLAVA" judge import some --run run --form coin >out 2>err || fail 'import of some'
grep -q 'have no verdict: the cell stays empty' err || fail 'missing verdicts'
tail -n +$((n / 2 + 1)) ids | verdict 5/10 >rest
echo '{"id": "0000000000000000", "content": "3"}' >>rest # of another run
"$CLLAVA" judge export run --output again --form coin >out
[[ $(wc -l <again) == $((n - n / 2)) ]] || fail 'judged answers are asked again'
"$CLLAVA" judge import rest --run run --form coin >out 2>err || fail 'import of the rest'
grep -qF "$((n - n / 2 + 1)) verdicts read, $((n - n / 2)) of them on answers of this run" err || fail 'foreign verdict'
sed -n '$p' run/judge.csv | grep -qx 'shape,50,50' || fail 'matrix of verdicts'
cmp -s run/accuracy.csv before.csv || fail 'rule scores changed'
grep -q '"AA": 50' run/judge.json || fail 'judge.json'
"$CLLAVA" judge export run --output again --form coin >/dev/null
[[ ! -s again ]] || fail 'everything is judged'

# Another form has its own verdicts; a newer verdict takes the place of the older.
verdict "{'pred': 'no', 'score': 0}" <ids >no
"$CLLAVA" judge import no --run run --form yes_no >out 2>err || fail 'another form'
sed -n '$p' run/judge.csv | grep -qx 'shape,0,0' || fail 'matrix of another form'
verdict 10 <ids >ten
"$CLLAVA" judge import ten --run run --form coin >out 2>err || fail 'newer verdicts'
sed -n '$p' run/judge.csv | grep -qx 'shape,100,100' || fail 'newer verdicts'
[[ $(wc -l <run/judge-cache.jsonl) == $((2 * n)) ]] || fail 'cache of two forms'
echo '{"id": 5}' >broken
error 1 'broken: record 1: no verdict' "$CLLAVA" judge import broken --run run
sed -E 's/"question":"[^"]*",//' run/predictions/after0-on0.jsonl >old.jsonl
error 1 'old.jsonl: record 1: no .question.' "$CLLAVA" judge export old.jsonl --output again
echo 'all passed'
