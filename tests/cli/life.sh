#!/bin/bash
# What a run says of itself while it lives and afterwards: log file, status, signals, the STOP file. Run from the repository
# root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp and code come from tiny_run.sh
# shellcheck disable=SC2016,SC2034,SC2317 # functions and expressions are used by tap.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

folder=$tmp/runs/life
long=("$tmp/tiny.in" "run.output_dir=$tmp/runs" run.name=life train.steps=1000000 checkpoint.every=0 run.log_every=1000)
status_says() { grep -qx "$1" "$folder/status" 2>/dev/null; }
trains() { [ -s "$folder/metrics.jsonl" ]; }
saved() { [ -n "$(find "$folder/checkpoints" -name 'step-*.h5' 2>/dev/null)" ]; }

# begin [SHELL TEXT AFTER THE COMMAND]: one process, without mpirun; $job is its ID.
begin() {
  rm -rf "$folder"
  setsid "$program" "${long[@]}" >"$tmp/out" 2>&1 </dev/null &
  job=$!
  wait_for 30 trains
}

# Output that nobody reads.
rm -rf "$folder"
{ "$program" "${long[@]}" train.steps=300 run.log_every=1 2>&1; echo "$?" >"$tmp/code"; } | head -n 3 >/dev/null
check "a run whose reader went away goes on to its end" [ "$(cat "$tmp/code")" = 0 ]
check "and is saved" status_says state=finished
check "its log is in its folder" grep -q '^finished  all 300 steps done' "$folder/run.log"

# Who lives.
begin
run "$program" --status "$folder"
expect "--status asks the lock who lives" 0 "its process lives"
expect "and names it" 0 "process $job"
kill -KILL "$job"
wait "$job" 2>/dev/null
run "$program" --status "$folder"
expect "a killed run is told from one that lives" 0 "no process holds the folder"
mkdir -p "$tmp/runs/other"
printf 'state=failed\nstep=7\nsteps=9\nreason=a \033[31mred\007 word\nupdated=now\n' >"$tmp/runs/other/status"
run "$program" --status "$tmp/runs"
expect "--status of a folder of runs tells of each" 0 "killed"
expect "and no control character reaches the terminal" 0 "a ?[31mred? word"
run "$program" --status "$tmp"
expect "a folder without runs is told" 2 "no run in it either"

begin
kill -HUP "$job"
finish_job
check "SIGHUP saves and stops" [ "$code" -eq 0 ]
check "and says so" status_says state=resume
check "with a checkpoint" saved

# A STOP file from before goes, one that comes during the start stays.
rm -rf "$folder" && mkdir -p "$folder" && touch "$folder/STOP"
"$program" "${long[@]}" train.steps=3 >"$tmp/out" 2>&1
check "a STOP file of an earlier attempt is removed, and told" grep -q 'removed the STOP file' "$tmp/out"
check "and stops nothing" grep -q 'all 3 steps done' "$tmp/out"
rm -rf "$folder"
setsid "$program" "${long[@]}" >"$tmp/out" 2>&1 </dev/null &
job=$!
wait_for 30 test -e "$folder/run.log" && touch "$folder/STOP"
finish_job
check "a STOP file that comes during the start is obeyed" grep -q 'stopped   by the STOP file' "$tmp/out"

# Changed keys.
rm -rf "$folder"
"$program" "${long[@]}" train.steps=4 >"$tmp/out" 2>&1
run "$program" "${long[@]}" train.steps=6 optimizer.lr=0.005
expect "a restart lists its changed keys" 0 "changed   optimizer.lr: 0.01 -> 0.005"
run "$ckpt" inspect "$(newest runs/life)"
expect "and they are in the history" 0 "optimizer.lr: 0.01 -> 0.005"
check "the log file has both attempts" [ "$(grep -c '^--- ' "$folder/run.log")" = 2 ]

finish
