#!/bin/bash
# Flux: QGALORE_INPUT=inputs/llama7b.in flux batch jobs/flux.sh
# flux: --job-name=qgalore
# flux: --nodes=2
# flux: --nslots=8
# flux: --cores-per-slot=8
# flux: --time-limit=24h
# flux: --output=qgalore-{{id}}.log
# A signal ahead of the limit would reach the broker of the job, not this script; so the program is told the limit and
# stops by itself. By hand, from inside (flux proxy JOB): flux job kill --signal=USR1 or USR2 "$(flux job last)".

: "${QGALORE_JOBS:=jobs}" "${QGALORE_SCRIPT:=$QGALORE_JOBS/flux.sh}"
# shellcheck source=jobs/common.sh
. "$QGALORE_JOBS/common.sh" || exit 4

# Slots of the batch job, as the directive above (or QGALORE_RANKS) says; 8 cores each.
: "${QGALORE_RANKS:=8}" "${OMP_NUM_THREADS:=8}"
: "${QGALORE_LAUNCHER:=flux run --cores-per-task=$OMP_NUM_THREADS}"
export OMP_NUM_THREADS

qg_ranks() { echo "$QGALORE_RANKS"; }
qg_seconds_left() { flux job timeleft; }

# A signal to `flux run` stays with it: the ranks are a job of this instance.
qg_signal() { flux job kill --signal="SIG$1" "$(flux job last)"; }

# The next job belongs to the instance that runs this one.
qg_submit_again() { flux --parent batch "$QGALORE_SCRIPT"; }

qg_job
