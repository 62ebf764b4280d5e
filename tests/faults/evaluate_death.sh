#!/bin/bash
# What an evaluation does when a rank of it dies or stands still. Run from the repository root; BUILD names the build folder;
# prints TAP.
# shellcheck disable=SC2154 # $tmp and $job come from tiny_run.sh
# shellcheck disable=SC2317 # functions are called through check
set -u
. tests/support/shell/tap.sh
. tests/support/shell/tiny_run.sh

no_process_left() { ! pgrep --session "$job" >/dev/null; }

# evaluate_long NAME [KEY=VALUE...]: of the run "trained", in the background; the heading of the results tells that it is under way.
evaluate_long() {
  local name=$1
  shift
  start 2 "$name" run.job=evaluate evaluate.checkpoint="$(newest trained)" evaluate.data=random:2000000000 \
    evaluate.output="$tmp/$name.json" "$@"
  wait_for 30 log_says "$name" "perplexity" && sleep 0.5 && kill -0 "$job" && mapfile -t ranks < <(pgrep -P "$job")
}

check "there is a checkpoint of two ranks" train 2 trained train.steps=3

# --- a rank dies ---

check "an evaluation on two ranks is under way" evaluate_long death
kill -KILL "${ranks[1]}"
began=$SECONDS
check "a rank that is killed ends the whole job within 10 s" wait_for 10 no_process_left
finish_job 2>/dev/null
echo "# it took $((SECONDS - began)) s"
check "with an exit code that is not 0" [ "$code" -ne 0 ]
check "the cause is told once" [ "$(grep -c 'exited on signal 9' "$tmp/death.log")" -eq 1 ]
check "and no rank blames another" [ "$(grep -c '^error:' "$tmp/death.log")" -eq 0 ]
check "there are no results" [ ! -e "$tmp/death.json" ]

# --- a rank stands still ---

speaks() { log_says hang "^watchdog: rank $1 on .* is in [a-z].*; nothing was finished for [2-9]"; }

check "a watched evaluation is under way" evaluate_long hang run.watchdog=2s
sleep 3
check "and stays so beyond the limit" kill -0 "$job"
kill -STOP "${ranks[1]}"
check "when a rank stands still, the job ends" wait_for 15 no_process_left
finish_job 2>/dev/null
check "with exit code 6" [ "$code" -eq 6 ]
check "and the other rank says where it is" speaks 0
check "there are no results" [ ! -e "$tmp/hang.json" ]

finish
