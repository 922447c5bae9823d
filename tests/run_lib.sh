# run_lib.sh - small runs of the program for the scripts that drive it (sourced): configurations over the golden sets, runs
# that are stopped or killed at chosen points, and the comparison of what two runs left behind.
set -euo pipefail
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
golden=$SOURCE_DIR/golden
work=$(mktemp -d)
sessions=$(mktemp -d) # Open MPI's own folders: of its common one, a run that ends takes away what another is just making
trap 'rm -rf "$work" "$sessions"' EXIT
cd "$work"

skip() {
    echo "skipped: $*"
    exit 77
}
for tool in h5dump h5diff; do command -v $tool >/dev/null || skip "no $tool (package hdf5-tools)"; done
fail() { echo "FAIL: $*"; tail -n 12 out err 2>/dev/null; exit 1; }

# configuration SET OUTPUT [LINES] > FILE: lines replace those that begin with the same word.
configuration() {
    local set=$1 output=$2 more=${3-}
    local slots='{slots_per_task: 3, rank: 4, top_m: 2, key_groups: 1' template=vicuna_v1
    [[ $set == a ]] || { slots='{slots_per_task: 4, rank: 2, top_m: 3, key_groups: 4'; template=llava_hf; }
    {
        cat <<YAML
base: $golden/$set/base
encoder: $golden/$set/encoder
method: continual_llava
stream: {name: golden, tasks: [$(task colour 0 "$set"), $(task shape 1 "$set")]}
prompt: {template: $template}
pool: $slots, init: $golden/$set/init.h5}
stage1: {epochs: 2, batch: 3, lr: 1e-2, weight_decay: 0.01, lr_decay: 0.1, clip: 0.1, shuffle: false}
stage2: {epochs: 1, batch: 3, micro_batch: 2, lr: 1e-2, shuffle: false}
eval: {max_new_tokens: 8, batch: 4}
checkpoint: {every_steps: 2, keep: 2}
precision: f32
output: $output
YAML
        printf '%s\n' "$more"
    } | awk '/^[a-z]/ { if (!($1 in at)) order[n++] = $1; at[$1] = $0 } END { for (i = 0; i < n; i++) print at[order[i]] }'
}

task() { echo "{name: $1, train: $golden/$3/data/task$2.json, test: $golden/$3/data/task$2.json, metric: exact}"; }

# train STATUS CONFIG [OPTIONS]: the status must be this.
train() {
    local want=$1 status=0
    shift
    "$CLLAVA" train "$@" >out 2>err </dev/null || status=$?
    [[ $status == "$want" ]] || fail "train $*: status $status, expected $want"
}

# The log without what depends on the clock and on where a run was stopped.
events() { grep -v '"event":"checkpoint"' "$1/log.jsonl" | sed -E 's/"(time|seconds|tokens_per_s|peak_mib)":[^,}]*,?//g; s/,}/}/'; }

# What a checkpoint holds, to the last bit; attributes hold times and paths.
dump() { h5dump -A 0 -m %.17g "$1" | tail -n +2; }

# same A B: two runs ended alike, bit for bit. A stays as it is meanwhile.
same() {
    local file
    diff <(events "$1") <(events "$2") >difference || { head -20 difference; fail "$2: another log than $1"; }
    diff <(cd "$1" && ls) <(cd "$2" && ls) || fail "$2: other files than $1"
    for file in "$1"/*.h5; do
        mkdir -p dump/"$1"
        [[ -e dump/$file ]] || dump "$file" >"dump/$file"
        dump "$2/${file##*/}" | cmp -s - "dump/$file" || fail "$2/${file##*/} holds something else than $file"
    done
    diff -r "$1/predictions" "$2/predictions" || fail "$2: other predictions than $1"
    cmp "$1/accuracy.csv" "$2/accuracy.csv" || fail "$2: another matrix than $1"
    cmp "$1/accuracy.svg" "$2/accuracy.svg" || fail "$2: another picture than $1"
    [[ -z $(find "$2" -name '*.tmp*') ]] || fail "$2: temporary files are left"
}

