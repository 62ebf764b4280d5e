#!/bin/bash
# The folders of src depend downwards only, MPI is called in src/par alone, and CUDA stays in cuda. Run from the
# repository root; prints TAP.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh

# A module may include headers of its own and of modules on lower levels, never of its neighbours.
declare -A level=(
  [base]=0
  [spec]=1 [numerics]=1 [par]=1
  [config]=2 [backend]=2 [data]=2
  [memory]=3 [cuda]=3
  [linalg]=4 [weights]=4
  [model]=5
  [optim]=6
  [ckpt]=7
  [train]=8
  [app]=9
  [tools]=10 [main.c]=10
)

module_of_header() { # qgalore/module.h, qgalore/module/x.h or module/x.h
  local name=${1#qgalore/}
  name=${name%%/*}
  name=${name%.h}
  echo "$name"
}

module_of_file() {
  case $1 in
    src/*) echo "$1" | cut -d/ -f2 ;;
    cuda/*) echo cuda ;;
    include/*) module_of_header "${1#include/}" ;;
  esac
}

sources() { find "$@" \( -name '*.c' -o -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) | sort; }

# Lines "FILE HEADER" of the includes in quotes that name a folder; those without one stay in their own folder.
includes() { sources "$@" | xargs -r grep -HoE '^#include "[^"]*/[^"]*"' | sed -E 's/:#include "/ /; s/"$//'; }

points_down() {
  local file header from to wrong=0
  while read -r file header; do
    from=$(module_of_file "$file") to=$(module_of_header "$header")
    [ "$from" = "$to" ] && continue
    if [ -z "${level[$from]:-}" ] || [ -z "${level[$to]:-}" ]; then
      echo "# $file includes $header: name the module in tests/cli/layering.sh"
      wrong=1
    elif [ "${level[$to]}" -ge "${level[$from]}" ]; then
      echo "# $file includes $header: $from must not depend on $to"
      wrong=1
    fi
  done < <(includes "$@")
  return "$wrong"
}

# Modules take what they need as options of their own; only what joins them knows the input.
input_is_read_above() {
  ! includes src include cuda | grep -E ' (qgalore/config\.h|config/.*)$' |
    grep -vE '^(src/(config|train|app)/|include/qgalore/train\.h )' | sed 's/^/# /' | grep .
}

# Code without comments; calls like MPI_Send( have a small letter, constants and types do not matter. Converting a
# communicator for a Fortran library is handing it over, not calling MPI.
calls_no_mpi() {
  local file found wrong=0
  while read -r file; do
    found=$(sed -z 's|/\*\([^*]\|\*\+[^*/]\)*\*\+/||g' "$file" | grep -oE '\bMPI_[A-Z][a-z]+[a-zA-Z0-9_]* *\(' |
      grep -vE 'MPI_Comm_(c2f|f2c)' | sort -u | tr -d '(\n ')
    [ -z "$found" ] && continue
    echo "# $file calls $found: MPI calls belong in src/par"
    wrong=1
  done < <(sources src include cuda | grep -v '^src/par/')
  return "$wrong"
}

has_no_cuda() {
  ! sources src include | xargs -r grep -nE '#include *[<"](cuda|cublas|cusolver|cusparse|curand|nccl|nvml|nvrtc)' | sed 's/^/# /' |
    grep .
}

# The checks themselves must be able to fail.
notices_an_upward_arrow() {
  local folder
  folder=$(mktemp -d) || return 1
  mkdir -p "$folder/src/base"
  echo '#include "qgalore/train.h"' >"$folder/src/base/x.c"
  (cd "$folder" && ! points_down src >/dev/null)
  local code=$?
  rm -rf "$folder"
  return "$code"
}

check "an upward include is noticed" notices_an_upward_arrow
check "the modules of src depend downwards" points_down src
check "so do the public headers" points_down include
check "and the CUDA backend" points_down cuda
check "the input is read by train and app alone" input_is_read_above
check "MPI is called in src/par alone" calls_no_mpi
check "CUDA headers stay in cuda" has_no_cuda
finish
