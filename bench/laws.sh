#!/usr/bin/env bash
# Power laws of time and joules over model size, draws and tokens: random weights in five shapes from 124M to 3.2B parameters,
# Q4_0, 4 GB in TMPDIR (QEIL v1's Granite 350M and LFM2 2.6B are no shapes of 'ergon dev random-model'). Keep the machine idle. Usage: bench/laws.sh [MODEL...]
set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
models=("$@")
if [[ ${#models[@]} == 0 ]]; then
    for shape in gpt2 qwen2.5-0.5b llama-3.2-1b qwen2.5-1.5b llama-3.2-3b; do
        file=${TMPDIR:-/tmp}/ergon-laws-$shape.gguf
        [[ -f $file ]] || ./ergon dev random-model "$file" --like "$shape" --type q4_0
        models+=("$file")
    done
fi
exec ./ergon dev laws "${models[@]}"
