#!/usr/bin/env bash
# Goal: what people see of `tocsin test rules` and `tocsin eval`: readable differences, JUnit and JSON
# reports, exit codes, results and errors with their place.
# Method: small files in a temporary folder; lines of the output, XML and JSON read by a parser.
set -u
cd "$(dirname "$0")/../.." || exit 1
tocsin=$(realpath "${1:-build/tocsin}")
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
passed=0 failed=0
good() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); printf 'FAILED: %s\n%s\n' "$1" "$out"; }
# expect CODE WHAT COMMAND…; has TEXT…: lines of its output
expect() {
    local code=$1 what=$2 rc
    shift 2
    out=$("$@" 2>&1); rc=$?
    [ "$rc" -eq "$code" ] && good || bad "$what: exit $rc, not $code"
}
has() { for text in "$@"; do grep -qF -- "$text" <<<"$out" && good || bad "no line with: $text"; done; }

cat >rules.yaml <<'YAML'
groups:
- name: g
  rules:
  - { alert: A, expr: x > 0, labels: { sev: p }, annotations: { s: 'hello {{ $labels.a }}' } }
YAML
cat >tests.yaml <<'YAML'
rule_files: [ rules.yaml ]
tests:
- name: "a <b> & c"
  interval: 1m
  input_series: [ { series: 'x{a="1"}', values: '1x10' } ]
  alert_rule_test:
  - eval_time: 5m
    alertname: A
    exp_alerts: [ { exp_labels: { a: '2', sev: p }, exp_annotations: { s: 'hello 2' } } ]
  promql_expr_test:
  - { expr: 'x + 1', eval_time: 2m, exp_samples: [ { labels: '{a="1"}', value: 3 } ] }
- name: good
  input_series: []
YAML
expect 5 "a test that fails" "$tocsin" test rules tests.yaml --junit report.xml
has "tests.yaml:7:5: alert A at 5m: 1 expected, 1 firing" 'label a: expected "2", got "1"' \
    'annotation s: expected "hello 2", got "hello 1"' 'tests.yaml:11:5: expr "x + 1" at 2m:' '- expected {a="1"} 3' \
    '+ got      {a="1"} 2' "1 passed, 1 failed"
expect 0 "the JUnit report" python3 - <<'PY'
import xml.etree.ElementTree as tree
suite = tree.parse("report.xml").getroot().find("testsuite")
assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0"), suite.attrib
cases = suite.findall("testcase")
assert [c.get("name") for c in cases] == ["a <b> & c", "good"]
assert len(cases[0].findall("failure")) == 2 and not cases[1].findall("failure")
PY
expect 0 "one of them by name" "$tocsin" test rules --run '^good$' tests.yaml
expect 0 "the JSON report" bash -c "'$tocsin' test rules --output json tests.yaml |
    python3 -c 'import json,sys; r = json.load(sys.stdin); assert (r[\"passed\"], r[\"failed\"]) == (1, 1), r'"
printf 'rule_files: [ rules.yaml ]\ntests:\n- intervall: 1m\n' >broken.yaml
expect 3 "a file that does not read" "$tocsin" test rules broken.yaml
has "broken.yaml:3:3:"

printf '{"series":{"__name__":"x","a":"1"},"start":0,"step":60000,"values":[0,60,120]}\n' >x.jsonl
expect 0 "an instant" "$tocsin" eval 'rate(x[2m])' --data x.jsonl --at 120
has '{a="1"}'
expect 0 "a range" "$tocsin" eval 'x' --data x.jsonl --start 0 --end 120 --step 1m --output json
has '[120000,120]'
expect 3 "a broken expression" "$tocsin" eval 'sum(x'
has "1:6: parse error"
expect 0 "what needs the future is evaluated" "$tocsin" eval 'x offset -1m + x @ 60 + (x smoothed)' --data x.jsonl --at 60
has "240"
# Plans and the naive evaluator write the same bytes: a range with resets, a gap and a subquery; @ start() is the range's.
printf '{"series":{"__name__":"c","a":"1"},"start":0,"step":15000,"values":[1,3,2,7,null,9,1,"NaN","stale",4,8,9,12,13]}\n' >c.jsonl
for expr in 'rate(c[1m]) or c' 'sum(max_over_time(rate(c[45s])[1m:15s])) by (a) / c' 'c @ start() - c @ end()' 'scalar(c) + time()' \
    'topk(1, c) or count_values("v", c)' 'c / on (b) (c or c offset 15s)'; do
    for by in "" --naive; do
        "$tocsin" eval $by "$expr" --data c.jsonl --start 0 --end 240 --step 15s --output json >"out$by" 2>&1
    done
    out=$(diff out out--naive) && good || bad "the evaluators differ: $expr"
done
for when in '"kind":"instant","at_ms":1152921504606846976' '"kind":"instant","at_ms":-1152921504606846976' \
    '"kind":"range","start_ms":-1152921504606846976,"end_ms":1152921504606846976,"step_ms":1152921504606846976'; do
    for by in "" --naive; do
        printf '{"id":"1","loads":[],"eval":{"expr":"x offset -1d + max_over_time(rate(x[5m])[1h:] offset 1h)",%s}}\n' "$when" |
            "$tocsin" eval --bulk $by >"out$by" 2>&1
    done
    out=$(cat out; diff out out--naive && grep -q '"result":\[\]' out) && good || bad "the ends of time: $when"
done
printf '{"id":"1","loads":[],"eval":{"expr":"x","kind":"instant","at_ms":1152921504606846977}}\n' >beyond.jsonl
expect 0 "beyond the ends of time" "$tocsin" eval --bulk <beyond.jsonl
has '"type":"error"' "a time is beyond"
for by in "" --naive; do "$tocsin" test rules $by tests.yaml >"out$by" 2>&1; done
out=$(diff out out--naive) && good || bad "test rules --naive"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
