#!/bin/bash
# Slurm: QGALORE_INPUT=inputs/llama7b.in sbatch jobs/slurm.sh
#SBATCH --job-name=qgalore
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=qgalore-%j.log
# Ten minutes before the end the batch shell, and only it (B:), gets USR2: save and stop. The program also
# knows the time limit and stops by itself; the signal is for limits that shrink while the job runs.
#SBATCH --signal=B:USR2@600
# One rank a GPU: add  #SBATCH --gpus-per-task=1
#
# By hand: scancel --batch --signal=USR1 JOB saves and goes on, USR2 saves and stops.

cd "${SLURM_SUBMIT_DIR:-.}" || exit 4
: "${QGALORE_JOBS:=jobs}" "${QGALORE_SCRIPT:=$QGALORE_JOBS/slurm.sh}"
# shellcheck source=jobs/common.sh
. "$QGALORE_JOBS/common.sh" || exit 4

[ -n "${SLURM_CPUS_PER_TASK:-}" ] && export OMP_NUM_THREADS="$SLURM_CPUS_PER_TASK"

qg_ranks() { echo "${SLURM_NTASKS:-}"; }

qg_seconds_left() {
  if [ -n "${SLURM_JOB_END_TIME:-}" ]; then echo $((SLURM_JOB_END_TIME - $(date +%s)))
  else qg_clock_seconds "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%L)"
  fi
}

# A requeued job keeps its number and the options of its sbatch; some sites forbid it.
qg_submit_again() { scontrol requeue "$SLURM_JOB_ID" || sbatch "$QGALORE_SCRIPT"; }

qg_job
