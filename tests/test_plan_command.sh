#!/usr/bin/env bash
# test_plan_command.sh - plan answers for LLaVA-1.5-7B and 13B from config.json alone, at 1 to 64 ranks, and its numbers add up: parameters,
# bytes of bf16 weights, operations counted by hand from the shapes, what travels, layouts that heads do not allow.
source "$SOURCE_DIR/run_lib.sh"

# llava NAME HIDDEN LAYERS HEADS FFN
llava() {
    mkdir -p "$1"
    cat >"$1/config.json" <<JSON
{"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": 32000,
 "projector_hidden_act": "gelu", "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
 "text_config": {"model_type": "llama", "hidden_size": $2, "intermediate_size": $5, "num_hidden_layers": $3,
  "num_attention_heads": $4, "num_key_value_heads": $4, "rms_norm_eps": 1e-5, "vocab_size": 32064},
 "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
  "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14}}
JSON
    cat >"$1.yaml" <<YAML
base: $1
encoder: base
stream: {name: coast, tasks: [{name: chartqa, train: none.json, test: none.json}]}
precision: bf16
stage2: {batch: 32, micro_batch: 4}
YAML
}
llava 7b 4096 32 32 11008
llava 13b 5120 40 40 13824

plan() { # CONFIG OPTIONS: one "key value" a line, layouts behind each other
    "$CLLAVA" plan "$@" --tokens 672 --answers 32 --tasks 4 --json 2>err | tr '{[,' '\n' | tr -d '"}]' | sed -E 's/^ +//; s/: ?/ /' >out || fail "plan $*"
}
value() { awk -v k="$1" -v n="${2:-1}" '$1 == k && ++seen == n { print $2; exit }' out; }
near() { # WHAT GOT EXPECTED SHARE
    awk -v a="$2" -v b="$3" -v s="$4" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(d <= s * b) }' || fail "$1 is $2, expected $3 within $4"
}

# Parameters of the public models, and bytes of their decoders: all but the embedding table, which is mapped, in bf16.
plan 7b.yaml --ranks 1
near '7B parameters' "$(value all)" 7.063e9 0.001
near '7B weights' "$(value base)" "$((2 * (6738939904 - 32064 * 4096)))" 0.01
# 32 samples: 4 operations per decoder weight and token, in the last layer all but k and v for the 33rd part; the tower 2 per weight
# and patch; attention 12 per pair of tokens below the diagonal and number of a head.
flop=$(awk 'BEGIN { L = 32; D = 4096; F = 11008; n = 672; r = 32; V = 32064
    layer = 4 * D * D + 3 * D * F
    tokens = 4 * n * (layer * (L - 1) + 2 * D * D) + 4 * r * (layer - 2 * D * D + D * V)
    attention = (4 + 8) * (L - 1) * D * n * (n + 1) / 2
    tower = 2 * 577 * 23 * (12 * 1024 * 1024) + 4 * 23 * 577 * 577 * 1024 + 2 * 576 * (1024 * 588 + 1024 * D + D * D)
    printf "%.6g", 32 * (tokens + attention + tower) }')
near '7B operations of a step' "$(value flop_step)" "$flop" 0.03
plan 13b.yaml --ranks 1
near '13B parameters' "$(value all)" 13.35e9 0.002

# Every number of ranks has an answer; a half holds half; what travels grows with (P - 1) / P.
for config in 7b 13b; do
    plan $config.yaml
    for ranks in 1 2 4 8 16 32 64; do grep -q "^ranks $ranks$" out || fail "$config: no answer for $ranks ranks"; done
    ! grep -qE 'nan|inf' out || fail "$config: not a number"
done
plan 7b.yaml --ranks 2 --set parallel.tensor=2
one=$((2 * (6738939904 - 32064 * 4096)))
grep -q '^tensor 2$' out || fail 'no layout of the configuration'
base=$(awk '$1 == "tensor" { t = $2 } $1 == "base" && t == 2 { print $2; exit }' out)
near 'half of the weights' "$base" $((one / 2)) 0.01
wire=$(awk '$1 == "tensor" { t = $2 } $1 == "wire_bytes" && t == 2 { print $2; exit }' out)
# per micro-batch and rank: 2 (P - 1) / P = 1 times f32 rows of D: embedding, two a layer forward and back, few rows in the last;
# the tower's two a block
near 'bytes on the wire' "$wire" "$(awk 'BEGIN { D = 4096 * 4; n = 672; r = 32; printf "%.0f", 32 * (D * (n * (1 + 2 * 31 + 2 * 31) + r * 4) + 23 * 2 * 577 * 1024 * 4) }')" 0.03

# What heads do not allow; what is no number of ranks; a base that is not there.
error 2 '48 ranks.*(head|heads)' "$CLLAVA" plan 7b.yaml --ranks 48 --set parallel.tensor=48 --tokens 672
error 2 '.-ranks 0 .expected' "$CLLAVA" plan 7b.yaml --ranks 0
error '[12]' 'nowhere' "$CLLAVA" plan 7b.yaml --set base=nowhere
"$CLLAVA" plan 7b.yaml --tokens 672 --answers 32 --tasks 4 --scaling >out 2>err || fail 'plan --scaling'
grep -qE '^\| *512 ' out || fail 'no row of 512 ranks'
echo 'all passed'
