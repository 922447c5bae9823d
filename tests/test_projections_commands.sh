#!/usr/bin/env bash
# test_projections_commands.sh - increments on other linear maps than o_proj, from outside: methods train, agree on any layout of
# ranks, go on where they were killed, are evaluated, shown and exported; what does not fit is refused by name.
source "$SOURCE_DIR/run_lib.sh"

maps='adapter: {projections: all}'
free='pool: {slots_per_task: 3, rank: 2, top_m: 2, key_groups: 1}'

# Continual LLaVA, with pictures, on one process and on ranks.
configuration a run "$free
$maps" >run.yaml
train 0 run.yaml
alike_on 'continual_llava on all maps' '4 2 shared' '3 1 dedicated'
grep -q '^  projections: "*q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj' run/config.yaml ||
    fail 'config.yaml: all is not spelled out'

# Names in another order are the same run, which has ended; another choice is another run.
train 0 run.yaml --set 'adapter.projections=down_proj, q_proj,k_proj,v_proj,up_proj,gate_proj,o_proj'
grep -q 'holds a finished run' err || fail 'the same maps in another order are another run'
train 2 run.yaml --set adapter.projections=o_proj

# Evaluation and scores need no word of it: the file says it.
last=run/checkpoint-task1-shape.h5
"$CLLAVA" eval $last --output answers --quiet >out 2>err || fail eval
for on in 0 1; do
    cmp run/predictions/after1-on$on.jsonl answers/predictions/on$on.jsonl || fail "eval: other answers than after training, task $on"
done
error 1 'increments on self_attn.q_proj, .*mlp.down_proj \(the configuration gives self_attn.o_proj\)' \
    "$CLLAVA" eval $last --output answers2 --quiet --set adapter.projections=o_proj

# What is written can be looked at, and taken out.
"$CLLAVA" inspect $last >out 2>err || fail inspect
grep -q '^Increments on q_proj (.*), k_proj .*, down_proj (' out || fail 'inspect: no maps'
h5dump -a /pool/target $last | grep -q '"self_attn.q_proj, .*, mlp.down_proj"' || fail 'no target in the file'
"$CLLAVA" export $last --task shape --output peft >out 2>err || fail export
for name in self_attn.{q,k,v,o}_proj mlp.{gate,up,down}_proj; do
    for half in A B; do
        grep -aq "base_model.model.model.language_model.layers.1.$name.lora_$half.weight" peft/adapter_model.safetensors ||
            fail "export: no $name"
    done
done
"$CLLAVA" plan run.yaml --ranks 1,2 >out 2>err || fail plan
grep -q 'numbers on q_proj, k_proj' out || fail 'plan: no maps'

# Plain LoRA on all maps, as sequential LoRA is mostly meant; killed on its way. O-LoRA on some.
plain='pool: {init: null}
lora: {rank: 4}
stage2: {epochs: 2, batch: 4, micro_batch: 3, lr: 1e-2, shuffle: true}'
for method in sequential_lora o_lora; do
    rm -rf run calm x dump
    [[ $method == o_lora ]] && maps='adapter: {projections: "v_proj, q_proj, up_proj"}'
    configuration b calm "method: $method
$plain
$maps" >calm.yaml
    broken 0 none 0 calm calm.yaml
    configuration b x "method: $method
$plain
$maps" >x.yaml
    for at in $(($(<count) / 7)) $(($(<count) / 2)); do broken 137 kill "$at" x x.yaml 2>/dev/null; done
    train 0 x.yaml
    same calm x
    mv calm run
    cp x.yaml run.yaml
    alike_on "$method" '3 1 dedicated'
done
"$CLLAVA" export x/checkpoint-task1-shape.h5 --task shape --output peft >out 2>err || fail 'export of o_lora'
grep -q 'language_model.*(q_proj|v_proj|up_proj)"' peft/adapter_config.json || fail 'export: other targets'

# What is kept of activations changes no bit.
rm -rf run again
configuration b run "method: sequential_lora
$plain
adapter: {projections: all}
activations: keep" >run.yaml
train 0 run.yaml
for level in recompute_mlp recompute_layer; do
    rm -rf again
    train 0 run.yaml --set output=again --set activations=$level
    same run again
done

configuration a x 'method: sequential_lora' >x.yaml
error 2 'adapter.projections: method l2p learns prompts, which are on no linear map' \
    "$CLLAVA" train x.yaml --set method=l2p --set adapter.projections=q_proj --quiet
error 2 'lw2g.threshold: subspaces are kept of one linear map.s inputs, but adapter.projections is q_proj, v_proj' \
    "$CLLAVA" train x.yaml --set method=continual_llava --set lw2g.threshold=30 --set adapter.projections=q_proj,v_proj --quiet
error 2 'adapter.projections: lm_head is no linear map of a decoder layer .expected some of q_proj' \
    "$CLLAVA" train x.yaml --set adapter.projections=q_proj,lm_head --quiet
error 2 'adapter.projections: q_proj is given twice' "$CLLAVA" train x.yaml --set adapter.projections=q_proj,q_proj --quiet
error 2 'adapter.projections: an empty name' "$CLLAVA" train x.yaml --set 'adapter.projections="q_proj,"' --quiet
echo 'all passed'
