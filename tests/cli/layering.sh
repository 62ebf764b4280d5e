#!/bin/bash
# The folders of src depend downwards only, their files form no circles, MPI is called in src/par alone, and CUDA
# stays in cuda. Run from the repository root; prints TAP.
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

# Modules that know nothing of each other, although levels would allow some of it.
declare -A strangers=([optim]=model [weights]=model [model]='weights optim' [config]=optim)

keep_apart() {
  local file header from to wrong=0
  while read -r file header; do
    from=$(module_of_file "$file") to=$(module_of_header "$header")
    [[ " ${strangers[$from]:-} " == *" $to "* ]] || continue
    echo "# $file includes $header: $from knows nothing of $to"
    wrong=1
  done < <(includes "$@")
  return "$wrong"
}

# What a parameter is to its model (model/llama/roles.h) does not matter to whoever stores or trains it.
names_no_roles() {
  ! grep -rn 'QG_ROLE_' src/optim src/weights include/qgalore/optim* include/qgalore/weights* | sed 's/^/# /' | grep .
}

rooms=(src/base src/numerics src/par src/config src/data src/memory src/linalg src/weights src/model src/optim src/ckpt
  src/train src/app src/tools cuda)

# Lines "FROM TO" of the includes among the files of a folder; a header and its implementation are one.
file_includes() {
  sources "$1" | xargs -r grep -HoE '^#include "[^"]*"' | sed -E 's/:#include "/ /; s/"$//' | awk -v room="$1/" '
    { from = $1; to = $2; folder = from
      sub(/[^\/]*$/, "", folder)
      if (to !~ /\//) to = folder to
      else if (to !~ /^cuda\//) to = "src/" to
      if (index(to, room) != 1) next
      sub(/\.[a-z]+$/, "", from); sub(/\.[a-z]+$/, "", to)
      print from, to }'
}

has_no_circles() {
  local room found wrong=0
  for room in "$@"; do
    found=$(file_includes "$room" | tsort 2>&1 >/dev/null | sed -E 's/^tsort: (-: )?/# /')
    [ -z "$found" ] && continue
    echo "$found"
    wrong=1
  done
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

# The checks themselves must be able to fail: in a tree of these files, which is right without these lines.
notices() { # CHECK FILE LINE [FILE LINE]...
  local check=$1 tree code
  shift
  tree=$(mktemp -d) || return 1
  (
    cd "$tree" || exit 1
    mkdir -p src/optim src/weights include/qgalore
    touch include/qgalore/optim.h include/qgalore/weights.h
    for ((i = 1; i < $#; i += 2)); do
      mkdir -p "$(dirname "${!i}")"
      echo '#include "qgalore/base.h"' >"${!i}"
    done
    eval "$check" || exit 1
    for (( ; $# > 0; )); do
      echo "$2" >>"$1"
      shift 2
    done
    ! eval "$check" >/dev/null
  )
  code=$?
  rm -rf "$tree"
  return "$code"
}

check "an upward include is noticed" notices 'points_down src' src/base/x.c '#include "qgalore/train.h"'
check "a circle of files is noticed" notices 'has_no_circles src/optim' \
  src/optim/x.h '#include "optim/y.h"' src/optim/y.c '#include "optim/z.h"' src/optim/z.h '#include "optim/x.h"'
check "so is one through a folder below" notices 'has_no_circles cuda' \
  cuda/x.c '#include "cuda/kernels/y.cuh"' cuda/kernels/y.cu '#include "z.cuh"' cuda/kernels/z.cuh '#include "cuda/x.h"'
check "a model in the optimizer is noticed" notices 'keep_apart src' src/optim/x.c '#include "model/llama/roles.h"'
check "a model beside the weights is noticed" notices 'keep_apart include' include/qgalore/weights.h '#include "qgalore/model.h"'
check "an optimizer in the model is noticed" notices 'keep_apart src' src/model/llama/x.c '#include "qgalore/optim/options.h"'
check "weights in the model are noticed" notices 'keep_apart src' src/model/x.h '#include "qgalore/weights.h"'
check "an optimizer in the input is noticed" notices 'keep_apart src' src/config/x.c '#include "qgalore/optim.h"'
check "a role in the optimizer is noticed" notices names_no_roles src/optim/x.c 'if (role == QG_ROLE_HEAD) return;'

check "the modules of src depend downwards" points_down src
check "so do the public headers" points_down include
check "and the CUDA backend" points_down cuda
check "files of a folder form no circles" has_no_circles "${rooms[@]}"
check "optimizer, weights and model do not know each other, nor the input the optimizer" keep_apart src include
check "optimizer and weights ask for no roles" names_no_roles
check "the input is read by train and app alone" input_is_read_above
check "MPI is called in src/par alone" calls_no_mpi
check "CUDA headers stay in cuda" has_no_cuda
finish
