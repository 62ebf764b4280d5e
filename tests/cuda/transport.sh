#!/bin/bash
# Activations travel between devices by device pointers or through pinned host memory, with the same bits: whatever the
# order in which copies and kernels come about, and however MPI sends. Run from the repository root; BUILD names the build
# folder; prints TAP. Devices are emulated; MPI is real, and reads the memory of these devices because CUDAEMU_OPEN lets it.
# shellcheck disable=SC2154,SC2034 # tmp comes from tiny_run.sh, code and output go to tap.sh
# shellcheck disable=SC2016,SC2317 # functions are called through check, and expressions through eval
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

export QGALORE_CUDA_PLUGIN=$PWD/${BUILD:-build}/tests/libqgalore_cudaemu.so
[ -f "$QGALORE_CUDA_PLUGIN" ] || skip_all "$QGALORE_CUDA_PLUGIN was not built"

keys=(backend.name=cuda parallel.share_gpu=yes train.steps=4 train.global_batch=8 checkpoint.every=0)

# go NAME RANKS [KEY=VALUE...]: a run; its log in $output, its exit status in $code.
go() {
  rm -rf "${tmp:?}/$1" "$tmp/$1.log"
  train "$2" "$1" "${keys[@]}" "${@:3}"
  code=$?
  output=$(<"$tmp/$1.log")
}
same_as_alone() { same_losses alone "$1" && same_state "$(newest alone)" "$(newest "$1")"; }

go alone 1
expect "one device exchanges nothing" 0 "finished"
check "and does not speak of it" eval '! grep -q "^transport" "$tmp/alone.log"'

go host 3 parallel.transport=host
expect "three devices through host memory" 0 "transport pinned host memory (parallel.transport = host)"
check "with the bits of one" same_as_alone host
CUDAEMU_SEED=2 QGALORE_PAR_SYNCHRONOUS=1 QGALORE_PAR_CHUNK=1000 go host_sync 3 parallel.transport=host
expect "streams in random turns, and sends in pieces that wait for their receivers" 0 "finished"
check "with the same bits" same_as_alone host_sync

go unasked 2
expect "an MPI library without device pointers is not tried" 0 \
  "transport pinned host memory: this MPI library was built without support for device pointers"
go insisted 2 parallel.transport=device
expect "nor if the user wants it" 4 "parallel.transport = device, but this MPI library was built without support"
QGALORE_PAR_DEVICE=1 go silent 2
expect "one that does not tell is tried only on demand" 0 "transport pinned host memory: this MPI library does not tell"

export CUDAEMU_OPEN=1 QGALORE_PAR_DEVICE=2
go device 3
expect "device pointers where MPI takes them" 0 "transport device pointers"
check "with the bits of one" same_as_alone device
CUDAEMU_SEED=2 QGALORE_PAR_SYNCHRONOUS=1 QGALORE_PAR_CHUNK=1000 go device_sync 3
expect "streams in random turns, and sends in pieces that wait for their receivers" 0 "finished"
check "with the same bits" same_as_alone device_sync

tied=(model.tie_embeddings=yes train.steps=2)
QGALORE_PAR_CHUNK=1000 go tied 3 "${tied[@]}"
expect "gradients of a tied embedding go the same way between both ends" 0 "transport device pointers"
go tied_host 3 "${tied[@]}" parallel.transport=host
check "with the bits of those through host memory" eval 'same_losses tied_host tied && same_state "$(newest tied_host)" "$(newest tied)"'

QGALORE_FAULT=transport.pattern go spoilt 2
expect "a wrong bit in a test message leads to host memory" 0 "transport pinned host memory: rank 0: a test message of 1024 bytes"
check "and the run is right" same_as_alone spoilt
QGALORE_FAULT=transport.pattern go refused 2 parallel.transport=device
expect "or ends the run that wants device pointers" 4 "by device pointer from rank 1 arrived with byte 512 wrong"
QGALORE_PAR_DEVICE=1 go tried 2 parallel.transport=device
expect "a library that does not tell is tried on demand" 0 "transport device pointers"
finish
