#!/bin/bash
# Numbers that are not finite reach no checkpoint and end no run as a success. Run from the repository root; BUILD names the
# build folder; prints TAP.
# shellcheck disable=SC2154 # tmp and code come from tiny_run.sh
# shellcheck disable=SC2016,SC2034,SC2317 # functions and expressions are used by tap.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# An update so large that the weights overflow, though the loss before it is finite.
poison=(qgalore.scale=1e300 optimizer.weight_decay=0 checkpoint.every=1 checkpoint.keep_last=1)

attempt() { # RANKS NAME [KEY=VALUE...]
  rm -f "$tmp/$2.log"
  train "$@"
  code=$?
  output=$(<"$tmp/$2.log")
}

poison_a_run() { # NAME [KEY=VALUE...]
  attempt 2 "$1" train.steps=4 checkpoint.every=4 "${@:2}"
  expect "$*: a run with a good checkpoint" 0 "all 4 steps done"
  attempt 2 "$1" train.steps=9 "${poison[@]}" "${@:2}"
  expect "is not saved once its weights are not finite" 5 "not finite"
  check "says so in its status" status_is "$1" failed
  check "and keeps what is good" all_verify "$1"
  check "which is the newest" [ "$(newest "$1")" = "$(printf '%s/checkpoints/step-%010d.h5' "$tmp/$1" 4)" ]
  attempt 2 "$1" train.steps=6 "${@:2}"
  expect "so that the run goes on from there" 0 "step-0000000004.h5 at step 4"
}

poison_a_run tested
poison_a_run untested checkpoint.selftest=no
poison_a_run background checkpoint.snapshot_memory=64MiB

# Steps 2 to 6 of 6 are spoiled.
QGALORE_FAULT=gradient@2,3,4,5,6 train 1 skipped train.steps=6 checkpoint.every=0
code=$?
output=$(<"$tmp/skipped.log")
expect "a run whose last step was skipped is no success" 5 "the last step, 6, was skipped"
check "and its status says so" status_is skipped failed
check "though the state before it is saved" [ "$(newest skipped)" = "$tmp/skipped/checkpoints/step-0000000006.h5" ]
attempt 1 skipped train.steps=6
expect "nor is it one at the next start" 5 "the last step, 6, was skipped"
attempt 1 skipped train.steps=8
expect "with more steps it goes on" 0 "all 8 steps done"

finish
