#!/bin/sh
# Public measurements of tokens/s and J/token against what the cost model predicts from the catalogue of devices.
# Usage: bench/catalogue.sh [FOLDER]   default: ../shared/data/measurements
set -e
exec "$(dirname "$0")/../ergon" dev catalogue "${1:-$(dirname "$0")/../../shared/data/measurements}"
