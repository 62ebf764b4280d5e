# The compiler of the kernels with the flags that make them (NVCCFLAGS in the Makefile), and a folder of its own, $tmp; sourced
# after tap.sh. Skips the test where nvcc is missing.
# shellcheck shell=bash

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || skip_all "nvcc is not installed"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# compile_kernels ARGUMENT...
compile_kernels() { "$nvcc" -I. -Iinclude -Isrc -std=c++17 -O3 -fmad=false "$@"; }
