#!/usr/bin/env bash
# The planner's choice for two devices of this machine against every contiguous cut between them, each run: two clusters of one
# processor, of which a busy loop takes a part of the second; then a processor and Mesa's llvmpipe on another, where Vulkan is.
# Keep the machine idle. Usage: bench/cuts.sh [MODEL] [--rounds N] [--tokens N]; without a model random weights in
# Qwen2.5-0.5B's shape, Q4_0, 12 layers. ERGON_LOAD=0 leaves the busy loop out.
set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
model=${TMPDIR:-/tmp}/ergon-pipeline.gguf
if [[ ${1:-} && ${1:-} != -* ]]; then
    model=$1
    shift
elif [[ ! -f $model ]]; then
    ./ergon dev random-model "$model" --like qwen2.5-0.5b --type q4_0 --layers 12
fi

# ggml leaves out Vulkan devices that are processors unless they are asked for by number.
export GGML_VK_VISIBLE_DEVICES=${GGML_VK_VISIBLE_DEVICES:-0}
load=
stop() { [[ -z $load ]] || kill "$load" 2>/dev/null || true; }
trap stop EXIT
if [[ ${ERGON_LOAD:-1} != 0 ]]; then
    taskset -c 1 sh -c 'while :; do :; done' &
    load=$!
fi
echo "clusters 0 and 1${load:+, of which a busy loop competes for 1}:"
./ergon dev cuts "$model" --devices CPU:0,CPU:1 --sequences 4 "$@"
stop
# ggml leaves out Vulkan devices that are processors unless they are asked for by number.
export GGML_VK_VISIBLE_DEVICES=${GGML_VK_VISIBLE_DEVICES:-0}
load=

if ./ergon devices --json | grep -q '"name":"Vulkan0"'; then
    echo "processor 0 and Vulkan0 (llvmpipe on processor 1):"
    LP_NUM_THREADS=1 ./ergon dev cuts "$model" --devices CPU:0,Vulkan0 --sequences 4 "$@" &
    bench=$!
    # The driver starts threads of its own, which belong on the other processor.
    while kill -0 "$bench" 2>/dev/null; do
        for task in $(pgrep -f "dev cuts $model --devices CPU:0,Vulkan0" | xargs -I{} find /proc/{}/task -mindepth 1 -maxdepth 1 2>/dev/null || true); do
            [[ $(cat "$task/comm" 2>/dev/null || true) != *llvmpipe* ]] || taskset -cp 1 "${task##*/}" >/dev/null 2>&1 || true
        done
        sleep 1
    done
    wait "$bench"
else
    echo "no Vulkan0 here ('./ergon natives add vulkan' fetches the backend; Mesa's llvmpipe is a device without a card)"
fi
