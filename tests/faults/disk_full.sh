#!/bin/bash
# A disk that fills up during training costs checkpoints and lines of metrics, never the run, and never the checkpoints
# that are already there. Needs the right to mount a small tmpfs. Run from the repository root; BUILD names the build
# folder; prints TAP.
# shellcheck disable=SC2154 # tmp and code come from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# Each scenario has a disk and a run of its own, of this name.
this=
disk=
mount_disk() {
  this=$1 disk=$tmp/$1
  mkdir "$disk"
  mount -t tmpfs -o size=3m tmpfs "$disk" 2>/dev/null
}
mount_disk shared || skip_all "mounting a tmpfs is not permitted here"
umount "$disk"
rmdir "$disk"
trap 'umount "$disk" 2>/dev/null; rm -rf "$tmp"' EXIT

# fill LEAVE: a file that leaves LEAVE KiB of the disk.
fill() {
  local free
  free=$(df --output=avail -k "$disk" | tail -n 1)
  [ "$free" -le "$1" ] || head -c "$(((free - $1) * 1024))" /dev/zero >"$disk/ballast.$1" 2>/dev/null
}

saved_after() { # STEP: the log tells of a save after this step
  awk -v step="$1" '/checkpoint saved/ && $1 > step { found = 1 } END { exit !found }' "$tmp/$this.log" 2>/dev/null
}
failed_at() { sed -n 's/^warning: checkpoint at step \([0-9]*\) failed.*/\1/p' "$tmp/$this.log" | tail -n 1; }
failed_after() { [ "$(failed_at)" -gt "$1" ]; }

# Every line is whole; the steps only rise, though lines may be missing.
metrics_are_readable() {
  awk -F '[:,]' '
    { line = $0; open = gsub(/[{[]/, "", line); closed = gsub(/[]}]/, "", line) }
    !/^[{]"step":[0-9]+,.*[}]$/ || open != closed || $2 <= last { print "# line " NR ": " $0; bad = 1 }
    { last = $2 }
    END { exit bad || NR == 0 }' "$tmp/$this/metrics.jsonl"
}

# A save that fails gives back what it had, so that a line may pass between two of them.
few_warnings_about_metrics() { [ "$(grep -c '^warning: .*metrics.jsonl' "$tmp/$this.log")" -le 3 ]; }

finishes() {
  touch "$disk/STOP"
  finish_job
  [ "$code" -eq 0 ] || show_log "$this"
  [ "$code" -eq 0 ]
}

# fill_up NAME [KEY=VALUE...]: a run whose disk fills up and gets room again.
fill_up() {
  mount_disk "$1"
  start 2 "$1" train.steps=10000000 checkpoint.every=100 run.log_every=100 "${@:2}"
  check "$*: a run saves while there is room" wait_for 30 saved_after 0
  fill 50
  check "on a full disk a save fails with a warning" wait_for 30 log_says "$this" "^warning: checkpoint .* failed"
  check "which says that there is no room" log_says "$this" "no room for"
  good=$(newest "$this")
  check "the checkpoints from before are intact" all_verify "$this"
  refused=$(failed_at)
  check "training goes on" wait_for 30 failed_after "$refused"
  fill 0
  check "to the last byte" wait_for 30 log_says "$this" "^warning: .*metrics.jsonl"
  refused=$(failed_at)
  check "and beyond" wait_for 30 failed_after "$refused"
  check "the last good checkpoint is still there" [ -n "$good" -a "$(newest "$this")" = "$good" ]
  check "and intact" all_verify "$this"
  rm "$disk"/ballast.*
  check "with room again, the next save works" wait_for 30 saved_after "$refused"
  check "and is intact" all_verify "$this"
  check "the run ends well" finishes
  check "with the last checkpoint intact" all_verify "$this"
  check "no line of metrics is cut off or out of order" metrics_are_readable
  check "and a few warnings spoke of them, not one a step" few_warnings_about_metrics
  umount "$disk"
}

fill_up shared
fill_up per_rank checkpoint.layout=per_rank
fill_up asynchronous checkpoint.snapshot_memory=16MiB

# Too small for one checkpoint: told before the first step.
mount_disk small
fill 20
run "$program" "$tmp/tiny.in" "run.output_dir=$disk" run.name=small
expect "a run of which not one checkpoint would fit does not begin" 4 "has room for"
run "$program" --check "$tmp/tiny.in" "run.output_dir=$disk" run.name=small
expect "and --check warns of it" 0 "warning: $disk has room for"
umount "$disk"

# Full at the last save: the run waits, and saves when there is room again.
mount_disk last
start 1 last train.steps=800 checkpoint.every=0 checkpoint.retry_time=60s run.log_every=100
wait_for 20 test -e "$disk/metrics.jsonl"
fill 0
check "the last save waits for room" wait_for 30 log_says last "trying again for"
rm -f "$disk"/ballast.*
finish_job
check "and is made once there is some" [ "$code" -eq 0 -a -n "$(newest last)" ]
umount "$disk"

# Nobody makes room.
mount_disk never
start 1 never train.steps=800 checkpoint.every=0 checkpoint.retry_time=0s run.log_every=100
wait_for 20 test -e "$disk/metrics.jsonl"
fill 0
finish_job
output=$(<"$tmp/never.log")
expect "a run whose last save finds no room ends with the code of a full disk" 4 "no room for"
expect "and does not speak of checkpoints that are not there" 4 "there is no older one"
check "its status says failed, on the full disk" grep -qx state=failed "$disk/status"
run "$program" --status "$disk"
expect "and --status invents no checkpoint" 0 "checkpoint  none yet"
umount "$disk"

finish
