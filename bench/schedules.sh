#!/bin/sh
# Seeded schedules of up to 64 sequences that join, leave, fork and are cancelled (10 000, or as many as the first
# argument says, on a one-layer model, and a fiftieth of that on a demonstration model): tokens as alone, cache exact.
set -e
cd "$(dirname "$0")/.."
dotnet build -c Release tests/Ergon.Tests
ERGON_SCHEDULES="${1:-10000}" dotnet test -c Release --no-build tests/Ergon.Tests \
    --filter FullyQualifiedName~ScheduleTests --logger 'console;verbosity=detailed' |
    grep -E 'schedules,|seed|Passed|Failed|Skipped|Total'
