# shellcheck shell=bash
# What the job scripts of all schedulers share; sourced, never run.
#
# A user sets, in the environment or at the top of a script:
#   QGALORE_INPUT     input file                                   (required)
#   QGALORE_ARGS      more "section.key=value", separated by blanks (none)
#   QGALORE_RUN       folder of the run                             (runs/NAME, NAME from the input file)
#   QGALORE_PROGRAM   the program, such as "apptainer exec q.sif qgalore_hpc"  (qgalore_hpc on PATH, else build/qgalore_hpc)
#   QGALORE_LAUNCHER  how ranks are started, with options           (mpirun, else srun)
#   QGALORE_SCRIPT    what is submitted again                       (the script of this scheduler in jobs/)
#   QGALORE_CHAIN     no: never submit again. link: one of a chain that jobs/chain.sh submitted: not submitted again, and
#                     does nothing where there is nothing to go on with             (yes)
#   QGALORE_SWEEP     file with one line of more "section.key=value" a run: task N of a job array, or of
#                     QGALORE_SWEEP_INDEX=N, runs line N in the folder QGALORE_RUN/N  (none)
#
# A scheduler's script defines, as far as its scheduler can:
#   qg_ranks          prints the number of ranks
#   qg_seconds_left   prints the seconds until the job is killed
#   qg_submit_again   submits the next job of the chain
#   qg_signal NAME    sends a signal to the ranks, where a signal to the launcher does not reach them
# and then calls qg_job.

qg_say() { printf 'job: %s\n' "$*"; }

# Value of a key of the run's status file; empty if there is none.
qg_status_value() { [ -r "$run_folder/status" ] && sed -n "s/^$1=//p" "$run_folder/status"; }

# "[D-][[HH:]MM:]SS" in seconds; fails for anything else, such as UNLIMITED.
qg_clock_seconds() {
  printf '%s\n' "$1" | awk -F'[-:]' '
    !/^([0-9]+-)?([0-9]+:)?([0-9]+:)?[0-9]+$/ { exit 1 }
    { days = 0; first = 1; seconds = 0
      if ($0 ~ /-/) { days = $1; first = 2 }
      for (i = first; i <= NF; i++) seconds = 60 * seconds + $i
      print 86400 * days + seconds }'
}

qg_environment() {
  local name
  [ -n "${QGALORE_INPUT:-}" ] || { qg_say "set QGALORE_INPUT to an input file"; return 1; }
  name=$(basename "$QGALORE_INPUT")
  : "${QGALORE_RUN:=runs/${name%.*}}"
  if [ -z "${QGALORE_PROGRAM:-}" ]; then
    QGALORE_PROGRAM=$(command -v qgalore_hpc || echo build/qgalore_hpc)
  fi
  export QGALORE_INPUT QGALORE_RUN QGALORE_PROGRAM
  run_folder=$QGALORE_RUN
}

# Folder and line of a task of a sweep. Its number is kept for a job that is submitted again outside the array.
qg_choose_task() {
  [ -n "${QGALORE_SWEEP:-}" ] || return 0
  : "${QGALORE_SWEEP_INDEX:=${SLURM_ARRAY_TASK_ID:-${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-${LSB_JOBINDEX:-}}}}}"
  sweep_line=$(sed -n "${QGALORE_SWEEP_INDEX:-0}p" "$QGALORE_SWEEP" 2>/dev/null)
  if [ -z "$sweep_line" ]; then
    qg_say "no line \"${QGALORE_SWEEP_INDEX:-}\" in $QGALORE_SWEEP; submit with jobs/sweep.sh"
    return 1
  fi
  export QGALORE_SWEEP QGALORE_SWEEP_INDEX
  run_folder=$QGALORE_RUN/$QGALORE_SWEEP_INDEX
}

# The launcher's words in the array `launcher`. mpirun would pin each rank to one core: the threads of a rank need several.
qg_choose_launcher() {
  local ranks=$1
  if [ -n "${QGALORE_LAUNCHER:-}" ]; then
    read -r -a launcher <<<"$QGALORE_LAUNCHER"
  elif command -v mpirun >/dev/null; then
    launcher=(mpirun --bind-to none)
    [ -n "${OMP_NUM_THREADS:-}" ] && launcher+=(-x OMP_NUM_THREADS)
    [ -n "${QGALORE_HOSTFILE:-}" ] && launcher+=(--hostfile "$QGALORE_HOSTFILE")
  elif command -v srun >/dev/null; then
    launcher=(srun)
  else
    qg_say "neither mpirun nor srun is on PATH; load an MPI module or set QGALORE_LAUNCHER"
    return 1
  fi
  [ -n "$ranks" ] && launcher+=(-n "$ranks")
  return 0
}

# The program's arguments in the array `arguments`. Folder and name are given, so that the status file is where we look.
qg_choose_arguments() {
  local seconds=$1 more
  read -r -a more <<<"${QGALORE_ARGS:-} $sweep_line"
  arguments=("$QGALORE_INPUT" "run.output_dir=$(dirname "$run_folder")" "run.name=$(basename "$run_folder")")
  # An unlimited job has no time left, a word, or a number beyond any job: then there is nothing to say.
  [[ $seconds =~ ^[0-9]{1,8}$ ]] && arguments+=("run.max_walltime=${seconds}s")
  arguments+=("${more[@]}")
}

