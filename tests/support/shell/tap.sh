# TAP for the tests of programs; sourced by them. Each ends with `finish`.
# shellcheck shell=bash

count=0
failed=0

ok() {
  count=$((count + 1))
  echo "ok $count - $1"
}

not_ok() {
  count=$((count + 1))
  failed=1
  echo "not ok $count - $1"
}

# run COMMAND...: leaves its output in $output (both streams) and its exit status in $code.
run() {
  output=$("$@" 2>&1 </dev/null)
  code=$?
}

# expect NAME CODE TEXT: the last run ended with CODE and said TEXT.
expect() {
  if [ "$code" = "$2" ] && [[ $output == *"$3"* ]]; then
    ok "$1"
  else
    not_ok "$1"
    printf '%s\n' "expected exit $2 with: $3" "got exit $code with: $output" | sed 's/^/# /'
  fi
}

# check NAME COMMAND...: the command succeeds.
check() {
  local name=$1
  shift
  if "$@"; then ok "$name"; else not_ok "$name"; fi
}

# skip NAME REASON: one test that cannot run here.
skip() {
  count=$((count + 1))
  echo "ok $count - $1 # SKIP $2"
}

skip_all() {
  echo "1..0 # SKIP $1"
  exit 0
}

finish() {
  echo "1..$count"
  exit "$failed"
}
