#!/bin/sh
# Every bench, one after the other: tests/bench/run.sh BUILD [NAME ...]. Tables on the screen, JSON in BUILD/bench.
# NAME: backend, model, quant, ckpt, update, step, subspace; all of them without. ROUNDS (5) a bench.
set -eu
build=$1
shift
[ $# -gt 0 ] || set -- backend model quant ckpt update step subspace
rounds=${ROUNDS:-5}
bench=$build/tests/bench
out=$build/bench
peers=${PEERS:-$build/peers}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mkdir -p "$out"

for name in "$@"; do
  printf '\n== %s\n' "$name"
  case $name in
    backend)
      "$bench/bench_backend" bf16 2 | tee "$out/backend.txt"
      grep '^{' "$out/backend.txt" >"$out/backend.json"
      ;;
    model) "$bench/bench_model" 2 bf16 512 0 "$out/model.json" ;;
    quant) "$bench/bench_quant" 2 16 "$out/quant.json" ;;
    ckpt) "$bench/bench_ckpt" "$out" "$out/ckpt.json" ;;
    update) "$bench/bench_update" "$rounds" "$peers" "$out/update.json" ;;
    step) "$bench/bench_step" 2 "$rounds" "$peers" "$out/step.json" ;;
    subspace) BUILD=$build PEERS=$peers tests/bench/subspaces.sh 2 "$rounds" ;;
    *) printf 'run.sh: %s: no such bench\n' "$name" >&2 && exit 2 ;;
  esac
done
