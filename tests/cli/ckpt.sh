#!/bin/bash
# qgalore_ckpt on checkpoints of a small run. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# Without anything that an MPI launcher sets.
qckpt() { run env -i PATH="$PATH" "$ckpt" "$@"; }
says() { [[ $output == *"$1"* ]]; }
says_line() { grep -qxE -e "$1" <<<"$output"; }

qckpt --help
expect "--help lists the commands" 0 "qgalore_ckpt diff FILE FILE"
qckpt --version
expect "--version names program and version" 0 "qgalore_ckpt 0."
qckpt
expect "without a command it says what to do" 2 "--help"
qckpt mend a.h5
expect "an unknown command is named" 2 "mend"
qckpt --bogus
expect "an unknown option is wrong usage" 2 "--help"
qckpt diff a.h5
expect "diff takes two files" 2 "diff takes 2 files"
qckpt inspect a.h5 b.h5
expect "inspect takes one" 2 "inspect takes 1 file;"
qckpt verify
expect "verify takes some" 2 "verify takes 1 file or more"

check "a run of 6 steps" train 2 first train.steps=6
check "and the same again" train 1 second train.steps=6
three=$tmp/first/checkpoints/step-0000000003.h5
six=$tmp/first/checkpoints/step-0000000006.h5
again=$tmp/second/checkpoints/step-0000000006.h5

qckpt inspect "$six"
expect "inspect shows the step" 0 "step            6"
check "the tokens" says "tokens          384"
check "the place in the data" says "cursor          24 sequences"
check "the model" says_line ' *model\.hidden_size +32'
check "the method" says_line ' *optimizer\.method +qgalore'
check "each dataset with type, shape and bytes" says_line 'weights/lm_head/values +bf16 +\[1, 4096\] +8192'
check "packed nibbles as elements" says_line 'projector/mlp\.up_proj/codes +u4 +\[3, 256\] +384'
# The file is its data and little more.
total=$(sed -n 's/^[0-9]* datasets, \([0-9]*\) bytes.*/\1/p' <<<"$output")
check "and the bytes of all together" [ "$total" -gt 100000 -a "$total" -lt "$(stat -c %s "$six")" ]
check "and the layout" says_line 'layout +shared, the file itself has [0-9]+ bytes'
check "the loss of the self-test and what computed it" says_line 'self-test loss +[0-9.]+ \(bf16, cpu .*threads [0-9]+.*'
check "and each attempt of the run" says_line '  20[0-9TZ:-]+ from step 0 on [0-9] ranks: bf16, cpu.*'

qckpt input "$six"
expect "input prints the input of the run" 0 "hidden_size = 32"
printf '%s\n' "$output" >"$tmp/again.in"
can_be_run() { "$program" --check "$1" >/dev/null; }
check "which can be run" can_be_run "$tmp/again.in"

qckpt verify "$three" "$six"
expect "verify reads sound files" 0 "$six: step 6, "
check "and says so of each" says "$three: step 3, "
qckpt diff "$six" "$again"
expect "the same run with another number of ranks has the same state" 0 "0 of "
qckpt diff "$three" "$six"
expect "different states are different" 1 "step: 3 and 6"
check "diff names a dataset, elements and the largest difference" \
  says_line 'weights/lm_head/values: [0-9]+ of 4096 elements differ, by [0-9.e-]+ at most'
check "and so for whole numbers" \
  says_line 'tracker/.*/refreshes: [0-9] of 3 elements differ, by 1 at most'
check "a run of another method" train 2 other train.steps=3 optimizer.method=adamw
qckpt diff "$three" "$tmp/other/checkpoints/step-0000000003.h5"
expect "datasets of one file only are told" 1 "weights/mlp.up_proj/codes: only in the first file"
check "in both directions" says "weights/mlp.up_proj/values: only in the second file"
check "a run of another shape" train 2 wide train.steps=3 model.vocab_size=256
qckpt diff "$three" "$tmp/wide/checkpoints/step-0000000003.h5"
expect "and so are other shapes" 1 "weights/lm_head/values: of another type or shape"

check "a run that saves asynchronously" train 2 asynchronous train.steps=6 checkpoint.snapshot_memory=1MiB
check "says how long training stood still" log_says asynchronous "^ *3 checkpoint saved in .* training stood still for"
qckpt diff "$six" "$tmp/asynchronous/checkpoints/step-0000000006.h5"
expect "and saves the same state" 0 "0 of "
check "a run with one file per rank" train 2 parts train.steps=6 checkpoint.layout=per_rank
parts=$tmp/parts/checkpoints/step-0000000006.h5
qckpt diff "$six" "$parts"
expect "saves the same state" 0 "0 of "
qckpt inspect "$parts"
expect "and inspect tells the layout" 0 "layout          per_rank"
rm "$parts".0.rank-1
qckpt verify "$parts"
expect "a part that is missing is named" 3 "its part step-0000000006.h5.0.rank-1, which holds dataset"
check "a snapshot that does not fit is an error if it is asked for" eval '! train 2 refused checkpoint.asynchronous=yes'
check "which says what it needs" log_says refused "needs a snapshot of .* checkpoint.snapshot_memory="

qckpt verify "$tmp/none.h5"
expect "a missing file is named" 3 "none.h5: cannot be opened"
qckpt inspect "$tmp/tiny.in"
expect "a file of another kind is refused" 3 "tiny.in: cannot be opened"
head -c 100000 "$six" >"$tmp/cut.h5"
qckpt verify "$tmp/cut.h5" "$six"
expect "a file that is cut off is refused" 3 "cut.h5: cannot be opened"
check "and does not keep the next from being checked" says "$six: step 6, "

if command -v h5dump >/dev/null; then
  offset=$(h5dump -p -H -d /weights/lm_head/values "$six" | sed -n 's/.*OFFSET \([0-9]*\).*/\1/p')
  cp "$six" "$tmp/flipped.h5"
  printf '\xa5\x5a' | dd of="$tmp/flipped.h5" bs=1 seek=$((offset + 1000)) conv=notrunc status=none
  qckpt verify "$tmp/flipped.h5"
  expect "verify names the damaged dataset" 3 'flipped.h5: dataset "weights/lm_head/values", item 0 is damaged'
  qckpt diff "$tmp/flipped.h5" "$six"
  expect "diff does not trust damaged data" 3 'dataset "weights/lm_head/values"'
else
  skip "verify names the damaged dataset" "h5dump (hdf5-tools) is not installed"
  skip "diff does not trust damaged data" "h5dump (hdf5-tools) is not installed"
fi

qckpt_to_full_disk() { "$ckpt" inspect "$six" >/dev/full; }
run qckpt_to_full_disk
expect "output that cannot be written is an error" 4 "cannot be written"

finish
