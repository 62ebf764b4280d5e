#!/bin/bash
# What the program tells without training, and that it is true: --check and its relatives, and the memory that a run takes
# against the memory that was planned. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/tap.sh
. tests/support/tiny_run.sh

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
  tells ' weights .* projectors .* moments .* gradients .* activations .* workspace .* transfer .* data .* runtime .* total' \
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
  sed 's/^/# /' <<<"exit $code: $output"
  return 1
}

explained_on_any_ranks() { explained "$1" 1 && explained "$1" 2 && explained "$1" 8; }

for input in inputs/*.in; do
  check "--check explains $input on 1, 2 and 8 ranks" explained_on_any_ranks "$input"
done

# fits_plan: the peak that the run in $output measured is within 5 % of its plan.
fits_plan() {
  local share
  share=$(sed -n 's/^memory .*measured peak .*(\([0-9.]*\) %).*/\1/p' <<<"$output")
  echo "# measured peak: $share % of the plan"
  awk -v share="$share" 'BEGIN { exit !(share >= 95 && share <= 105) }'
}

# in_bytes NUMBER UNIT
in_bytes() { awk -v n="$1" -v u="$2" 'BEGIN { print n * (u == "GiB" ? 1024 : u == "MiB" ? 1 : 1 / 1024) }'; }

# check_agrees RANKS INPUT KEY=VALUE...: --check plans as much as the run in $output did, to 2 %.
check_agrees() {
  local planned predicted
  planned=$(sed -n 's/^memory .*: planned \([0-9.]* .iB\),.*/\1/p' <<<"$output")
  predicted=$("$program" --check --ranks "$@" | sed -n 's/^memory *\([0-9.]* .iB\) on the fullest rank/\1/p')
  echo "# --check: $predicted, the run: $planned"
  # shellcheck disable=SC2086
  awk -v a="$(in_bytes $planned)" -v b="$(in_bytes $predicted)" 'BEGIN { exit !(a > 0 && a / b < 1.02 && b / a < 1.02) }'
}

# measure RANKS INPUT [KEY=VALUE...]: a short run on random tokens.
measure() {
  run mpirun --bind-to none -np "$1" "$program" "$2" run.output_dir="$tmp" run.name="memory$1" data.train=random:200000 \
    data.valid= train.validate_every=0 train.steps=2 optimizer.warmup_steps=1 backend.threads=1 "${@:3}"
}

# Long enough to need all that any step needs: a refresh, an update, a checkpoint.
batch=(train.global_batch=8 train.micro_batch=8)
measure 1 inputs/llama60m.in "${batch[@]}"
expect "two steps of the 60M model" 0 "all 2 steps done"
check "take as much memory as planned" fits_plan
check "and as --check predicts" check_agrees 1 inputs/llama60m.in data.valid= train.validate_every=0 "${batch[@]}" \
  backend.threads=1
for ranks in 1 2; do
  measure $ranks inputs/demo.in
  expect "two steps of the demo, ranks: $ranks" 0 "all 2 steps done"
  check "take as much memory as planned" fits_plan
  check "and as --check predicts" check_agrees $ranks inputs/demo.in data.valid= train.validate_every=0 backend.threads=1
done

run "$program" --help
expect "--help tells options and exit codes" 0 "Exit codes: 0 finished or checkpointed early, 1 runtime, 2 input"
run "$program" --help-input
expect "--help-input tells every section" 0 "[checkpoint]"
run "$program" --help-input=qgalore
expect "--help-input=qgalore tells the keys of one" 0 "similarity_threshold: "
run "$program" --help-input=markdown
expect "--help-input=markdown is the page of the manual" 0 "$(head -n 3 doc/inputs.md 2>/dev/null)"
run "$program" --version
expect "--version tells the program, the compiler and oneDNN" 0 "compiler: "
run "$program" --list-backends
expect "--list-backends tells why a backend is missing" 0 "cuda  "
run "$program" --status "$tmp/memory2"
expect "--status tells how a run stands" 0 "state=finished"
run "$program" --verify "$(newest memory2)"
expect "--verify finds a fresh checkpoint whole" 0 "is complete and undamaged"

finish
