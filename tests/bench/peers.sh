#!/usr/bin/env bash
# peers.sh - cllava beside Hugging Face transformers + PEFT (and llama.cpp) on the same shapes, by turns, so that both meet the
# same machine; figures go to one CSV, a Markdown table is made of it.
#
# usage: tests/bench/peers.sh [--rows UNIT,..] [--rounds N] [--csv FILE] [--again] [--write FILE.md] [--table] [--list]
#   --rows    which units to measure (--list shows them, with what they took); default: all but compiled and long
#   --rounds  how often; the order of the sides turns round each time. Figures that the CSV holds are not measured again (--again:
#             they are), so a run that was cut off goes on.
#   --write   fills the marked block of a Markdown file; --table prints the table and measures nothing
# environment: PY (a Python with torch, transformers, peft, safetensors), PEERS (folder with hf_peft.py and make_model.py; default
#   ../shared/tools/peers beside the project), MODELS (checkpoints: made there once where they are missing; default
#   TMPDIR/cllava-peers), LLAMA_BENCH (llama.cpp's llama-bench, optional), SHAPE (default m; s for a quick try), EVAL_SAMPLES
#   (questions of the evaluation; default 64), CLLAVA (default build/cllava), THREADS (default: all processors)
# Stop all other work before.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
units=(train1 train4 ranks trainf32 trains forward generate int8 evaluate load)
optional=(compiled long)
rows= rounds=1 csv=$here/peers.csv again= write= only_table=
die() {
    echo "peers.sh: $*" >&2
    exit 2
}
while (($#)); do
    case $1 in
    --rows) rows=${2:?} && shift ;;
    --rounds) rounds=${2:?} && shift ;;
    --csv) csv=${2:?} && shift ;;
    --write) write=${2:?} && shift ;;
    --again) again=1 ;;
    --table) only_table=1 ;;
    --list)
        echo "${units[*]} (and by name: ${optional[*]})"
        [[ ! -e $csv ]] || awk -F, 'NR > 1 { t[$(NF - 1) "/" $2 "/" $3 "/" $4] = $NF } END { for (k in t) print t[k] " s", k }' "$csv" | sort -k2
        exit ;;
    *) die "unknown argument $1 (see the top of this file)" ;;
    esac
    shift
