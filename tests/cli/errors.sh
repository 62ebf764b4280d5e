#!/bin/bash
# Bad input ends all ranks with one message, on stderr, that says what is wrong and where, and with the exit code of its
# kind. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
set -u
. tests/support/tap.sh
. tests/support/tiny_run.sh

# As soon as one rank fails mpirun kills the others, without the second of grace it would give: who has not spoken by then
# is not heard.
export OMPI_MCA_odls_base_sigkill_timeout=0

# refused TEST RANKS CODE MESSAGE ARGUMENT...: the program with these arguments says MESSAGE, once.
refused() {
  local test=$1 ranks=$2 wanted=$3 message=$4 errors
  shift 4
  timeout 60 mpirun --bind-to none -np "$ranks" "$program" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
  code=$?
  errors=$(grep -c 'error: ' "$tmp/err")
  if [ "$code" = "$wanted" ] && [ "$errors" = 1 ] && grep -F 'error: ' "$tmp/err" | grep -qF -e "$message"; then
    ok "$test"
  else
    not_ok "$test"
    echo "# expected exit $wanted and one error: $message"
    { echo "exit $code, stderr:" && head -n 30 "$tmp/err"; } | sed 's/^/# /'
  fi
}

# refused_input TEST CODE MESSAGE KEY=VALUE...: the same on two ranks with tiny.in and these keys.
refused_input() {
  refused "$1" 2 "$2" "$3" "$tmp/tiny.in" run.output_dir="$tmp" run.name=refused "${@:4}"
}

# The command line.
refused "an unknown option is named" 2 2 "--chekc is no option" --chekc "$tmp/tiny.in"
refused "as is an option without its argument" 1 2 "--ranks is no option, or lacks an argument" --check --ranks
refused "a number of ranks that is none" 1 2 '--ranks wants a whole number from 1 to 65536, not "two"' --check \
  --ranks two "$tmp/tiny.in"
refused "no input file" 2 2 "no input FILE; see qgalore_hpc --help"
refused "an input file that does not exist" 2 2 "cannot open '$tmp/none.in': No such file" "$tmp/none.in"
refused "--status of a folder without a run" 1 2 "has no status file" --status "$tmp"
refused "--verify of a file that is not there" 1 3 "none.h5: cannot be opened" --verify "$tmp/none.h5"

# The input.
refused_input "an unknown key brings a suggestion" 2 \
  "model.hiden_size: no such key (did you mean 'hidden_size'?)" model.hiden_size=64
refused_input "a wrong unit brings an example" 2 "run.max_walltime: '3kg' is not a time; write for example" \
  run.max_walltime=3kg
refused_input "heads that do not divide the hidden size" 2 "num_heads: 5 does not divide hidden_size = 32" \
  model.num_heads=5
refused_input "a rank of the projection above the dimension names the largest" 2 \
  "qgalore.rank: 33 exceeds 32, the smallest dimension of a layer matrix; use at most 32" qgalore.rank=33
refused_input "layers per stage that do not add up" 2 "adds up to 4 layers; model.num_layers is 3" \
  parallel.layers_per_stage=2,2
refused_input "a backend that was not built" 4 "backend.name = cuda, but" backend.name=cuda
sed 's/^hidden_size/hiden_size/; s/^rank = 8/rank = x/' "$tmp/tiny.in" >"$tmp/wrong.in"
refused "wrong lines of a file are told by number" 2 2 "wrong.in:2: " "$tmp/wrong.in"
check "all of them at once" grep -q "wrong.in:$(grep -n 'rank = x' "$tmp/wrong.in" | cut -d: -f1): qgalore.rank: " "$tmp/err"

# Ranks: an embedding, three layers and a head are five pieces.
refused "more ranks than pieces of the model name the largest number" 6 2 "the largest number is 5" "$tmp/tiny.in" \
  run.output_dir="$tmp" run.name=refused
refused "--check says the same" 1 2 "the largest number is 5" --check --ranks 6 "$tmp/tiny.in"

# Token files.
refused_input "a token file that does not exist" 2 "none.h5: cannot open the token file: No such file" \
  data.train="$tmp/none.h5"
refused_input "a validation file that does not exist" 2 "none.h5: cannot open the token file: No such file" \
  data.valid="$tmp/none.h5"
refused_input "a file that is no HDF5" 2 "tiny.in: not an HDF5 file" data.train="$tmp/tiny.in"
refused_input "fewer tokens than a sequence" 2 "which is less than one sequence" data.train=random:16
make_tokens() {
  awk 'BEGIN { for (i = 0; i < 3000; i++) printf "the %d th horse of %d\n", i * i % 89, i % 7 }' >"$tmp/horses.txt"
  spm_train --input="$tmp/horses.txt" --model_prefix="$tmp/horses" --model_type=bpe --vocab_size=290 \
    --byte_fallback=true >/dev/null 2>&1 &&
    "${BUILD:-build}/qgalore_tok" --model "$tmp/horses.model" --out "$tmp/horses.h5" "$tmp/horses.txt" >/dev/null
}
if make_tokens; then
  refused_input "tokens of a larger vocabulary" 2 "is outside the vocabulary of 128" data.train="$tmp/horses.h5"
  head -c 5000 "$tmp/horses.h5" >"$tmp/half.h5"
  refused_input "a token file that was cut off" 2 "half.h5: HDF5 cannot open it, it is truncated or damaged" \
    data.train="$tmp/half.h5" model.vocab_size=290
  refused_input "a token file where a checkpoint is wanted" 3 "horses.h5: " run.restart="$tmp/horses.h5"
else
  skip "tokens of a larger vocabulary, and cut off" "qgalore_tok or spm_train is missing"
fi

# The run's folder and its checkpoints.
touch "$tmp/file"
refused "a file in the place of the output folder" 2 4 "cannot make the folder $tmp/file" "$tmp/tiny.in" \
  run.output_dir="$tmp/file" run.name=refused
refused_input "a checkpoint that does not exist" 3 "none.h5: cannot be opened, it is missing" run.restart="$tmp/none.h5"
if train 1 whole train.steps=2; then
  head -c 20000 "$(newest whole)" >"$tmp/cut.h5"
  refused_input "a checkpoint that was cut off" 3 "cut.h5: cannot be opened, it is missing, cut off or damaged" \
    run.restart="$tmp/cut.h5"
  refused_input "a checkpoint of another model" 2 "model.hidden_size: checkpoint 32, input 64" \
    run.restart="$(newest whole)" model.hidden_size=64
else
  not_ok "a checkpoint to damage"
fi

finish
