#!/bin/bash
# Training on the CUDA backend is training on the CPU backend: the same losses up to rounding, checkpoints that go from
# one to the other and back, and the same bits again. Run from the repository root; BUILD names the build folder; prints
# TAP. Without QGALORE_CUDA_PLUGIN the device is emulated, where the host cannot touch its memory.
# shellcheck disable=SC2154 # tmp and code come from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

export QGALORE_CUDA_PLUGIN=${QGALORE_CUDA_PLUGIN:-$PWD/${BUILD:-build}/tests/libqgalore_cudaemu.so}
[ -f "$QGALORE_CUDA_PLUGIN" ] || skip_all "$QGALORE_CUDA_PLUGIN was not built"

# Steps enough for refreshes of the projectors. Rounding to nearest: with stochastic rounding one different last bit
# changes a whole code, and losses part. A constant rate: that of a schedule would depend on train.steps.
keys=(train.steps=8 checkpoint.every=0 qgalore.update_gap=3 backend.precision=fp32 qgalore.stochastic_rounding=no
  optimizer.lr=0.001 optimizer.warmup_steps=0 optimizer.min_lr_ratio=1)

check "the CPU backend trains" complete cpu "${keys[@]}" backend.name=cpu
check "the CUDA backend trains" complete cuda "${keys[@]}" backend.name=cuda
# fp32 losses of about 4.9: sums in another order differ by 1e-6, and eight steps carry it on.
check "with the same losses in fp32" losses_within cpu cuda 2e-4
check "once more" complete again "${keys[@]}" backend.name=cuda
check "the same metrics to the last digit" same_losses cuda again
check "the same checkpoint to the last bit" same_state "$(newest cuda)" "$(newest again)"

# in_turns NAME [KEY=VALUE...]: on an emulated device, in which streams and warps take random turns.
in_turns() { CUDAEMU_SEED=5 complete "$@" backend.name=cuda; }
check "streams and warps in another order" in_turns turns "${keys[@]}"
check "the same checkpoint to the last bit" same_state "$(newest cuda)" "$(newest turns)"
fused=("${keys[@]}" train.micro_batch=4 train.update=fused train.activation_checkpointing=yes)
check "fused updates, recomputed activations" complete fused "${fused[@]}" backend.name=cuda
check "in another order" in_turns fused_turns "${fused[@]}"
check "the same checkpoint to the last bit" same_state "$(newest fused)" "$(newest fused_turns)"

check "layers replayed as graphs" complete graphs "${keys[@]}" backend.name=cuda backend.graphs=yes
check "the same checkpoint to the last bit" same_state "$(newest cuda)" "$(newest graphs)"
check "in another order, fused and recomputed" in_turns fused_graphs "${fused[@]}" backend.graphs=yes
check "the same checkpoint to the last bit" same_state "$(newest fused)" "$(newest fused_graphs)"

check "a run begins on the CPU" complete moving "${keys[@]}" backend.name=cpu train.steps=3
check "goes on on the device" complete moving "${keys[@]}" backend.name=cuda train.steps=6
check "and ends on the CPU" complete moving "${keys[@]}" backend.name=cpu
check "with the losses of the others" losses_within cpu moving 2e-4
check "its checkpoints are whole" all_verify moving

half=("${keys[@]}" backend.precision=bf16)
check "bf16 on the CPU" complete cpu16 "${half[@]}" backend.name=cpu
check "bf16 on the device" complete cuda16 "${half[@]}" backend.name=cuda
# bf16 rounds every activation by 2^-9; the losses of random tokens stay within 1 % of each other.
check "with about the same losses" losses_within cpu16 cuda16 0.05
check "bf16 with fused attention" complete fused16 "${half[@]}" backend.name=cuda backend.attention=fused
check "which the rank table tells" grep -q "fused attention" "$tmp/fused16.log"
check "and again about the same losses" losses_within cpu16 fused16 0.05
finish
