#!/bin/bash
# qgalore_tok from text to token file. Run from the repository root; BUILD names the build folder; prints TAP.
set -u
. tests/support/shell/tap.sh

tok=$PWD/${BUILD:-build}/qgalore_tok
command -v spm_train >/dev/null || skip_all "spm_train (package sentencepiece) is not installed"
[ -x "$tok" ] || skip_all "qgalore_tok was not built"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

# Sentences of a small language, the same in every run.
awk 'BEGIN {
  split("the a small large old young river house horse garden walks sees likes finds under behind with", word, " ")
  for (i = 0; i < 2000; i++) {
    line = ""
    for (j = 0; j < 12; j++) { seed = (seed * 1103 + 12345) % 65536; line = line word[1 + seed % 17] " " }
    print line "."
    if (i % 10 == 9) print ""
  }
}' >text.txt
spm_train --input=text.txt --model_prefix=m --model_type=bpe --vocab_size=320 --byte_fallback=true \
  --normalization_rule_name=identity --remove_extra_whitespaces=false >spm.log 2>&1 || {
  sed 's/^/# /' spm.log
  exit 1
}

# dump -d|-a NAME FILE: the values of a dataset or an attribute, one a line.
dump() { h5dump "$1" "$2" "$3" | sed -n 's/^ *([0-9]*): //p' | tr -d ' ' | tr ',' '\n' | sed '/^$/d'; }

# The functions below are called through check.
# shellcheck disable=SC2317
nothing_left() { [ -z "$(find . -newer spm.log -name "$1*")" ]; }

# shellcheck disable=SC2317
decodes_to_text() {
  dump -d tokens "$1" | sed '1d;$d' | tr '\n' ' ' | spm_decode --model=m.model --input_format=id >decoded
  cmp -s text.txt <(head -c "$(stat -c %s text.txt)" decoded)
}

run "$tok" --help
expect "--help explains the usage" 0 "Usage: qgalore_tok"
run "$tok" --version
expect "--version names the program" 0 "qgalore_tok "

run "$tok" --model m.model --out all.h5 text.txt
expect "a text becomes one document" 0 "1 document,"
expect "and the bytes per token are reported" 0 "bytes per token"
mkdir folder.h5
run "$tok" --model m.model --out folder.h5 text.txt
expect "a folder in the place of the token file is told at once" 2 "folder.h5 is a folder; name a file"
run "$tok" --model m.model --out quiet.h5 --quiet text.txt
check "--quiet prints nothing" [ "$code$output" = 0 ]
run "$tok" --model m.model --out p.h5 --split paragraph text.txt
expect "a blank line separates paragraphs" 0 "200 documents"
printf 'one horse\n<|endoftext|>\n\n<|endoftext|>\ntwo horses\n' >marked.txt
run "$tok" --model m.model --out d.h5 --split document marked.txt
expect "a marker line separates documents, empty ones are left out" 0 "2 documents"
sed 's/<|endoftext|>/%%/' marked.txt >other.txt
run "$tok" --model m.model --out d.h5 --split document --marker %% other.txt
expect "the marker can be chosen" 0 "2 documents"
run "$tok" --model m.model --out two.h5 marked.txt other.txt
expect "each file is a document" 0 "2 documents"
run bash -c "'$tok' --model m.model --out stdin.h5 - <text.txt"
expect "- reads standard input" 0 "1 document,"

if command -v h5dump >/dev/null; then
  check "the tokens decode to the text again" decodes_to_text all.h5
  check "standard input gives the same tokens" [ "$(dump -d tokens stdin.h5)" = "$(dump -d tokens all.h5)" ]
  check "the header names the model by its SHA-256" \
    grep -q "$(sha256sum m.model | cut -d' ' -f1)" <(h5dump -a tokenizer_hash all.h5)
  check "the header counts the bytes of text" [ "$(dump -a text_bytes all.h5)" = "$(stat -c %s text.txt)" ]
  check "the file has the offset of every document" [ "$(dump -d documents p.h5 | wc -l)" = 200 ]
  run "$tok" --model m.model --out bare.h5 --no-bos --no-eos -q text.txt
  check "--no-bos and --no-eos leave out the marks" \
    cmp -s <(dump -d tokens all.h5) <(echo 1 && dump -d tokens bare.h5 && echo 2)
else
  ok "the contents of the files # SKIP h5dump is not installed"
fi

