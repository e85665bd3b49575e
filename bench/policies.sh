#!/bin/sh
# Stopping policies on the same draws of held-out word problems: accuracy, draws and tokens of each against the full majority vote,
# a selector fitted across halves, the gold-answer oracle, and what the coverage laws foretell from a quarter of the draws.
# Usage: bench/policies.sh [MODEL] [--items N] [--samples S] [--seed N] [--unchecked] [--threads T] [--state FILE] [--verifier-model MODEL]   default: words-l, 500, 16, 99
# With --save FILE it fits the state of the cascade on the draws instead: src/Ergon/Reasoning/Cascades/words.json is words-m --seed 7 --items 300.
set -e
exec "$(dirname "$0")/../ergon" dev policies "$@"
