#!/bin/bash
# The CUDA toolkit is found as each of its distributors lays it out, and what is missing is named. Folders of empty files stand
# for it. Run from the repository root; prints TAP.
set -u
. tests/support/shell/tap.sh

command -v make >/dev/null || skip_all "make is not installed"
[ ! -e /usr/include/cublasLt.h ] || skip_all "the distribution's toolkit is installed here"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
tmp=$(realpath "$tmp")
headers=(cublasLt.h cusolverDn.h)
runtime=(cuda_runtime_api.h nvtx3/nvToolsExt.h)
libraries=(libcusolver.so libcublas.so libcublasLt.so)

# put FOLDER FILE...
put() {
  local file
  for file in "${@:2}"; do
    mkdir -p "$(dirname "$tmp/$1/$file")"
    : >"$tmp/$1/$file"
  done
}

# nvcc FOLDER: a compiler that is never run.
nvcc() {
  put "$1/bin" nvcc
  chmod +x "$tmp/$1/bin/nvcc"
}

# found [NAME=VALUE...]: what make says that it found.
found() { run env -u CUDA_HOME make --no-print-directory info "$@"; }

nvcc nvidia
put nvidia/include "${headers[@]}" "${runtime[@]}"
put nvidia/lib64 "${libraries[@]}" libcudart_static.a
found NVCC="$tmp/nvidia/bin/nvcc"
expect "NVIDIA's installer: beside nvcc" 0 "CUDA      $tmp/nvidia/lib64 for 80 90"

nvcc conda
put conda/targets/x86_64-linux/include "${headers[@]}" "${runtime[@]}"
put conda/targets/x86_64-linux/lib "${libraries[@]}" libcudart_static.a
found NVCC="$tmp/conda/bin/nvcc"
expect "conda: below targets" 0 "CUDA      $tmp/conda/targets/x86_64-linux/lib for 80 90"

nvcc sdk/compilers
nvcc sdk/cuda/12.4
put sdk/cuda/12.4/include "${runtime[@]}"
put sdk/cuda/12.4/lib64 libcudart_static.a
put sdk/math_libs/12.4/include "${headers[@]}"
put sdk/math_libs/12.4/lib64 "${libraries[@]}"
ln -s 12.4/include 12.4/lib64 "$tmp/sdk/cuda/"
ln -s 12.4/include 12.4/lib64 "$tmp/sdk/math_libs/"
found NVCC="$tmp/sdk/cuda/12.4/bin/nvcc"
expect "the HPC SDK: libraries of their own" 0 "CUDA      $tmp/sdk/cuda/12.4/lib64 $tmp/sdk/math_libs/12.4/lib64 for 80 90"
found NVCC="$tmp/sdk/compilers/bin/nvcc"
expect "the HPC SDK: nvcc among its compilers" 0 "CUDA      $tmp/sdk/cuda/lib64 $tmp/sdk/math_libs/lib64 for 80 90"

nvcc half
put half/include "${runtime[@]}"
put half/lib64 libcudart_static.a
found NVCC="$tmp/half/bin/nvcc"
expect "what is missing is named" 0 "CUDA      CPU only: no cublasLt.h cusolverDn.h libcusolver.so libcublas.so libcublasLt.so"
found NVCC="$tmp/half/bin/nvcc" CUDA_HOME="$tmp/nvidia"
expect "CUDA_HOME adds a place" 0 "$tmp/nvidia/lib64 for 80 90"
run make -n all NVCC="$tmp/half/bin/nvcc" CUDA_HOME=
expect "a build without the backend says so" 0 "The CUDA backend is left out: nvcc is here but not cublasLt.h"
found NVCC="$tmp/nothing"
expect "no nvcc" 0 "CUDA      CPU only: no nvcc"
finish
