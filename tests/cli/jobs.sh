#!/bin/bash
# The job scripts, run with stand-ins for schedulers, launchers and the program. Run from the repository root; prints TAP.
set -u

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
root=$PWD
mkdir "$tmp/bin"
log=$tmp/log
export STUB_LOG=$log STUB_TMP=$tmp

stub() {
  cat >"$tmp/bin/$1"
  chmod +x "$tmp/bin/$1"
}

# The program: notes its arguments and environment, leaves a status file, and with STUB_WAIT waits for a signal.
stub qgalore_hpc <<'STUB'
#!/bin/bash
echo "qgalore_hpc $* threads=${OMP_NUM_THREADS:-}" >>"$STUB_LOG"
for argument; do
  case $argument in
    run.output_dir=*) folder=${argument#*=} ;;
    run.name=*) name=${argument#*=} ;;
  esac
done
mkdir -p "$folder/$name"
leave() {
  [ -z "${STUB_KEEP:-}" ] || exit "${STUB_CODE:-0}"
  printf 'state=%s\nstep=%s\nreason=%s\n' "$STUB_STATE" "$STUB_STEP" "${STUB_REASON:-walltime}" >"$folder/$name/status"
  exit "${STUB_CODE:-0}"
}
trap 'echo "program got USR1" >>"$STUB_LOG"' USR1
trap 'echo "program got USR2" >>"$STUB_LOG"; leave' USR2
[ -n "${STUB_WAIT:-}" ] || leave
touch "$STUB_TMP/started"
for ((i = 0; i < 200; i++)); do sleep 0.05; done
echo "program was not stopped" >>"$STUB_LOG"
STUB

# Launchers replace themselves by the program, so that a signal to them reaches it.
stub mpirun <<'STUB'
#!/bin/bash
echo "mpirun $*" >>"$STUB_LOG"
while [ "${1#*qgalore_hpc}" = "$1" ]; do shift; done
exec "$@"
STUB

stub flux <<'STUB'
#!/bin/bash
echo "flux $*" >>"$STUB_LOG"
case "$1 ${2:-}" in
  "run "*)
    while [ "${1#*qgalore_hpc}" = "$1" ]; do shift; done
    trap '' USR2
    (trap - USR2; exec "$@") &
    echo $! >"$STUB_TMP/flux.pid"
    wait $!
    ;;
  "--parent batch") echo SUBMITTED >>"$STUB_LOG" ;;
  "batch "*) echo "f$(wc -l <"$STUB_LOG") sweep=${QGALORE_SWEEP_INDEX:-}" | tee -a "$STUB_LOG" ;;
  "job timeleft") echo 3600 ;;
  "job last") echo f1 ;;
  "job kill") kill -s "${3#--signal=SIG}" "$(cat "$STUB_TMP/flux.pid")" ;;
esac
STUB

for name in sbatch qsub bsub; do
  stub "$name" <<'STUB'
#!/bin/bash
echo "SUBMITTED ${0##*/} $* chain=${QGALORE_CHAIN:-} sweep=${QGALORE_SWEEP_INDEX:-}" >>"$STUB_LOG"
number=$(wc -l <"$STUB_LOG")
if [ "${0##*/}" = bsub ]; then echo "Job <$number> is submitted to queue <normal>."; else echo "$number"; fi
STUB
done
stub scontrol <<'STUB'
#!/bin/bash
echo "SUBMITTED scontrol $*" >>"$STUB_LOG"
exit "${STUB_SCONTROL:-0}"
STUB
stub squeue <<<'echo 1-02:00:05'
stub bjobs <<<'echo "0:59 L"'
stub qstat <<<'echo "    Resource_List.walltime = 02:00:00"'

