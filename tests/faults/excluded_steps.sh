#!/bin/bash
# A step that turns out not to be finite after parts of it have reached the state is undone: the run repeats the steps
# since its newest checkpoint without it, and ends with the bits of a run that skipped the step cleanly. On any
# number of ranks, across kills and stops. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2317,SC2034 # functions are called through check, lists of keys by name
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# In the middle of backward, and before it. Steps count from 0 here, from 1 in log and metrics.
middle=model.layers.1.mlp.up_proj.weight
whole=gradient

# bad RANKS NAME STEPS [KEY=VALUE...]: at these steps the gradient of one layer in the middle is not finite.
bad() { QGALORE_FAULT=$middle@$3 train "$1" "$2" "${@:4}"; }
# clean NAME STEPS [KEY=VALUE...]: these steps are skipped before anything of them is taken.
clean() { QGALORE_FAULT=$whole@$2 train 1 "$1" "${@:3}"; }

rollbacks() { [ "$(grep -c '^warning: step .* is not finite, but parts of it had reached the state' "$tmp/$1.log")" -eq "$2" ]; }
back_from() { log_says "$1" "^warning: step $2 is not finite, but .*: back to step $3, the steps since then are repeated"; }
skipped() { [ "$(grep -c '"grad_norm":null' "$tmp/$1/metrics.jsonl")" -eq "$2" ]; }
one_line_a_step() { diff <(sed 's/.*"step":\([0-9]*\).*/\1/' "$tmp/$1/metrics.jsonl") <(seq "$2"); }

# as_if_never NAME NAME: bits and metrics are those of the second run, which has skipped the steps cleanly.
as_if_never() { same_state "$(newest "$1")" "$(newest "$2")" && same_losses "$1" "$2"; }

keys=(train.steps=24 checkpoint.every=6 optimizer.grad_clip=1)
fused=("${keys[@]}" train.micro_batch=4 train.update=fused)
accumulated=("${keys[@]}" train.micro_batch=4 train.update=accumulated qgalore.update_gap=1 qgalore.lazy=no)
gathered=("${keys[@]}" train.micro_batch=2 qgalore.update_gap=1 qgalore.lazy=no)

# --- back to a checkpoint and back to the beginning ---

undone() {
  local mode=$1 ranks=$2 step=$3 back=$4 name=$1$3-$2
  declare -n of=$mode
  check "$mode, $ranks ranks: a run finishes although step $step was taken in part" bad "$ranks" "$name" "$step" "${of[@]}"
  check "it went back once, to step $back" rollbacks "$name" 1
  check "from the step after $step" back_from "$name" $((step + 1)) "$back"
  check "with the bits and the metrics of a run that skipped it cleanly" as_if_never "$name" "$mode$step"
}

for mode in fused accumulated gathered; do
  for step in 16 4; do
    declare -n of=$mode
    check "$mode: a run skips step $step cleanly" clean "$mode$step" "$step" "${of[@]}"
    check "without a rollback" rollbacks "$mode$step" 0
    check "and skips nothing else" skipped "$mode$step" 1
    for ranks in 1 2; do
      if [ "$mode" = gathered ] && [ "$ranks" -eq 1 ]; then continue; fi
      undone "$mode" "$ranks" "$step" $((step / 6 * 6))
    done
  done
done

# One rank sees all gradients before its refreshes.
check "gathered, 1 rank: a run finishes" bad 1 gathered16-1 16 "${gathered[@]}"
check "without a rollback" rollbacks gathered16-1 0
check "with the bits and the metrics of a run that skipped the step cleanly" as_if_never gathered16-1 gathered16
check "metrics have one line a step" one_line_a_step fused16-2 24

# --- more than one ---

check "two bad steps since a checkpoint" bad 2 two 14,16 "${fused[@]}"
check "are two rollbacks" rollbacks two 2
check "and both are left out" clean two-clean 14,16 "${fused[@]}"
check "to the bits" as_if_never two two-clean

bad 1 streak 7,8,9 "${fused[@]}" run.max_bad_steps=3
code=$?
check "bad steps in a row end the run with exit code 5" [ "$code" -eq 5 ]
check "the last without a rollback" rollbacks streak 2
check "after run.max_bad_steps of them" log_says streak "^error: loss or gradient was not finite in 3 steps in a row (last: step 10)"
check "with the checkpoint intact" all_verify streak

