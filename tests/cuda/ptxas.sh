#!/bin/bash
# nvcc warns of no kernel, and none spills registers or keeps a stack, on any architecture that is built. Run from the
# repository root; prints TAP, and with a file as argument writes the table of registers and shared memory there.
# shellcheck disable=SC2016,SC2317 # functions are called through check, and expressions through eval
set -u
. tests/support/tap.sh

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || skip_all "nvcc is not installed"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT

# resources ARCH FILE: nothing after a warning, else one line a kernel: architecture, registers, bytes of shared memory, of stack, of spills, name.
resources() {
  "$nvcc" -I. -Iinclude -Isrc -std=c++17 -O3 -fmad=false -Werror all-warnings -arch="sm_$1" -Xptxas -v -cubin -o "$tmp/cubin" "$2" 2>&1 |
    c++filt | awk -v arch="$1" '
      /Compiling entry function/ { split($0, part, "\047"); name = part[2] }
      /bytes stack frame/ { stack = $1; spills = $5 + $9 }
      /Used [0-9]+ registers/ {
        shared = 0
        if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART) + 0
        match($0, /Used [0-9]+/)
        print arch, substr($0, RSTART + 5) + 0, shared, stack, spills, name
      }'
}

# no_spills FILE: of its kernels; at least one was seen.
no_spills() {
  awk '{ seen++ } $4 > 0 || $5 > 0 { print "# " $0; bad++ } END { exit bad > 0 || !seen }' "$1"
}

for arch in ${CUDA_ARCH:-80 90}; do
  for file in cuda/kernels/*.cu; do
    resources "$arch" "$file" >"$tmp/table.$arch.$(basename "$file" .cu)"
    check "sm_$arch: $file keeps everything in registers" no_spills "$tmp/table.$arch.$(basename "$file" .cu)"
  done
done
echo "80 12 0 8 0 k_planted" >"$tmp/planted"
check "a kernel with a stack is noticed" eval '! no_spills "$tmp/planted" >/dev/null'
[ $# -eq 0 ] || cat "$tmp"/table.* >"$1"
finish
