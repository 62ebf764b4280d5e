#!/bin/bash
# run.job: jobs by name, and the loss of a checkpoint from its weights alone. Run from the repository root; BUILD names the build
# folder; prints TAP.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
# shellcheck disable=SC2016,SC2034,SC2317 # functions and expressions are used by tap.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

valid="data.valid=random:1500"
trained() { train 2 "$1" train.steps=12 "$valid" train.validate_every=6 "${@:2}"; }
last_valid() { sed -n 's/.*"val_loss":\([0-9.e+-]*\).*/\1/p' "$tmp/$1/metrics.jsonl" | tail -n 1; }

# evaluate RANKS RUN [KEY=VALUE...]: of the run's checkpoint; log in $tmp/RUN.evaluated.log, results in $tmp/RUN.json
evaluate() {
  local ranks=$1 run=$2
  shift 2
  mpirun --bind-to none -np "$ranks" "$program" "$tmp/tiny.in" "run.output_dir=$tmp" "run.name=$run" run.job=evaluate "$valid" \
    "evaluate.output=$tmp/$run.json" "$@" >"$tmp/$run.evaluated.log" 2>&1 </dev/null
}
result() { sed -n "s/^ *\"$2\": \([^,]*\),*\$/\1/p" "$tmp/$1.json"; }

# evaluates_as_trained RUN RANKS [KEY=VALUE...]: to the last digit
evaluates_as_trained() {
  local run=$1 ranks=$2
  shift 2
  evaluate "$ranks" "$run" "$@" || {
    sed 's/^/# /' "$tmp/$run.evaluated.log"
    return 1
  }
  echo "# trained $(last_valid "$run"), evaluated $(result "$run" loss)"
  [ -n "$(last_valid "$run")" ] && [ "$(last_valid "$run")" = "$(result "$run" loss)" ]
}

# fails CODE WORDS RUN [KEY=VALUE...]: one message with these words, and this exit code
fails() {
  local code=$1 words=$2 run=$3
  shift 3
  evaluate 2 "$run" "$@"
  local got=$?
  [ "$got" -eq "$code" ] || echo "# exit code $got"
  grep -e "^error: .*$words" "$tmp/$run.evaluated.log" | sed 's/^/# /'
  [ "$got" -eq "$code" ] && [ "$(grep -c "^error:" "$tmp/$run.evaluated.log")" -eq 1 ] && grep -q -e "^error: .*$words" "$tmp/$run.evaluated.log"
}

holds_nothing_of_training() {
  grep -E '^ +(gradients|moments|projectors) ' "$tmp/fp32.evaluated.log" | sed 's/^/# /'
  [ "$(grep -cE '^ +(gradients|moments|projectors) +0 B$' "$tmp/fp32.evaluated.log")" -eq 3 ]
}

checks() {
  "$program" --check --ranks 2 "$tmp/tiny.in" run.job=evaluate "$@" >"$tmp/check.log" 2>&1 && grep -q "^weights .* are read of the checkpoint" "$tmp/check.log"
}

two_files() {
  evaluate 2 fp32 backend.precision=fp32 "evaluate.data=random:1500, random:800" && [ "$(result fp32 file | wc -l)" -eq 2 ]
}

needs_no_training_data() {
  sed '/^train = random/d' "$tmp/tiny.in" >"$tmp/no_data.in"
  "$program" "$tmp/no_data.in" "run.output_dir=$tmp" run.name=fp32 run.job=evaluate "$valid" backend.precision=fp32 >"$tmp/no_data.log" 2>&1 &&
    ! "$program" "$tmp/no_data.in" "run.output_dir=$tmp" run.name=other >"$tmp/no_data.log" 2>&1 && grep -q 'data.train: missing' "$tmp/no_data.log"
}

# Products of other shapes may add up in another order.
another_batch() {
  evaluate 1 fp32 backend.precision=fp32 evaluate.micro_batch=5 &&
    awk -v a="$(last_valid fp32)" -v b="$(result fp32 loss)" 'BEGIN { d = a > b ? a - b : b - a; print "# " a " and " b; exit !(d <= 1e-6 * a) }'
}

damage() {
  mkdir -p "$tmp/damaged/checkpoints"
  cp "$(newest fp32)" "$tmp/damaged/checkpoints/"
  printf 'x' | dd of="$(newest damaged)" bs=1 seek=$(($(stat -c %s "$(newest damaged)") / 2)) conv=notrunc 2>"$tmp/dd.log"
}

# Only results of an evaluation are replaced.
keeps() {
  local file=$1
  sha256sum "$file" >"$tmp/sum"
  fails 2 'evaluate.output = .* holds no results' fp32 backend.precision=fp32 "evaluate.output=$file" && sha256sum --quiet -c "$tmp/sum"
}
keeps_pipe() { fails 2 'evaluate.output = .* not a regular file' fp32 backend.precision=fp32 "evaluate.output=$tmp/pipe" && [ -p "$tmp/pipe" ]; }

empty_is_newest() { evaluate 1 fp32 backend.precision=fp32 evaluate.checkpoint= && [ "$(result fp32 step)" -eq 12 ]; }

check "training in fp32" trained fp32 backend.precision=fp32
check "training in bf16, tied, fused" trained bf16 model.tie_embeddings=yes train.micro_batch=4
check "training with dense weights" trained adamw optimizer.method=adamw
for ranks in 1 2 4; do
  check "the loss of the training log on $ranks ranks" evaluates_as_trained fp32 $ranks backend.precision=fp32
done
check "no gradients, moments or projectors are in memory" holds_nothing_of_training
check "the same but for rounding at a batch size of its own" another_batch
check "bf16, tied embeddings" evaluates_as_trained bf16 2 model.tie_embeddings=yes train.micro_batch=4
check "dense weights" evaluates_as_trained adamw 1 optimizer.method=adamw
check "several files" two_files
check "--check plans an evaluation" checks
check "a training input without data.train will do for it" needs_no_training_data
check "an unknown job is named with those that there are" fails 2 'no job "train"; jobs are pretrain, evaluate, check' fp32 run.job=train
check "a checkpoint of another model" fails 2 'model.rope_theta' fp32 model.rope_theta=500
check "of another shape" fails 2 'model.hidden_size' fp32 model.hidden_size=64
check "with weights that are stored otherwise" fails 2 'qgalore.weight_bits' fp32 optimizer.method=adamw
check "no checkpoint" fails 3 'holds no checkpoint' nothing
check "a file that is not there" fails 3 'missing.h5' fp32 "evaluate.checkpoint=$tmp/missing.h5"
check "no data" fails 2 'evaluate.data names no token file' fp32 data.valid=
check "data that are not there" fails 2 'no/such.h5' fp32 evaluate.data=no/such.h5
check "an output over a checkpoint" keeps "$(newest fp32)"
check "an output over another file" keeps "$tmp/tiny.in"
check "an output in a folder that is not there" fails 2 'evaluate.output = .*: its folder' fp32 "evaluate.output=$tmp/nowhere/out.json"
mkfifo "$tmp/pipe"
check "an output that is a pipe" keeps_pipe
check "data that are a pipe" fails 2 'pipe' fp32 "evaluate.data=$tmp/pipe"
check "a checkpoint that is a pipe" fails 3 'not a regular file' fp32 "evaluate.checkpoint=$tmp/pipe"
check "an empty evaluate.checkpoint is the newest" empty_is_newest
damage
check "a damaged checkpoint is no checkpoint" fails 3 'holds no checkpoint that is whole' damaged
finish
