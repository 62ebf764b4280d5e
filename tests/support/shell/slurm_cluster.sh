# A Slurm cluster of this machine alone, in the folder $tmp/slurm and with a configuration of its own; sourced after
# tap.sh and tiny_run.sh. `cluster_start` starts munged, slurmctld and slurmd; they end with the test.
# shellcheck shell=bash
# shellcheck disable=SC2154 # $tmp comes from tiny_run.sh

PATH=$PATH:/usr/sbin
for program_of_slurm in munged mungekey slurmctld slurmd sbatch scontrol scancel squeue; do
  command -v "$program_of_slurm" >/dev/null || skip_all "$program_of_slurm is not installed (slurm-wlm, munge)"
done

cluster=$tmp/slurm
export SLURM_CONF=$cluster/slurm.conf

cluster_configure() {
  local host port=$((20000 + $$ % 20000))
  host=$(hostname -s)
  mkdir -p "$cluster/state" "$cluster/spool"
  # mungekey and munged insist on a folder that nobody else can write.
  chmod 755 "$tmp" "$cluster"
  cat >"$SLURM_CONF" <<CONF
ClusterName=alone
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
# A requeued job waits until its old credential has expired; five seconds are the least.
AuthInfo=socket=$cluster/munge.socket,cred_expire=5
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd.pid
SlurmctldLogFile=$cluster/slurmctld.log
SlurmdLogFile=$cluster/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SwitchType=switch/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
}

node_is_ready() { [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; }

cluster_start() {
  cluster_configure
  mungekey --create --keyfile="$cluster/munge.key" &&
    munged --force --key-file="$cluster/munge.key" --socket="$cluster/munge.socket" --pid-file="$cluster/munged.pid" \
      --log-file="$cluster/munged.log" --seed-file="$cluster/munge.seed" &&
    slurmctld -i && slurmd && wait_for 30 node_is_ready
}

# Jobs end with all their processes at once, those too that they submit meanwhile.
cluster_is_emptied() {
  scancel --quiet --state=PENDING 2>/dev/null
  scancel --quiet --full --signal=KILL --state=RUNNING 2>/dev/null
  [ -z "$(squeue --noheader 2>/dev/null)" ]
}

# Jobs first: nobody else would end them.
cluster_stop() {
  local daemon
  [ -s "$cluster/slurmctld.pid" ] && wait_for 5 cluster_is_emptied
  for daemon in slurmd slurmctld munged; do
    [ -s "$cluster/$daemon.pid" ] && kill "$(cat "$cluster/$daemon.pid")"
  done
  wait_for 15 cluster_is_down
}

cluster_is_down() { ! pgrep -F "$cluster/slurmctld.pid" >/dev/null 2>&1 && ! pgrep -F "$cluster/slurmd.pid" >/dev/null 2>&1; }

# How a test ends, also one that is killed: bash comes here from any command, and whoever kills a test may do so twice.
leave() {
  trap '' TERM INT
  pkill -P $$
  cluster_stop
  rm -rf "$tmp"
}

# cluster_logs: the ends of the daemons' logs, as TAP comments.
cluster_logs() { tail -n 8 "$cluster"/*.log 2>/dev/null | sed 's/^/# /'; }
