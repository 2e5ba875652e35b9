#!/usr/bin/env bash
# Runs every part under tests/conformance.d against the shared conformance data and sums them.
# Each part is called with the data's folder and prints "N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
shared=${TOCSIN_SHARED:-../shared}
[ -d "$shared/conformance" ] || { echo "no conformance data at $shared/conformance (TOCSIN_SHARED names its folder)"; exit 1; }
shared=$(cd "$shared" && pwd)
export TOCSIN_SHARED=$shared
mkdir -p build/test-logs
PROMTOOL=${PROMTOOL:-$(tests/promtool.sh)} || { echo "promtool 3 could not be built"; exit 1; }
export PROMTOOL
passed=0 failed=0
for part in tests/conformance.d/*.sh; do
    [ -e "$part" ] || continue
    log=build/test-logs/conformance_$(basename "$part" .sh).log
    timeout 1200 "$part" "$shared/conformance" >"$log" 2>&1
    rc=$?
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -1)
    p=$(echo "$line" | grep -oE '^[0-9]+') f=$(echo "$line" | sed -nE 's/.*, ([0-9]+) failed.*/\1/p')
    p=${p:-0} f=${f:-0}
    [ "$rc" -ne 0 ] && [ "$f" -eq 0 ] && f=1
    [ $((p + f)) -eq 0 ] && f=1
    passed=$((passed + p)) failed=$((failed + f))
    printf '%-44s %5d passed %3d failed\n' "$(basename "$part" .sh)" "$p" "$f"
    [ "$f" -ne 0 ] && tail -n 30 "$log"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
