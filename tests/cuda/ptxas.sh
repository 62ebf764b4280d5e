#!/bin/bash
# nvcc warns of no kernel, and none spills registers or keeps a stack, on any architecture that is built. Run from the
# repository root; prints TAP, and with a file as argument writes the table of registers and shared memory there.
# shellcheck disable=SC2016,SC2317 # functions are called through check, and expressions through eval
# shellcheck disable=SC2154 # tmp comes from nvcc.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/nvcc.sh

# resources ARCH FILE: nothing after a warning, else one line a kernel: architecture, registers, bytes of shared memory, of
# stack, of spills, name.
resources() {
  compile_kernels -Werror all-warnings -arch="sm_$1" -Xptxas -v -cubin -o "$tmp/cubin" "$2" 2>&1 |
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

# leaves_room FILE...: of 48 KB of shared memory, what launches count on (SHARED_ALWAYS in cuda/kernels/common.cuh).
leaves_room() {
  awk '$3 > 4096 { print "# " $0; bad++ } END { exit bad > 0 }' "$@"
}

for arch in ${CUDA_ARCH:-80 90}; do
  for file in cuda/kernels/*.cu; do
    resources "$arch" "$file" >"$tmp/table.$arch.$(basename "$file" .cu)"
    check "sm_$arch: $file keeps everything in registers" no_spills "$tmp/table.$arch.$(basename "$file" .cu)"
  done
done
echo "80 12 0 8 0 k_planted" >"$tmp/planted"
check "a kernel with a stack is noticed" eval '! no_spills "$tmp/planted" >/dev/null'
check "static shared memory leaves 44 KB of 48 to launches" leaves_room "$tmp"/table.*
echo "80 12 5000 0 0 k_planted" >"$tmp/planted"
check "static shared memory that does not is noticed" eval '! leaves_room "$tmp/planted" >/dev/null'
[ $# -eq 0 ] || cat "$tmp"/table.* >"$1"
finish
