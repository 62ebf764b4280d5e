#!/bin/bash
# PBS Professional, OpenPBS and Torque: qsub -v QGALORE_INPUT=inputs/llama7b.in jobs/pbs.sh
#PBS -N qgalore
#PBS -l select=2:ncpus=32:mpiprocs=4:ompthreads=8
#PBS -l walltime=24:00:00
#PBS -j oe
#PBS -V
# PBS sends no signal ahead of the limit, so the program is told the limit and stops by itself; the TERM at the limit is
# passed on as save and stop all the same. By hand: qsig -s USR1 JOB saves and goes on, qsig -s USR2 JOB saves and stops.

cd "${PBS_O_WORKDIR:-.}" || exit 4
: "${QGALORE_JOBS:=jobs}" "${QGALORE_SCRIPT:=$QGALORE_JOBS/pbs.sh}"
# shellcheck source=jobs/common.sh
. "$QGALORE_JOBS/common.sh" || exit 4

QGALORE_HOSTFILE=${PBS_NODEFILE:-}

# One line a rank.
qg_ranks() { [ -r "${PBS_NODEFILE:-}" ] && awk 'END { print NR }' "$PBS_NODEFILE"; }

# Torque has a variable, PBS Professional does not.
qg_seconds_left() {
  if [ -n "${PBS_WALLTIME:-}" ]; then echo "$PBS_WALLTIME"
  else qg_clock_seconds "$(qstat -f "$PBS_JOBID" | sed -n 's/^ *Resource_List.walltime = //p')"
  fi
}

# -V in the script passes the QGALORE variables on.
qg_submit_again() { qsub "$QGALORE_SCRIPT"; }

qg_job
