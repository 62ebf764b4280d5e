#!/bin/bash
# Runs the fuzzers in turn: tests/fuzz/run.sh BUILD SECONDS (for all of them)
# A crash, a hang of 20 s or more than 1 GiB ends it with the input kept as crash-*, timeout-* or oom-*.
set -u
build=$1 seconds=$2
fuzzers=("$build"/tests/fuzz/fuzz_*)
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
export HDF5_USE_FILE_LOCKING=FALSE

for fuzzer in "${fuzzers[@]}"; do
  [ -x "$fuzzer" ] || continue
  name=${fuzzer##*/fuzz_}
  found=$build/corpus/$name
  mkdir -p "$found"
  echo "== $name"
  "$fuzzer" -max_total_time=$((seconds / ${#fuzzers[@]})) -timeout=20 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
    -close_fd_mask=2 "$found" "tests/fuzz/corpus/$name" 2>&1 | grep -E 'stat::|Done|SUMMARY|ERROR|DONE'
  [ "${PIPESTATUS[0]}" -eq 0 ] || exit 1
done
