#!/bin/bash
# What the program reports without training, and that it is true: --check and its relatives, and the memory that a run takes
# against the memory that was planned. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

number_of() { sed -n "s/^$1 *= *\([0-9]*\).*/\1/p" "$2"; }

# Every layer is on one rank, in order, and costs and rows are complete. Reads the output of --check.
partition_is_whole() { # RANKS LAYERS
  awk -v ranks="$1" -v layers="$2" '
    $1 ~ /^[0-9]+$/ && / [0-9.]+% / {
      if ($1 != rows++) exit 1
      for (i = 2; $i !~ /%$/; i++) {
        if ($i !~ /^[0-9]/) continue
        split($i, span, "-")
        if (span[1] != next_layer) exit 1
        next_layer = (2 in span ? span[2] : span[1]) + 1
        delete span
      }
      embeds += $2 == "embed"
      heads += $(i - 1) == "head"
    }
    END { exit !(rows == ranks && next_layer == layers && embeds == 1 && heads == 1) }' <<<"$output"
}

tells() {
  local text
  for text; do
    grep -q -e "$text" <<<"$output" || { echo "# missing: $text" && return 1; }
  done
}

tells_the_plan() {
  tells ' weights.* projectors.* moments.* gradients.* activations.* workspace.* transfer.* data.* runtime.* total' \
    '^model .*[0-9] FLOPs per token' '^wire ' '^bubble ' '^memory .* on the fullest rank' '^checkpoint ' '^time '
}

# explained FILE RANKS: a plan, or how many ranks are possible.
explained() {
  local layers
  layers=$(number_of num_layers "$1")
  run "$program" --check --ranks "$2" "$1" backend.threads=1
  if [ "$2" -le $((layers + 2)) ]; then
    [ "$code" = 0 ] && tells_the_plan && partition_is_whole "$2" "$layers" && return
  else
    [ "$code" = 2 ] && tells "the largest number is $((layers + 2))" && return
  fi
  printf '%s\n' "exit $code: $output" | sed 's/^/# /'
  return 1
}

explained_on_any_ranks() { explained "$1" 1 && explained "$1" 2 && explained "$1" 8; }

for input in inputs/*.in; do
  check "--check explains $input on 1, 2 and 8 ranks" explained_on_any_ranks "$input"
done

# mib "12.3 MiB"
mib() { awk '{ print $1 * ($2 == "GiB" ? 1024 : $2 == "MiB" ? 1 : 1 / 1024) }' <<<"$1"; }

# holds PLANNED MEASURED: as "12.3 MiB".
holds() {
  echo "# planned $1, measured $2"
  awk -v planned="$(mib "$1")" -v measured="$(mib "$2")" \
    'BEGIN { exit !(planned > 0 && measured > 0.95 * planned && measured < 1.05 * planned) }'
}

measured() { sed -n 's/^memory .*measured peak \([0-9.]* .iB\) .*/\1/p' <<<"$output"; }
plan_of_run_holds() { holds "$(sed -n 's/^memory .*: planned \([0-9.]* .iB\),.*/\1/p' <<<"$output")" "$(measured)"; }
plan_of_check_holds() {
  holds "$("$program" --check --ranks "$@" | sed -n 's/^memory *\([0-9.]* .iB\) on the fullest rank/\1/p')" "$(measured)"
}

# memory RANKS INPUT [KEY=VALUE...]: two steps on random tokens need all that any step needs: refresh, update, checkpoint.
memory() {
  local name=${2##*/}-$1 keys=(data.train=random:200000 data.valid= train.validate_every=0 train.steps=2
    optimizer.warmup_steps=1 backend.threads=1 "${@:3}")
  run mpirun --bind-to none -np "$1" "$program" "$2" run.output_dir="$tmp" run.name="$name" "${keys[@]}"
  expect "$name: two steps" 0 "all 2 steps done"
  check "$name: take the memory that the run planned" plan_of_run_holds
  check "$name: and that --check predicts" plan_of_check_holds "$1" "$2" "${keys[@]}"
}

memory 1 inputs/llama60m.in train.global_batch=8 train.micro_batch=8
memory 1 inputs/demo.in
memory 2 inputs/demo.in
memory 2 inputs/llama9m.in train.global_batch=8 train.micro_batch=4 optimizer.method=adamw backend.precision=fp32 \
  model.tie_embeddings=yes

run "$program" --help
expect "--help tells options and exit codes" 0 "Exit codes: 0 finished or checkpointed early, 1 runtime, 2 input"
run "$program" --help-input
expect "--help-input tells every section" 0 "[checkpoint]"
run "$program" --help-input=qgalore
expect "--help-input=qgalore tells the keys of one" 0 "similarity_threshold: "
run "$program" --help-input=nosuch
expect "--help-input of nothing known is an error" 2 "there is no section or key 'nosuch'"
run "$program" --help-input=optimizer.lrr
expect "that suggests the nearest" 2 "did you mean 'optimizer.lr'?"
run "$program" --help-input=markdown
expect "--help-input=markdown is the page of the manual" 0 "$(head -n 3 doc/inputs.md 2>/dev/null)"
run "$program" --version
expect "--version tells the program, the compiler and oneDNN" 0 "compiler: "
run "$program" --list-backends
expect "--list-backends tells why a backend is missing" 0 "cuda  "
run "$program" --status "$tmp/demo.in-2"
expect "--status tells how a run stands" 0 "state       finished"
run "$program" --verify "$(newest demo.in-2)"
expect "--verify finds a fresh checkpoint whole" 0 "is complete and undamaged"

finish
