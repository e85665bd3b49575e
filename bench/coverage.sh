#!/usr/bin/env bash
# Laws of coverage shown few draws and asked about two and four times as many: word problems of seed 99, 64 draws each of words-s and words-m,
# 32 of words-l; some 15 minutes on one core. The draws are kept in TMPDIR. Usage: bench/coverage.sh
set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
journals=()
for run in words-s:500:64 words-m:500:64 words-l:300:32; do
    IFS=: read -r model items samples <<<"$run"
    file=${TMPDIR:-/tmp}/$model-coverage.jsonl
    ./ergon eval "$model" --task words --items "$items" --samples "$samples" --rows 16 --threads 1 --out "$file" >&2
    journals+=("$file")
done
exec ./ergon dev coverage "${journals[@]}"
