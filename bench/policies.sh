#!/bin/sh
# Stopping policies on the same draws of held-out word problems: accuracy, draws and tokens of each against the full majority vote,
# a selector fitted across halves, the gold-answer oracle, and what the coverage laws foretell from a quarter of the draws.
# Usage: bench/policies.sh [MODEL] [--items N] [--samples S] [--seed N] [--threads T]   default: words-l, 500, 16, 99
set -e
exec "$(dirname "$0")/../ergon" dev policies "$@"
