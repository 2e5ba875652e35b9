#!/usr/bin/env bash
# Goal: the shipped rules, and the platform's six rules as they stand, pass their unit tests in
# `tocsin test rules`, and load in `tocsin check rules`.
# Method: the same files that promtool passes (tests/conformance.d/rules_promtool.sh), one by one.
set -u
cd "$(dirname "$0")/../.." || exit 1
tocsin=${1:-build/tocsin}
passed=0 failed=0
check() {
    local out
    if out=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s:\n%s\n' "$*" "$out"
    fi
}
for f in docker/rules/tests/*.yaml tests/golden/rules/seed_test.yaml tests/golden/rules/life-test.yaml; do check "$tocsin" test rules "$f"; done
for f in docker/rules/*.yaml tests/golden/rules/seed-rules.yaml; do check "$tocsin" check rules "$f"; done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
