#!/usr/bin/env bash
# test_ranks_golden.sh - the golden runs on several ranks, in every layout: the same losses, norms, slots and answers as the
# specification within the tolerances of one process (test_golden.c checks them), and the same bits when run again.
source "$SOURCE_DIR/run_lib.sh"

# set, ranks, ranks of a copy of the base, coordinator
while read -ru3 set n tensor coordinator; do
    rm -rf run again dump
    configuration $set run "eval: {max_new_tokens: 12, batch: 4}
parallel: {tensor: $tensor, coordinator: $coordinator}" >run.yaml
    what="set $set on $n ranks, tensor $tensor, $coordinator"
    ranks $n "$CLLAVA" train run.yaml >out 2>err || fail "$what"
    grep -q "^| ranks  *| $n on 1 host, 1 thread each; " err || fail "$what: the table of settings does not tell"
    "$PROGRAMS/test_golden" $set . >checked 2>&1 || { grep -v '^\[' checked | tail -n 5; fail "$what: not the golden run"; }
    ranks $n "$CLLAVA" train run.yaml --set output=again --quiet >out 2>err || fail "$what, again"
    same run again
done 3<<LAYOUTS
a 2 1 shared
a 4 1 shared
a 2 2 shared
a 4 2 shared
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
LAYOUTS
echo 'all passed'
