#!/bin/bash
# A run that the former version began goes on with this one: its checkpoint, its resolved input and an input with the keys of
# that time. Run from the repository root; BUILD names the build folder; prints TAP.
# tests/support/former_version holds them, written by version 0.1.0 (ded7af2) from former.in, in fp32 with one thread.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
# shellcheck disable=SC2016,SC2034,SC2317 # functions and expressions are used by tap.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

kept=$PWD/tests/support/former_version
# Of the former version: the loss of validation at step 8, and the losses of steps 9 and 12.
valid_loss=4.1710456334861679 loss_9=4.1562173533045401 loss_12=4.1785792914936772

# close A B TOLERANCE
close() { awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN { d = a > b ? a - b : b - a; print "# " a " and " b; exit !(a != "" && d <= t) }'; }

# run_kept NAME INPUT [KEY=VALUE...]: in a folder with the kept checkpoint; its log is $tmp/NAME.log
run_kept() {
  local name=$1 input=$2
  shift 2
  mkdir -p "$tmp/$name/checkpoints" && cp "$kept/step-0000000008.h5" "$tmp/$name/checkpoints/"
  "$program" "$input" "run.output_dir=$tmp" "run.name=$name" "$@" >"$tmp/$name.log" 2>&1 </dev/null || {
    show_log "$name"
    return 1
  }
}
loss_at() { sed -n "s/^{\"step\":$2,.*\"loss\":\([0-9.eE+-]*\),\"grad_norm.*/\1/p" "$tmp/$1/metrics.jsonl"; }

goes_on() {
  run_kept "$1" "$kept/$2" && log_says "$1" 'resumed .*step-0000000008.h5 at step 8'
}
# Step 9 begins from the stored weights: its loss differs by rounding alone. Later ones depend on how this processor rounds.
same_losses_follow() { close "$(loss_at "$1" 9)" "$loss_9" 1e-5 && close "$(loss_at "$1" 12)" "$loss_12" 5e-3; }

evaluates() {
  run_kept evaluated "$kept/former.in" run.job=evaluate "evaluate.output=$tmp/evaluated.json" &&
    close "$(sed -n 's/.*"loss": \([0-9.e+-]*\),/\1/p' "$tmp/evaluated.json")" "$valid_loss" 1e-5
}

check "a checkpoint of the former version goes on, with an input of that time" goes_on input former.in
check "with the losses of the former version" same_losses_follow input
check "and with the resolved input of that time" goes_on resolved resolved.in
check "with the same losses" same_losses_follow resolved
check "the weights of the former version are evaluated as they were" evaluates
finish
