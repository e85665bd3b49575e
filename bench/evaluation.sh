#!/bin/sh
# The harness end to end: GSM8K, ARC (by generation and by likelihood) and HumanEval, 200 items each, zero-shot; a JSON line for each.
# Usage: bench/evaluation.sh DATASETS [MODEL...]   DATASETS holds gsm8k/test.jsonl, arc/arc-challenge-test.jsonl and humaneval/HumanEval.jsonl.gz; default: words-m
set -e
data=$1
shift
here=$(dirname "$0")
for model in "${@:-words-m}"; do
    "$here/../ergon" eval "$model" --task gsm8k --data "$data/gsm8k/test.jsonl" --items 200 --json
    "$here/../ergon" eval "$model" --task arc --data "$data/arc/arc-challenge-test.jsonl" --items 200 --json
    "$here/../ergon" eval "$model" --task arc --data "$data/arc/arc-challenge-test.jsonl" --items 200 --choose likelihood --json
    "$here/../ergon" eval "$model" --task humaneval --data "$data/humaneval/HumanEval.jsonl.gz" --items 200 --json
done
