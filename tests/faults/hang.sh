#!/bin/bash
# A job that hangs ends itself, and every rank that can says where it is. Run from the repository root; BUILD names the
# build folder; prints TAP.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

has_saved() { log_says "$1" "checkpoint saved"; }
no_process_left() { ! pgrep --session "$job" >/dev/null; }
speaks() { log_says hang "^watchdog: rank $1 on .* is [a-z].*; nothing was finished for [2-9]"; }
# The rank that stands still reports last, if at all: when the launcher wakes it up to end it.
first_two() { grep -o "^watchdog: rank [0-9]" "$tmp/hang.log" | head -n 2 | sort | tr '\n' ' '; }

start 3 hang train.steps=10000000 run.log_every=100 checkpoint.every=100 run.watchdog=2s
check "a watched run of three ranks is under way" wait_for 30 has_saved hang
mapfile -t ranks < <(pgrep -P "$job")
kill -STOP "${ranks[1]}"
finish_job
check "when a rank stands still, the job ends with exit code 6" [ "$code" -eq 6 ]
check "rank 0 says where it is" speaks 0
check "and so does rank 2" speaks 2
check "before the one that stands still" [ "$(first_two)" = "watchdog: rank 0 watchdog: rank 2 " ]
check "no process is left" wait_for 10 no_process_left
check "all checkpoints are intact" all_verify hang
check "and the status says that it failed" status_is hang failed

# Steps, validation and saves together take longer than the limit, each of them much less.
check "a run that makes progress goes on" train 2 fine train.steps=2000 run.log_every=1000 checkpoint.every=0 \
  train.validate_every=1000 data.valid=random:300000 run.watchdog=2s
quiet() { ! log_says fine watchdog:; }
check "and the watchdog is silent" quiet

finish
