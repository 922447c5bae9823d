#!/usr/bin/env bash
# test_ranks_golden.sh - the golden runs on several ranks, in every layout: the same losses, norms, slots and answers as the
# specification within the tolerances of one process (test_golden.c checks them), and the same bits when run again.
source "$SOURCE_DIR/run_lib.sh"

# set, ranks, ranks of a copy of the base, coordinator, whether halves of a micro-batch overlap
while read -ru3 set n tensor coordinator overlap; do
    rm -rf run again dump
    configuration $set run "eval: {max_new_tokens: 12, batch: 4}
parallel: {tensor: $tensor, coordinator: $coordinator, overlap: ${overlap:-false}}" >run.yaml
    what="set $set on $n ranks, tensor $tensor, $coordinator${overlap:+, overlap}"
    ranks $n "$CLLAVA" train run.yaml >out 2>err || fail "$what"
    grep -q "^| ranks  *| $n on 1 host, 1 thread each; " err || fail "$what: the table of settings does not tell"
    "$PROGRAMS/test_golden" $set . >checked 2>&1 || { grep -v '^\[' checked | tail -n 5; fail "$what: not the golden run"; }
    [[ ! ${SANITIZED-} || $n == 4 ]] || continue # there a run takes five times as long
    ranks $n "$CLLAVA" train run.yaml --set output=again --quiet >out 2>err || fail "$what, again"
    same run again
done 3<<LAYOUTS
a 2 1 shared
a 4 1 shared
a 2 2 shared
a 4 2 shared
a 2 2 shared true
a 4 4 shared
a 3 1 dedicated
a 3 2 dedicated
a 5 2 dedicated
b 2 1 shared
b 2 2 shared
b 4 2 shared
b 4 4 shared
b 3 1 dedicated
b 3 2 dedicated
b 5 2 dedicated
b 5 4 dedicated
b 5 2 dedicated true
LAYOUTS

# 16-bit numbers between ranks: near the numbers of 32 bits, and the same when run again.
for name in run again; do
    rm -rf $name dump
    ranks 2 "$CLLAVA" train run.yaml --quiet --set output=$name --set parallel.tensor=2 --set parallel.wire=bf16 \
        --set parallel.coordinator=shared >out 2>err </dev/null || fail 'bf16 on the wire'
done
same run again
configuration b one 'eval: {max_new_tokens: 12, batch: 4}' >one.yaml
train 0 one.yaml
losses() { events $1 | sed -nE 's/.*"event":"stage2".*"loss":([^,]*).*/\1/p'; }
paste -d ' ' <(losses one) <(losses run) |
    awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 0) other = 1; if (d > 0.02 * $1) { print; bad = 1 } }
        END { exit bad || !other || NR != 6 }' || fail 'bf16 on the wire: losses'
echo 'all passed'
