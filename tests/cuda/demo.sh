#!/bin/bash
# The demo's model trains on the CUDA backend as it does on the CPU, repeats to the bit, and takes the device memory that
# was planned. Run from the repository root; BUILD names the build folder; prints TAP. Without QGALORE_CUDA_PLUGIN the device
# is emulated, and the run is so short that this takes seconds. Text of `make demo` is used where there is some, else random
# tokens. DEVICE_BASE: bytes of the device that others use.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

keys=(data.valid= train.validate_every=0 checkpoint.every=0 run.log_every=1 data.train=random:2000000)
[ ! -f demo-data/austen-train.h5 ] || keys+=(data.train=demo-data/austen-train.h5)
export QGALORE_CUDA_PLUGIN=${QGALORE_CUDA_PLUGIN:-$PWD/${BUILD:-build}/tests/libqgalore_cudaemu.so}
keys+=(train.steps=20)
if [[ $QGALORE_CUDA_PLUGIN == *cudaemu* ]]; then
  keys+=(train.steps=3 train.sequence_length=32 train.global_batch=2 train.micro_batch=1 qgalore.update_gap=2
    optimizer.warmup_steps=1 model.vocab_size=256 model.num_layers=1 qgalore.rank=16 data.train=random:20000)
fi
[ -f "$QGALORE_CUDA_PLUGIN" ] || skip_all "$QGALORE_CUDA_PLUGIN was not built"
cp inputs/demo.in "$tmp/tiny.in"

# The plan, its allowance and what is in use, in MiB, of the line that ends a run on a device.
memory_line() {
  sed -n 's/^device .*: planned \(.*\) with \(.*\) for the context, in use on its device \(.*\)$/\1,\2,\3/p' \
    "$tmp/$1.log" | tr ',' '\n' |
    awk '{ print $1 * ($2 == "GiB" ? 1024 : $2 == "MiB" ? 1 : $2 == "KiB" ? 1 / 1024 : 1 / 1048576) }' | paste -sd' '
}

# What is in use is at least what the ledger took, and not more than that and the allowance; rounded as they are printed.
memory_holds() {
  local plan context used
  read -r plan context used <<<"$(memory_line "$1")"
  used=$(awk -v used="${used:-0}" -v base="${DEVICE_BASE:-0}" 'BEGIN { print used - base / 1048576 }')
  echo "# device memory: planned $plan MiB with $context MiB for the context, in use $used MiB"
  awk -v plan="$plan" -v context="$context" -v used="$used" \
    'BEGIN { exit !(plan > context && used + context > 0.99 * plan && used < 1.01 * plan) }'
}

# Rounding to nearest: with stochastic rounding one different last bit changes a whole code, and losses part.
same=("${keys[@]}" backend.precision=fp32 qgalore.stochastic_rounding=no)
check "the demo's model on the CPU, in fp32" complete cpu "${same[@]}" backend.name=cpu
check "and on the device" complete cuda "${same[@]}" backend.name=cuda
# Sums in another order: two instruction sets of the CPU differ by 1.4e-3 within 20 steps of the demo. Later its learning
# rate makes single steps chaotic.
check "with the same losses" losses_within cpu cuda 1e-2
check "the demo as it is, on the CPU" complete cpu16 "${keys[@]}" backend.name=cpu
check "and on the device" complete cuda16 "${keys[@]}" backend.name=cuda
# bf16 and stochastic rounding: on the CPU, bf16 and fp32 differ by 3.6e-2 within 20 steps.
check "with about the same losses" losses_within cpu16 cuda16 5e-2
check "once more" complete again16 "${keys[@]}" backend.name=cuda
check "the same metrics to the last digit" same_losses cuda16 again16
check "the same checkpoint to the last bit" same_state "$(newest cuda16)" "$(newest again16)"
check "device memory is what was planned" memory_holds cuda16

# valid_loss NAME: of the last validation.
valid_loss() { sed -n 's/.*validation loss \([0-9.]*\) after step.*/\1/p' "$tmp/$1.log"; }
valid_losses_within() {
  echo "# largest difference of validation losses: $(valid_loss "$1"), $(valid_loss "$2")"
  awk -v a="$(valid_loss "$1")" -v b="$(valid_loss "$2")" -v most="$3" 'BEGIN { exit !(a > 0 && b > 0 && a - b < most && b - a < most) }'
}

# The whole demo, where its text is at hand and the device is one. Two instruction sets of the CPU end 0.015 apart.
if [[ $QGALORE_CUDA_PLUGIN == *cudaemu* ]] || [ ! -f demo-data/austen-valid.h5 ]; then
  skip "all of the demo" "it needs a device and the text of make demo"
else
  whole=(run.log_every=50 train.validate_every=300)
  check "all of the demo on the CPU" complete all "${whole[@]}" backend.name=cpu
  check "and on the device" complete cudaall "${whole[@]}" backend.name=cuda
  check "with about the same validation loss" valid_losses_within all cudaall 0.05
fi
finish
