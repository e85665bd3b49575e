#!/bin/sh
# Draws 2 to 16 on one prompt's cache and in shared passes against as many requests of their own, one after another and at
# once: time and joules, medians of interleaved rounds; the bar is 60 % of the faster kind.
# Usage: bench/draws.sh [MODEL] [-p TOKENS] [-n TOKENS] [--draws N] [--alone N] [--rounds N]
# Without a model: random weights in Llama-3.2-1B's shape, Q4_0.
set -e
cd "$(dirname "$0")/.."
case "$1" in
'' | -*)
    model="${TMPDIR:-/tmp}/ergon-1b-q4_0.gguf"
    [ -f "$model" ] || ./ergon dev random-model "$model" --like llama-3.2-1b --type q4_0
    set -- "$model" "$@"
    ;;
esac
exec ./ergon dev draws "$@"
