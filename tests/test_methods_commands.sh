#!/usr/bin/env bash
# test_methods_commands.sh - what the other commands make of checkpoints of the baselines.
source "$SOURCE_DIR/run_lib.sh"

for method in taskwise_lora o_lora moe_lora ewc l2p; do
    configuration a $method "method: $method
pool: {init: null}
lora: {rank: 4}
moe_lora: {experts: 5, rank: 2, top_k: 3}
l2p: {prompts: 4, length: 3, top_m: 2}
eval: {max_new_tokens: 4, zero_shot: false}" >$method.yaml
    train 0 $method.yaml
    grep -q "^| method  *| $method" err || fail "$method: not in the table of settings"
    "$CLLAVA" inspect $method/checkpoint-task1-shape.h5 >out 2>err || fail "inspect $method"
    "$CLLAVA" inspect --json "$PWD/$method/checkpoint-task1-shape.h5" >out 2>err || fail "inspect --json $method"
    cmp <(sed -z '$s/\n$//' out) $method/diagnostics.json || fail "$method: diagnostics.json is not what inspect says"
    grep -q '"usage_entropy": ' out || fail "$method: no diagnostics"
    for routing in oracle random; do
        "$CLLAVA" eval $method/checkpoint-task1-shape.h5 --routing $routing --output answers --quiet >out 2>err || fail "eval $method"
    done
    grep -q "^  $method  " < <("$CLLAVA" --help) || fail "$method: not in the help"
done

# What is penalised is told apart from the loss of the answers; who routes by questions that own no slots tells nothing of routes.
grep -q '"event":"stage2".*"penalty":' ewc/log.jsonl || fail 'ewc: no penalty in the log'
grep -q '"penalty"' moe_lora/log.jsonl && fail 'moe_lora: a penalty in the log'
grep '"event":"eval"' moe_lora/log.jsonl | grep -qv '"routed":null' && fail 'moe_lora: routed to tasks'

# A task's own LoRA, those up to it, and what no LoRA can say.
rank_of() { grep -o '"r": *[0-9]*' $1/adapter_config.json | grep -o '[0-9]*$'; }
for method in taskwise_lora o_lora; do
    for task in 0 1; do
        "$CLLAVA" export $method/checkpoint-task1-shape.h5 --format peft --task $task --output peft-$method-$task >out 2>err ||
            fail "export $method"
    done
done
[[ $(rank_of peft-taskwise_lora-0) == 4 && $(rank_of peft-taskwise_lora-1) == 4 ]] || fail 'taskwise_lora: not one LoRA'
cmp -s peft-taskwise_lora-{0,1}/adapter_model.safetensors && fail 'taskwise_lora: the same LoRA for both tasks'
[[ $(rank_of peft-o_lora-0) == 4 && $(rank_of peft-o_lora-1) == 8 ]] || fail 'o_lora: not the LoRAs up to the task'
error '[1-9]' 'no task has one mixture; hint: --slot' "$CLLAVA" export moe_lora/checkpoint-task1-shape.h5 --format peft --task 0
"$CLLAVA" export moe_lora/checkpoint-task1-shape.h5 --format peft --slot 4 --output peft-moe >out 2>err || fail 'export of an expert'

# Who does not know the task cannot choose its LoRA.
error 2 "chooses its slot by the task's number" "$CLLAVA" score taskwise_lora/checkpoint-task1-shape.h5 "$golden/a/data/task0.json"
"$CLLAVA" score moe_lora/checkpoint-task1-shape.h5 "$golden/a/data/task0.json" >out 2>err || fail 'score moe_lora'
[[ $(head -1 out) == *'"selected":['*,*,*'],"intrinsic":'* ]] || fail 'moe_lora: not three experts'

# The loss that diagnostics tell of a task's records is what score says of them (the set has fewer than eval.loss_samples).
measured=$(awk -F'[:,]' '/"loss_now"/ { print $2; exit }' moe_lora/diagnostics.json)
awk -v measured="$measured" '{ n = $0; t = $0; sub(/.*"nll":/, "", n); sub(/.*"tokens":/, "", t); nll += n + 0; tokens += t + 0 }
    END { d = measured - nll / tokens; exit !(tokens > 0 && d < 1e-5 && d > -1e-5) }' out || fail "moe_lora: a loss of $measured"

# Prompts: their places count in lengths; what the base alone answers has none.
error '[1-9]' 'method l2p learned prompts, for which a LoRA directory has no place' "$CLLAVA" export l2p/checkpoint-task1-shape.h5 --format peft --task 0
"$CLLAVA" inspect l2p/checkpoint-task1-shape.h5 >out 2>err || fail 'inspect l2p'
grep -q '^Prompts: 4 of 3 rows (width 64), keys of width 32, 2 selected' out || fail 'l2p: no prompts in inspect'
"$CLLAVA" score l2p/checkpoint-task1-shape.h5 "$golden/a/data/task0.json" >out 2>err || fail 'score l2p'
[[ $(head -1 out) =~ '"selected":['[0-3],[0-3]']' ]] || fail 'l2p: not two prompts'
"$CLLAVA" score l2p/config.yaml "$golden/a/data/task0.json" --base-only >base 2>err || fail 'score of the base'
configuration a plain 'method: zero_shot
pool: {init: null}' >plain.yaml
"$CLLAVA" score plain.yaml "$golden/a/data/task0.json" --base-only >out 2>err || fail 'score of the base'
cmp base out || fail 'l2p: the base alone has prompts'
"$CLLAVA" generate l2p/checkpoint-task1-shape.h5 'what is it?' >out 2>err || fail 'generate l2p'
grep -q '^slots:' err || fail 'l2p: no prompts beside the answer'
places() { grep -o '"tokens":[0-9]*,"tokens_per_s"' $1/log.jsonl | head -1 | grep -o '[0-9]*'; }
[[ $(places l2p) == $(($(places moe_lora) + 3 * 6)) ]] || fail "l2p: steps of $(places l2p) tokens"
longest=$("$CLLAVA" plan l2p.yaml --json 2>err | grep -o '"longest": [0-9]*' | head -1 | grep -o '[0-9]*$')
for limit in "$longest" $((longest - 1)); do
    status=0
    "$CLLAVA" train l2p.yaml --quiet --set output=limit --set stage2.max_length=$limit >out 2>err </dev/null || status=$?
    [[ $limit == "$longest" ]] && { [[ $status == 0 ]] || fail 'l2p: not as long as planned'; }
done
[[ $status != 0 ]] && grep -q "sample too long (got $longest tokens" err || fail 'l2p: prompts count for nothing'
error 2 'l2p.top_m: 5 prompts of a question, but l2p.prompts is 4' "$CLLAVA" train l2p.yaml --set output=bad --set l2p.top_m=5
error 2 'method l2p adds no slots for each task' "$CLLAVA" train l2p.yaml --set output=bad --set lines.first=0.5
error 2 'method l2p has no pool to take initial values for' "$CLLAVA" train l2p.yaml --set output=bad --set pool.init=l2p/checkpoint-task1-shape.h5
error 2 'l2p.length' "$CLLAVA" train l2p.yaml --set output=bad --set l2p.length=0

# A checkpoint of one method is no checkpoint of another.
error '[1-9]' 'of method "ewc" \(expected "lwf"\)' "$CLLAVA" eval ewc/checkpoint-task1-shape.h5 --set method=lwf --output answers
echo 'all passed'
