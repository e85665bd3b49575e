#!/bin/sh
# The setting of QEIL v2 simulated from catalogue profiles: seven models on a laptop's CPU, iGPU, NPU and graphics card, each
# device alone, greedy, PGSAM; and by how much each coefficient would have to change. Usage: bench/qeil.sh [--prompt N] [--tokens N] [--batch N]
set -e
exec "$(dirname "$0")/../ergon" dev qeil "$@"