PATH=$tmp/bin:$PATH
printf 'a\na\nb\n' >"$tmp/nodes"
export QGALORE_JOBS=$root/jobs QGALORE_INPUT=inputs/demo.in QGALORE_RUN=$tmp/runs/demo
export SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_CPUS_PER_TASK=3 PBS_JOBID=8 PBS_NODEFILE=$tmp/nodes LSB_JOBID=9 LSB_DJOB_NUMPROC=6
export STUB_STATE=finished STUB_STEP=10
unset QGALORE_ARGS QGALORE_CHAIN QGALORE_LAUNCHER QGALORE_PROGRAM QGALORE_SCRIPT SLURM_JOB_END_TIME PBS_WALLTIME OMP_NUM_THREADS

count=0 failed=0
ok() { count=$((count + 1)); echo "ok $count - $1"; }
not_ok() {
  count=$((count + 1)) failed=1
  echo "not ok $count - $1"
  sed 's/^/# /' "$log" "$tmp/out"
}
expect() { if grep -qF -e "$2" "$log" "$tmp/out"; then ok "$1"; else not_ok "$1: no \"$2\""; fi; }
expect_not() { if grep -qF -e "$2" "$log" "$tmp/out"; then not_ok "$1: \"$2\""; else ok "$1"; fi; }
expect_code() { if [ "$code" -eq "$2" ]; then ok "$1"; else not_ok "$1: exit code $code"; fi; }

job() {
  : >"$log"
  bash "$root/jobs/$1.sh" >"$tmp/out" 2>&1
  code=$?
}
fresh() { rm -rf "$tmp/runs"; }

# Every scheduler: ranks, walltime, no resubmission of a finished run.
fresh; job slurm
expect "slurm: one rank a task" "mpirun --bind-to none -x OMP_NUM_THREADS -n 4"
expect "slurm: threads of a rank" "threads=3"
expect "slurm: time left in seconds" "run.max_walltime=93605s"
expect "slurm: finished" "finished at step 10"
expect_not "slurm: a finished run is not submitted again" "scontrol"
expect_code "slurm: the program's exit code" 0
fresh; job pbs
expect "pbs: ranks and hosts from the node file" "--hostfile $tmp/nodes -n 3"
expect "pbs: walltime" "run.max_walltime=7200s"
fresh; job lsf
expect "lsf: ranks" "mpirun --bind-to none -n 6"
expect "lsf: walltime" "run.max_walltime=3540s"
fresh; job flux
expect "flux: ranks" "flux run --cores-per-task=8 -n 8"
expect "flux: walltime" "run.max_walltime=3600s"

# A run that stopped early goes on in the next job, with the scheduler's own command.
export STUB_STATE=resume
fresh; job slurm; expect "slurm: requeues" "scontrol requeue 7"
export STUB_SCONTROL=1
fresh; job slurm; expect "slurm: submits where requeueing is forbidden" "sbatch $root/jobs/slurm.sh"
unset STUB_SCONTROL
fresh; job pbs; expect "pbs: submits again" "qsub $root/jobs/pbs.sh"
fresh; job lsf; expect "lsf: submits again" "bsub "
fresh; job flux; expect "flux: submits to the parent instance" "flux --parent batch $root/jobs/flux.sh"

# The chain ends when it makes no sense to go on.
for scheduler in slurm pbs lsf flux; do
  for wrong in 2 4 5; do
    fresh; STUB_CODE=$wrong job $scheduler
    expect_not "$scheduler: exit code $wrong ends the chain" "SUBMITTED"
    expect_code "$scheduler: and is the job's" $wrong
  done
done

# A full disk: the program cannot save, its status stays as it was, and the count of such attempts cannot be kept.
fresh
mkdir -p "$tmp/runs"
if unshare -m true 2>/dev/null && mount -t tmpfs -o size=64k tmpfs "$tmp/runs" 2>/dev/null; then
  for scheduler in slurm pbs lsf flux; do
    mkdir -p "$tmp/runs/demo" && : >"$tmp/runs/demo/stalls"
    printf 'state=running\nstep=10\nreason=started\n' >"$tmp/runs/demo/status"
    head -c 1M /dev/zero >"$tmp/runs/ballast" 2>/dev/null
    STUB_STATE= STUB_STEP=10 STUB_CODE=1 STUB_KEEP=1 job $scheduler
    expect "$scheduler: on a full disk the chain ends" "is the disk full? Not submitted again"
    rm -rf "$tmp/runs/ballast" "$tmp/runs/demo"
  done
  umount "$tmp/runs"