run "$tok" --model m.model --out x.h5
expect "no text is a usage error" 2 "at least one text"
run "$tok" --model m.model --out x.h5 --bogus text.txt
expect "so is an unknown option" 2 "--help"
run "$tok" --model m.model --out x.h5 --split word text.txt
expect "and an unknown way to split" 2 "file, paragraph or document"
run "$tok" --model none.model --out x.h5 text.txt
expect "a missing model is named" 2 "none.model"
run "$tok" --model text.txt --out x.h5 text.txt
expect "a file that is no model is named" 2 "text.txt: not a SentencePiece model"
run "$tok" --model m.model --out x.h5 text.txt none.txt
expect "a missing text is named" 2 "none.txt"
run "$tok" --model m.model --out x.h5 .
expect "a folder is no text" 2 "cannot read the text ."
printf 'good\nb\xe9d\n' >latin.txt
run "$tok" --model m.model --out x.h5 latin.txt
expect "a text that is not UTF-8 is refused with its line" 2 "latin.txt:2: byte 2"
printf '\n \n' >blank.txt
run "$tok" --model m.model --out x.h5 blank.txt
expect "a text without words is refused" 2 "no tokens"
run "$tok" --model m.model --out none/x.h5 text.txt
expect "a folder that is not there is a lack of resources" 4 "none/x.h5"
check "a failure leaves no file behind" nothing_left x.h5

# One line that is many pieces long, and runs of spaces where pieces meet: the ids are those of the whole line at once.
awk 'BEGIN { srand(3); for (i = 0; i < 9000; i++) { printf "%s", substr("if (x == y) { return foo; }  value", 1 + int(rand() * 20), 3 + int(rand() * 9)); for (k = int(rand() * 5); k >= 0; k--) printf " " } print "end" }' >line.txt
spm_train --input=text.txt --model_prefix=keep --model_type=bpe --vocab_size=290 --byte_fallback=true \
  --normalization_rule_name=identity --remove_extra_whitespaces=false >/dev/null 2>&1
spm_train --input=text.txt --model_prefix=lossy --model_type=bpe --vocab_size=290 --byte_fallback=true >/dev/null 2>&1
of_one_shot() { # MODEL
  "$tok" -q --model "$1.model" --out line.h5 --no-bos --no-eos line.txt &&
    spm_encode --model="$1.model" --output_format=id <line.txt | tr ' ' '\n' | grep -v '^$' >want &&
    h5dump -d tokens -y -w 0 line.h5 | sed -n '/DATA {/,/}/p' | grep -oE '[0-9]+' >got &&
    echo "# $(wc -l <want) ids" && [ "$(wc -l <want)" -gt 9000 ] && head -n "$(wc -l <want)" got | cmp - want
}
if command -v h5dump >/dev/null; then
  check "a long line has the ids of one shot" of_one_shot m
  check "with a model that keeps white space too" of_one_shot keep
  check "and with the default one, which does not" of_one_shot lossy
else
  ok "the ids of a long line # SKIP h5dump is not installed"
fi
run "$tok" --model lossy.model --out x.h5 line.txt
expect "what decoding does not give back is told" 0 "% of the bytes come back"
expect "by its kind" 0 "spaces,"
run "$tok" --model keep.model --out x.h5 --check-roundtrip line.txt
check "and nothing where all comes back" eval '[ "$code" = 0 ] && ! grep -q "come back" <<<"$output"'
{ printf '\xef\xbb\xbf' && cat text.txt; } >mark.txt
run "$tok" --model m.model --out mark.h5 mark.txt
expect "a byte order mark is dropped, and told" 0 "mark.txt: dropped the byte order mark"
run bash -c '"$1" -q --model m.model --out plain.h5 text.txt && h5diff mark.h5 plain.h5 /tokens' bash "$tok"
expect "and costs no token" 0 ""
mkfifo pipe.txt
run timeout 20 "$tok" --model m.model --out x.h5 pipe.txt
expect "a named pipe does not hang" 2 "pipe.txt is a pipe: give its text by standard input"
run bash -c '"$1" --model m.model --out x.h5 <(cat text.txt)' bash "$tok"
expect "that of a shell is read" 0 "1 document"
run "$tok" --model m.model --out x.h5 --progress 0.000001 line.txt
expect "progress is told" 0 "MB/s, "
run "$tok" --model m.model --out x.h5 --progress 0 line.txt
check "or not" eval '! grep -q "MB/s" <<<"$output"'
run "$tok" --model m.model --out x.h5 --progress often line.txt
expect "in seconds" 2 "--progress often: use a number of seconds"
printf 'a\0b\n' >zero.txt
run "$tok" --model m.model --out x.h5 zero.txt
expect "NUL is refused with its place" 2 "zero.txt:1: byte 2 of the line is NUL"
gzip -c text.txt >text.gz
run "$tok" --model m.model --out x.h5 text.gz
expect "a compressed text brings the way to read it" 2 "text.gz is compressed: give its text by standard input"
rm -f x.h5

# What would be lost.
cp text.txt kept.txt && cp m.model kept.model && ln text.txt twin.txt && ln -s m.model link.model && mkfifo pipe.h5
for name in text.txt twin.txt m.model link.model pipe.h5; do
  run timeout 20 "$tok" --model m.model --out $name text.txt
  expect "the output $name is refused" 2 "--out: $name is"
done
check "text and model are as they were" eval 'cmp text.txt kept.txt && cmp m.model kept.model && [ -p pipe.h5 ]'

cp all.h5 keep.h5
run "$tok" --model m.model --out keep.h5 latin.txt
check "a failure leaves an older file as it was" cmp -s all.h5 keep.h5

finish
