#!/bin/bash
# A run that is asked to stop does so from wherever it is, leaves a checkpoint that verifies, and its continuation has
# the bits and the metrics of an uninterrupted run. Run from the repository root; BUILD names the build folder;
# prints TAP.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# At the end a validation of some seconds, in many pieces.
long_validation=(train.steps=10 data.valid=random:400000 checkpoint.every=0)
# A step of many micro-batches, so that there is time to speak into it.
long_step=(train.steps=10000000 train.global_batch=20000 checkpoint.every=0)

code_is() {
  [ "$code" -eq "$2" ] || show_log "$1"
  [ "$code" -eq "$2" ]
}
reason_is() { grep -qx "reason=$2" "$tmp/$1/status"; }
in_validation() { log_says "$1" "^ *10 "; }
under_way() { [ -s "$tmp/$1/status" ]; }
steps_done() { wc -l <"$tmp/$1/metrics.jsonl"; }
one_rank() { pgrep -P "$job" | head -n 1; }

# stopped_in_validation NAME COMMAND...: starts the run and asks it to stop by the command while it validates.
stopped_in_validation() {
  local name=$1
  shift
  start 2 "$name" "${long_validation[@]}"
  wait_for 60 in_validation "$name" && "$@"
  finish_job
}

check "an uninterrupted run finishes" train 2 alone "${long_validation[@]}"

ask_usr2() { kill -USR2 "$job"; }
stopped_in_validation usr2 ask_usr2
check "SIGUSR2 to mpirun during a validation ends with exit code 0" code_is usr2 0
check "without waiting for the rest of it" log_says usr2 "validation cut short"
check "after a checkpoint that verifies" all_verify usr2
check "and the run is not finished" status_is usr2 resume
check "the same command goes on" train 2 usr2 "${long_validation[@]}"
check "to the same bits" same_state "$(newest alone)" "$(newest usr2)"
check "and makes up for the validation" same_losses alone usr2
check "and is finished" status_is usr2 finished

ask_by_file() { touch "$tmp/file/STOP"; }
stopped_in_validation file ask_by_file
check "a STOP file during a validation ends with exit code 0" code_is file 0
check "and is named as the reason" reason_is file "STOP file"
check "after a checkpoint that verifies" all_verify file

start 2 term "${long_step[@]}"
check "a run with a long step is under way" wait_for 30 under_way term
kill -TERM "$(one_rank)"
finish_job
check "SIGTERM to one rank stops all after the step that it came in" code_is term 0
check "which is the first" [ "$(steps_done term)" -eq 1 ]
check "after a checkpoint that verifies" all_verify term
check "and the run can go on" status_is term resume

start 2 twice "${long_step[@]}" train.global_batch=2000000
check "a run whose step takes minutes is under way" wait_for 30 under_way twice
rank=$(one_rank)
kill -TERM "$rank"
sleep 0.5
check "it does not end by one SIGTERM" kill -0 "$rank"
kill -TERM "$rank"
finish_job 2>/dev/null
check "a second SIGTERM ends it at once" code_is twice 1
check "within its first step" [ "$(steps_done twice)" -eq 0 ]

train 2 walltime train.steps=10000000 checkpoint.every=0 run.log_every=1000 run.max_walltime=32s
code=$?
check "a run stops 30 s before its walltime" code_is walltime 0
check "and names it as the reason" reason_is walltime walltime
check "after a checkpoint that verifies" all_verify walltime
run "$program" --status "$tmp/walltime"
expect "--status says how it goes on" 0 "resume (stopped early; the same command goes on)"
expect "and how far it came" 0 "last step   $(steps_done walltime), "

finish