else
  ok "skipped: mounting a tmpfs is not permitted here # SKIP"
fi

fresh
STUB_STEP=10 job pbs; expect "first attempt: progress" "qsub"
STUB_STEP=10 job pbs; expect "one attempt without progress is forgiven" "qsub"
STUB_STEP=10 job pbs; expect_not "after two it is not submitted" "qsub"
expect "and it says so" "two attempts ended at step 10"
STUB_STEP=20 job pbs; expect "progress makes it whole again" "qsub"
STUB_STEP=20 job pbs; expect "and is counted anew" "qsub"
fresh; STUB_STATE=failed STUB_CODE=5 job pbs
expect_not "a failed run is not submitted again" "qsub"
expect_code "its exit code is passed on" 5
fresh; STUB_STATE=running STUB_CODE=1 job pbs; expect "a run that was killed is submitted again" "qsub"
fresh; STUB_CODE=2 job pbs; expect_not "wrong input is not submitted again" "qsub"
fresh; STUB_REASON="STOP file" job pbs; expect_not "the STOP file ends the chain" "qsub"
fresh; QGALORE_CHAIN=no job pbs; expect_not "QGALORE_CHAIN=no ends the chain" "qsub"

# Arguments and launchers of the user.
fresh; QGALORE_ARGS="train.steps=5 optimizer.lr=0.1" QGALORE_LAUNCHER="mpirun --mca a b" job slurm
expect "overrides come last" "run.max_walltime=93605s train.steps=5 optimizer.lr=0.1"
expect "the launcher can be chosen" "mpirun --mca a b -n 4"
expect "folder and name agree with the status file" "run.output_dir=$tmp/runs run.name=demo"
fresh; SLURM_JOB_END_TIME=$(($(date +%s) - 5)) job slurm
expect_not "a time limit that makes no sense is left out" "max_walltime"
fresh; QGALORE_INPUT="" job slurm
expect "a missing input is an error that says what to do" "job: set QGALORE_INPUT to an input file"
expect_not "and nothing is started" "mpirun"

# Signals: what the scheduler sends to the script arrives at the program as save (USR1) or save and stop (USR2).
signalled() {
  : >"$log"
  rm -f "$tmp/started"
  STUB_WAIT=1 bash "$root/jobs/$1.sh" >"$tmp/out" 2>&1 &
  local pid=$! i
  for ((i = 0; i < 200; i++)); do
    [ -e "$tmp/started" ] && break
    sleep 0.05
  done
  shift
  for name; do
    kill -s "$name" "$pid"
    sleep 0.3
  done
  wait "$pid"
  code=$?
}
for name in slurm pbs lsf flux; do
  fresh; signalled $name USR2
  expect "$name: the signal before the end saves and stops" "program got USR2"
  expect "$name: and the chain goes on" "submits the next job"
done
fresh; signalled slurm USR1 USR2
expect "USR1 saves" "program got USR1"
expect "and the program goes on until USR2" "program got USR2"
fresh; signalled slurm TERM
expect "a cancelled job saves" "program got USR2"
expect_not "and is not submitted again" "scontrol"
expect_code "and waits for the program" 0

