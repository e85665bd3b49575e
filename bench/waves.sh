#!/bin/sh
# Draws of a lone problem: joules and seconds of waves of 1, 4 and 16 against waves that the cost model chooses, over questions that are settled soon and
# questions that are not; sums over questions, medians of rounds. Each run is a process of its own, so all include the model's cold start.
# Usage: bench/waves.sh [ROUNDS] [MODEL] [POLICY...]; default 5 rounds, words-l, cascade and majority. Models other than words need --task math in place of words.
set -e
cd "$(dirname "$0")/.."
rounds=${1:-5} model=${2:-words-l}
[ $# -gt 2 ] && shift 2 || set -- cascade majority
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/questions" <<'QUESTIONS'
Ada has 17 apples. Ben gives Ada 25 more. How many apples does Ada have now?
Ada has 17 boxes with 23 apples each. Ben takes 25 of the apples. How many apples does Ada have now?
Tom has 314 coins. He buys 6 books for 27 coins each. How many coins does Tom have left?
A farm has 37 rows of 48 trees. 129 trees die. Each tree that is left gives 6 apples. How many apples are there?
QUESTIONS
field() { sed "s/.*\"$1\":\([^,]*\),\"$2\".*/\1/"; }
printf '%-12s %-7s %10s %10s %7s\n' policy wave joules seconds draws
for policy; do
    : > "$work/all"
    for round in $(seq "$rounds"); do
        # In turn, so that whatever else the machine does meets all alike.
        for wave in 1 4 16 chosen; do
            while read -r question; do
                ./ergon solve "$model" "$question" --task words --policy "$policy" --seed "$round" $([ "$wave" = chosen ] || echo "--wave $wave") --json 2> /dev/null > "$work/one" || [ -s "$work/one" ] || continue
                echo "$wave $round $(field joules full_budget_joules < "$work/one") $(field seconds stages < "$work/one") $(field draws samples < "$work/one")"
            done < "$work/questions" >> "$work/all"
        done
    done
    for wave in 1 4 16 chosen; do
        awk -v w="$wave" '$1 == w { j[$2] += $3; s[$2] += $4; d[$2] += $5 } END { for (r in j) print j[r], s[r], d[r] }' "$work/all" | sort -g |
            awk -v p="$policy" -v w="$wave" '{ j[NR] = $1; s[NR] = $2; d[NR] = $3 } END { m = int((NR + 1) / 2); printf "%-12s %-7s %10.3f %10.3f %7d\n", p, w, j[m], s[m], d[m] }'
    done
done
