#!/bin/bash
# All that a GPU can be measured by, in one command: tests/cuda/device/bench.sh BUILD [HIDDEN [RESULTS]] (make bench-cuda). The
# plugin is BUILD's, or the one that QGALORE_CUDA_PLUGIN names. HIDDEN: 4096, proportions of LLaMA-7B at another size try the
# script. BENCH_KEYS: more keys of the training run. PYTHON: a PyTorch that finds the GPU. PEAK_TFLOPS: what the vendor promises
# for bf16. Tables go to the terminal, JSON to RESULTS/bench-cuda*.json (BUILD).
set -u
BUILD=$(realpath "${1:?usage: tests/cuda/device/bench.sh BUILD [HIDDEN [RESULTS]]}")
hidden=${2:-4096}
results=$(realpath "${3:-$BUILD}")
cd "$(dirname "$0")/../../.." || exit 2
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
failed=0

. tests/cuda/device/require.sh

# peak DEVICES: of dense bf16 products in TFLOP/s, of NVIDIA's data sheets; empty for devices that are not listed.
peak() {
  case $1 in
    *H100*PCIe*) echo 756 ;;
    *H100* | *H200*) echo 989 ;;
    *A100*) echo 312 ;;
  esac
}
PEAK_TFLOPS=${PEAK_TFLOPS:-$(peak "$devices")}

headline() { printf '\n== %s\n' "$1"; }

# proportions: keys that make llama7b.in a model of this hidden size.
proportions() {
  [ "$hidden" -eq 4096 ] || printf '%s ' "model.hidden_size=$hidden" "model.intermediate_size=$((hidden * 43 / 16))" \
    "model.num_heads=$((hidden / 128))" "qgalore.rank=$((hidden / 4))"
}

# train NAME KEY=VALUE...: sixteen sequences a step, everything trained. The first step refreshes every subspace, and a
# checkpoint at the end stays in a folder that is removed.
train() {
  local tmp keys name=$1
  tmp=$(mktemp -d)
  read -ra keys <<<"$(proportions) ${BENCH_KEYS:-}"
  keys=(inputs/llama7b.in data.train=random:1000000 data.valid= train.validate_every=0 train.steps=8 train.global_batch=16
    train.micro_batch=16 optimizer.warmup_steps=1 checkpoint.every=0 checkpoint.selftest=no backend.name=cuda "${@:2}" "${keys[@]}")
  printf '%s: %s\n' "$name" "${*:2}"
  "$BUILD/qgalore_hpc" --check "${keys[@]}" >"$tmp/check" 2>&1 || failed=1
  if ! mpirun --bind-to none -np 1 "$BUILD/qgalore_hpc" "${keys[@]}" run.output_dir="$tmp" run.name=bench run.log_every=1 \
    >"$tmp/log" 2>&1; then
    failed=1
    tail -n 20 "$tmp/log"
  fi
  grep -E '^device' "$tmp/check" | sed 's/^device  /predicted/'
  sed -n '/^ *step  *tokens/,/checkpoint/p; /^phase/,/^$/p; /^memory  *fullest/p; /^device/p' "$tmp/log"
  summarise "$tmp" "$name"
  rm -rf "$tmp"
}

# summarise FOLDER NAME: what was in use, and the median of steps 3 to 8 in tokens/s with the share of the peak by the FLOPs per
# token of the log's convention.
summarise() {
  local flops gigabytes
  flops=$(sed -n 's/.*parameters, \([0-9.e+]*\) FLOPs per token.*/\1/p' "$1/check")
  gigabytes=$(sed -n 's/^device .*in use on its device \(.*\)$/\1/p' "$1/log" |
    awk '{ printf "%.2f", $1 * ($2 == "GiB" ? 1.073741824 : 0.001048576) }')
  sed -n 's/.*"tokens_per_s": *\([0-9.e+]*\).*/\1/p' "$1/bench/metrics.jsonl" | tail -n +3 | sort -g |
    awk -v flops="$flops" -v peak="${PEAK_TFLOPS:-0}" -v gb="$gigabytes" -v name="$2" -v json="$results/bench-cuda-7b-$2.json" '
      { rate[NR] = $1 }
      END {
        if (NR == 0) exit 1
        median = rate[int((NR + 1) / 2)]
        share = peak > 0 ? sprintf("%.1f %% of %d TFLOP/s", 100 * median * flops / peak / 1e12, peak) : "peak of this device unknown, set PEAK_TFLOPS"
        printf "in use     %s GB\n", gb
        printf "tokens/s   %.0f (median of %d steps), %.1f TFLOP/s in the convention of the log: %s\n\n", median, NR, median * flops / 1e12, share
        printf "{\"run\": \"%s\", \"gigabytes\": %g, \"tokens_per_s\": %g, \"flops_per_token\": %g, \"peak_tflops\": %g}\n", name, gb, median, flops, peak > json
      }' || failed=1
}

# The least memory, what it costs, and the most speed with either attention.
train_all() {
  train least-memory train.activation_checkpointing=yes train.activation_offload=yes
  train recomputed train.activation_checkpointing=yes train.activation_offload=no
  train kept train.activation_checkpointing=no train.activation_offload=no
  train kept-fused train.activation_checkpointing=no train.activation_offload=no backend.attention=fused
  echo 'aims: least-memory in use 13.7 GB (the paper: 15.26); kept 40 % of the peak, better 55'
}

# A PyTorch that finds the device, or nothing.
find_torch() {
  local python
  for python in ${PYTHON:-} "$BUILD/peers/bin/python" python3; do
    "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null && echo "$python" && return
  done
}

headline "hot kernels: share of the copy bandwidth, or of the better GEMM"
"$alone/bench_cuda" "$hidden" "$results/bench-cuda.json" || failed=1
headline "refresh of all subspaces"
"$alone/bench_refresh" "$hidden" "$results/bench-cuda-refresh.json" || failed=1
headline "LLaMA-7B, 16 x 256 tokens, one device"
if [ -x "$BUILD/qgalore_hpc" ] && command -v mpirun >/dev/null; then train_all
else
  echo "skipped: qgalore_hpc was not built here (it needs MPI and HDF5)"
fi
headline "PyTorch: layers compiled in bf16, the published optimizer step, torch.linalg.svd"
python=$(find_torch)
if [ -n "$python" ]; then
  "$python" tests/bench/peers/peer_gpu.py --hidden "$hidden" --peak "${PEAK_TFLOPS:-0}" --json "$results/bench-cuda-peers.json" || failed=1
else
  echo "skipped: no PyTorch with CUDA was found (make bench-peers, or PYTHON=...)"
fi
exit "$failed"