# A chain submitted in advance: each job waits for the one before it and goes on where there is something to do.
submitted() {
  : >"$log"
  bash "$root/jobs/$1" "${@:2}" >"$tmp/out" 2>&1
  code=$?
}
submitted chain.sh slurm 3 --partition=long
expect "slurm: the first link waits for nobody" "sbatch --parsable --partition=long $root/jobs/slurm.sh chain=link"
expect "slurm: the third waits for the second" "sbatch --parsable --dependency=afterany:2 --partition=long"
submitted chain.sh pbs 2
expect "pbs: a link waits for the one before" "qsub -W depend=afterany:1"
submitted chain.sh lsf 2
expect "lsf: a link waits for the one before" "bsub -w ended(1)"
submitted chain.sh flux 2
expect "flux: a link waits for the one before" "flux batch --dependency=afterany:f1"
submitted chain.sh slurm none
expect_code "a chain without a length is refused" 2
export QGALORE_CHAIN=link STUB_STATE=resume STUB_STEP=10
fresh; job slurm
expect "a link that stopped early leaves the run to the next" "leaves it to the next job"
expect_not "and submits nothing" "scontrol"
STUB_STATE=finished STUB_STEP=20 job slurm
expect "which finishes it" "finished at step 20"
job slurm
expect "a link after the end does nothing" "finished (walltime): nothing to go on with"
expect_not "not even start" "mpirun"
expect_code "without being an error" 0
fresh; STUB_REASON="STOP file" job slurm
job slurm
expect_not "nor does a link after a STOP file" "mpirun"
fresh; job slurm; job slurm; job slurm; job slurm
expect "nor one after two attempts without progress" "two attempts without progress: nothing to go on with"
unset QGALORE_CHAIN

# An evaluation leaves the status of the training as it is.
fresh; job slurm
QGALORE_ARGS="run.job=evaluate" job slurm
expect "an evaluation is started" "run.job=evaluate"
expect_not "and not submitted again where its training would go on" "scontrol"
sed 's/^\[run\]/&\njob = evaluate/' "$QGALORE_INPUT" >"$tmp/evaluate.in"
QGALORE_INPUT=$tmp/evaluate.in job slurm
expect_not "nor where the input names the job" "scontrol"
QGALORE_INPUT=$tmp/evaluate.in QGALORE_ARGS="run.job=pretrain" job slurm
expect "a word overrides the input" "scontrol requeue 7"

# A sweep: task N of an array runs line N in a folder of its own, and is resubmitted as that task.
printf 'optimizer.lr=0.1 train.seed=1\noptimizer.lr=0.2\n' >"$tmp/sweep"
submitted sweep.sh slurm "$tmp/sweep" --partition=short
expect "slurm: an array of the lines" "sbatch --array=1-2 --partition=short $root/jobs/slurm.sh"
submitted sweep.sh pbs "$tmp/sweep"
expect "pbs: an array of the lines" "qsub -J 1-2"
submitted sweep.sh lsf "$tmp/sweep"
expect "lsf: an array of the lines" "bsub -J qgalore[1-2]"
submitted sweep.sh flux "$tmp/sweep"
expect "flux: a job for each line" "sweep=2"
submitted sweep.sh slurm "$tmp/nothing"
expect_code "a sweep without a file is refused" 2
export QGALORE_SWEEP=$tmp/sweep STUB_STATE=resume
fresh; PBS_ARRAY_INDEX=2 job pbs
expect "a task runs its line in its folder" "run.output_dir=$tmp/runs/demo run.name=2 run.max_walltime=7200s optimizer.lr=0.2"
expect "and is submitted again as this task" "qsub $root/jobs/pbs.sh chain= sweep=2"
fresh; SLURM_ARRAY_TASK_ID=1 job slurm
expect "a line may hold several keys" "optimizer.lr=0.1 train.seed=1"
fresh; SLURM_ARRAY_TASK_ID=3 job slurm
expect_code "a task without a line is an error" 2
expect_not "and starts nothing" "mpirun"
unset QGALORE_SWEEP

fresh; QGALORE_PROGRAM="env qgalore_hpc" job slurm
expect "the program may be several words, as for a container" "qgalore_hpc inputs/demo.in"

if command -v shellcheck >/dev/null; then
  if shellcheck -x jobs/*.sh >"$tmp/out"; then ok "shellcheck"; else not_ok "shellcheck"; fi
else
  ok "shellcheck # SKIP not installed"
fi

echo "1..$count"
exit $failed