done
[[ ${SHAPE:-m} == m || $csv != "$here/peers.csv" ]] || die 'figures of another shape than m need a file of their own: --csv'
[[ $rows ]] || rows=$(IFS=,; echo "${units[*]}")
for u in ${rows//,/ }; do [[ " ${units[*]} ${optional[*]} " == *" $u "* ]] || die "unknown unit $u (expected some of ${units[*]} ${optional[*]})"; done
PY=${PY:-}
PEERS=${PEERS:-$root/../shared/tools/peers} MODELS=${MODELS:-${TMPDIR:-/tmp}/cllava-peers} SHAPE=${SHAPE:-m}
CLLAVA=${CLLAVA:-$root/build/cllava} EVAL_SAMPLES=${EVAL_SAMPLES:-64} THREADS=${THREADS:-$(nproc)} LLAMA_BENCH=${LLAMA_BENCH:-}
python=${PY:-python3}

table() {
    "$python" "$here/peers.py" table "$csv" --goals "$here/goals.csv" ${write:+--write "$write"}
}
if [[ $only_table ]]; then
    table
    exit
fi

# What is missing is said; the other side is measured all the same.
missing=
[[ $PY ]] || missing='PY does not name a Python'
[[ $missing ]] || "$PY" -c 'import torch, transformers, peft, safetensors' 2>/dev/null || missing="$PY has no torch, transformers, peft or safetensors"
[[ $missing || -e $PEERS/hf_peft.py ]] || missing="no hf_peft.py in $PEERS (PEERS)"
[[ -z $missing ]] || echo "skipped: Hugging Face: $missing"
[[ $LLAMA_BENCH ]] || echo 'skipped: llama.cpp: LLAMA_BENCH does not name llama-bench'
[[ -x $CLLAVA ]] || die "no $CLLAVA; hint: ./run build, or CLLAVA=.."
CLLAVA_COMMIT=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
export CLLAVA_COMMIT PYTHONWARNINGS=ignore PYTHONDONTWRITEBYTECODE=1 TOKENIZERS_PARALLELISM=false TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl=self,vader
export OMPI_MCA_oob_tcp_if_include=lo OMPI_MCA_btl_vader_single_copy_mechanism=none
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$MODELS"

# one SIDE SETTING COMMAND..: runs it unless its figures are there; what it prints (or its --csv, \$work/out) is taken.
one() {
    local side=$1 setting=$2 begun=$SECONDS
    shift 2
    if [[ -z $again ]] && "$python" "$here/peers.py" done "$csv" --unit "$unit" --side "$side" --setting "$setting" --round "$round"; then
        echo "    $side $setting: there"
        return
    fi
    rm -f "$work/out"
    if ! "$@" >"$work/said" 2>"$work/err"; then
        echo "    $side $setting: FAILED: $(tail -3 "$work/err" | tr '\n' ' ')"
        return
    fi
    [[ -e $work/out ]] || mv "$work/said" "$work/out"
    "$python" "$here/peers.py" take "$csv" --unit "$unit" --side "$side" --setting "$setting" --round "$round" \
        --seconds $((SECONDS - begun)) --commit "$CLLAVA_COMMIT" --from "$work/out" || true
}

model() { # SHAPE: the peers' checkpoint
    [[ -e $MODELS/$1-bf16/config.json ]] || "$PY" "$PEERS/make_model.py" "$1" "$MODELS/$1-bf16" >&2
    echo "$MODELS/$1-bf16"
}
base() { # SHAPE: ours, of the same sizes
    [[ -e $MODELS/ours/$1/config.json ]] || "$CLLAVA" bench --shape "$1" --write-base "$MODELS/ours/$1" >&2
    echo "$MODELS/ours/$1"
}
ours() { # SETTING SHAPE ARGUMENTS..
    local dir
    dir=$(base "$2")
    one ours "$1" env OMP_NUM_THREADS="$THREADS" "$CLLAVA" bench --shape "$2" --base "$dir" --csv "$work/out" "${@:3}"
}
ours_ranks() { # SHAPE ARGUMENTS..
    local dir
    dir=$(base "$1")
    one ours "$THREADS ranks x 1 thread" env OMP_NUM_THREADS=1 mpirun --bind-to none -n "$THREADS" "$CLLAVA" bench --shape "$1" --base "$dir" \
        --csv "$work/out" "${@:2}"
}
hf() { # SETTING SHAPE ARGUMENTS..
    [[ -z $missing ]] || return 0
    local dir
    dir=$(model "$2")
    one peer "HF+PEFT, $1" "$PY" "$PEERS/hf_peft.py" "$2" --model "$dir" --threads "$THREADS" "${@:3}"
}
hf_ranks() { # SETTING SHAPE ARGUMENTS..
    [[ -z $missing ]] || return 0
    local dir
    dir=$(model "$2")
    one peer "HF+PEFT, $1" env OMP_NUM_THREADS=1 "$PY" -m torch.distributed.run --nproc-per-node "$THREADS" "$PEERS/hf_peft.py" "$2" \
        --model "$dir" --threads 1 "${@:3}"
}
hf_own() { # SETTING SHAPE ARGUMENTS..: of the script beside this one
    [[ -z $missing ]] || return 0
    local dir
    dir=$(model "$2")
    one peer "HF+PEFT, $1" "$PY" "$here/peer_evaluate.py" --model "$dir" --threads "$THREADS" "${@:3}"
}
llama() { # SETTING TYPE ARGUMENTS..
    [[ $LLAMA_BENCH ]] || return 0
    local gguf=$MODELS/$SHAPE-$2.gguf
    if [[ ! -e $gguf && $2 == q8_0 ]]; then
        "${LLAMA_BENCH%/*}/llama-quantize" "$(gguf_of bf16)" "$gguf" q8_0 >"$work/quantize" 2>&1 || { echo "    peer llama.cpp, $1: no $gguf" && return 0; }
    fi
    gguf=$(gguf_of "$2") || { echo "    peer llama.cpp, $1: no ${gguf:-file}" && return 0; }
    one peer "llama.cpp, $1" "$LLAMA_BENCH" -m "$gguf" -t "$THREADS" -ub 1024 -r 3 -o jsonl "${@:3}"
}
gguf_of() { # TYPE
    local gguf=$MODELS/$SHAPE-$1.gguf
    [[ -e $gguf ]] || "$PY" "$PEERS/make_gguf.py" "$SHAPE" "$gguf" --dtype "$1" >&2 || return 1
    echo "$gguf"
}

# both OURS PEER..: functions by name, in an order that turns round with the rounds.
both() {
    local f
    if ((round % 2)); then for f in "$@"; do "$f"; done; else for ((f = $#; f; f--)); do "${!f}"; done; fi
}

two=$THREADS
o_train1() { ours 'one process' "$SHAPE" --precision bf16 --rows training --batch 1 --seconds 8; }
p_train1() { hf "1 process x $two threads" "$SHAPE" --mode train --steps 3; }
o_train4() { ours 'one process' "$SHAPE" --precision bf16 --rows training --batch 4 --seconds 4; }
p_train4() { hf "1 process x $two threads" "$SHAPE" --mode train --batch 4 --steps 1; }
o_ranks() { ours_ranks "$SHAPE" --precision bf16 --rows training --batch 1 --seconds 8; }
p_ranks() { hf_ranks "$two processes x 1 thread (DDP)" "$SHAPE" --mode train --steps 2; }
o_trainf32() { ours 'one process' "$SHAPE" --precision f32 --rows training --batch 1 --seconds 8; }
p_trainf32() { hf "1 process x $two threads" "$SHAPE" --mode train --dtype f32 --steps 2; }
o_trains() { ours 'one process' s --precision bf16 --rows training --seconds 2; }
p_trains() {
    hf "1 process x $two threads" s --mode train --steps 20 --warmup 3
    hf "1 process x $two threads, batch 4" s --mode train --batch 4 --steps 10 --warmup 2
}
o_forward() { ours 'one process' "$SHAPE" --precision bf16 --rows forward --batch 1 --seconds 5; }
p_forward() { hf "1 process x $two threads" "$SHAPE" --mode forward --steps 4; }
o_generate() { ours 'one process' "$SHAPE" --precision bf16 --rows prefill,decode --batch 1 --seconds 4; }
p_generate() {
    hf 'generate' "$SHAPE" --mode generate --steps 3
    llama bf16 bf16 -p 640 -n 32
    llama f16 f16 -p 0 -n 32
}
o_int8() {
    "$CLLAVA" config | grep -q decode_weights || { echo '    the program offers no 8-bit weights for decoding' && return 0; }
    ours 'one process' "$SHAPE" --precision bf16 --rows decode --batch 1 --seconds 4 --set eval.decode_weights=int8
}
p_int8() { llama q8_0 q8_0 -p 0 -n 32; }
# Slots chosen per question, and, as the others have it, one LoRA for all: then questions on a picture share its keys and values.
o_evaluate() {
    ours 'one process' "$SHAPE" --precision bf16 --rows evaluation --batch 1 --samples "$EVAL_SAMPLES"
    ours 'one LoRA' "$SHAPE" --precision bf16 --rows evaluation --batch 1 --samples "$EVAL_SAMPLES" --set method=sequential_lora
}
p_evaluate() {
    for b in ${EVAL_BATCHES:-8}; do
        for sharing in 1 4; do
            hf_own "generate, batch $b, $sharing a picture" "$SHAPE" --batch "$b" --samples "$EVAL_SAMPLES" --sharing $sharing
        done
    done
}
o_load() { ours 'one process' "$SHAPE" --precision bf16 --rows decode --batch 1 --seconds 0; }
p_load() { hf 'every page touched' "$SHAPE" --mode load; }
o_compiled() { :; }
p_compiled() { hf 'compiled layers' "$SHAPE" --mode train --compile layers --steps 3 --warmup 2; }
o_long() { ours 'one process' l --precision bf16 --rows training,decode --batch 1 --seconds 0; }
p_long() { hf_own '1 process' l --mode long --new-tokens 16; }

for ((round = 1; round <= rounds; round++)); do
    for unit in ${rows//,/ }; do
        begun=$SECONDS
        echo "round $round: $unit"
        both "o_$unit" "p_$unit"
        echo "    $((SECONDS - begun)) s"
    done
done
[[ ! -e $csv ]] || table
