#!/bin/sh
# How often certificates settle on the wrong answer when looked at after every draw, on 10^5 simulated categorical tasks with 2, 3, 5, 10
# and open answers, near-uniform ones among them, with the rules of a fixed threshold beside them; fails where a certificate errs more than delta.
# Usage: bench/certificates.sh [--tasks N] [--budget S] [--delta D] [--seed N]
set -e
exec "$(dirname "$0")/../ergon" dev certificates "$@"
