#!/usr/bin/env bash
# Goal: the shipped rules and the platform's six rules pass their unit tests in promtool 3 and in
# `tocsin test rules` alike, and the bare clone's copy of the six rules is the shared file to the byte.
# Promtool is found as $PROMTOOL or on the PATH, and must be of version 3 (2 closes its windows on the left).
set -u
cd "$(dirname "$0")/../.." || exit 1
conformance=${1:-${TOCSIN_SHARED:-../shared}/conformance}
tocsin=${TOCSIN:-build/tocsin}
promtool=${PROMTOOL:-promtool}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# check WHAT COMMAND…
check() {
    local what=$1 out
    shift
    if out=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s:\n%s\n' "$what" "$out"
    fi
}

# By what it does, since a promtool built from source may not know its version: 3 leaves the sample
# at the window's left edge out.
is_promtool_3() {
    cat >"$work/v3.yaml" <<'YAML'
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series: [{ series: x, values: 1x3 }]
    promql_expr_test:
      - { expr: "count_over_time(x[1m])", eval_time: 2m, exp_samples: [{ labels: "{}", value: 1 }] }
YAML
    "$promtool" test rules "$work/v3.yaml"
}

# Promtool resolves rule_files beside the test; a copy of the six rules' test there names the shared file.
cp "$conformance/rules/seed-rules.yaml" tests/golden/rules/seed_test.yaml "$work"/

check "the copy of the six rules" cmp "$conformance/rules/seed-rules.yaml" tests/golden/rules/seed-rules.yaml
check "promtool of version 3" is_promtool_3
for f in docker/rules/*.yaml; do
    check "promtool check rules $f" "$promtool" check rules "$f"
    check "tocsin check rules $f" "$tocsin" check rules "$f"
done
for f in docker/rules/tests/*.yaml "$work/seed_test.yaml" tests/golden/rules/life-test.yaml; do
    check "promtool test rules $f" "$promtool" test rules "$f"
    check "tocsin test rules $f" "$tocsin" test rules "$f"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
