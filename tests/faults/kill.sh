#!/bin/bash
# Runs that are killed at any moment and started again, as often as it takes, end with the same bits as an uninterrupted
# run. Run from the repository root; BUILD names the build folder; prints TAP.
#
#   QGALORE_FAULT_RUNS   runs with random kills (default 4: each way of writing once)
#   QGALORE_FAULT_SEED   the same sequence of kills again; moments that were drawn in seconds depend on the machine
# shellcheck disable=SC2086,SC2317 # a mode is several words; functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# mpirun would wait a second for ranks that it ends; here they are dead already.
export OMPI_MCA_odls_base_sigkill_timeout=0

runs=${QGALORE_FAULT_RUNS:-4}
seed=${QGALORE_FAULT_SEED:-$((RANDOM + 1))}
RANDOM=$seed
echo "# seed $seed, $runs runs"
phases=(begin laid_out snapshot data synced reread flushed complete closed verified renamed rotated)
# How checkpoints are written; run I takes the mode I modulo 4. Only asynchronous saves have the phase "snapshot".
asynchronous=checkpoint.snapshot_memory=16MiB
modes=(checkpoint.layout=shared checkpoint.layout=per_rank "checkpoint.layout=shared $asynchronous"
  "checkpoint.layout=per_rank $asynchronous")
mode=0

# attempt NAME POINT: one start that ends at a fault point, by a kill of all processes after a time, or by itself.
attempt() {
  case $2 in
    checkpoint.*) QGALORE_FAULT=$2 start 2 "$1" ${modes[mode]} ;;
    *) start 2 "$1" ${modes[mode]} ;;
  esac
  case $2 in
    after.*)
      sleep "0.${2#after.}"
      kill_job
      ;;
  esac
  finish_job 2>/dev/null
}

random_point() {
  local phase=${phases[RANDOM % ${#phases[@]}]}
  if ((RANDOM % 2)); then
    printf 'after.%03d\n' $((RANDOM % 1000))
  elif [ "$phase" = data ]; then
    echo "checkpoint.data:$((RANDOM % (3 * datasets) + 1))"
  else
    echo "checkpoint.$phase:$((RANDOM % 4 + 1))"
  fi
}

# survive NAME POINT...: a run killed at each of the points in turn, then finished.
survive() {
  local name=$1 point told=
  shift
  for point; do
    attempt "$name" "$point"
    told="$told $point($code)"
    all_verify "$name" || { echo "# after$told: a damaged file bears the name of a checkpoint" && return 1; }
  done
  echo "# $name (${modes[mode]}):$told"
  train 2 "$name" ${modes[mode]} && no_leftovers "$name" && same_state "$(newest alone)" "$(newest "$name")" && same_losses alone "$name" && return
  show_log "$name"
  return 1
}

killed_in_every_phase() {
  local points=() phase
  for phase in "${phases[@]}"; do
    [ "$phase" != snapshot ] || [[ ${modes[mode]} = *"$asynchronous"* ]] || continue
    points+=("checkpoint.$phase")
  done
  survive phases "${points[@]}"
}

# Killed between the second rename and what follows, a run leaves two checkpoints.
kills_where_it_is_told_to() {
  ! QGALORE_FAULT=checkpoint.renamed:2 train 2 told && [ "$(newest told)" = "$tmp/told/checkpoints/step-0000000006.h5" ]
}

# Nothing half-written, and no rank file without its checkpoint.
no_leftovers() {
  local file
  [ -z "$(find "$tmp/$1" -name '*.tmp')" ] || return 1
  while read -r file; do [ -f "${file%.*.rank-*}" ] || return 1; done < <(find "$tmp/$1" -name '*.rank-*')
}

random_kills() {
  local points=() i
  for ((i = RANDOM % 2; i >= 0; i--)); do points+=("$(random_point)"); done
  survive "$1" "${points[@]}"
}

check "an uninterrupted run finishes" train 2 alone
datasets=$("$ckpt" inspect "$(newest alone)" | awk 'END { print $1 }')
check "fault points kill where they are told to" kills_where_it_is_told_to
for mode in 0 3; do
  check "killed in every phase of a save (${modes[mode]}), it ends with the same bits and metrics" killed_in_every_phase
  rm -rf "$tmp/phases"
done
for ((run = 1; run <= runs; run++)); do
  mode=$((run % ${#modes[@]}))
  check "run $run, killed at random moments, ends with the same bits and the same metrics" random_kills "random$run"
  rm -rf "$tmp/random$run"
done

finish