# Like train, but with break_at.c: broken STATUS HOW N OUTPUT CONFIG [OPTIONS].
broken() {
    local want=$1 how=$2 at=$3 output=$4 status=0
    shift 4
    LD_PRELOAD=$BREAK_AT_LIB ASAN_OPTIONS=verify_asan_link_order=0 BREAK_IN=$PWD/$output BREAK_HOW=$how BREAK_AT=$at \
        BREAK_COUNT=$PWD/count "$CLLAVA" train "$@" >out 2>err </dev/null || status=$?
    [[ $status == "$want" ]] || fail "train $*, $how at change $at: status $status, expected $want"
}

# error STATUS WORDS COMMAND..: one message that has the words (a regular expression), nothing on stdout.
error() {
    local want=$1 words=$2 status=0
    shift 2
    "$@" >out 2>err </dev/null || status=$?
    [[ $status == $want ]] || fail "$*: status $status, expected $want"
    [[ $(grep -c '^cllava: error: ' err) == 1 ]] || fail "$*: not one error message"
    grep '^cllava: error: ' err | grep -qE -- "$words" || fail "$*: no '$words' in the error message"
    [[ ! -s out ]] || fail "$*: something on stdout"
}

# ranks N COMMAND..: as N ranks, on a small machine over loopback. tests/CMakeLists.txt says the same for programs.
ranks() {
    local n=$1
    shift
    [[ -x ${MPIRUN-} ]] || skip 'no mpirun (package openmpi-bin)'
    env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 \
        OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo \
        OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_orte_tmpdir_base="$sessions" \
        OMPI_MCA_btl_vader_single_copy_mechanism=none OMP_WAIT_POLICY=passive \
        ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}" \
        timeout -k 5 "${RANKS_LIMIT:-120}" "$MPIRUN" -q --bind-to none -n "$n" "$@"
}

# alike A B: the same events, losses to 1e-4, norms and angles to 1e-3, penalties and divergences to 2e-3 and gains to 1e-2 of each
# other, the same predictions.
alike() {
    local figures='s/"(loss|grad_norm|penalty|jsd|gain|angle)":[^,}]*/"\1"/g' name
    diff <(events $1 | sed -E "$figures") <(events $2 | sed -E "$figures") >difference || { head -n 4 difference; return 1; }
    for name in loss=1e-4 grad_norm=1e-3 penalty=2e-3 jsd=2e-3 gain=1e-2 angle=1e-3; do
        grep -q "\"${name%=*}\"" < <(events $1) || continue
        paste -d ' ' <(events $1 | sed -nE "s/.*\"${name%=*}\":([^,]*).*/\1/p") \
            <(events $2 | sed -nE "s/.*\"${name%=*}\":([^,]*).*/\1/p") |
            awk -v most=${name#*=} '{ d = $1 - $2; m = $1 < 0 ? -$1 : $1; if (d < 0) d = -d; if (d > most * m) { print; bad = 1 } }
                END { exit bad || !NR }' || return 1
    done
    diff -r $1/predictions $2/predictions
}

# equal A B: runs over both golden tasks ended with the same pool and answers, whatever else differs.
equal() {
    for array in A B; do
        cmp <(h5dump -m %.17g -d /pool/$array "$1/checkpoint-task1-shape.h5" | tail -n +2) \
            <(h5dump -m %.17g -d /pool/$array "$2/checkpoint-task1-shape.h5" | tail -n +2) || return 1
    done
    diff -r $1/predictions $2/predictions >/dev/null
}

# alike_on WHAT LAYOUT..: run.yaml on so many ranks ("RANKS TENSOR COORDINATOR") gives what one process left in `run`.
alike_on() {
    local what=$1 layout n tensor coordinator
    shift
    for layout; do
        read -r n tensor coordinator <<<"$layout"
        rm -rf again
        ranks $n "$CLLAVA" train run.yaml --quiet --set output=again --set parallel.tensor=$tensor \
            --set parallel.coordinator=$coordinator >out 2>err </dev/null || fail "$what on $layout"
        alike run again || fail "$what on $layout: another run"
    done
}
