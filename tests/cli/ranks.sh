#!/bin/bash
# The number of ranks shows in the speed of a run and in nothing else. Run from the repository root; BUILD names the build
# folder; prints TAP.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

# Six layers, so that eight ranks have one piece each. One thread and fp32 leave nothing to rounding. With a threshold of
# -1 every refresh but the first doubles the gap; without staggering all come together.
steps=11
keys=(model.num_layers=6 "train.steps=$steps" train.global_batch=8 backend.precision=fp32 backend.threads=1
  checkpoint.every=0 qgalore.update_gap=3 qgalore.similarity_window=1 qgalore.similarity_threshold=-1 subspace.stagger=no)

# trains RANKS NAME [KEY=VALUE...]
trains() { train "$1" "$2" "${keys[@]}" "${@:3}" && log_says "$2" "all $steps steps done" || ! show_log "$2"; }

# same_on RANKS NAME REFERENCE TEXT [KEY=VALUE...]: trains and compares with a run that is there.
same_on() {
  if trains "$1" "$2" "${@:5}" && same_losses "$3" "$2"; then ok "$4"; else not_ok "$4"; fi
}

# With 7 matrices in each of 6 layers.
refreshes_at() {
  [ "$(grep '"refreshes":42' "$tmp/$1/metrics.jsonl" | sed -E 's/.*"step":([0-9]+),.*/\1/' | xargs)" = "$2" ]
}

for method in qgalore adamw; do
  for tied in no yes; do
    kind=$method-$tied
    words="$method$([ $tied = no ] || echo ', tied embeddings')"
    model=(optimizer.method="$method" model.tie_embeddings="$tied")
    check "$words: one rank trains" trains 1 "$kind" "${model[@]}"
    for ranks in 2 3 4 8; do
      same_on $ranks "$kind-$ranks" "$kind" "$words: $ranks ranks give the same bits" "${model[@]}"
    done
  done
done
check "refreshes lie in it, at growing distances" refreshes_at qgalore-no "1 4 7"
check "the checkpoint of 8 ranks holds the same bits as that of one" \
  same_state "$(newest qgalore-yes)" "$(newest qgalore-yes-8)"
check "other weights would be noticed" eval '! same_losses qgalore-no qgalore-yes >/dev/null'

keys+=(model.tie_embeddings=yes)
same_on 2 again qgalore-yes-2 "the same run a second time gives the same bits"
QGALORE_PAR_SYNCHRONOUS=1 same_on 3 synchronous qgalore-yes \
  "sends that wait for their receiver change nothing and block nobody"
QGALORE_PAR_CHUNK=1000 same_on 3 chunks qgalore-yes "messages cut into pieces of 1000 bytes change nothing"
same_on 2 recomputed qgalore-yes "recomputed activations change nothing" train.activation_checkpointing=yes
same_on 3 uneven qgalore-yes "an uneven partition of one's own changes nothing" parallel.layers_per_stage=1,4,1
same_on 3 empty qgalore-yes "nor does a stage without layers" parallel.layers_per_stage=3,3,0

check "staggered refreshes: one rank trains" trains 1 staggered subspace.stagger=yes
same_on 3 staggered-3 staggered "3 ranks give the same bits" subspace.stagger=yes

# What goes over the wire is bf16 on one rank too, so not even this needs a tolerance.
keys+=(backend.precision=bf16)
check "bf16: one rank trains" trains 1 bf16
for ranks in 2 4; do
  same_on $ranks bf16-$ranks bf16 "bf16: $ranks ranks give the same bits"
done

finish
