#!/bin/sh
# bench_subspace on gradients of a real run: trains the layers of a LLaMA-60M on the novels of `make demo`, keeps the gradients of
# some steps, and compares each step with an earlier one as its warm start.
#
#   tests/bench/subspaces.sh [THREADS [ROUNDS [STEP:EARLIER ...]]]
#
# BUILD (build): programs, data and results; PEERS ($BUILD/peers): PyTorch; VOCABULARY (4096): of the novels.
set -eu
threads=${1:-2}
rounds=${2:-5}
if [ $# -gt 2 ]; then shift 2; else set -- 10:0 100:80 300:280; fi
build=${BUILD:-build}
vocabulary=${VOCABULARY:-4096}
folder=$build/bench/gradients

DEMO_VOCAB=$vocabulary QGALORE_BIN=$build inputs/demo-data.sh "$build/bench/novels"
mkdir -p "$folder"
missing=no
steps=
for pair in "$@"; do
  for step in "${pair%:*}" "${pair#*:}"; do
    steps="$steps $step"
    [ -s "$folder/step-$step.bin" ] || missing=yes
  done
done
if [ $missing = yes ]; then
  # Numbers without spaces, ascending and each once.
  # shellcheck disable=SC2046,SC2086
  "$build/tests/bench/make_gradients" "$build/bench/novels/austen-train.h5" "$vocabulary" "$folder" \
    $(printf '%s\n' $steps | sort -nu)
fi
for pair in "$@"; do
  step=${pair%:*} earlier=${pair#*:}
  printf '\ngradients of step %s, warm start from step %s\n' "$step" "$earlier"
  "$build/tests/bench/bench_subspace" "$threads" "$rounds" "$folder/step-$step.bin" "$folder/step-$earlier.bin" \
    "${PEERS:-$build/peers}" "$build/bench/subspace-$step.json"
done
