#!/usr/bin/env bash
# Log mining against the labelled corpora, with floors. Usage: logs.sh CONFORMANCE_DIR
# Content and raw lines, the corpora with every word replaced by a pseudo-word of the same shape, a large mixed stream; each with
# the scorer's averages held to the floors below. Groups must only ever merge (prefix check).
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
logs=$1/logs
tocsin=$top/build/tocsin
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
passed=0 failed=0
export TMPDIR=$dir

# score NAME DATA FLOORS… : FLOORS are METRIC=VALUE; extra arguments for the scorer in $extra
score() {
    local name=$1 data=$2 table
    shift 2
    table=$(LOG_DATA=$data python3 "$logs/eval_logs.py" ${extra:-} --prefix-check --run "$tocsin logs mine --format raw {}" 2>"$dir/err")
    if [ -z "$table" ]; then
        failed=$((failed + 1)); echo "FAILED $name: scorer stopped"; tail -3 "$dir/err"
        return
    fi
    echo "== $name"; echo "$table"
    for floor in "$@"; do
        local metric=${floor%=*} want=${floor#*=} got
        got=$(echo "$table" | awk -v m="$metric" '$1 == "dataset" {for (i = 1; i <= NF; i++) if ($i == m) c = NF - i} $1 == "AVERAGE" {print $(NF - c)}')
        if awk -v a="$got" -v b="$want" 'BEGIN {exit !(a >= b)}'; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $name: $metric $got < $want"; fi
    done
}

extra= score content "$logs" GA_id=0.95 FGA_id=0.92 GA=0.95 FGA=0.92 FTA_n=0.78
extra=--raw score raw "$logs" GA_id=0.93 FGA_id=0.90 GA=0.93
python3 "$top/tests/conformance.d/pseudo_words.py" "$logs" "$dir/pseudo" 1 || failed=$((failed + 1))
extra= score pseudo-words "$dir/pseudo" GA_id=0.92 FGA_id=0.90 FTA_n=0.74
extra=--raw score pseudo-words-raw "$dir/pseudo" GA_id=0.90 FGA_id=0.88
python3 "$logs/gen_logs.py" "$dir/mixed" 300000 20260101 >/dev/null || failed=$((failed + 1))
extra= score mixed-300k "$dir/mixed" GA_id=0.92 FGA_id=0.91

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
