#!/usr/bin/env bash
# test_ranks_commands.sh - commands on several ranks: the same answers as on one, the settings of a checkpoint fitted to the ranks
# at hand, and layouts that cannot be.
source "$SOURCE_DIR/run_lib.sh"

# Trained on 5 ranks, with their layout in the checkpoint.
configuration b run 'parallel: {tensor: 4, coordinator: dedicated}' >run.yaml
ranks 5 "$CLLAVA" train run.yaml --quiet >out 2>err || fail 'train on 5 ranks'
checkpoint=run/checkpoint-task1-shape.h5
data=$golden/b/data
image=$(printf '%s\n' "$data"/images/* | sed -n 1p)

# One process, the words of it.
"$CLLAVA" score $checkpoint "$data/task1.json" >score 2>err || fail score
"$CLLAVA" score --base-only run.yaml "$data/task1.json" >score-base 2>err || fail 'score --base-only'
"$CLLAVA" generate $checkpoint --image "$image" 'which shape is it' >answer 2>slots || fail generate
printf 'which shape is it\nwhere is it\n' >questions
"$CLLAVA" generate $checkpoint <questions >answers 2>slots-all || fail 'generate, line by line'
for routing in free oracle random; do
    "$CLLAVA" eval $checkpoint --routing $routing --quiet --output eval-$routing >eval-$routing.out 2>err || fail eval
done

# near A B: the same lines, nll equal to 1e-5.
near() {
    diff <(sed 's/"nll":[^,]*//' $1) <(sed 's/"nll":[^,]*//' $2) >difference || { head -n 4 difference; return 1; }
    paste -d ' ' <(sed 's/.*"nll":\([^,]*\).*/\1/' $1) <(sed 's/.*"nll":\([^,]*\).*/\1/' $2) |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5 * $1) { print; bad = 1 } } END { exit bad || !NR }'
}

routings='free oracle random' # of the first layout; then the one
# The layout that the checkpoint says, as far as these ranks go; then others by --set.
while read -ru3 n sets; do
    what="$n ranks${sets:+, $sets}"
    set=()
    for word in $sets; do set+=(--set $word); done
    ranks $n "$CLLAVA" score $checkpoint "$data/task1.json" "${set[@]}" >got 2>err </dev/null || fail "score on $what"
    near score got || fail "score on $what: other values"
    ranks $n "$CLLAVA" score --base-only run.yaml "$data/task1.json" "${set[@]}" >got 2>err </dev/null ||
        fail "score --base-only on $what"
    near score-base got || fail "score --base-only on $what: other values"
    ranks $n "$CLLAVA" generate $checkpoint --image "$image" 'which shape is it' "${set[@]}" >got 2>err </dev/null ||
        fail "generate on $what"
    cmp -s answer got && cmp -s slots err || fail "generate on $what: another answer"
    ranks $n "$CLLAVA" generate $checkpoint "${set[@]}" <questions >got 2>err || fail "generate on $what, line by line"
    cmp -s answers got && cmp -s slots-all err || fail "generate on $what, line by line: other answers"
    for routing in ${routings-free}; do
        rm -rf eval-ranks
        ranks $n "$CLLAVA" eval $checkpoint --routing $routing --quiet --output eval-ranks "${set[@]}" >got 2>err \
            </dev/null || fail "eval on $what"
        cmp -s eval-$routing.out got || fail "eval --routing $routing on $what: other figures"
        diff -r eval-$routing/predictions eval-ranks/predictions || fail "eval --routing $routing on $what: other answers"
    done
    unset routings
done 3<<LAYOUTS
2
3
4
5
3 parallel.coordinator=shared
4 parallel.coordinator=shared parallel.tensor=2
5 parallel.tensor=2
4 parallel.tensor=4 parallel.coordinator=shared parallel.wire=f32
LAYOUTS

# What needs no model is done by one rank and printed once.
for command in 'config run.yaml' "inspect $checkpoint" 'metric list' 'encode run.yaml hello' --version --help; do
    "$CLLAVA" $command >one 2>one-err
    ranks 2 "$CLLAVA" $command >two 2>two-err </dev/null || fail "$command on 2 ranks"
    cmp -s one two && cmp -s one-err two-err || fail "$command on 2 ranks: another output"
done

# Layouts that cannot be, before any work.
refused() { # N WORDS OPTIONS..
    local n=$1 words=$2 how=(ranks $1)
    shift 2
    [[ $n != 1 ]] || how=()
    error 2 "$words" "${how[@]}" "$CLLAVA" train run.yaml --quiet --set output=x "$@"
    [[ ! -e x ]] || fail "'$words': an output folder is left"
}
refused 1 'parallel.tensor: .*cannot be split into groups of 4 .*hint: '
refused 1 'parallel.tensor: .*; hint: ' --set parallel.tensor=1
refused 4 'parallel.tensor: 3 ranks cannot be split into groups of 4 \(got 4 ranks, one of them the dedicated coordinator\); hint: '
refused 4 'parallel.tensor: 4 ranks cannot be split into groups of 3 .*one of: 1, 2, 4' --set parallel.tensor=3 \
    --set parallel.coordinator=shared
refused 8 'parallel.tensor: 7 ranks cannot share a base of 6 attention heads .*hint: .* 1 to 6' --set parallel.tensor=7 --set parallel.coordinator=shared
error 2 'parallel.tensor: 2 ranks cannot be split into groups of 4' ranks 2 "$CLLAVA" eval $checkpoint --quiet \
    --set parallel.tensor=4 --set parallel.coordinator=shared
error 2 '--set: parallel.wire: .*f32, bf16' "$CLLAVA" config run.yaml --set parallel.wire=f16
error 2 'watchdog.seconds' "$CLLAVA" config run.yaml --set watchdog.seconds=-1
echo 'all passed'
