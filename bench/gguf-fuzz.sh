#!/bin/sh
# Opens mutants of valid GGUF files (100 000, or as many as the first argument says): each must open or
# be refused with a GgufException within a second, in at most twice the file's size of memory.
# Prints, for each base file, how many opened and were refused, the time, the slowest, and the memory.
set -e
cd "$(dirname "$0")/.."
dotnet build -c Release tests/Ergon.Tests
ERGON_FUZZ="${1:-100000}" dotnet test -c Release --no-build tests/Ergon.Tests \
    --filter FullyQualifiedName~GgufMutationTests --logger 'console;verbosity=detailed' |
    grep -E 'mutants,|seed|Passed|Failed|Skipped|Total'
