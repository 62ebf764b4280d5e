#!/bin/bash
# What a running job does when something happens to it: a rank dies, a scheduler asks it to stop, the loss is not finite
# any more. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

endless=(train.steps=10000000 run.log_every=100)

has_saved() { log_says "$1" "checkpoint saved"; }
no_process_left() { ! pgrep --session "$job" >/dev/null; }
code_is() {
  [ "$code" -eq "$2" ] || show_log "$1"
  [ "$code" -eq "$2" ]
}

# --- a rank dies ---

start 3 death "${endless[@]}" checkpoint.every=50
check "a run of three ranks is under way" wait_for 30 has_saved death
mapfile -t ranks < <(pgrep -P "$job")
kill -KILL "${ranks[1]}"
began=$SECONDS
finish_job 2>/dev/null
check "a rank that is killed ends the whole job within 10 s" [ $((SECONDS - began)) -le 10 ]
check "with an exit code that is not 0" [ "$code" -ne 0 ]
check "the cause is told once" [ "$(grep -c 'exited on signal 9' "$tmp/death.log")" -eq 1 ]
check "and no rank blames another" [ "$(grep -c '^error:' "$tmp/death.log")" -eq 0 ]
check "no process is left" wait_for 5 no_process_left
check "all checkpoints are intact" all_verify death
check "and the status does not claim an end" status_is death running
step=$(basename "$(newest death)" .h5)
step=$((10#${step#step-}))
check "the same command goes on from the newest" train 3 death train.steps=$((step + 50)) checkpoint.every=0
check "at its step" log_says death "resumed .* at step $step\$"

# --- a rank fails ---

# The ranks that read tokens find their file cut off, and the one in between waits for them.
cp tests/fuzz/corpus/tokens/good-u16.h5 "$tmp/tokens.h5"
start 3 cut "${endless[@]}" data.train="$tmp/tokens.h5" model.vocab_size=300 checkpoint.every=50
check "a run on a file of tokens is under way" wait_for 30 has_saved cut
truncate -s 100 "$tmp/tokens.h5"
finish_job
check "when the file is cut off, the job ends with the exit code of wrong input" code_is cut 2
check "and says so" log_says cut "^error: .*tokens.h5: the file ends at byte"
check "once" [ "$(grep -c '^error:' "$tmp/cut.log")" -eq 1 ]
check "no process is left" wait_for 5 no_process_left

# --- asked to stop ---

start 2 stop "${endless[@]}" checkpoint.every=0
check "a run without periodic checkpoints is under way" wait_for 30 log_says stop "^ *100 "
kill -USR1 "$job"
check "SIGUSR1 to mpirun makes it save" wait_for 10 has_saved stop
check "and go on" kill -0 "$job"
saved=$(newest stop)
began=$EPOCHREALTIME
kill -USR2 "$job"
finish_job
awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "# from SIGUSR2 to the end of mpirun: %.2f s\n", b - a }'
check "SIGUSR2 to mpirun ends it with exit code 0" code_is stop 0
check "after another checkpoint" [ "$(newest stop)" != "$saved" ]
check "all of them are intact" all_verify stop
check "the status says that it can be resumed" status_is stop resume

# --- the loss is not finite any more ---

# Weight decay at this rate multiplies weights by -9 a step.
diverging=(train.steps=200 optimizer.lr=10 optimizer.weight_decay=1 optimizer.grad_clip=0)
skipped() { grep -c 'skipped: not finite' "$tmp/$1.log"; }
streak_of() { [ "$(tail -n "$2" "$tmp/$1/metrics.jsonl" | grep -c '"\(loss\|grad_norm\)":null')" -eq "$2" ]; }
# Of the steps of the streak none was saved; what was saved last is from before.
older_than_the_streak() {
  local last step
  last=$(wc -l <"$tmp/$1/metrics.jsonl")
  step=$(basename "$(newest "$1")" .h5)
  [ $((10#${step#step-})) -le $((last - $2)) ]
}

train 2 diverge "${diverging[@]}" checkpoint.every=1 run.max_bad_steps=8
code=$?
check "a run whose loss becomes infinite ends with exit code 5" code_is diverge 5
check "after run.max_bad_steps skipped steps in a row" streak_of diverge 8
check "and says what to do" log_says diverge "lower optimizer.lr"
check "the status says that it failed" status_is diverge failed
check "the skipped steps have not pushed out the checkpoints from before them" older_than_the_streak diverge 8
check "which are intact" all_verify diverge

# From the same checkpoint with a larger run.max_bad_steps: skipped steps leave the state as it is.
good=$(newest diverge)
train 2 patient "${diverging[@]}" run.max_bad_steps=1000 run.restart="$good" checkpoint.every=0
code=$?
check "a run with a larger run.max_bad_steps skips to its end, which is no success" code_is patient 5
unchanged() {
  local told
  told=$("$ckpt" diff "$good" "$(newest patient)" 2>/dev/null | tail -n 1)
  echo "# $told"
  [[ $told == "0 of "* ]]
}
check "and skipped steps have changed nothing" unchanged

finish
