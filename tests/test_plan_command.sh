#!/usr/bin/env bash
# test_plan_command.sh - `cllava plan` on a folder that holds config.json alone, and over task files: its tables, JSON, messages.
. "$(dirname "${BASH_SOURCE[0]}")/run_lib.sh"

base=$SOURCE_DIR/../docs/scaling/llava-1.5-7b
printf 'base: %s\nencoder: nowhere\n' "$base" >plan.yaml

"$CLLAVA" plan plan.yaml --tokens 700 --answers 40 >out 2>err || fail 'a base without weights'
[[ ! -s err ]] || fail 'something on stderr'
grep -q '7.06 G parameters' out || fail 'parameters'
for words in 'what training keeps' 'recompute_layer' 'assumed: training 700 tokens' 'RoBERTa-base assumed' 'per node (assumed)' 'kinds of memory'; do
    grep -qF "$words" out || fail "no '$words'"
done
for ranks in 1 2 4 8 16 32 64; do grep -qE "^ +$ranks +1 +$ranks\*" out || fail "no row of $ranks ranks"; done
grep -qE '^ +64 +32 +2 ' out || fail 'no split into 32'
if grep -qE '^ +64 +64 +1 ' out; then fail 'more ranks than heads'; fi

"$CLLAVA" plan plan.yaml --tokens 700 --ranks 3 --set parallel.coordinator=dedicated --set parallel.tensor=2 --json >out 2>err ||
    fail 'a dedicated coordinator'
grep -q '"ranks": 3, "tensor": 2, "data": 1, "dedicated": true' out || fail 'its row'
python3 -m json.tool <out >/dev/null 2>&1 || ! command -v python3 >/dev/null || fail 'JSON'

# Lengths of task files, as a run would read them.
configuration a run >run.yaml
"$CLLAVA" plan run.yaml --ranks 1 >out 2>err || fail 'task files'
grep -q '^samples    measured: training ' out || fail 'lengths are not measured'
[[ ! -e run ]] || fail 'it left something behind'
"$CLLAVA" plan run.yaml --ranks 1 --eval >out 2>err || fail 'an evaluation'

"$CLLAVA" plan plan.yaml --tokens 700 --scaling --svg picture.svg >out 2>err || fail 'scaling'
grep -q '^| 512 | 256 |' out && grep -q '</svg>' picture.svg || fail 'tables and picture of scaling'

error 2 'ranks 0' "$CLLAVA" plan plan.yaml --ranks 0
error 2 'as in 1,2,4' "$CLLAVA" plan plan.yaml --ranks 1,x
error 2 'parallel.tensor' "$CLLAVA" plan plan.yaml --tokens 700 --ranks 64 --set parallel.tensor=64
error 1 'none.json' "$CLLAVA" plan plan.yaml --machine none.json
error 2 'base' "$CLLAVA" plan plan.yaml --set base=nowhere
mkdir empty
error 1 'config.json' "$CLLAVA" plan plan.yaml --set base=empty
echo 'all passed'
