#!/bin/bash
# However a run ends and wherever it goes on, it ends with the bits of an uninterrupted run. Run from the repository
# root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp and code come from tiny_run.sh
# shellcheck disable=SC2016,SC2034,SC2317 # functions, expressions and results are used by tap.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# Refreshes at 1, 4, 7, 13, 25, 49, 97 and 193: the tracker's state is what a restart may lose.
steps=240
keys=("train.steps=$steps" backend.precision=fp32 backend.threads=1 checkpoint.every=0 qgalore.update_gap=3
  qgalore.similarity_window=1 qgalore.similarity_threshold=-1
  data.valid=random:500 train.validate_every=40)

# $this is the run in question.

# attempt RANKS NAME [KEY=VALUE...]: one start; leaves $code and $output, its log.
attempt() {
  rm -f "$tmp/$2.log"
  train "$1" "$2" "${keys[@]}" "${@:3}"
  code=$?
  output=$(<"$tmp/$2.log")
}

begin() { start "$1" "$2" "${keys[@]}" "${@:3}"; }

finish_attempt() {
  finish_job
  output=$(<"$tmp/$this.log")
}

lines() { wc -l 2>/dev/null <"$tmp/$this/metrics.jsonl" || echo 0; }
has_steps() { [ "$(lines)" -ge "$1" ]; }
status_step_is() { grep -qx "step=$1" "$tmp/$this/status"; }

# Stopped somewhere in between, with everything until there saved.
stopped_early() { status_is "$this" resume && status_step_is "$(lines)" && [ "$(lines)" -lt "$steps" ]; }

ends_alike() {
  status_is "$this" finished && status_step_is "$steps" && same_losses alone "$this" &&
    same_state "$(newest alone)" "$(newest "$this")"
}

checkpoint_of() { printf '%s/%s/checkpoints/step-%010d.h5' "$tmp" "$1" "$2"; }

# damage FILE: flips the bits of one byte in its middle.
damage() {
  local at byte
  at=$(($(stat -c %s "$1") / 2))
  byte=$(od -An -tu1 -j "$at" -N 1 "$1")
  printf '%b' "\\x$(printf %02x $((byte ^ 255)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
}

attempt 1 alone checkpoint.every=120
expect "an uninterrupted run finishes" 0 "finished  all $steps steps done"
check "its status says so" status_is alone finished

this=usr2
begin 2 $this
wait_for 60 has_steps 5
kill -USR2 "$job"
finish_attempt
expect "SIGUSR2 to mpirun saves and stops" 0 "stopped   by a signal; the run goes on with"
check "and the status says where to resume" stopped_early
attempt 2 $this
expect "the same command goes on" 0 "start     resumed $tmp/$this/checkpoints"
check "2 ranks to 2: same metrics and same checkpoint as without the stop" ends_alike
attempt 2 $this
expect "a finished run has nothing to do" 0 "all $steps steps done"
check "and stays as it is" ends_alike

this=stopfile
begin 1 $this
wait_for 60 has_steps 5
touch "$tmp/$this/STOP"
finish_attempt
expect "a file STOP in the run folder saves and stops" 0 "stopped   by the STOP file"
check "and the status says where to resume" stopped_early
attempt 3 $this
expect "the STOP file does not stop the next attempt" 0 "all $steps steps done"
check "1 rank to 3: same metrics and same checkpoint" ends_alike

# The kill may come just after a save, when there is nothing to lose: then once more.
killed_between_saves() {
  local try
  for try in 1 2 3 4 5; do
    rm -rf "${tmp:?}/$this"
    begin 2 "$this" checkpoint.every=10
    wait_for 60 has_steps 14
    kill_job
    finish_attempt 2>/dev/null
    echo "# kill $try: $(lines) steps in metrics, $(grep -x 'step=.*' "$tmp/$this/status")"
    status_is "$this" running || return 1
    status_step_is "$(lines)" || return 0
  done
  return 1
}

this=killed
check "a killed run leaves the status running and metrics after its last checkpoint" killed_between_saves
attempt 1 $this checkpoint.every=10
expect "it goes on from its last checkpoint" 0 "0.h5 at step"
check "2 ranks to 1: same metrics, none twice, and same checkpoint" ends_alike

