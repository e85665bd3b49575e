#!/usr/bin/env bash
# Builds llama.cpp's own tools (llama-perplexity, llama-quantize, llama-bench) from the pinned source, linked with
# the very libraries that Ergon loads. Takes seconds; needs g++, git and npm. Usage: bench/peers.sh [FOLDER]
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
out=${1:-$root/artifacts/peers}
version=$(sed -n 's/.*"version": "\([^"]*\)".*/\1/p' "$root/native/package.json" | head -1)
rid=linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
libraries=${ERGON_NATIVE:-$root/native/node_modules/@node-llama-cpp/$rid/bins/$rid}
[[ -e $libraries/libggml-base.so ]] || { echo "peers: no native libraries in $libraries; run ./test or dotnet build first." >&2; exit 1; }

mkdir -p "$out"
if [[ ! -d $out/llama.cpp ]]; then
    # The package carries the exact source of its binaries as a git bundle.
    (cd "$out" && npm pack --silent "node-llama-cpp@$version" >/dev/null)
    tar xzf "$out/node-llama-cpp-$version.tgz" -C "$out" package/llama/gitRelease.bundle
    git clone --quiet "$out/package/llama/gitRelease.bundle" "$out/llama.cpp" 2>/dev/null
    rm -rf "$out/package" "$out/node-llama-cpp-$version.tgz"
fi
source=$out/llama.cpp
for tool in perplexity quantize llama-bench; do
    target=$out/llama-${tool#llama-}
    [[ -x $target ]] && continue
    g++ -O2 -std=c++17 -I"$source"/include -I"$source"/ggml/include -I"$source"/common -I"$source"/vendor "$source/tools/$tool"/*.cpp -o "$target" \
        -L"$libraries" -l:libllama-common.so -l:"$(basename "$libraries"/libllama.v*.so)" -l:"$(basename "$libraries"/libggml.v*.so)" -l:libggml-base.so \
        -Wl,-rpath,"$out" -Wl,--allow-shlib-undefined -lpthread
done
# The tools look for backends beside themselves.
cp -f "$libraries"/*.so "$out"
echo "$out"
