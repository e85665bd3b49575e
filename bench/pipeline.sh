#!/bin/sh
# A model cut between two clusters of processors at every layer: tokens a second of four sequences while the clusters
# take turns in a pass, and while each has a pass of its own in flight, in interleaved pairs; and of the same processors
# as one device. Without a model: random weights in Qwen2.5-0.5B's shape, Q4_0, 12 layers, on processors 0 and 1.
# Usage: bench/pipeline.sh [MODEL] [--clusters 0-3/4-7] [--sequences N] [--tokens N] [--pairs N] [--step N]
set -e
cd "$(dirname "$0")/.."
case "$1" in
'' | -*)
    model="${TMPDIR:-/tmp}/ergon-pipeline.gguf"
    [ -f "$model" ] || ./ergon dev random-model "$model" --like qwen2.5-0.5b --type q4_0 --layers 12
    set -- "$model" "$@"
    ;;
esac
exec ./ergon dev pipeline "$@"
