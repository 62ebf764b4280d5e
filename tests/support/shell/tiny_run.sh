# A model so small that a run takes a second, for the tests that stop, kill and resume runs; sourced after tap.sh. Works
# in a folder of its own, $tmp. Skips the test where the program or MPI is missing.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for the tests

program=$PWD/${BUILD:-build}/qgalore_hpc
ckpt=$PWD/${BUILD:-build}/qgalore_ckpt
for file in "$program" "$ckpt"; do
  [ -x "$file" ] || skip_all "$file was not built"
done
command -v mpirun >/dev/null || skip_all "mpirun is not installed"

# Ranks share the cores of one machine and may run as root.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMP_NUM_THREADS=1

tmp=$(mktemp -d) || exit 1
job=
# A test that gave up leaves no run behind.
leave() {
  [ -z "$job" ] || kill_job
  rm -rf "$tmp"
}
trap leave EXIT
cat >"$tmp/tiny.in" <<'INPUT'
[model]
hidden_size = 32
intermediate_size = 64
num_layers = 3
num_heads = 2
vocab_size = 128
[data]
train = random:200000
[train]
steps = 30
sequence_length = 16
global_batch = 4
micro_batch = 2
[qgalore]
rank = 8
update_gap = 5
[checkpoint]
every = 3
INPUT

# train RANKS NAME [KEY=VALUE...]: in the folder $tmp/NAME, log in $tmp/NAME.log; the exit status is the program's.
train() {
  local ranks=$1 name=$2
  shift 2
  mpirun --bind-to none -np "$ranks" "$program" "$tmp/tiny.in" "run.output_dir=$tmp" "run.name=$name" "$@" \
    >>"$tmp/$name.log" 2>&1 </dev/null
}

# start RANKS NAME [KEY=VALUE...]: the same in the background, in a session of its own; $job is mpirun, and the session.
# Without a shell in between, so that signals reach mpirun itself.
start() {
  local ranks=$1 name=$2
  shift 2
  setsid mpirun --bind-to none -np "$ranks" "$program" "$tmp/tiny.in" "run.output_dir=$tmp" "run.name=$name" "$@" \
    >>"$tmp/$name.log" 2>&1 </dev/null &
  job=$!
}

# kill_job: mpirun and all ranks at once, without a chance to clean up.
# Nodes that only have the bundle have no pkill. A process's session is the fourth field after its name.
kill_job() {
  local file line fields
  for file in /proc/[0-9]*/stat; do
    { read -r line <"$file"; } 2>/dev/null || continue
    read -ra fields <<<"${line##*) }"
    [ "${fields[3]}" != "$job" ] || kill -KILL "$(basename "$(dirname "$file")")" 2>/dev/null
  done
}

# finish_job: waits for the started run; its exit status is in $code.
finish_job() {
  wait "$job"
  code=$?
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

log_says() { grep -q -e "$2" "$tmp/$1.log"; }
newest() { find "$tmp/$1/checkpoints" -name 'step-*.h5' | sort | tail -n 1; }
status_is() { grep -qx "state=$2" "$tmp/$1/status"; }

# all_verify NAME: every file that bears the name of a checkpoint is whole, but for those that a run which goes on takes away
# meanwhile.
all_verify() {
  local file good=0
  for file in "$tmp/$1"/checkpoints/step-*.h5; do
    if [ ! -e "$file" ] || "$ckpt" verify "$file" >/dev/null 2>"$tmp/verify.err" || [ ! -e "$file" ]; then continue; fi
    cat "$tmp/verify.err"
    good=1
  done
  return $good
}

# same_state FILE FILE: to the last bit.
same_state() { "$ckpt" diff "$1" "$2" | sed 's/^/# /' && return "${PIPESTATUS[0]}"; }

# losses NAME: metrics without the only column that depends on the clock.
losses() { sed 's/"tokens_per_s":[^,}]*//' "$tmp/$1/metrics.jsonl"; }
same_losses() { diff <(losses "$1") <(losses "$2") | sed 's/^/# /' | head -n 20 && [ "${PIPESTATUS[0]}" -eq 0 ]; }

# show_log NAME: its end, as TAP comments.
show_log() { tail -n "${2:-15}" "$tmp/$1.log" | sed 's/^/# /'; }

# complete NAME [KEY=VALUE...]: a run on one rank ends well.
complete() {
  train 1 "$@" || {
    show_log "$1"
    return 1
  }
}

# losses_within NAME NAME TOLERANCE: no step's losses differ by more.
losses_within() {
  paste <(loss_column "$1") <(loss_column "$2") | awk -v tolerance="$3" '
    NF != 2 { wrong = 1 }
    { d = $1 > $2 ? $1 - $2 : $2 - $1; if (d > most) most = d; if (!(d <= tolerance)) wrong = 1 }
    END { print "# largest difference " most " over " NR " steps"; exit wrong || NR == 0 }'
}
loss_column() { sed -n 's/.*"loss": *\([0-9.eE+-]*\).*/\1/p' "$tmp/$1/metrics.jsonl"; }
