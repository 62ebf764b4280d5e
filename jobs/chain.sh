#!/bin/bash
# A chain of jobs submitted in advance, for sites where a job may not submit the next one: each begins when the one
# before it has ended, goes on with the run, and does nothing once the run is finished.
#
#   QGALORE_INPUT=inputs/llama7b.in jobs/chain.sh slurm|pbs|lsf|flux JOBS [options of sbatch, qsub, bsub or flux batch]
set -eu
scheduler=${1:-} jobs=${2:-}
if ! [[ $scheduler =~ ^(slurm|pbs|lsf|flux)$ && $jobs =~ ^[1-9][0-9]*$ ]]; then
  sed -n 's/^#   //p' "$0" >&2
  exit 2
fi
shift 2
: "${QGALORE_INPUT:?set QGALORE_INPUT to an input file}" "${QGALORE_JOBS:=$(dirname "$0")}"
export QGALORE_INPUT QGALORE_JOBS QGALORE_CHAIN=link
script=$QGALORE_JOBS/$scheduler.sh

# submit BEFORE OPTIONS...: prints the number of the job, which waits for the job BEFORE, if any.
submit() {
  local before=$1
  shift
  case $scheduler in
    slurm) sbatch --parsable ${before:+--dependency=afterany:"$before"} "$@" "$script" ;;
    pbs) qsub ${before:+-W depend=afterany:"$before"} "$@" "$script" ;;
    lsf) bsub ${before:+-w "ended($before)"} "$@" <"$script" | sed 's/^[^<]*<\([0-9]*\)>.*/\1/' ;;
    flux) flux batch ${before:+--dependency=afterany:"$before"} "$@" "$script" ;;
  esac
}

before=
for ((i = 1; i <= jobs; i++)); do
  before=$(submit "$before" "$@")
  echo "job $i of $jobs: $before"
done
