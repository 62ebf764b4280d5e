#!/bin/bash
# Subspaces in a run: every method, all ranks together, staggered, and what is reported of them. Run from the repository
# root; BUILD names the build folder; prints TAP.
# shellcheck disable=SC2154 # tmp comes from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

keys=(train.steps=24 backend.precision=fp32 backend.threads=1 checkpoint.every=12 qgalore.update_gap=4)
together=(subspace.method=scalapack subspace.distributed_min=16 qgalore.project_head=yes)

trained() { train "$1" "$2" "${keys[@]}" "${@:3}" || { show_log "$2" && return 1; }; }

# refreshed NAME: lines "STEP PARAMETER METHOD INTERVAL".
refreshed() {
  grep '"refreshed"' "$tmp/$1/metrics.jsonl" | while IFS= read -r line; do
    step=$(sed 's/^{"step":\([0-9]*\).*/\1/' <<<"$line")
    grep -o '{"param"[^}]*}' <<<"$line" |
      sed 's/.*"param":"\([^"]*\)".*"interval":\([0-9]*\),"method":"\([a-z]*\)".*/'"$step"' \1 \3 \2/'
  done
}
methods() { refreshed "$1" | cut -d' ' -f3 | sort -u | tr '\n' ' '; }
schedule() { refreshed "$1" | cut -d' ' -f1,2; }
# energies NAME: of the first step's refreshes, in the order of parameters.
energies() { head -n 1 "$tmp/$1/metrics.jsonl" | grep -o '"energy":[0-9.e-]*' | cut -d: -f2; }

# The captured energy of two runs differs by at most 1e-5 of it.
same_energies() {
  paste <(energies "$1") <(energies "$2") | awk '
    { d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5 * $2 || $2 == "") bad = 1; n++ }
    END { exit bad || n < 21 }'
}

used() { # NAME METHODS
  [ "$(methods "$1")" = "$2" ] || { echo "# used: $(methods "$1")" && return 1; }
}

check "exact subspaces train" trained 1 exact subspace.method=exact qgalore.project_head=yes
check "and are what they say" used exact "exact "
for ranks in 1 2 4; do
  check "all of $ranks ranks solve together" trained "$ranks" "together$ranks" "${together[@]}"
  check "$ranks ranks: every subspace comes from ScaLAPACK" used "together$ranks" "scalapack "
  check "$ranks ranks: the first ones hold the energy of exact ones" same_energies "together$ranks" exact
  check "$ranks ranks: the same refreshes at the same steps" diff <(schedule exact) <(schedule "together$ranks")
done

check "only wide matrices go to all ranks" trained 2 wide subspace.method=scalapack subspace.distributed_min=33 \
  qgalore.project_head=yes
check "the others are solved on their own rank" used wide "exact warm "

stopped_and_resumed() {
  trained 2 again "${together[@]}" train.steps=24 && rm "$(newest again)" && trained 2 again "${together[@]}" &&
    same_losses together2 again
}
check "a run that goes on from a checkpoint follows the same plan" stopped_and_resumed

# One micro-batch: refresh and update in backward.
check "fused updates train" trained 2 fused train.micro_batch=4 train.update=fused optimizer.grad_clip=0
check "accumulated ones too" trained 2 accumulated train.micro_batch=4 train.update=accumulated optimizer.grad_clip=0
check "to the same bits" same_losses fused accumulated

# 21 matrices, a gap of 4 steps: all at the first step, at most a third of them at any later one.
is_spread() { schedule "$1" | cut -d' ' -f1 | uniq -c | awk '$2 == 1 { all = $1 } $2 > 1 && $1 > 7 { bad = 1 } END { exit bad || all != 21 }'; }
bunched() { schedule "$1" | cut -d' ' -f1 | uniq -c | awk '$1 != 21 || ($2 - 1) % 4 { bad = 1 } END { exit bad || NR != 6 }'; }
check "refreshes are spread over steps" is_spread fused
check "or come together" trained 1 bunched subspace.stagger=no qgalore.lazy=no
check "at multiples of the gap" bunched bunched

table_adds_up() { # per layer and in all
  awk '/^layer /{ done += $4; saved += $5 } /^all /{ good = $3 == done && $4 == saved && done > 0 } END { exit !good }' "$tmp/$1.log"
}
check "the end table tells refreshes per layer" table_adds_up fused
check "and counts what the metrics list" [ "$(awk '/^all /{ print $3 }' "$tmp/fused.log")" = "$(schedule fused | wc -l)" ]

finish
