#!/bin/sh
# Generations in a worker process that is killed (SIGKILL or a real GGML_ASSERT) in the midst of each, against the same
# generations undisturbed; fails unless all are complete and identical and none waited longer than 2 s for a restart.
# Usage: bench/worker.sh [MODEL] [--generations N] [--threads T]   default: words-l, 100
set -e
exec "$(dirname "$0")/../ergon" dev worker-bench "$@"
