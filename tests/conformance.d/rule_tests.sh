#!/usr/bin/env bash
# The unit tests of real projects' rules, unchanged, pass, by plans and by the naive evaluator. Usage: rule_tests.sh CONFORMANCE_DIR
set -u
cd "$(dirname "$0")/../.." || exit 1
mkdir -p build/test-logs
passed=0 failed=0
while read -r test; do for by in "" --naive; do
    if build/tocsin test rules $by "$test" >build/test-logs/rule_test.log 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        head -20 build/test-logs/rule_test.log
    fi
done; done < <(find "$1/rule-tests" -name test.yaml | sort)
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
