#!/bin/sh
# Held-out word problems by each model alone (majority vote, cascade), with the largest as a verifier of its draws, and by a cascade that escalates
# from the smallest to the largest: accuracy, tokens, joules and the calibration error of the confidence. What is escalated is learned on the way.
# Usage: bench/escalation.sh [MODELS...] [--items N] [--samples S] [--seed N] [--verify-by likelihood|judge] [--unchecked] [--state FILE] [--threads T]   default: words-s words-m words-l, 200, 16, 99
set -e
exec "$(dirname "$0")/../ergon" dev escalation "$@"
