#!/bin/sh
# Trains the whole ladder from nothing, checks it, and writes models/*.gguf.
#
#     sh train/ladder.sh WORK_FOLDER
#
# Needs two cores: words-l has one, words-s and then words-m the other. An interrupted run
# continues from its checkpoints in WORK_FOLDER. Set BFLOAT16= (empty) on a processor without
# AVX512-BF16, where that type is emulated and slow.
set -eu

recipe=$(cd "$(dirname "$0")" && pwd)
models=$recipe/../models
mkdir -p "$1" "$models"
work=$(cd "$1" && pwd)
python=${PYTHON:-python3}
precision=${BFLOAT16---bfloat16}

# One thread each: two processes of one thread beat one of two.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Every step allocates the same large blocks again. Kept in the heap they cost nothing; mapped anew
# they are page faults, a quarter of the time.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=67108864
# On AMD's processors OpenBLAS 0.3.21 leaves AVX512 aside: 107 GFLOP/s a thread instead of 150.
if grep -q avx512bw /proc/cpuinfo; then export OPENBLAS_CORETYPE=SKYLAKEX; fi

train() {
    name=$1 && shift
    "$python" "$recipe/train.py" "$name" "$work/tokenizer.json" "$work" $precision "$@" \
        >> "$work/$name.log"
}

"$python" "$recipe/bpe.py" "$work/tokenizer.json"

# The large one's first 1000 steps followed a schedule of 2100, shortened when it learned faster
# than expected. A finished model stands still when its command is run again.
{
    train words-l --steps 2100 --until 1000
    train words-l --steps 1600
} &
large=$!
train words-m --steps 950
train words-s --steps 950
wait $large

for name in words-s words-m words-l; do
    echo "$name"
    "$python" "$recipe/evaluate.py" "$work/$name.pt" "$work/tokenizer.json" --samples 16
    for type in f16 q8_0; do
        "$python" "$recipe/export.py" "$work/$name.pt" "$work/tokenizer.json" \
            "$models/$name-$type.gguf" $type
    done
done
"$python" "$recipe/evaluate.py" "$work/words-l.pt" "$work/tokenizer.json" --draft "$work/words-s.pt"
