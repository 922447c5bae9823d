#!/usr/bin/env bash
# test_program.sh - the program from outside: help of every command, exit statuses, one message on stderr, nothing on stdout then.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() { echo "FAIL: $*"; cat out err 2>/dev/null; exit 1; }

# expect STATUS WORDS-ON-STDERR COMMAND..
expect() {
    local want=$1 words=$2 status=0
    shift 2
    "$@" >out 2>err </dev/null || status=$?
    [[ $status == "$want" ]] || fail "$*: status $status, expected $want"
    [[ -z $words ]] || grep -qF -- "$words" err || fail "$*: no '$words' on stderr"
    if [[ $want != 0 ]]; then
        [[ $(grep -c '^cllava: error: ' err) == 1 ]] || fail "$*: not one error message"
        [[ ! -s out ]] || fail "$*: something on stdout"
    fi
}

expect 0 '' "$CLLAVA" --version
grep -qE '^cllava [0-9]+\.[0-9]+\.[0-9]+$' out || fail 'version'
expect 0 '' "$CLLAVA" --help
cp out help
sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' help >commands
while read -r command; do
    expect 0 '' "$CLLAVA" "$command" --help
    grep -qF "usage: cllava $command" out || fail "help of $command"
    expect 2 "$command: unknown option (got --no-such" "$CLLAVA" "$command" --no-such
done <commands
grep -qx config commands || fail 'list of commands'
expect 2 'no command' "$CLLAVA"
expect 2 'did you mean config?' "$CLLAVA" cofnig
expect 2 'unknown option' "$CLLAVA" --frob
expect 2 'too many arguments' "$CLLAVA" config a b
expect 2 'no.yaml: No such file' "$CLLAVA" config no.yaml

# A configuration and the golden set's files.
cat >run.yaml <<YAML
base: $SOURCE_DIR/golden/a/base
encoder: $SOURCE_DIR/golden/a/encoder
stream:
  name: shapes
  tasks:
    - {name: colour, train: $SOURCE_DIR/golden/a/data/task0.json, test: $SOURCE_DIR/golden/a/data/task0.json}
stage1: {shuffle: false, lr: 1e-2}
YAML
expect 0 '' "$CLLAVA" config run.yaml --set stage2.lr=1e-2
grep -qx '  lr: 0.01' out || fail 'resolved configuration'
cp out resolved.yaml
expect 0 '' "$CLLAVA" config resolved.yaml
cmp -s out resolved.yaml || fail 'the resolved file does not resolve to itself'
expect 2 '--set: base: No such file' "$CLLAVA" config run.yaml --set base=x
expect 2 '--set: method: unknown value (got continual_lava' "$CLLAVA" config run.yaml --set method=continual_lava
expect 2 'did you mean continual_llava?' "$CLLAVA" config run.yaml --set method=continual_lava
expect 2 '--set: stream.tasks.0.metric: unknown value (got exat, expected one of exact' "$CLLAVA" config run.yaml --set stream.tasks.0.metric=exat
expect 2 '--set: prompt.template: unknown (got "vicuna"' "$CLLAVA" config run.yaml --set prompt.template=vicuna
sed -i 's/stage1: {/stage1: {sufle: true, /' run.yaml
expect 2 'run.yaml:7: stage1.sufle: unknown key (valid keys of stage1: epochs,' "$CLLAVA" config run.yaml

# Results that cannot be written, several processes.
status=0
"$CLLAVA" --help >/dev/full 2>err || status=$?
[[ $status == 1 ]] || fail "full disk: status $status"
grep -qF 'standard output cannot be written: No space left' err || fail 'full disk: message'
export OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=0
leaks=${ASAN_OPTIONS-}
export ASAN_OPTIONS=detect_leaks=0 # MPI's own
expect 2 'started as 2 processes that cannot talk to each other (got 1 of them in MPI, expected 2)' "$CLLAVA" config
status=0
OMPI_COMM_WORLD_RANK=1 "$CLLAVA" config >out 2>err || status=$?
[[ $status == 2 && ! -s out && ! -s err ]] || fail 'rank 1 is not silent'
unset OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_RANK
export ASAN_OPTIONS=$leaks
export SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0
expect 2 'srun has started 2 processes that cannot talk to each other; hint: srun --mpi=pmix' "$CLLAVA" config
unset SLURM_STEP_NUM_TASKS SLURM_PROCID

# What is installed beside the program.
"$CLLAVA" --completion >completion
bash -n completion
complete_line() { # WORDS..: what bash offers for the last one
    bash -c 'source ./completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _cllava; echo "${COMPREPLY[*]}"' _ "$@"
}
[[ $(complete_line cllava conf) == config ]] || fail 'completion of commands'
[[ $(complete_line cllava config --js) == --json ]] || fail 'completion of options'
[[ $(complete_line cllava config --set stage1.lr) == 'stage1.lr= stage1.lr_decay=' ]] || fail 'completion of keys'
"$CLLAVA" --man >cllava.1
grep -q '^\.SS config' cllava.1 || fail 'manual page'
if command -v man >/dev/null; then
    MANWIDTH=100 man --warnings -l cllava.1 >page 2>warnings || fail 'manual page'
    [[ ! -s warnings ]] || { cat warnings; fail 'warnings of the manual page'; }
fi
echo 'all passed'
