#!/bin/bash
# Bad input ends all ranks with one message, on stderr, that says what is wrong and where, and with the exit code of its
# kind. Run from the repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# As soon as one rank fails mpirun kills the others, without the second of grace it would give: messages that come later
# are lost.
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
refused "as is an option without its argument" 1 2 "--ranks wants an argument" --check --ranks
refused "or with one that it does not take" 1 2 "--check=3 takes no argument" --check=3 "$tmp/tiny.in"
refused "options of the launcher are not those of the program" 2 2 "-n is no option" -np 2 "$tmp/tiny.in"
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
refused_input "as does a time that could be two" 2 "run.max_walltime: '12:00' is not a time; write for example" \
  run.max_walltime=12:00
refused_input "blanks around the equals sign" 2 "command line: 'train.steps' is not section.key=value; write it without blanks" \
  train.steps = 3
refused_input "a number beyond all bounds" 2 "train.steps: 99999999999999999999 is beyond 64 bits" train.steps=99999999999999999999
refused_input "micro-batches that do not divide the batch" 2 "train.micro_batch: 2 does not divide global_batch = 5" \
  train.global_batch=5
refused "a folder as the input" 2 2 "'$tmp' is a folder; give an input file" "$tmp"
head -c 2000 "$program" >"$tmp/binary.in"
refused "a program as the input" 2 2 "binary.in:1: a control character" "$tmp/binary.in"
: >"$tmp/empty.in"
refused "an empty input names what is missing" 2 2 "empty.in: model.hidden_size: missing" "$tmp/empty.in"
refused_input "heads that do not divide the hidden size" 2 "num_heads: 5 does not divide hidden_size = 32" \
  model.num_heads=5
refused_input "a rank of the projection above the dimension names the largest" 2 \
  "qgalore.rank: 33 exceeds 32, the smallest dimension of a layer matrix; use at most 32" qgalore.rank=33
refused_input "layers per stage that do not add up" 2 "adds up to 4 layers; model.num_layers is 3" \
  parallel.layers_per_stage=2,2
refused_input "stages that are listed for another number of ranks" 2 "lists 3 stages, but there are 2 ranks" \
  parallel.layers_per_stage=1,1,1
refused_input "a pipeline that is not the number of ranks" 2 "parallel.pipeline = 3, but there are 2 ranks" parallel.pipeline=3
refused_input "a backend that was not built" 4 "backend.name = cuda, but" backend.name=cuda
sed 's/^hidden_size/hiden_size/; s/^rank = 8/rank = x/' "$tmp/tiny.in" >"$tmp/wrong.in"
refused "wrong lines of a file are told by number" 2 2 "wrong.in:2: " "$tmp/wrong.in"
check "all of them at once" grep -q "wrong.in:$(grep -n 'rank = x' "$tmp/wrong.in" | cut -d: -f1): qgalore.rank: " "$tmp/err"

# Ranks: an embedding, three layers and a head are five pieces.
refused "more ranks than pieces of the model name the largest number" 6 2 "the largest number is 5" "$tmp/tiny.in" \
  run.output_dir="$tmp" run.name=refused
refused "--check says the same" 1 2 "the largest number is 5" --check --ranks 6 "$tmp/tiny.in"

# Without mpirun, which is slow.
refuses() { # NAME MESSAGE ARGUMENT...
  run timeout 60 "$program" "${@:3}"
  expect "$1" 2 "$2"
}
refuses "ranks for a run without mpirun" "--ranks belongs to --check" --ranks 2 "$tmp/tiny.in" run.output_dir="$tmp"
refuses "an empty output folder" "run.output_dir: is empty; write ." --check "$tmp/tiny.in" run.output_dir=
refuses "another user's home" "'~nobody/runs': other users' folders are not looked up" --check "$tmp/tiny.in" run.output_dir=~nobody/runs
refuses "a size beyond all bounds" "'99999999999GiB' is too large" --check "$tmp/tiny.in" checkpoint.snapshot_memory=99999999999GiB
mkfifo "$tmp/fifo"
refuses "a pipe in the place of a token file" "not a regular file" "$tmp/tiny.in" run.output_dir="$tmp" run.name=piped data.train="$tmp/fifo"
run env HOME="$tmp/home" "$program" "$tmp/tiny.in" run.output_dir='~/runs' run.name=mine train.steps=1
expect "~/ is the home folder" 0 "finished"
check "where the run lies" [ -s "$tmp/home/runs/mine/metrics.jsonl" ]
for megabytes in 130 200 300 400; do
  run bash -c 'ulimit -v $(($1 * 1000)); exec timeout 20 "${@:2}"' bash "$megabytes" "$program" --version
  expect "$megabytes MB of address space are told at once" 4 "the limit of address space (ulimit -v"
