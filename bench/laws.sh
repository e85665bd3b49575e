#!/usr/bin/env bash
# Laws of time and joules over model size, draws and tokens, QEIL's power law and the sum of work: random weights in the shapes of QEIL v1's five models, GPT-2 125M,
# Granite 350M, Qwen2 0.5B (Qwen2.5's shape is the same), Llama-3.2 1B and LFM2 2.6B; Q4_0, 3 GB in TMPDIR. Keep the machine idle.
# Each point is the median of three; they are kept in ergon-laws.jsonl in TMPDIR: 'ergon dev laws --points' fits them again. Usage: bench/laws.sh [MODEL...]
set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
models=("$@")
if [[ ${#models[@]} == 0 ]]; then
    for shape in gpt2 granite-4.0-350m qwen2.5-0.5b llama-3.2-1b lfm2-2.6b; do
        file=${TMPDIR:-/tmp}/ergon-laws-$shape.gguf
        [[ -f $file ]] || ./ergon dev random-model "$file" --like "$shape" --type q4_0
        models+=("$file")
    done
fi
exec ./ergon dev laws "${models[@]}" --rounds 3 --points "${TMPDIR:-/tmp}/ergon-laws.jsonl"
