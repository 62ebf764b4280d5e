#!/bin/bash
# LSF: QGALORE_INPUT=inputs/llama7b.in bsub < jobs/lsf.sh
#BSUB -J qgalore
#BSUB -n 8
#BSUB -R "span[ptile=4]"
#BSUB -W 24:00
#BSUB -o qgalore-%J.log
# Ten minutes before the end the job gets USR2: save and stop.
#BSUB -wa USR2
#BSUB -wt 10
# By hand: bkill -s USR1 JOB saves and goes on, bkill -s USR2 JOB saves and stops.

cd "${LS_SUBCWD:-.}" || exit 4
: "${QGALORE_JOBS:=jobs}" "${QGALORE_SCRIPT:=$QGALORE_JOBS/lsf.sh}"
# shellcheck source=jobs/common.sh
. "$QGALORE_JOBS/common.sh" || exit 4

qg_ranks() { echo "${LSB_DJOB_NUMPROC:-}"; }

# "hours:minutes L", L for the run limit.
qg_seconds_left() {
  local left
  left=$(bjobs -noheader -o time_left "$LSB_JOBID" 2>/dev/null)
  qg_clock_seconds "${left%% *}:00"
}

qg_submit_again() { bsub <"$QGALORE_SCRIPT"; }

qg_job
