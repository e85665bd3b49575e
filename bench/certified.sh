#!/bin/sh
# How often certificates and the rules of a fixed threshold settle on an answer that is not the model's likeliest, on the model's own draws of held-out
# word problems; which is the likeliest, up to 256 other draws show. Fails where a certificate errs more than delta beyond doubt.
# Usage: bench/certified.sh [MODEL] [--items N] [--samples S] [--reference R] [--delta D] [--seed N] [--threads T]   default: words-l, 150, 64, 256
set -e
exec "$(dirname "$0")/../ergon" dev certified "$@"
