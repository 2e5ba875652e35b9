#!/usr/bin/env bash
# Goal: on a real Kafka every transition stands at the very step that promtool 3 gives, for the platform's six rules as they
# are and for the corrected set (tests/it/steps.py has the method).
set -u
cd "$(dirname "$0")/../.." || exit 1
conformance=${1:-${TOCSIN_SHARED:-../shared}/conformance}
passed=0 failed=0
tests/it/services.sh start kafka redis || exit 1
trap 'tests/it/services.sh stop >/dev/null' EXIT
# judge RULES INTERVAL
judge() {
    local out line
    out=$(tests/it/steps.py build/tocsin "${PROMTOOL:-promtool}" "$@" 2>&1)
    echo "$out"
    line=$(echo "$out" | grep -E '^[0-9]+ passed, [0-9]+ failed' | tail -1)
    passed=$((passed + $(echo "${line:-0 passed, 1 failed}" | cut -d' ' -f1)))
    failed=$((failed + $(echo "${line:-0 passed, 1 failed}" | cut -d' ' -f3)))
}
judge "$conformance/rules/seed-rules.yaml" 60
judge docker/rules/omninode.yaml 15
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
