#!/bin/sh
# The planner on drawn problems: against every plan, the exact chains, NSGA-II, random and greedy search, the clock,
# impossible problems, and profiles that are wrong by 30 %. Usage: bench/planning.sh [--quick]
set -e
exec "$(dirname "$0")/../ergon" dev plan-bench "$@"