done

# Results that cannot be written, on a full device of the test's own.
full=$tmp/full
if mknod "$full" c 1 7 2>/dev/null && { : >"$full"; } 2>/dev/null; then
  for command in "$program --help-input" "$program --list-backends" "$ckpt --help" "${BUILD:-build}/qgalore_tok --help" \
    "${BUILD:-build}/qgalore_rdata --help"; do
    $command >"$full" 2>"$tmp/err"
    code=$? output=$(<"$tmp/err")
    expect "${command##*/} into a full device" 4 "the output cannot be written"
  done
else
  ok "devices cannot be made here # SKIP"
fi

# Memory: what no machine has. Nothing of it is allocated.
refused "a model beyond the memory of the machine" 1 4 "does not fit into the" "$tmp/tiny.in" run.output_dir="$tmp" \
  run.name=refused model.hidden_size=131072 model.intermediate_size=524288 model.num_layers=2000
run "$program" --check --ranks 1 "$tmp/tiny.in" model.hidden_size=131072 model.intermediate_size=524288 model.num_layers=2000
expect "--check says so and explains" 0 "which is more than the"

# Environment variables.
QGALORE_CPU_IAS=v2 refused_input "a misspelt variable brings a suggestion" 2 \
  "environment: QGALORE_CPU_IAS: no such variable (did you mean 'QGALORE_CPU_ISA'?)"
QGALORE_CPU_ISA=avx512 refused_input "a level of instructions that does not exist names those that do" 2 \
  'QGALORE_CPU_ISA is "avx512": it must be v2, v3, v4, bf16 or amx'
QGALORE_HOME=/somewhere run "$program" --check "$tmp/tiny.in"
expect "variables of others are theirs" 0 "checkpoint "

# Token files.
refused_input "a token file that does not exist" 2 "none.h5: cannot open the token file: No such file" \
  data.train="$tmp/none.h5"
refused_input "a validation file that does not exist" 2 "none.h5: cannot open the token file: No such file" \
  data.valid="$tmp/none.h5"
refused_input "a file that is no HDF5" 2 "tiny.in: not an HDF5 file" data.train="$tmp/tiny.in"
refused_input "a folder in the place of a token file" 2 "not a regular file: name a file written by qgalore_tok" data.train="$tmp"
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
refused "a file in the place of the output folder" 2 4 "cannot make the folder $tmp/file: a file of that name is in the way" "$tmp/tiny.in" \
  run.output_dir="$tmp/file" run.name=refused
refused_input "a folder in the place of a checkpoint" 3 "$tmp is a folder: name a checkpoint in it" run.restart="$tmp"
refused_input "a checkpoint that does not exist" 3 "none.h5: cannot be opened, it is missing" run.restart="$tmp/none.h5"
if train 1 whole train.steps=2; then
  head -c 20000 "$(newest whole)" >"$tmp/cut.h5"
  refused_input "a checkpoint that was cut off" 3 "cut.h5: cannot be opened, it is missing, cut off or damaged" \
    run.restart="$tmp/cut.h5"
  refused_input "a checkpoint of another model" 2 "model.hidden_size: checkpoint 32, input 64" \
    run.restart="$(newest whole)" model.hidden_size=64
  check "says what to do" grep -q "run.restart: cannot change these keys; set them back" "$tmp/err"
  cp "$tmp/whole/resolved.in" "$tmp/before.in"
  refused "a restart with another model" 2 2 "model.num_layers: checkpoint 3, input 2" "$tmp/tiny.in" run.output_dir="$tmp" \
    run.name=whole model.num_layers=2
  check "leaves the run's resolved.in as it was" cmp "$tmp/before.in" "$tmp/whole/resolved.in"
else
  not_ok "a checkpoint to damage"
fi

# Two runs in one folder, as when a job is submitted twice.
start 2 busy train.steps=100000
if wait_for 30 test -s "$tmp/busy/metrics.jsonl"; then
  refused "a run in the folder of another" 2 4 "$tmp/busy is in use by another run ($(hostname), process " "$tmp/tiny.in" \
    run.output_dir="$tmp" run.name=busy
  refused "even one that may overwrite it" 1 4 "$tmp/busy is in use by another run" "$tmp/tiny.in" \
    run.output_dir="$tmp" run.name=busy run.restart=scratch run.overwrite=yes
  touch "$tmp/busy/STOP"
  finish_job
  check "the first one knows nothing of it" [ "$code" = 0 ]
  check "and is saved" all_verify busy
  check "once it has ended the folder is free" train 1 busy train.steps=1
  run "$program" --status "$tmp/busy"
  expect "and nothing is more than done" 0 "of 1 (100.0 %)"
else
  not_ok "a run to disturb"
fi

finish
