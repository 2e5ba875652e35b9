#!/usr/bin/env bash
# PromQL: the three visible sets of cases, by plans and by the naive evaluator, and every real alert expression is accepted.
# Usage: promql.sh CONFORMANCE_DIR. Prints "N passed, N failed".
set -u
data=$1/promql
cd "$(dirname "$0")/../.." || exit 1
out=build/conformance
mkdir -p "$out"
passed=0 failed=0
for set in promqltest gen edge; do for by in "" --naive; do
    build/tocsin eval --bulk $by <"$data/visible_$set.jsonl" >"$out/$set.jsonl" || failed=$((failed + 1))
    python3 "$data/compare.py" "$data/visible_$set.jsonl" "$out/$set.jsonl" --list >"$out/$set.txt" 2>&1
    grep FAIL "$out/$set.txt" | head -20
    read -r ok all < <(sed -nE 's/^ALL +([0-9]+) *\/ *([0-9]+).*/\1 \2/p' "$out/$set.txt")
    echo "$set $by: ${ok:-0} of ${all:-?}"
    passed=$((passed + ${ok:-0})) failed=$((failed + ${all:-1} - ${ok:-0}))
done; done
python3 - "$data/alert_expressions.jsonl" >"$out/expressions.jsonl" <<'PY'
import json, sys
for n, line in enumerate(open(sys.argv[1])):
    case = json.loads(line)
    expr = case["expr"] if isinstance(case, dict) else case
    print(json.dumps({"id": str(n), "loads": [], "eval": {"kind": "instant", "expr": expr, "at_ms": 0}}))
PY
build/tocsin eval --bulk <"$out/expressions.jsonl" >"$out/expressions.results.jsonl"
all=$(wc -l <"$out/expressions.jsonl")
bad=$(grep -c 'parse error' "$out/expressions.results.jsonl")
got=$(wc -l <"$out/expressions.results.jsonl")
grep 'parse error' "$out/expressions.results.jsonl" | head -5
echo "expressions accepted: $((got - bad)) of $all"
passed=$((passed + got - bad)) failed=$((failed + all - got + bad))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
