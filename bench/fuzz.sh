#!/bin/sh
# Mutants of valid GGUF files. Usage: bench/fuzz.sh reader|engine|libllama [COUNT]
#   reader: each must open or be refused with a GgufException, within a second, in at most twice the file's size of
#           memory (100 000 by default); prints for each base what opened, the time, the slowest, the memory.
#   engine: each that opens must run two tokens or be refused, in a child process that must not die (20 000 by default).
#   libllama: the same with libllama as the engine, which dies in the processes of trials (1200 by default).
set -e
cd "$(dirname "$0")/.."
case "${1:-}" in
    reader) class=GgufMutationTests count=${2:-100000} ;;
    engine) class=EngineMutationTests count=${2:-20000} ;;
    libllama) class=LibllamaMutationTests count=${2:-1200} ;;
    *) sed -n '2,6s/^# //p' "$0" >&2; exit 2 ;;
esac
dotnet build -c Release tests/Ergon.Tests
ERGON_FUZZ=$count dotnet test -c Release --no-build tests/Ergon.Tests \
    --filter "FullyQualifiedName~$class" --logger 'console;verbosity=detailed' |
    grep -E 'mutants,|seed|Passed|Failed|Skipped|Total'
