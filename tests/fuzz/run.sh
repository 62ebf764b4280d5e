#!/bin/bash
# Runs the fuzzers in turn: tests/fuzz/run.sh BUILD SECONDS (for all of them)
# A crash, a hang of 20 s or more than 1 GiB ends it with the input kept in BUILD/found as crash-*, timeout-* or oom-*.
# HDF5 may crash in the child process that reads a structure first (tests/fuzz/subprocess.c): that leaves a report-* and does not end it.
# Reports without symbols keep that quick.
set -u
build=$1 seconds=$2
fuzzers=("$build"/tests/fuzz/fuzz_*)

# fuzz NAME: its share of the time.
fuzz() {
  local corpus=$build/corpus/$1 found=$build/found/$1
  mkdir -p "$corpus" "$found"
  ASAN_OPTIONS=detect_leaks=0:symbolize=0:allocator_may_return_null=1:log_path=$found/report \
    "$build/tests/fuzz/fuzz_$1" -max_total_time=$((seconds / ${#fuzzers[@]})) -timeout=20 -rss_limit_mb=1024 \
    -malloc_limit_mb=8192 -max_len=65536 -artifact_prefix="$found/" -close_fd_mask=2 "$corpus" "tests/fuzz/corpus/$1" 2>&1 |
    grep -E 'Done|DONE'
  return "${PIPESTATUS[0]}"
}

for fuzzer in "${fuzzers[@]}"; do
  name=${fuzzer##*/fuzz_}
  echo "== $name"
  fuzz "$name" || { echo "$name failed: see $build/found/$name" && exit 1; }
done
