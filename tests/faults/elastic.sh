#!/bin/bash
# A checkpoint of any number of ranks goes on with any other, in either layout, to the same bits as an uninterrupted
# run; and one whose weights came back into the wrong places does not go on. Run from the repository root; BUILD names
# the build folder; prints TAP.
#
#   QGALORE_FULL=1   saves of 1, 2, 3 and 4 ranks, each resumed by 1, 2, 3, 4 and 8 (default: some of them)
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

keys=(model.num_layers=6 train.steps=20 backend.precision=fp32 backend.threads=1 checkpoint.every=10)
cases=("shared 2:3 8" "shared 3:1" "per_rank 1:4" "per_rank 4:2 3")
[ -z "${QGALORE_FULL:-}" ] || cases=({shared,per_rank}" "{1,2,3,4}":1 2 3 4 8")

run_to_the_end() { # RANKS NAME [KEY=VALUE...]
  train "$1" "$2" "${keys[@]}" "${@:3}" && return
  show_log "$2"
  return 1
}

# go_back NAME COPY: the run as it was at step 10.
go_back() {
  cp -r "$tmp/$1" "$tmp/$2"
  rm "$tmp/$2"/checkpoints/step-0000000020.h5*
}

resumes_alike() { # SAVED RANKS LAYOUT
  go_back "$1" resumed
  run_to_the_end "$2" resumed "checkpoint.layout=$3" && log_says resumed "resumed .* at step 10" &&
    same_state "$(newest alone)" "$(newest resumed)" && same_losses alone resumed
  local result=$?
  rm -rf "$tmp/resumed" "$tmp/resumed.log"
  return "$result"
}

check "an uninterrupted run finishes" run_to_the_end 1 alone
for case in "${cases[@]}"; do
  read -r layout saved <<<"${case%%:*}"
  check "$layout: $saved ranks save" run_to_the_end "$saved" saved "checkpoint.layout=$layout"
  check "the same state as the run alone" same_state "$(newest alone)" "$(newest saved)"
  for ranks in ${case##*:}; do
    check "$layout: $saved ranks to $ranks: same losses and same state" resumes_alike saved "$ranks" "$layout"
  done
  rm -rf "$tmp/saved" "$tmp/saved.log"
done

# --- a reshard that goes wrong ---

checkpoint=$tmp/wrong/checkpoints/step-0000000010.h5

# where DATASET: its place in the file.
where() { h5dump -p -H -d "$1" "$checkpoint" | sed -n 's/.*OFFSET \([0-9]*\).*/\1/p'; }

# swap PLACE BYTES: the two neighbours of so many bytes at a place of the checkpoint.
swap() {
  local copy=$tmp/swap
  dd if="$checkpoint" of="$copy" bs=1 skip="$1" count=$((2 * $2)) status=none
  { tail -c "$2" "$copy" && head -c "$2" "$copy"; } | dd of="$checkpoint" bs=1 seek="$1" conv=notrunc status=none
}

# Layers 0 and 1 change places in one weight, checksums and all: no checksum tells.
swap_layers() {
  local codes=/weights/mlp.down_proj/codes
  go_back alone wrong && swap "$(where "$codes")" 2048 && swap "$(where "$codes.crc32c")" 4 &&
    "$ckpt" verify "$checkpoint" >/dev/null
}

refused_by_the_self_test() {
  ! train 2 wrong "${keys[@]}" && log_says wrong "the self-test of the checkpoint had a loss of .* on the same arrangement"
}

if command -v h5dump >/dev/null; then
  check "two layers change places in a checkpoint with right checksums" swap_layers
  check "the self-test notices" refused_by_the_self_test
  check "and can be told to be silent" run_to_the_end 2 wrong checkpoint.selftest=no
else
  skip "the self-test notices" "h5dump (hdf5-tools) is not installed"
fi
go_back alone other
check "another precision is no reason to refuse" run_to_the_end 2 other backend.precision=bf16

finish
