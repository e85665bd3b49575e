#!/usr/bin/env bash
# How far calibrations of the same machine lie apart, how well the profile predicts each kind of pass, and what metering
# costs. Keep the machine idle. Usage: bench/calibration.sh [RUNS] [MODEL.gguf ...]; without models three of Llama 3.2 1B's
# shape with random weights are made, which takes 3 GB in TMPDIR, and the embedded words-l is added.
set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
runs=${1:-5}
shift || true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
models=("$@")
if [[ ${#models[@]} == 0 ]]; then
    for type in q4_0 q4_k_m q8_0; do
        ./ergon dev random-model "$work/1b-$type.gguf" --like llama-3.2-1b --type "$type"
        models+=("$work/1b-$type.gguf")
    done
    models+=(words-l)
fi

for i in $(seq "$runs"); do
    ERGON_CALIBRATION=$work/$i ./ergon devices --calibrate >/dev/null
done
# The spread of a coefficient: (largest - smallest) / (2 x median), over the runs; how many are within 10 %.
node -e '
    const fs = require("fs"), seen = {};
    for (const run of process.argv.slice(1)) for (const file of fs.readdirSync(run)) {
        const p = JSON.parse(fs.readFileSync(`${run}/${file}`)).profile;
        const add = (name, c) => c && c.origin === "Measured" && ((seen[`${p.name} ${name}`] ??= []).push(c.value));
        for (const k of p.peaks) add(`peaks[${k.type}, ${k.rows}]`, k.flops);
        for (const a of p.attention) add(`attention[${a.cache}, ${a.headLength}, ${a.rows}]`, a.flops);
        for (const l of p.links) { add(`links[${l.to}].bandwidth`, l.bandwidth); add(`links[${l.to}].latency`, l.latency); }
        for (const f of ["bandwidth", "coreBandwidth", "launch", "dispatch", "idlePower", "computePower", "memoryPower", "thermalCapacitance"]) add(f, p[f]);
    }
    const rows = Object.entries(seen).map(([name, v]) => { v.sort((a, b) => a - b); return { name, runs: v.length, median: v[v.length >> 1], spread: (v.at(-1) - v[0]) / 2 / v[v.length >> 1] }; });
    rows.sort((a, b) => b.spread - a.spread);
    for (const r of rows.slice(0, 12)) console.log(`${(100 * r.spread).toFixed(1).padStart(6)} %  ${r.name} (${r.median.toPrecision(4)}, ${r.runs} runs)`);
    console.log(`spread: median ${(100 * rows[rows.length >> 1].spread).toFixed(1)} %, within 10 %: ${rows.filter(r => r.spread <= 0.1).length} of ${rows.length}`);
' "$work"/[0-9]*

export ERGON_CALIBRATION=$work/1
for model in "${models[@]}"; do
    ./ergon bench "$model" --predict
done
for model in "${models[@]}"; do
    ./ergon bench "$model" --overhead -n 64
done
