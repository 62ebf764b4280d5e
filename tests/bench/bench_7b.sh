#!/bin/sh
# Two steps of LLaMA-7B on random tokens, on 1 rank and on 2: take_steps prints memory by owner, plan against measured peak,
# seconds by phase. Wants about 20 GB and some minutes, so `make bench` leaves it out.
#
#   tests/bench/bench_7b.sh [INPUT [section.key=value ...]]
#
# INPUT: inputs/llama7b.in; a smaller one tries the script. BUILD (build) holds the programs; RANKS ("1 2") lists the runs.
set -eu
input=${1:-inputs/llama7b.in}
[ $# -eq 0 ] || shift
build=${BUILD:-build}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none

name=$(basename "$input" .in)
mkdir -p "$build/bench"
for ranks in ${RANKS:-1 2}; do
  mpirun --bind-to none -np "$ranks" "$build/tests/bench/take_steps" 2 "$build/bench/$name-$ranks.json" "$input" \
    data.train=random:200000 data.valid= train.validate_every=0 train.steps=2 train.global_batch=1 train.micro_batch=1 \
    train.activation_checkpointing=yes backend.precision=bf16 optimizer.warmup_steps=1 "$@"
done
