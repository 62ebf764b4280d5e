# To be read by scripts for a GPU, in the root of the sources with BUILD set: ends them, as skipped, where there is none. Sets
# QGALORE_CUDA_PLUGIN, alone (programs that need no MPI) and devices (what there is), which it prints.
# shellcheck shell=bash
export QGALORE_CUDA_PLUGIN=${QGALORE_CUDA_PLUGIN:-$BUILD/libqgalore_cuda.so}
alone=$BUILD/tests/cuda/alone
if [ ! -f "$QGALORE_CUDA_PLUGIN" ]; then
  echo "skipped: the CUDA backend was not built: nvcc was not found"
  exit 0
fi
if ! devices=$("$alone/devices"); then
  echo "skipped: $devices"
  exit 0
fi
echo "$devices"
