#!/usr/bin/env bash
# test_decode_weights.sh - eval.decode_weights: int8 weights answer on any number of ranks alike, are counted, and leave training
# as it is; eval.share_prefix changes no answer.
source "$SOURCE_DIR/run_lib.sh"

configuration b same "eval: {max_new_tokens: 12, batch: 4}" >same.yaml
"$CLLAVA" train same.yaml >out 2>err || fail 'same'
for how in share_prefix=false decode_weights=int8; do
    "$CLLAVA" train same.yaml --set output="$how" --set eval.$how >out 2>err || fail "$how"
done
diff -r same/predictions share_prefix=false/predictions || fail 'answers depend on whether fronts are shared'

weights() { sed -n 's/.*weights \([0-9.]*\) MiB.*/\1/p' err; }
int8=$(weights)
"$CLLAVA" train same.yaml --set output=again >out 2>err || fail 'again'
awk "BEGIN {exit !($int8 > $(weights))}" || fail "int8 weights ($int8 MiB) are not counted beside the others ($(weights) MiB)"

# four digits: answers of other lengths bring other pictures together through the tower
losses() { sed -n 's/.*"loss":\([^,}]*\).*/\1/p' "$1/log.jsonl" | xargs printf '%.4f\n'; }
[[ -n $(losses same) && $(losses same) == "$(losses decode_weights=int8)" ]] || fail 'int8 weights change training'

for layout in '2 2' '2 1' '4 4'; do
    read -r n tensor <<<"$layout"
    ranks "$n" "$CLLAVA" train same.yaml --set output="int8-$n-$tensor" --set eval.decode_weights=int8 \
        --set parallel.tensor="$tensor" >out 2>err || fail "int8 on $n ranks"
    diff -r decode_weights=int8/predictions "int8-$n-$tensor/predictions" || fail "$n ranks of $tensor answer otherwise"
done
"$CLLAVA" train same.yaml --set eval.decode_weights=int4 >out 2>err && fail 'int4 is taken'
grep -q 'eval.decode_weights: unknown value (got int4' err || fail 'int4: another message'
