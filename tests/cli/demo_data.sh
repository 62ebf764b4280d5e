#!/bin/bash
# inputs/demo-data.sh with texts of one's own and without a network. Run from the repository root; BUILD names the build
# folder; prints TAP.
set -u
. tests/support/shell/tap.sh

command -v spm_train >/dev/null || skip_all "spm_train (package sentencepiece) is not installed"
export QGALORE_BIN=$PWD/${BUILD:-build}
[ -x "$QGALORE_BIN/qgalore_tok" ] || skip_all "qgalore_tok was not built"
demo=$PWD/inputs/demo-data.sh
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

awk 'BEGIN { for (i = 0; i < 3000; i++) printf "the %d th horse of %d\n", i * i % 89, i % 7 }' >a.txt
sed 's/horse/river/' a.txt >b.txt
head -n 200 b.txt >c.txt

# The functions below are called through check.
# shellcheck disable=SC2317
no_leftovers() { [ -z "$(find . -name '*.tmp*')" ]; }
# shellcheck disable=SC2317
has_data() { [ -s "$1/austen-train.h5" ] && [ -s "$1/austen-valid.h5" ] && [ -s "$1/austen.model" ]; }

export DEMO_VOCAB=290 DEMO_TEXT="a.txt b.txt" DEMO_VALID_TEXT=c.txt
run "$demo" data
expect "own texts become a training and a validation file" 0 "wrote data/austen-train.h5 and data/austen-valid.h5"
check "with the model of their vocabulary" has_data data
check "and nothing else is left" no_leftovers
run "$demo" data
expect "a second run has nothing to do" 0 "data is up to date"
DEMO_VOCAB=300 run "$demo" data
expect "another vocabulary is a reason to do it again" 0 "300 pieces"
rm data/austen-valid.h5
DEMO_VOCAB=300 run "$demo" data
expect "and so is a missing file" 0 "wrote data/austen-train.h5"
echo "one more horse" >>a.txt
cp data/austen-train.h5 before.h5
DEMO_VOCAB=1000000 run "$demo" data
expect "a vocabulary too large for the text is explained" 1 "a smaller DEMO_VOCAB may help"
check "a failure leaves the older files as they were" cmp -s before.h5 data/austen-train.h5
check "and nothing else" no_leftovers

DEMO_VALID_TEXT='' run "$demo" data
expect "training texts need validation texts" 2 "set both"
DEMO_TEXT=none.txt run "$demo" data
expect "a missing text is named" 2 "none.txt"
DEMO_VOCAB=many run "$demo" data
expect "a vocabulary has to be a number" 2 "DEMO_VOCAB=many"
run "$demo" --bogus
expect "an unknown option is a usage error" 2 "--help"

mkdir bin
printf '#!/bin/sh\necho "E: Temporary failure resolving" >&2\nexit 100\n' >bin/apt-get
chmod +x bin/apt-get
PATH=$tmp/bin:$PATH DEMO_TEXT='' DEMO_VALID_TEXT='' run "$demo" offline
expect "without a network, the way to use own texts is shown" 4 'DEMO_TEXT="a.txt b.txt" DEMO_VALID_TEXT=c.txt'
check "and nothing is left behind" [ ! -e offline ]
check "not even a temporary folder" no_leftovers

finish
