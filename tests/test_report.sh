#!/usr/bin/env bash
# test_report.sh - reports: a run's own at its end, several side by side, the numbers of the tables, texts that would be markup,
# folders that hold no run.
source "${BASH_SOURCE%/*}/run_lib.sh"

report() {
    local want=$1 status=0
    shift
    "$CLLAVA" report "$@" >out 2>err </dev/null || status=$?
    [[ $status == "$want" ]] || fail "report $*: status $status, expected $want"
}
# Nothing that a browser would fetch or run.
contained() { ! grep -qE '<script|<link|<img|<iframe|src=|href=|url\(|@import|[ "]on[a-z]+=' "$1" || fail "$1: not self-contained"; }

configuration a pool 'eval: {max_new_tokens: 4, batch: 4}' >pool.yaml
configuration a lora 'eval: {max_new_tokens: 4, batch: 4}
method: sequential_lora
pool: {slots_per_task: 3}' >lora.yaml
train 0 pool.yaml --quiet
train 0 lora.yaml --quiet
for run in pool lora; do
    [[ -s $run/report.html ]] || fail "$run: no report at the end of the run"
    contained $run/report.html
done
for part in Accuracy Forgetting Routing 'Context weights' Loss; do
    grep -qF "<h2>$part</h2>" pool/report.html || fail "no part $part"
done
! grep -qE '<h2>(Routing|Context weights)' lora/report.html || fail 'routing of a method that does not route'
[[ $(grep -c '>stage [12]</text>' pool/report.html) == 2 && $(grep -c '>stage [12]</text>' lora/report.html) == 1 ]] ||
    fail 'loss curves'

# The command writes the same file; a run without log, predictions and checkpoints has a report of what is left.
cp pool/report.html own.html
report 0 pool
cmp -s own.html pool/report.html || fail 'another report than at the end of the run'
[[ $(<out) == pool/report.html ]] || fail 'the name of the report'
mkdir bare
cp pool/summary.json bare/
report 0 bare
! grep -qE '<h2>(Routing|Context weights)|>stage' bare/report.html || fail 'parts out of nothing'

# Side by side, and the tables.
report 0 pool lora bare --output all.html --csv all.csv --latex all.tex
contained all.html
[[ $(grep -c '<figcaption>pool</figcaption>' all.html) -ge 4 && $(grep -c '<figcaption>lora</figcaption>' all.html) == 2 ]] ||
    fail 'not side by side'
tail -n +2 pool/accuracy.csv | awk -F, '{ for (i = 2; i <= NF; i++) if ($i != "") print $i + 0 }' | sort >cells
awk -F, '$1 == "pool" && $4 == "accuracy" { print $7 + 0 }' all.csv | sort | cmp -s - cells || fail 'cells of the CSV'
[[ $(grep -c '^.begin{tabular}' all.tex) == 4 ]] || fail 'tables of the LaTeX file'
grep -q '^lora & sequential\\_lora & golden & 0 & ' all.tex || fail 'the summary of the LaTeX file'

# Texts that would be markup are shown as they are.
mkdir -p 'x<b>&"'
sed 's/"method": "[^"]*"/"method": "<script>alert(1)<\/script>"/; s/"stream": "[^"]*"/"stream": "<img src=x onerror=1>"/; s/"colour"/"<i>\\u0007\&"/' \
    pool/summary.json >'x<b>&"/summary.json'
report 0 'x<b>&"' --output odd.html --latex odd.tex
grep -qF '&#60;script&#62;alert(1)&#60;/script&#62;' odd.html || fail 'the method is not shown'
grep -qF '&#60;i&#62;&#38;' odd.html || fail 'the task is not shown'
grep -qF '<figcaption>x&#60;b&#62;&#38;&#34;</figcaption>' odd.html || fail 'the folder is not shown'
! grep -qE '<script|<img|<i>|<b>' odd.html || fail 'markup out of a text'
grep -qF 'x$<$b$>$\&' odd.tex || fail 'LaTeX of the folder'

# What is no finished run.
mkdir empty
error 1 'empty: no summary.json' "$CLLAVA" report pool empty --output no.html
error 1 'no summary.json' "$CLLAVA" report nothere
echo '{"tasks": ["a", "b"], "accuracy": [[1, 2], [3, 4]]}' >empty/summary.json
error 1 'a matrix has not one row for each task' "$CLLAVA" report empty
echo '{"tasks": ["a"], "accuracy": [[1], [3, 4]]}' >empty/summary.json
error 1 'a matrix has not one column for each task' "$CLLAVA" report empty
echo '{"tasks": [], "accuracy": []}' >empty/summary.json
error 1 'no list `tasks`' "$CLLAVA" report empty
echo '{"tasks": ' >empty/summary.json
error 1 'empty/summary.json: ' "$CLLAVA" report empty
echo '{"tasks": ["a"], "accuracy": [[null], [null]]}' >empty/summary.json
report 0 empty
error 1 'cannot|No such' "$CLLAVA" report pool --output absent/folder/x.html
error 2 'missing arguments' "$CLLAVA" report
[[ ! -e no.html ]] || fail 'a report of a run that is none'
cp pool/*.h5 bare/
for file in bare/*.h5; do head -c 3000 "$file" >cut && mv cut "$file"; done
error 1 'h5' "$CLLAVA" report bare
echo 'all passed'
