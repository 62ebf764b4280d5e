#!/bin/bash
# All that a GPU can prove, in one command: tests/cuda/device/check.sh BUILD [LOGS] (make check-cuda). The plugin is BUILD's, or
# the one that QGALORE_CUDA_PLUGIN names; logs go to the folder LOGS, BUILD by default. What cannot run here is skipped, and the
# last lines say why.
set -u
BUILD=$(realpath "${1:?usage: tests/cuda/device/check.sh BUILD [LOGS]}")
logs=$(realpath "${2:-$BUILD}")
cd "$(dirname "$0")/../../.." || exit 2
export CMOCKA_MESSAGE_OUTPUT=TAP
failed=0
notes=()

# What other programs use of the first visible device, in bytes; 0 where nobody can say.
used_by_others() {
  local mib first=${CUDA_VISIBLE_DEVICES:-0}
  mib=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i "${first%%,*}" 2>/dev/null) || mib=0
  echo $((${mib:-0} * 1048576))
}

note_skipped() { notes+=("skipped: $1: $2"); }

# part NAME COMMAND...: shows what failed; the whole log is in LOGS/check-cuda.NAME.log.
part() {
  local name=$1 log=$logs/check-cuda.$1.log code
  shift
  "$@" >"$log" 2>&1
  code=$?
  printf '%-12s %4d ok, %d failed, %d skipped\n' "$name" "$(grep -c '^ok ' "$log")" "$(grep -c '^not ok ' "$log")" \
    "$(grep -c '# SKIP' "$log")"
  grep -E '^# (largest difference|device memory|context|\[)' "$log"
  [ "$code" -eq 0 ] && return
  failed=1
  grep -A 3 '^not ok ' "$log" || tail -n 20 "$log"
}

. tests/cuda/device/require.sh
others=$(used_by_others)
part conformance "$alone/test_cuda"
part attention "$alone/test_cuda_attention"
part device "$alone/test_cuda_device"
part subspaces "$alone/test_subspaces"
part footprint "$alone/footprint" "$others"
if [ ! -x "$BUILD/qgalore_hpc" ] || ! command -v mpirun >/dev/null; then
  note_skipped "training beside the CPU backend, checkpoints, memory of a run" "qgalore_hpc was not built here (it needs MPI and HDF5)"
else
  part training env BUILD="$(realpath --relative-to=. "$BUILD")" bash tests/cuda/train.sh
  part demo env BUILD="$(realpath --relative-to=. "$BUILD")" DEVICE_BASE="$others" bash tests/cuda/demo.sh
  if [ -x "$BUILD/tests/conformance/test_cuda_warm_block" ]; then
    part planted "$BUILD/tests/conformance/test_cuda_subspace"
    part warm "$BUILD/tests/conformance/test_cuda_warm_block"
  else
    note_skipped "subspaces with known singular values" "their tests were not built here (they need cmocka)"
  fi
fi
for note in ${notes[@]+"${notes[@]}"}; do echo "$note"; done
exit "$failed"
