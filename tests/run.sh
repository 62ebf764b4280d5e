#!/bin/bash
# Runs the tests that were built: tests/run.sh BUILD [PATTERN]
#
#   BUILD    the build folder; test programs are in BUILD/tests
#   PATTERN  a regular expression: only tests whose name matches, such as "unit/", "mpi/test_par" or "cli/jobs"
#
# Programs and shell tests print TAP, which is counted here. The source of an MPI program names the numbers of ranks in a
# line "ranks: 1 2 4"; each line "also with: NAME=VALUE ..." there is one more run, with the last of these numbers.
# A crash, a timeout (QG_TEST_TIMEOUT seconds each, default 300), a non-zero exit and a missing plan are failures.
set -u

if [ ! -d "${1:-}" ]; then
  echo "usage: tests/run.sh BUILD [PATTERN]   (BUILD is a folder: run make tests first)" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd) || exit 2
BUILD=$(realpath --relative-to="$root" "$1") || exit 2
pattern=${2:-}
limit=${QG_TEST_TIMEOUT:-300}
cd "$root" || exit 2

# Ranks share the cores of one machine, may run as root, and containers forbid single-copy transfers.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none HWLOC_HIDE_ERRORS=2
export BUILD CMOCKA_MESSAGE_OUTPUT=TAP

tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0

# count_tap FILE: prints "passed failed skipped unaccounted"; what a plan promises and nothing reports is unaccounted,
# and no plan at all is one. cmocka writes "not ok 3 # SKIP name", and one plan per group.
count_tap() {
  awk '
    /^1\.\.0/ { skip++; plans++; next }
    /^1\.\.[0-9]+/ { plans++; promised += substr($1, 4); next }
    /^(not )?ok .*# *SKIP/ { skip++; seen++; next }
    /^ok / { good++; seen++; next }
    /^not ok / { bad++; seen++; next }
    END { print good + 0, bad + 0, skip + 0, plans ? (promised > seen ? promised - seen : 0) : 1 }' "$1"
}

# Why a program failed that did not say so itself.
explain() { # EXIT_CODE UNACCOUNTED
  case $1 in
    0) [ "$2" -eq 0 ] || echo "it ended without running all its tests" ;;
    124 | 137) echo "it was still running after $limit s, or was killed" ;;
    *) echo "it ended with exit code $1" ;;
  esac
}

# judge NAME EXIT_CODE SECONDS: counts the TAP in $tmp/out.0 and reports; the other $tmp/out.* are shown on failure.
judge() {
  local good bad skip missing reason file
  read -r good bad skip missing < <(count_tap "$tmp/out.0")
  reason=$(explain "$2" "$missing")
  # Tests that failed explain a small exit code; otherwise it is a failure of its own.
  if [ "$bad" -gt 0 ] && [ "$2" -lt 124 ] && [ "$missing" -eq 0 ]; then reason=; fi
  if [ -n "$reason" ] && [ "$bad" -eq 0 ]; then bad=$((missing > 0 ? missing : 1)); fi
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
  printf '%-4s %-46s %3d ok' "$([ "$bad" -eq 0 ] && echo ok || echo FAIL)" "$1" "$good"
  [ "$bad" -eq 0 ] || printf ', %d failed' "$bad"
  [ "$skip" -eq 0 ] || printf ', %d skipped' "$skip"
  printf '  %6.1f s\n' "$3"
  [ "$bad" -eq 0 ] && return
  [ -z "$reason" ] || echo "  | $reason"
  for file in "$tmp"/out.*; do
    case $file in
      *.0) ;;
      *.launcher) [ -n "$reason" ] || continue ;;
      *) grep '^not ok ' "$file" | grep -qv 'SKIP' || [ "$2" -ne 0 ] || continue ;;
    esac
    [ "$file" = "$tmp/out.0" ] || echo "  | --- ${file##*/out.}:"
    grep -v '^ok ' "$file" | tail -n 40 | sed 's/^/  | /'
  done
}

wanted() { [[ $1 =~ $pattern ]]; }

# run_one NAME COMMAND...: output to $tmp/out.0 unless the command sends it elsewhere.
run_one() {
  local name=$1 start code
  shift
  rm -f "$tmp"/out.*
  : >"$tmp/out.0"
  start=$EPOCHREALTIME
  # The shell's own notes on crashes are told by `explain`.
  { "$@" </dev/null; } 2>/dev/null
  code=$?
  judge "$name" "$code" "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }')"
}

run_serial() {
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} timeout --kill-after=10 "$limit" "$@" >"$tmp/out.0" 2>&1
}

# Each rank writes a file of its own, so that lines of ranks do not mix.
run_ranks() { # RANKS PROGRAM
  # shellcheck disable=SC2016
  OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(($1 > 1 ? 1 : 2))} QG_TEST_OUT=$tmp/out timeout --kill-after=10 "$limit" \
    mpirun --bind-to none -np "$1" \
    sh -c 'exec "$0" >"$QG_TEST_OUT.${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:-${PMI_RANK:-0}}}" 2>&1' "$2" \
    >"$tmp/out.launcher" 2>&1
}

run_serial_programs() {
  local program name
  for program in "$BUILD"/tests/{unit,conformance,parity,faults,fuzz,cuda}/test_*; do
    name=${program#"$BUILD"/tests/}
    [ -f "$program" ] && [ -x "$program" ] && wanted "$name" && run_one "$name" run_serial "$program"
  done
}

run_mpi_program() { # PROGRAM NAME
  local source=tests/$2.c ranks count extra
  ranks=$(sed -n 's/^.*ranks: *\([0-9][0-9 ]*\).*$/\1/p' "$source" | head -n 1)
  if [ -z "${ranks// /}" ]; then
    run_one "$2" eval "echo '$source has no line \"ranks: 1 2 ...\"' >'$tmp/out.0'; false"
    return
  fi
  for count in $ranks; do
    run_one "$2 ($count ranks)" run_ranks "$count" "$1"
  done
  while read -r extra; do
    # shellcheck disable=SC2086
    run_one "$2 ($count ranks, $extra)" run_ranks_with $extra -- "$count" "$1"
  done < <(sed -n 's/^.*also with: *\([A-Z0-9_]*=[^*]*\).*$/\1/p' "$source")
}

run_ranks_with() ( # NAME=VALUE... -- RANKS PROGRAM
  while [ "$1" != -- ]; do
    export "${1?}"
    shift
  done
  shift
  run_ranks "$@"
)

run_mpi_programs() {
  local program name
  for program in "$BUILD"/tests/mpi/test_*; do
    name=${program#"$BUILD"/tests/}
    [ -f "$program" ] && [ -x "$program" ] && wanted "$name" && run_mpi_program "$program" "$name"
  done
}

run_shell_tests() {
  local script name
  for script in tests/{cli,parity,faults,cuda}/*.sh; do
    name=${script#tests/}
    name=${name%.sh}
    [ -f "$script" ] && wanted "$name" && run_one "$name" run_serial bash "$script"
  done
}

run_serial_programs
run_mpi_programs
run_shell_tests
# A pattern without a match, or a build without tests, must not look like success.
if [ $((passed + failed + skipped)) -eq 0 ]; then
  echo "no test matches ${pattern:-anything} in $BUILD/tests"
  failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
