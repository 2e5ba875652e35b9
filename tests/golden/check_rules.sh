#!/usr/bin/env bash
# Goal: what `tocsin check rules` prints and exits with: findings, JSON, --strict, rules no stream can run, broken files
# beside good ones, folders and globs.
# Method: the platform's six rules as they stand give a fixed list (tests/golden/rules/seed-rules.lint); the rest are small files.
set -u
cd "$(dirname "$0")/../.." || exit 1
tocsin=$PWD/${1:-build/tocsin}
. tests/it/lib_check.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
seed=tests/golden/rules/seed-rules.yaml

expect 0 "findings alone are no failure" "$tocsin" check rules $seed
if diff <(echo "$out") tests/golden/rules/seed-rules.lint; then ok; else bad "the findings differ from tests/golden/rules/seed-rules.lint"; fi
expect 5 "with --strict they are" "$tocsin" check rules --strict $seed
expect 0 "the shipped rules are clean" "$tocsin" check rules --strict docker/rules
[ -z "$out" ] && ok || bad "the shipped rules have findings"

expect 0 "JSON" "$tocsin" check rules --output json $seed
echo "$out" >"$dir/rows.json"
if python3 - "$dir/rows.json" "$(wc -l <tests/golden/rules/seed-rules.lint)" <<'PY'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert len(rows) == int(sys.argv[2]), len(rows)
for row in rows:
    assert list(row) == ["file", "line", "col", "id", "rule", "severity", "text", "suggestion"], row
    assert row["severity"] in ("info", "warning", "error") and row["line"] > 0 and row["col"] > 0 and row["text"]
assert any(r["id"] == "ratio-pinned-label" and r["rule"] == "HighErrorRate" and r["line"] == 35 and r["suggestion"] for r in rows)
PY
then ok; else bad "the JSON rows"; fi

cat >"$dir/future.yaml" <<'YAML'
groups:
- name: g
  interval: 15s
  rules:
  - alert: Ahead
    expr: sum by (service) (rate(errors_total[5m] offset -5m)) > 1
    for: 1m
YAML
expect 3 "a rule that needs the future" "$tocsin" check rules "$dir/future.yaml"
has "future.yaml:6:" "[needs-future] Ahead: "
printf 'groups:\n- name: h\n  rules:\n  - alert: A\n    expr: up ==\n' >"$dir/broken.yaml"
printf 'groups:\n- name: h\n  rules:\n  - alert: A\n    expr: up == 0\n    fro: 5m\n' >"$dir/unknown.yml"
expect 3 "every broken file of a folder, and the lint of the good ones" "$tocsin" check rules "$dir"
has "broken.yaml:5:" "[invalid]" "unknown.yml:6:" "[needs-future] Ahead: "
expect 3 "a glob" "$tocsin" check rules "$dir/b*.yaml"
has "broken.yaml:5:"
lacks "future.yaml"
expect 3 "no such file" "$tocsin" check rules "$dir/nowhere.yaml" $seed
has "nowhere.yaml:0:0: [unreadable] no such file" "[ratio-pinned-label] HighErrorRate"
expect 0 "standard input" bash -c "'$tocsin' check rules - <$seed"
has "-:35:15: [ratio-pinned-label]"
expect 2 "no file" "$tocsin" check rules
expect 2 "an unknown form" "$tocsin" check rules --output xml $seed

# In a block the place is that of the character, too.
printf 'groups:\n- name: g\n  rules:\n  - alert: B\n    expr: |\n      histogram_quantile(0.9,\n        sum by (service) (rate(d_bucket[5m]))) > 1\n' >"$dir/block.yaml"
expect 0 "a block" "$tocsin" check rules "$dir/block.yaml"
has "block.yaml:7:9: [quantile-without-le]"

# What a window costs, by a sample of the stream in either form.
cat >"$dir/long.yaml" <<'YAML'
groups:
- name: g
  rules:
  - alert: Long
    expr: sum by (service) (increase(r_total{code=~"5.."}[1d])) > 1000
YAML
for i in 1 2 3; do
    printf '{"series":{"__name__":"r_total","code":"50%d","service":"a"},"start":0,"step":1,"values":[1]}\n' $i
    printf '{"series":"r_total{code=\\"50%d\\", service=\\"b\\"}","time":null,"value":"1"}\n{"offset":1}\n' $i $i
    printf '{"series":"r_total{code=\\"200\\", service=\\"b%d\\"}"}\n' $i
done >"$dir/sample.jsonl"
expect 0 "cheap enough" "$tocsin" check rules "$dir/long.yaml" --samples "$dir/sample.jsonl"
lacks "costly-window"
expect 5 "too dear" "$tocsin" check rules --strict "$dir/long.yaml" --samples "$dir/sample.jsonl" --cost-limit 30000
has "long.yaml:5:" "[costly-window] Long: 6 series over 1d are 34560 samples held (limit 30000)"
expect 3 "no such sample" "$tocsin" check rules "$dir/long.yaml" --samples "$dir/nowhere"

# The catalogue decides what a threshold is held against.
printf 'services:\n  - { name: only, tier: 1, latency_p95: 1s }\n' >"$dir/services.yaml"
printf 'respond: { services: services.yaml }\n' >"$dir/tocsin.conf"
expect 0 "another catalogue" "$tocsin" check rules --config "$dir/tocsin.conf" $seed
lacks "one-threshold-for-all"
printf 'services:\n  - { name: only }\n' >"$dir/services.yaml"
expect 3 "a broken catalogue" "$tocsin" check rules --config "$dir/tocsin.conf" $seed
has "services.yaml:2:"
finish
