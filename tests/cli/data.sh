#!/bin/bash
# What a run promises of its data: a restart reads the same ones, and a validation is what it was asked for. Run from the
# repository root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp and code come from tiny_run.sh
# shellcheck disable=SC2016,SC2034,SC2317 # functions and expressions are used by tap.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

attempt() { # NAME [KEY=VALUE...]
  run "$program" "$tmp/tiny.in" "run.output_dir=$tmp" "run.name=$1" checkpoint.every=0 backend.precision=fp32 "${@:2}"
}

# The same data.
attempt same train.steps=4
expect "a run" 0 "all 4 steps done"
run "$ckpt" inspect "$(newest same)"
expect "its checkpoint tells its data" 0 "from sequence 0: 200000 tokens in 1 documents, vocabulary 128, tokenizer unknown, content random, seed 1"
attempt same train.steps=6 data.train=random:200001
expect "other data are refused" 2 "data.train = random:200001 holds other data than the checkpoint was trained on"
check "and nothing was trained on them" [ "$(wc -l <"$tmp/same/metrics.jsonl")" = 4 ]
attempt same train.steps=6 data.train=random:200001 data.on_change=continue
expect "or read from their beginning, if that is asked for" 0 "they are read from their beginning"
run "$ckpt" inspect "$(newest same)"
expect "which the next checkpoint tells" 0 "from sequence 16: 200001 tokens"
attempt same train.steps=8 data.train=random:200001
expect "so that the next start is as usual" 0 "all 8 steps done"
attempt first train.steps=4 data.train=random:200001
loss() { sed -n "$2"p "$tmp/$1/metrics.jsonl" | sed 's/.*"loss":\([0-9]*[.][0-9]\{6\}\).*/\1/'; }
# With a rate of next to nothing the losses are those of the data alone.
attempt a train.steps=4 optimizer.lr=1e-30 && attempt a train.steps=6 optimizer.lr=1e-30 data.train=random:200001 data.on_change=continue
attempt b train.steps=4 optimizer.lr=1e-30 data.train=random:200001
check "they are the first sequences of the new data" eval 'echo "# $(loss a 5) $(loss a 6) and $(loss b 1) $(loss b 2)"; [ "$(loss a 5) $(loss a 6)" = "$(loss b 1) $(loss b 2)" ]'

# A number of sequences that no micro-batch divides.
validation() { sed -n 's/.*validation loss \([0-9.]*\) .* over \([0-9]*\) tokens.*/\1 \2/p' <<<"$output"; }
for micro in 1 2 4 8; do
  attempt v$micro train.steps=1 train.global_batch=8 train.micro_batch=$micro optimizer.lr=1e-30 data.valid=random:5000 \
    train.validate_sequences=37
  results+=("$(validation)")
done
check "a validation of 37 sequences has 592 targets" [ "${results[0]##* }" = 592 ]
check "and its loss does not depend on the micro-batch" \
  eval 'printf "# %s\n" "${results[@]}"; [ "$(printf "%s\n" "${results[@]}" | sort -u | wc -l)" = 1 ]'
attempt v64 train.steps=1 train.global_batch=64 train.micro_batch=64 data.valid=random:5000 train.validate_sequences=1
expect "one sequence is one, in a micro-batch of 64 too" 0 "over 16 tokens"

# Damage is found when it is met: the run ends with the place, on all ranks.
make_tokens() {
  awk 'BEGIN { for (i = 0; i < 20000; i++) printf "%d horses of %d\n", i * i % 89, i % 7 }' >"$tmp/horses.txt"
  spm_train --input="$tmp/horses.txt" --model_prefix="$tmp/horses" --model_type=bpe --vocab_size=290 --byte_fallback=true \
    >/dev/null 2>&1 &&
    "${BUILD:-build}/qgalore_tok" --model "$tmp/horses.model" --out "$tmp/horses.h5" "$tmp/horses.txt" >/dev/null
}
if command -v spm_train >/dev/null && make_tokens; then
  tokens="${BUILD:-build}/qgalore_tok"
  run "$tokens" --verify "$tmp/horses.h5"
  expect "qgalore_tok --verify reads all of a file" 0 "complete and undamaged"
  cp "$tmp/horses.h5" "$tmp/damaged.h5"
  printf 'x' | dd of="$tmp/damaged.h5" bs=1 seek=$(($(stat -c %s "$tmp/horses.h5") / 2)) conv=notrunc status=none
  run "$tokens" --verify "$tmp/damaged.h5" "$tmp/horses.h5"
  expect "and names damage by its place" 2 "are damaged (CRC32C"
  expect "without keeping the other files from being read" 2 "horses.h5: "
  timeout 60 mpirun --bind-to none -np 2 "$program" "$tmp/tiny.in" "run.output_dir=$tmp" run.name=damaged model.vocab_size=290 \
    "data.train=$tmp/damaged.h5" train.steps=20000 run.log_every=1000 >"$tmp/damaged.log" 2>&1
  code=$? output=$(<"$tmp/damaged.log")
  expect "a run ends where it meets the damage" 2 "are damaged (CRC32C"
  check "after steps on whole data" [ -s "$tmp/damaged/metrics.jsonl" ]
else
  ok "damaged tokens # SKIP spm_train is not installed"
fi
run "$program" --check "$tmp/tiny.in" data.train="$tmp/none.h5" data.valid="$tmp/tiny.in"
expect "--check warns of data that are not there" 0 "warning: data.train: $tmp/none.h5: cannot open the token file"
expect "and of what is no token file" 0 "tiny.in: not an HDF5 file"

finish
