#!/bin/bash
# A loss that spikes sends the run back to its newest checkpoint, past the data that caused it, alike on any number of
# ranks and across restarts. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# On random tokens in small batches losses scatter by some percent, so this factor finds a few spikes.
spiky=(train.steps=60 run.spike_factor=1.02 checkpoint.every=10)

went_back() { [ -e "$tmp/$1.log" ] && log_says "$1" "^warning: loss .* is a spike .*: back to the newest checkpoint"; }
told_the_data() { log_says "$1" "^warning: the data since then, sequences [0-9]* to [0-9]*, are left out"; }
one_line_a_step() { diff <(sed 's/.*"step":\([0-9]*\).*/\1/' "$tmp/$1/metrics.jsonl") <(seq "$2"); }

check "a run with spikes finishes" train 1 one "${spiky[@]}"
check "it went back to a checkpoint" went_back one
check "and named the data that are left out" told_the_data one
check "its metrics are of the steps that count" one_line_a_step one 60
check "on two ranks it finishes too" train 2 two "${spiky[@]}"
check "with the same bits" same_state "$(newest one)" "$(newest two)"
check "and the same losses" same_losses one two

# Killed right after each rollback, while the checkpoint still holds the old place in the data.
killed_after_rollback() {
  start 2 killed "${spiky[@]}"
  wait_for 30 went_back killed && kill_job
  finish_job 2>/dev/null
  train 2 killed "${spiky[@]}"
}
check "killed after a spike and started again, it finishes" killed_after_rollback
check "with the same bits" same_state "$(newest one)" "$(newest killed)"
check "and the same losses" same_losses one killed

check "without a factor no loss is a spike" train 1 off train.steps=60 checkpoint.every=10
quiet() { ! log_says off "spike ("; }
check "and nothing is said" quiet
other_state() { ! "$ckpt" diff "$(newest one)" "$(newest off)" >/dev/null; }
check "the rollback has changed what was trained" other_state

check "without a checkpoint training goes on" train 1 none "${spiky[@]}" checkpoint.every=0
check "and says why" log_says none "there is no checkpoint to go back to, training goes on"

# With this factor every loss is a spike: the run cannot get past its checkpoint.
train 1 stuck "${spiky[@]}" run.spike_factor=1.000001 checkpoint.every=12
code=$?
check "a run that spikes again and again ends with exit code 5" [ "$code" -eq 5 ]
check "after three rollbacks" [ "$(grep -c 'are left out' "$tmp/stuck.log")" -eq 3 ]
check "and says what to do" log_says stuck "^error: the loss spiked again, 4 times .* raise run.spike_factor"
check "with the checkpoint intact" all_verify stuck
check "the status says the same" grep -q "^reason=the loss spiked again" "$tmp/stuck/status"

finish
