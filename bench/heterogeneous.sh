#!/bin/bash
# Two devices under a plan against each of them alone: words problems with the same 16 draws, so accuracy at equal draws, and the
# accuracy of a vote of as many draws as the cheapest run's joules pay for. Keep the machine idle.
# Usage: bench/heterogeneous.sh [MODEL] [FIRST] [SECOND]   (default: words-m CPU:0 CPU:1; a GPU and the CPU where there is one)
# ITEMS: problems (default 200)
set -euo pipefail
cd "$(dirname "$0")/.."
model=${1:-words-m} first=${2:-CPU:0} second=${3:-CPU:1}
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
for devices in "$first" "$second" "$first,$second"; do
    ./ergon eval "$model" --task words --items "${ITEMS:-200}" --samples 16 --policy majority,cascade --plan auto --objective latency --devices "$devices" > "$folder/$devices" 2> "$folder/log" ||
        { cat "$folder/log" >&2; exit 1; }
    printf '== %s\n' "$devices"
    grep -E '^(majority|cascade|vote of|[0-9]+ tokens|IPW)' "$folder/$devices"
done
awk -v both="$first,$second" '
    FNR == 1 { run = FILENAME; sub(".*/", "", run); runs[++count] = run; points = 0 }
    /^vote of/ { gsub("%", ""); for (i = 1; i < NF; i++) { if ($i == "accuracy") a = $(i + 1); if ($(i + 1) == "J") j = $i }
                 n[run] = ++points; accuracy[run, points] = a + 0; joules[run, points] = j + 0; k = $3; sub(":", "", k); draws[run, points] = k + 0 }
    END {
        for (i = 1; i <= count; i++) if (!least || joules[runs[i], n[runs[i]]] < least) least = joules[runs[i], n[runs[i]]]
        printf "\n%-20s %22s %34s\n", "devices", "accuracy of 16 draws", "accuracy at " least " J a problem"
        for (i = 1; i <= count; i++) {
            run = runs[i]
            for (p = 1; p < n[run] && joules[run, p + 1] <= least; p++);
            share = p == n[run] ? 0 : (least - joules[run, p]) / (joules[run, p + 1] - joules[run, p])
            printf "%-20s %21.1f%% %22.1f%% (%.1f draws)\n", run, accuracy[run, n[run]], accuracy[run, p] + share * (accuracy[run, p + 1] - accuracy[run, p]), draws[run, p] + share * (draws[run, p + 1] - draws[run, p])
        }
    }' "$folder/$first" "$folder/$second" "$folder/$first,$second"
