#!/bin/sh
# Runs mutants of valid models (10 000, or as many as the first argument says) for two tokens in a child process:
# each must run or be refused with one sentence; a crash or a hang is a failure. Prints the counts for each base.
set -e
cd "$(dirname "$0")/.."
dotnet build -c Release tests/Ergon.Tests
ERGON_FUZZ="${1:-10000}" dotnet test -c Release --no-build tests/Ergon.Tests \
    --filter FullyQualifiedName~EngineMutationTests --logger 'console;verbosity=detailed' |
    grep -E 'mutants,|seed|Passed|Failed|Skipped|Total'
