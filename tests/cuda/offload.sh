#!/bin/bash
# Activations that wait on the host change nothing: the same checkpoint to the last bit, in any order of the device's
# streams. Run from the repository root; BUILD names the build folder; prints TAP. Without QGALORE_CUDA_PLUGIN the device
# is emulated.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

export QGALORE_CUDA_PLUGIN=${QGALORE_CUDA_PLUGIN:-$PWD/${BUILD:-build}/tests/libqgalore_cudaemu.so}
[ -f "$QGALORE_CUDA_PLUGIN" ] || skip_all "$QGALORE_CUDA_PLUGIN was not built"

keys=(model.num_layers=6 train.steps=4 checkpoint.every=0 qgalore.update_gap=2 backend.precision=bf16
  train.activation_checkpointing=yes train.validate_every=2 data.valid=random:2000 parallel.share_gpu=yes)

# trained RANKS NAME [KEY=VALUE...]
trained() {
  train "$1" "$2" "${keys[@]}" backend.name=cuda "${@:3}" || {
    show_log "$2"
    return 1
  }
}
in_turns() { CUDAEMU_SEED=7 trained "$@" train.activation_offload=yes; }

check "inputs stay on the device" trained 1 kept
check "inputs wait on the host, streams in turns" in_turns 1 away
check "the same checkpoint to the last bit" same_state "$(newest kept)" "$(newest away)"
check "the same with graphs" in_turns 1 graphs backend.graphs=yes
check "to the last bit" same_state "$(newest kept)" "$(newest graphs)"
check "several micro-batches on two ranks" trained 2 kept2 train.micro_batch=1
check "wait on the host" in_turns 2 away2 train.micro_batch=1
check "the same checkpoint to the last bit" same_state "$(newest kept2)" "$(newest away2)"
fused=(train.micro_batch=4 train.update=fused)
check "fused updates" trained 1 fused "${fused[@]}"
check "beside copies" in_turns 1 fused_away "${fused[@]}"
check "the same checkpoint to the last bit" same_state "$(newest fused)" "$(newest fused_away)"

check "the CPU takes the key" complete cpu "${keys[@]}" backend.name=cpu train.activation_offload=yes
check "and trains as without" complete cpu_kept "${keys[@]}" backend.name=cpu
check "to the last bit" same_state "$(newest cpu)" "$(newest cpu_kept)"

refused() {
  train 1 refused train.activation_offload=yes && return 1
  log_says refused "train.activation_offload: only layer inputs can wait on the host; set activation_checkpointing = yes"
}
check "without recomputation it is an error that says what to do" refused
finish
