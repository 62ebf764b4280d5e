#!/bin/bash
# Under a real Slurm, jobs/slurm.sh alone brings a run to its end: told to save before its time is up, it saves, is
# requeued and goes on, to the bits of an uninterrupted run. Run from the repository root; BUILD names the build
# folder; prints TAP.
#
# With QGALORE_FULL=1 the signals come from Slurm itself, ahead of time limits of two minutes; otherwise the
# test sends the same signals by scancel, which takes seconds.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh
. tests/support/shell/slurm_cluster.sh

limits=${QGALORE_FULL:+yes}
log=$tmp/job.log
run_folder=$tmp/chain
: >"$log"

# submit KEY=VALUE...: the script as a user submits it, for this small machine.
submit() {
  QGALORE_JOBS=$PWD/jobs QGALORE_INPUT=$tmp/tiny.in QGALORE_RUN=$run_folder QGALORE_PROGRAM=$program \
    QGALORE_LAUNCHER="mpirun --bind-to none" QGALORE_ARGS="$*" \
    sbatch --parsable --nodes=1 --ntasks=2 --ntasks-per-node=2 --cpus-per-task=1 --time=2 --signal=B:USR2@60 \
    --output="$log" jobs/slurm.sh
}

state_of_run() { sed -n 's/^state=//p' "$run_folder/status" 2>/dev/null; }
is_finished() { [ "$(state_of_run)" = finished ]; }
has_left() { [ -z "$(squeue --noheader --jobs="$job" 2>/dev/null)" ]; }
starts() { grep -c '^start ' "$log"; }
started_times() { [ "$(starts)" -ge "$1" ]; }
saved_times() { [ "$(grep -c 'checkpoint saved' "$log")" -ge "$1" ]; }
steps_logged() { grep -cE '^ +[0-9]+ +[0-9.]+ ' "$log"; }
more_steps_than() { [ "$(steps_logged)" -gt "$1" ]; }
show_job() {
  tail -n 25 "$log" | sed 's/^/# /'
  cluster_logs
}

# told_to_stop N: allocation N has begun and made a step; it is asked to save and stop.
told_to_stop() {
  local before
  wait_for 120 started_times "$1" || return 1
  before=$(steps_logged)
  wait_for 30 more_steps_than "$before" && scancel --batch --signal=USR2 "$job"
}

# On a machine whose speed nobody knows, as many steps as take this many seconds.
steps_of() {
  local began=$EPOCHREALTIME
  train 2 rate train.steps=10000 run.log_every=1000 checkpoint.every=0 || return 1
  awk -v seconds="$1" -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { print int(10000 * seconds / (b - a)) }'
}

check "a cluster of one machine starts" cluster_start
if [ "$limits" = yes ]; then
  arguments=("train.steps=$(steps_of 300)" run.log_every=100 checkpoint.every=0)
else
  arguments=(train.steps=4000 run.log_every=100 checkpoint.every=0)
fi

job=$(submit "${arguments[@]}")
check "the job is submitted" [ -n "$job" ]
if [ "$limits" = yes ]; then
  check "the run finishes by itself" wait_for 1500 is_finished || show_job
else
  check "its first allocation is told to save and stop" told_to_stop 1
  check "and its second" told_to_stop 2 || show_job
  check "the run finishes by itself" wait_for 120 is_finished || show_job
fi
check "and the job leaves the queue" wait_for 30 has_left
check "the signal reached the script, which passed it on" [ "$(grep -c '^job: passes USR2 on' "$log")" -ge 2 ]
check "each time the run stopped, with a checkpoint" saved_times 3
check "it took at least three allocations" started_times 3
check "of one job" [ "$(grep -c '^job: stopped at step .*; submits the next job' "$log")" -eq $(($(starts) - 1)) ]
check "an uninterrupted run finishes" train 2 alone "${arguments[@]}"
check "with the same bits" same_state "$(newest alone)" "$(newest chain)"
check "and the same losses" same_losses alone chain

finish