often=(train.steps=24 train.micro_batch=4)
check "eight rollbacks without a checkpoint are allowed" bad 1 eight 1,3,5,7,9,11,13,15 "${often[@]}" checkpoint.every=0
check "and it was eight" rollbacks eight 8
bad 2 nine 1,3,5,7,9,11,13,15,17 "${often[@]}" checkpoint.every=0
code=$?
check "a ninth ends the run with exit code 5" [ "$code" -eq 5 ]
check "and the error says what to do" log_says nine "^error: step 18 is the 9th .* run.nonfinite_partial=keep"
check "all ranks say the same" [ "$(grep -c '^error:' "$tmp/nine.log")" -eq 1 ]
check "with checkpoints in between it is allowed" bad 1 nine-saved 1,3,5,7,9,11,13,15,17 "${often[@]}" checkpoint.every=5

# --- stopped while steps are repeated ---

long=(train.steps=80 checkpoint.every=0 train.micro_batch=4)
went_back() { [ -e "$tmp/$1.log" ] && rollbacks "$1" "$2"; }
cut_off() {
  local name=$1 how=$2
  QGALORE_FAULT=$middle@60 start 2 "$name" "${long[@]}"
  wait_for 60 went_back "$name" 1 && $how "$name"
  finish_job 2>/dev/null
  echo "# cut off at step $(tail -n 1 "$tmp/$name/metrics.jsonl" | sed 's/.*"step":\([0-9]*\).*/\1/')"
}
ask_to_stop() { touch "$tmp/$1/STOP"; }

check "a long run skips cleanly" clean long 60 "${long[@]}"
check "killed while it repeats" cut_off killed kill_job
check "the status tells what it was at" grep -qx "reason=step 61 is left out, steps from 1 on are repeated" "$tmp/killed/status"
check "started again it finds the bad step again" bad 2 killed 60 "${long[@]}"
check "and comes to the same bits" as_if_never killed long
check "stopped while it repeats" cut_off stopped ask_to_stop
check "it saves and can be resumed" status_is stopped resume
check "started again" bad 2 stopped 60 "${long[@]}"
check "it comes to the same bits" as_if_never stopped long

# --- where an attempt begins ---

check "a run of 12 steps" train 1 short "${fused[@]}" train.steps=12
from=(train.steps=24 checkpoint.every=0 train.micro_batch=4 "run.restart=$(newest short)")
check "from its checkpoint another one goes on" clean branch-clean 16 "${from[@]}"
check "with a bad step it goes back to that checkpoint" bad 2 branch 16 "${from[@]}"
check "not to the beginning" back_from branch 17 12
check "and comes to the same bits" as_if_never branch branch-clean

# --- a checkpoint right after a skipped step ---

# Fused updates clip by the norm of the step before: by that of the last one that was taken.
flat=("${fused[@]}" optimizer.min_lr_ratio=1)
# That is no success, but the state before it is saved.
skips_its_end() { clean "$@"; [ $? -eq 5 ]; }
check "a run skips its last step" skips_its_end in-two 11 "${flat[@]}" train.steps=12
check "and goes on from there" clean in-two 11 "${flat[@]}"
check "like one" clean in-one 11 "${flat[@]}"
check "without a break" as_if_never in-two in-one

# --- with asynchronous saves and validations ---

asynchronous=("${fused[@]}" checkpoint.snapshot_memory=64MiB data.valid=random:2000 train.validate_every=3 train.validate_sequences=8)
check "a run that saves asynchronously and validates skips cleanly" clean asynchronous-clean 12 "${asynchronous[@]}"
check "a bad step right after a save" bad 2 asynchronous 12 "${asynchronous[@]}"
check "goes back to that save" back_from asynchronous 13 12
check "and comes to the same bits and validation losses" as_if_never asynchronous asynchronous-clean
check "a bad step at which a save is due" bad 2 due 11 "${asynchronous[@]}"
check "is undone before it" back_from due 12 6
check "and is skipped" clean due-clean 11 "${asynchronous[@]}"
check "to the same bits" as_if_never due due-clean

# --- between spikes ---

# The run takes steps of the same number with other data, and they are bad again.
spiky=(train.steps=20 train.micro_batch=4 checkpoint.every=10 run.spike_factor=1.012)
spiked() { log_says "$1" "^warning: the data since then, sequences [0-9]* to [0-9]*, are left out"; }
check "a run with spikes and bad steps" bad 2 spiky 12,16 "${spiky[@]}"
check "has gone back for spikes" spiked spiky
check "and for the steps" back_from spiky 17 10
check "like one that has skipped cleanly" clean spiky-clean 12,16 "${spiky[@]}"
check "to the bits" as_if_never spiky spiky-clean

# --- run.nonfinite_partial = keep ---

check "with run.nonfinite_partial = keep a run finishes" bad 2 keep 16 "${fused[@]}" run.nonfinite_partial=keep
check "without a rollback" rollbacks keep 0
check "the step is skipped" skipped keep 1
trace() { ! "$ckpt" diff "$(newest keep)" "$(newest fused16)" >/dev/null; }
check "and leaves a trace" trace

finish