this=usr1
begin 2 $this train.steps=1000000
wait_for 60 has_steps 5
kill -USR1 "$job"
check "SIGUSR1 to mpirun saves" wait_for 60 log_says $this 'checkpoint saved'
check "and does not stop the run" wait_for 60 has_steps $(($(lines) + 5))
touch "$tmp/$this/STOP"
finish_attempt
expect "which ends when it is asked to" 0 "stopped   by the STOP file"

this=usr1-finished
begin 2 $this
wait_for 60 has_steps 5
kill -USR1 "$job" 2>/dev/null
finish_attempt
check "nor does it change anything" ends_alike

this=walltime
keys+=(train.steps=1000000)
attempt 2 $this run.max_walltime=31s
expect "a run stops in time before run.max_walltime" 0 "stopped   because run.max_walltime is near"
steps=1000000
check "and the status says where to resume" stopped_early
keys+=(train.steps=240)
steps=240

this=damaged
cp -r "$tmp/alone" "$tmp/$this"
damage "$(checkpoint_of $this 240)"
run "$program" --verify "$(checkpoint_of $this 240)"
expect "--verify finds one flipped byte" 3 "damaged"
run "$program" --verify "$(checkpoint_of $this 120)"
expect "and nothing in a whole file" 0 "complete and undamaged"
attempt 2 $this
expect "a damaged checkpoint is refused by name" 0 "warning: refused a checkpoint: "
expect "and the one before is used" 0 "resumed $(checkpoint_of $this 120) at step 120"
check "which leads to the same metrics and the same checkpoint" ends_alike
damage "$(checkpoint_of $this 120)"
damage "$(checkpoint_of $this 240)"
attempt 2 $this
expect "a run with nothing but damaged checkpoints does not begin again by itself" 3 "none that is whole"

this=alone
attempt 2 $this run.restart="$tmp/missing.h5"
expect "a checkpoint that is asked for and missing is an error" 3 "missing.h5: cannot be opened"
attempt 2 $this run.restart=scratch
expect "restart = scratch does not replace a run by itself" 2 "holds checkpoints up to step 240"
attempt 2 $this run.restart="$(checkpoint_of $this 120)"
expect "nor does going back to an older checkpoint" 2 "run.overwrite=yes"
attempt 2 $this qgalore.rank=4
expect "a restart with another rank of the projection says what differs" 2 "qgalore.rank: checkpoint 8, input 4"
check "none of them touched the run" ends_alike
this=branch
attempt 2 $this run.restart="$(checkpoint_of alone 120)"
expect "a new run may begin at a checkpoint of another" 0 "all $steps steps done"
check "and ends with the same checkpoint" same_state "$(newest alone)" "$(newest $this)"
this=replaced
cp -r "$tmp/alone" "$tmp/$this"
attempt 1 $this run.restart=scratch run.overwrite=yes train.steps=10 train.validate_every=0
expect "with run.overwrite=yes it does" 0 "from scratch"
check "and nothing of the old run is left" eval '[ "$(newest $this)" = "$(checkpoint_of $this 10)" ] && [ "$(lines)" = 10 ]'

# The log ends with a command to copy: for a shell, and without what would begin anew.
run mpirun -np 1 "$program" "$tmp/tiny.in" "run.output_dir=$tmp/two words" run.restart=scratch run.overwrite=yes train.steps=2
run eval "$(tail -n 1 <<<"$output")"
expect "the command at the end of the log goes on where the run ended" 0 "start     resumed $tmp/two words/tiny/checkpoints"
check "with more steps" grep -q "finished  all 4 steps done" <<<"$output"

this=untested
attempt 1 $this checkpoint.selftest=no train.steps=4 train.validate_every=0
expect "a run without a self-test" 0 "all 4 steps done"
attempt 1 $this checkpoint.selftest=yes train.steps=6 train.validate_every=0
expect "goes on with one" 0 "all 6 steps done"
check "and a rate that rises again is told" grep -q 'the learning rate of step 5 is .* now and was .* by the schedule' <<<"$output"

finish
