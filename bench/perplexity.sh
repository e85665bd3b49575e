#!/usr/bin/env bash
# Perplexity by Ergon and by llama-perplexity, same file, text and context; fails where four significant digits differ.
# Usage: bench/perplexity.sh [MODEL...]   default: the demonstration models and, where it is, ../shared/data/models
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
peers=$("$root/bench/peers.sh")
text=$(mktemp)
trap 'rm -f "$text"' EXIT
models=("$@")
if [[ ${#models[@]} == 0 ]]; then
    shopt -s nullglob
    models=("$root"/models/*.gguf "$root"/../shared/data/models/{stories260K-f32,llama2xs-280K-tok512-f32,llama-2-tiny-random}.gguf)
fi
status=0
printf '%-40s %12s %12s\n' model ergon llama.cpp
for model in "${models[@]}"; do
    # Word problems for the models of word problems, stories for the others.
    if [[ $model == *words* ]]; then
        python3 -c 'import json, sys
for line in open(sys.argv[1]): p = json.loads(line); print("Q:", p["question"]); print("A:", p["worked_answer"])' "$root/tests/Ergon.Tests/Reasoning/words-golden.jsonl" >"$text"
    else
        head -c 60000 "$root/../shared/data/datasets/tinystories/tinystories-train-head.txt" >"$text"
    fi
    theirs=$("$peers/llama-perplexity" -m "$model" -f "$text" -c 128 -t 1 2>&1 | sed -n 's/.*Final estimate: PPL = \([0-9.]*\).*/\1/p')
    ours=$("$root/ergon" perplexity "$model" "$text" --ctx 128 --threads 1 --kv-type f16 --json | sed -n 's/.*"perplexity": *\([0-9.]*\).*/\1/p')
    verdict=$(awk -v a="$ours" -v b="$theirs" 'BEGIN { print sprintf("%.3e", a) == sprintf("%.3e", b) ? "" : "DIFFERS" }')
    [[ -z $verdict ]] || status=1
    printf '%-40s %12.5f %12.4f %s\n' "$(basename "$model")" "$ours" "$theirs" "$verdict"
done
exit $status
