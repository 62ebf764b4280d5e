#!/bin/sh
# Makes the data of the demo: austen-train.h5 and austen-valid.h5 with a SentencePiece model, from Jane Austen's six novels
# (public domain, Debian's package r-cran-janeaustenr) or from texts of your own.
set -eu

usage() {
  cat <<'END'
Usage: demo-data.sh [FOLDER]
Writes FOLDER/austen-train.h5, FOLDER/austen-valid.h5 and FOLDER/austen.model (FOLDER: demo-data).
Does nothing when they are there and made from the same texts.

Environment:
  DEMO_TEXT="a.txt b.txt"  train on these UTF-8 texts instead of the novels; nothing is downloaded
  DEMO_VALID_TEXT="c.txt"  validate on these (needed with DEMO_TEXT)
  DEMO_VOCAB=4096          size of the vocabulary
  QGALORE_BIN=FOLDER       where qgalore_tok and qgalore_rdata are (default: build/ of the source tree, then PATH)

Exit status: 0 done, 1 a program failed, 2 wrong usage or text, 4 something that is needed is missing.
END
}

say() { printf 'demo-data: %s\n' "$*"; }

fail() {
  status=$1
  shift
  printf 'demo-data: %s\n' "$*" >&2
  exit "$status"
}

own_text_hint='or train on texts of your own: DEMO_TEXT="a.txt b.txt" DEMO_VALID_TEXT=c.txt'

case ${1-} in
  -h | --help) usage && exit 0 ;;
  -*) fail 2 "$1: no such option; --help explains" ;;
esac
[ $# -le 1 ] || fail 2 "at most one folder; --help explains"

out=${1:-demo-data}
vocab=${DEMO_VOCAB:-4096}
train_text=${DEMO_TEXT-}
valid_text=${DEMO_VALID_TEXT-}
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${QGALORE_BIN:-$root/build}
work=

cleanup() {
  [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Prints the path of a program of ours.
tool() {
  if [ -x "$bin/$1" ]; then
    printf '%s\n' "$bin/$1"
  else
    command -v "$1" || fail 4 "there is no $1 in $bin or in PATH: run make first"
  fi
}

need() {
  command -v "$1" >/dev/null 2>&1 || fail 4 "$1 is missing: install Debian's package $2, $3"
}

# Names everything that the result depends on, so that a second run knows whether anything changed.
fingerprint() {
  printf 'vocab %s\n' "$vocab"
  # Lists of paths are split at spaces on purpose.
  # shellcheck disable=SC2086
  if [ -n "$train_text" ]; then cksum $train_text && printf 'valid\n' && cksum $valid_text; fi
  cksum <"$0"
}

is_current() {
  for file in austen-train.h5 austen-valid.h5 austen.model made-from; do
    [ -s "$out/$file" ] || return 1
  done
  [ "$(cat "$out/made-from")" = "$made_from" ]
}

check_own_texts() {
  for list in "$train_text" "$valid_text"; do
    [ -n "$list" ] || fail 2 "DEMO_TEXT and DEMO_VALID_TEXT belong together: set both"
  done
  for file in $train_text $valid_text; do
    [ -f "$file" ] || fail 2 "$file: no such text"
  done
}

# Downloads and unpacks the novels into $work/package. Needs neither root nor R.
fetch_package() {
  need apt-get apt "$own_text_hint"
  need dpkg-deb dpkg "$own_text_hint"
  mkdir "$work/download"
  # apt drops to a user who may not see the folder when root runs it, and says so; the download is checked all the same.
  (cd "$work/download" && apt-get -q -o APT::Sandbox::User=root download r-cran-janeaustenr) >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail 4 "cannot download Debian's package r-cran-janeaustenr: run 'apt-get update' as root and check the network," \
      "$own_text_hint"
  }
  dpkg-deb -x "$(find "$work/download" -name '*.deb')" "$work/package"
}

# The novels are wrapped at 75 columns: a line for each paragraph is what a model should learn.
unwrap() {
  awk '
    NF == 0 { if (text != "") print text; text = ""; next }
    { gsub(/[ \t]+/, " "); sub(/^ /, ""); sub(/ $/, ""); text = (text == "" ? $0 : text " " $0) }
    END { if (text != "") print text }'
}

extract_novels() {
  rdata=$(tool qgalore_rdata)
  base=$work/package/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb
  mkdir "$work/text"
  for novel in emma mansfieldpark northangerabbey prideprejudice sensesensibility persuasion; do
    "$rdata" "$base" "$novel" >"$work/novel" || fail 1 "cannot read the package's text, $own_text_hint"
    unwrap <"$work/novel" >"$work/text/$novel.txt"
    [ "$novel" = persuasion ] || train_text="$train_text $work/text/$novel.txt"
  done
  valid_text=$work/text/persuasion.txt
}

# Lossless: no normalisation, and characters outside the vocabulary as bytes.
train_vocabulary() {
  # shellcheck disable=SC2086
  cat $train_text >"$work/corpus"
  spm_train --input="$work/corpus" --model_prefix="$work/austen" --model_type=bpe --vocab_size="$vocab" \
    --byte_fallback=true --character_coverage=1.0 --split_digits=true --normalization_rule_name=identity \
    --remove_extra_whitespaces=false --max_sentence_length=1000000 >"$work/log" 2>&1 || {
    tail -n 5 "$work/log" >&2
    fail 1 "spm_train failed; with a small text, a smaller DEMO_VOCAB may help"
  }
}

# tokenize NAME TEXTS
tokenize() {
  # shellcheck disable=SC2086
  "$tok" --model "$work/austen.model" --out "$work/$1" $2 >"$work/log" || exit $?
  sed "s|^$work/|demo-data: |" "$work/log"
}

# The mark goes first and comes back last: whatever stops this, the next run starts over.
install_files() {
  mkdir -p "$out"
  rm -f "$out/made-from"
  for file in austen.model austen-train.h5 austen-valid.h5; do
    mv -f "$work/$file" "$out/$file"
  done
  if [ -d "$work/text" ]; then
    rm -rf "$out/text"
    mv "$work/text" "$out/text"
  fi
  printf '%s\n' "$made_from" >"$work/made-from"
  mv "$work/made-from" "$out/made-from"
}

case $vocab in
  '' | *[!0-9]*) fail 2 "DEMO_VOCAB=$vocab: not a number" ;;
esac
[ -z "$train_text$valid_text" ] || check_own_texts
made_from=$(fingerprint)
if is_current; then
  say "$out is up to date"
  exit 0
fi

tok=$(tool qgalore_tok)
need spm_train sentencepiece "which trains the vocabulary"
mkdir -p "$(dirname "$out")"
# Beside the result, so that the moves at the end are renames.
work=$(mktemp -d "$out.tmp.XXXXXX")
if [ -z "$train_text" ]; then
  say "downloading Debian's r-cran-janeaustenr (1.6 MB)"
  fetch_package
  extract_novels
fi
say "training a vocabulary of $vocab pieces"
train_vocabulary
tokenize austen-train.h5 "$train_text"
tokenize austen-valid.h5 "$valid_text"
install_files
say "wrote $out/austen-train.h5 and $out/austen-valid.h5"
