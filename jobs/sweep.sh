#!/bin/bash
# A sweep: one run for each line of a file, as a job array. Line N, such as "optimizer.lr=0.005 train.seed=2", runs in the
# folder QGALORE_RUN/N; each run is resubmitted until it is finished, like a single one.
#
#   QGALORE_INPUT=inputs/llama60m.in jobs/sweep.sh slurm|pbs|lsf|flux FILE [options of sbatch, qsub, bsub or flux batch]
set -eu
scheduler=${1:-} file=${2:-}
if ! [[ $scheduler =~ ^(slurm|pbs|lsf|flux)$ && -s $file ]]; then
  sed -n 's/^#   //p' "$0" >&2
  exit 2
fi
shift 2
: "${QGALORE_INPUT:?set QGALORE_INPUT to an input file}" "${QGALORE_JOBS:=$(dirname "$0")}"
QGALORE_SWEEP=$(realpath "$file")
export QGALORE_INPUT QGALORE_JOBS QGALORE_SWEEP
script=$QGALORE_JOBS/$scheduler.sh
runs=$(awk 'END { print NR }' "$file")

case $scheduler in
  slurm) sbatch --array="1-$runs" "$@" "$script" ;;
  pbs) qsub -J "1-$runs" "$@" "$script" ;;
  lsf) bsub -J "qgalore[1-$runs]" "$@" <"$script" ;;
  flux) # has no arrays
    for ((i = 1; i <= runs; i++)); do QGALORE_SWEEP_INDEX=$i flux batch "$@" "$script"; done
    ;;
esac
