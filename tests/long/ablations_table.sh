#!/usr/bin/env bash
# ablations_table.sh - what each option of continual_llava changes on the embedded domain stream, three seeds.
#
#   tests/long/ablations_table.sh [FOLDER]     default build/methods-table; for the rest see table_lib.sh
source "${BASH_SOURCE%/*}/table_lib.sh"
folder=${1:-$root/build/methods-table}
options_table ablations continual_llava.yaml <<'YAML'
  - {}
  - {context.enabled: false}
  - {context.weights: uniform}
  - {context.weights: fixed, context.value: 0.5}
  - {stage1.epochs: 0}
  - {pool.mix: uniform}
  - {pool.mix: softmax, pool.temperature: 0.1}
  - {pool.query: picture}
  - {pool.query: both}
  - {pool.slots_per_task: 4}
  - {pool.slots_per_task: 16}
  - {pool.top_m: 1}
  - {pool.top_m: 8}
  - {pool.rank: 2}
  - {pool.rank: 32}
  - {eval.routing: oracle}
  - {eval.routing: random}
  - {eval.routing: mean_key}
  - {prompt.instruction: after}
  - {lines.first: 0.5, lines.last: 1}
  - {adapter.projections: "q_proj, v_proj"}
  - {adapter.projections: all}
  - {taskres.scale: 1}
  - {lw2g.threshold: 54}
YAML
exit "${status:-0}"