# USR1: save and go on. USR2: save and stop.
qg_forward() {
  interrupted=yes
  qg_say "passes $1 on"
  if declare -F qg_signal >/dev/null; then qg_signal "$1"; else kill -s "$1" "$launcher_pid"; fi
}

# Somebody cancelled the job. mpirun would answer TERM by killing the ranks before they can save.
qg_cancel() {
  cancelled=yes
  qg_forward USR2
}

# Runs the command and returns its exit code. A signal that is trapped ends `wait` early: then wait once more.
qg_run() {
  local code
  "$@" &
  launcher_pid=$!
  trap 'qg_forward USR1' USR1
  trap 'qg_forward USR2' USR2
  trap qg_cancel TERM
  while :; do
    interrupted=no
    wait "$launcher_pid"
    code=$?
    [ "$interrupted" = yes ] || break
  done
  trap - USR1 USR2 TERM
  return "$code"
}

# The number of attempts in a row that ended at the step they began at.
qg_stalls() {
  local kept=
  [ -r "$run_folder/stalls" ] && read -r kept <"$run_folder/stalls"
  echo "${kept:-0}"
}

# Keeps that number. Where it cannot be kept, as on a full disk, nothing would ever end the chain: then it fails.
qg_keep_stalls() {
  if [ "$1" -eq 0 ]; then rm -f "$run_folder/stalls"; return; fi
  { echo "$1" >"$run_folder/stalls"; } 2>/dev/null
  [ "$(qg_stalls)" = "$1" ]
}

# What no other job would do better: exit codes of the program.
qg_is_final() {
  case $1 in
    2) qg_say "the input is wrong; correct it and submit again" ;;
    4) qg_say "no room on the disk, no memory or no device (exit code 4): see the error above, then submit again" ;;
    5) qg_say "the numbers are not finite any more (exit code 5): see the error above, then submit again" ;;
    *) return 1 ;;
  esac
}

# Whether another job would help.
qg_should_continue() {
  local code=$1 step_before=$2 state step stalls=0
  state=$(qg_status_value state)
  step=$(qg_status_value step)
  [ "${QGALORE_CHAIN:-yes}" != no ] || { qg_say "state ${state:-unknown}; QGALORE_CHAIN is off"; return 1; }
  [ "$cancelled" = no ] || { qg_say "cancelled at step ${step:-0}; not submitted again"; return 1; }
  [ "$(qg_status_value reason)" != "STOP file" ] || { qg_say "stopped by the STOP file at step $step"; return 1; }
  ! qg_is_final "$code" || return 1
  case $state in
    finished) qg_say "finished at step $step"; return 1 ;;
    resume | running) ;;
    *) qg_say "state ${state:-unknown} after exit code $code; not submitted again"; return 1 ;;
  esac
  [ "${step:-0}" -gt "$step_before" ] || stalls=$(($(qg_stalls) + 1))
  qg_keep_stalls "$stalls" || { qg_say "cannot write $run_folder/stalls: is the disk full? Not submitted again"; return 1; }
  [ "$stalls" -lt 2 ] || { qg_say "two attempts ended at step $step; not submitted again"; return 1; }
  qg_say "stopped at step ${step:-0}; $([ "${QGALORE_CHAIN:-yes}" = link ] && echo "leaves it to" || echo submits) the next job"
}

# A link looks at what the one before it left.
qg_link_has_work() {
  local state reason
  [ "${QGALORE_CHAIN:-yes}" = link ] || return 0
  state=$(qg_status_value state)
  reason=$(qg_status_value reason)
  case $state in
    finished | failed) qg_say "$state ($reason): nothing to go on with"; return 1 ;;
  esac
  [ "$reason" != "STOP file" ] || { qg_say "stopped by the STOP file: nothing to go on with"; return 1; }
  [ "$(qg_stalls)" -lt 2 ] || { qg_say "two attempts without progress: nothing to go on with"; return 1; }
}

# Whether run.job is training, by its words here and in the input itself: other jobs end with what they print, and leave the run's
# status alone.
qg_trains() {
  local word job
  job=$(sed -n 's/^[[:space:]]*job[[:space:]]*=[[:space:]]*\([a-z]*\).*/\1/p' "$QGALORE_INPUT" 2>/dev/null | tail -n 1)
  for word in ${QGALORE_ARGS:-} $sweep_line; do
    case $word in run.job=*) job=${word#run.job=} ;; esac
  done
  [ "${job:-pretrain}" = pretrain ]
}

qg_optional() { declare -F "$1" >/dev/null && "$1"; }

qg_job() {
  local launcher program arguments code step_before run_folder sweep_line='' cancelled=no
  qg_environment || return 2
  qg_choose_task || return 2
  ! qg_trains || qg_link_has_work || return 0
  step_before=$(qg_status_value step)
  qg_choose_launcher "$(qg_optional qg_ranks)" || return 4
  qg_choose_arguments "$(qg_optional qg_seconds_left)"
  read -r -a program <<<"$QGALORE_PROGRAM"
  qg_say "${launcher[*]} ${program[*]} ${arguments[*]}"
  qg_run "${launcher[@]}" "${program[@]}" "${arguments[@]}"
  code=$?
  qg_trains && qg_should_continue "$code" "${step_before:-0}" && [ "${QGALORE_CHAIN:-yes}" = yes ] && qg_submit_again
  return "$code"
}
