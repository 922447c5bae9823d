#!/usr/bin/env bash
# rehearsal_table.sh - what comes again of earlier tasks, and how it is chosen, on the embedded domain stream, three seeds.
#
#   tests/long/rehearsal_table.sh [FOLDER]     default build/methods-table; for the rest see table_lib.sh
source "${BASH_SOURCE%/*}/table_lib.sh"
folder=${1:-$root/build/methods-table}
options_table rehearsal replay.yaml <<'YAML'
  - {}
  - {replay.choose: kpig}
  - {replay.choose: kpig, kpig.share: 0.25}
  - {kpig.weight: 0.3}
  - {replay.choose: kpig, kpig.weight: 0.3}
  - {method: self_guide}
  - {method: self_guide, self_guide.questions: written}
  - {replay.budget: 0}
YAML
exit "${status:-0}"
