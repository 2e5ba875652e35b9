#!/usr/bin/env bash
# Goal: names that others rely on stay: commands and options, exit codes, lint lines, make targets, keys of the configuration,
# topics, records and fields of the schemas. What goes over the wire is held by tests/it/it_contract.py.
# Method: the program's own help and answers, read line by line; schemas read as JSON.
set -u
cd "$(dirname "$0")/../.." || exit 1
tocsin=$PWD/${1:-build/tocsin}
. tests/it/lib_check.sh
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# Command, and what its --help must name.
while IFS='|' read -r command options; do
    # shellcheck disable=SC2086
    expect 0 "$command --help" "$tocsin" $command --help
    has "Usage: tocsin $command" "Examples:" "Options:" "--debug CONTEXTS"
    lacks "tocsin tocsin"
    for o in $options; do has "  --$o"; done
    [[ " $options " != *" output "* ]] && continue
    # shellcheck disable=SC2086
    expect 2 "$command --output xml" "$tocsin" $command --output xml
    has "--output: 'xml' is none of table|json"
done <<'TABLE'
run|config stages until-end output
status|config watch output url
check|config stages output
check rules|strict output
rules apply|config
rules list|config output
test rules|output run
eval|bulk data at output
topics apply|config inputs samples-partitions output
topics check|config output
incidents list|config output
incidents show|config output
incidents watch|config output
incidents ack|config by reason output
incidents resolve|config by reason output
incidents escalate|config by reason output
logs mine|format summary follow
logs patterns|config output
logs diff|from to output
samples|config partition points
replay|from to rules diff output
demo|speed seed scenario brokers output
version|output
TABLE
expect 0 help "$tocsin" help
for c in run status check "check rules" "rules apply" "rules list" "test rules" eval "topics apply" "topics check" "incidents list" "incidents show" "incidents watch" \
    "incidents ack" "incidents resolve" "incidents escalate" "logs mine" "logs patterns" "logs diff" samples replay demo version; do has "  $c "; done
has "0 ok, 1 failed, 2 usage, 3 invalid config or rules, 4 dependency unreachable"
out=$(make -s help)
for t in help all demo test sim soak bench check-conformance lint format fuzz install clean; do
    grep -qE "^  make $t\b|^$t:" <<<"$out" || grep -qE "^$t:" Makefile && ok || bad "make $t"
done

# What a new user meets first: a place, a reason, a way on.
expect 2 "no command" "$tocsin"
has "Usage: tocsin COMMAND"
expect 2 "an unknown command" "$tocsin" rum
has "no command 'rum'"
expect 2 "a group alone" "$tocsin" incidents
has "tocsin incidents list" "tocsin incidents escalate"
expect 0 "help of a group" "$tocsin" logs --help
has "tocsin logs mine" "tocsin logs diff"
expect 2 "a group's unknown command" "$tocsin" incidents ackn inc-1
has "tocsin incidents ack " "no command 'incidents ackn'"
expect 2 "an unknown option" "$tocsin" run --conf x
has "unknown option '--conf'; usage: tocsin run [OPTIONS]"
lacks "tocsin tocsin"
expect 3 "no configuration" "$tocsin" check --config "$dir/none.yaml"
has "none.yaml: No such file or directory; --config FILE names the configuration"
expect 4 "no worker" "$tocsin" status --url http://127.0.0.1:1
has "does a worker run with http.listen at this address?"
expect 2 "an unknown scenario" "$tocsin" demo --scenario strike
has "service-down" "outage"

# The configuration with every key that is promised, and what it is without them.
cat >"$dir/tocsin.yaml" <<'YAML'
kafka:   { bootstrap.servers: "kafka-1:9092" }
redis:   { url: "redis://redis:6379/0" }
inputs:
  - { topic: bridge.metrics, type: metrics }
  - { topic: bridge.logs,    type: logs }
  - { topic: bridge.hooks,   type: hooks }
rules:   [ "rules/*.yaml" ]
outputs: { incidents: { topic: tocsin.incidents, format: json } }
respond: { mode: shadow, group_by: [service], redis_grace: 60s }
time:    { out_of_orderness: 5s, future: 5m, idle_timeout: 1s, align: 5m, align_bytes: 256MB, counter_ttl: 2h, blind_after: 30s }
detect:  { shard_label: service, warmup: on }
worker:  { slot: 0 }
http:    { listen: "127.0.0.1:8642" }
YAML
sed -e '/^outputs\|^respond\|^time\|^detect\|^worker\|^http/d' "$dir/tocsin.yaml" >"$dir/short.yaml"
expect 0 "the whole" "$tocsin" config show --config "$dir/tocsin.yaml"
whole=$out
expect 0 "the short" "$tocsin" config show --config "$dir/short.yaml"
out=$(diff <(echo "$whole") <(echo "$out"))
[ -z "$out" ] && ok || bad "what is promised are the defaults"
for f in auto json avro confluent; do
    sed "s/type: metrics/type: metrics, format: $f/" "$dir/tocsin.yaml" >"$dir/format.yaml"
    expect 0 "format $f" "$tocsin" config show --config "$dir/format.yaml"
done
sed 's/out_of_orderness/out_of_order/' "$dir/tocsin.yaml" >"$dir/bad.yaml"
expect 3 "an unknown key" "$tocsin" config show --config "$dir/bad.yaml"
has "bad.yaml:10:12:" "out_of_order" "out_of_orderness"
sed 's/future: 5m/future: soon/' "$dir/tocsin.yaml" >"$dir/bad.yaml"
expect 3 "a bad value" "$tocsin" config show --config "$dir/bad.yaml"
has "bad.yaml:10:42:" "soon"
printf 's3cret\n' >"$dir/password"
sed 's|redis:6379/0"|redis:6379/0", password_file: password|' "$dir/tocsin.yaml" >"$dir/secret.yaml"
expect 0 "a secret by file" "$tocsin" config show --config "$dir/secret.yaml"
lacks s3cret

# Lint: text, JSON, codes.
printf 'groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(rate(x[5m])) / sum(rate(x[5m])) == bool 1\n  - alert: A\n    expr: up == 0\n  - alert: B\n    expr: up == 0\n' >"$dir/lint.yaml"
expect 0 "findings alone" "$tocsin" check rules "$dir/lint.yaml"
grep -qE "^$dir/lint.yaml:[0-9]+:[0-9]+: \[[a-z-]+\] [AB]: ." <<<"$out" && ok || bad "file:line:col: [id] rule: text"
expect 5 "--strict" "$tocsin" check rules --strict "$dir/lint.yaml"
expect 0 "as JSON" "$tocsin" check rules --output json "$dir/lint.yaml"
python3 -c 'import json, sys
for line in sys.argv[1].splitlines():
    assert list(json.loads(line)) == ["file", "line", "col", "id", "rule", "severity", "text", "suggestion"], line' "$out" && ok || bad "keys of a finding"
printf 'groups:\n- name: g\n  rules:\n  - { alert: A, expr: "x offset -5m > 0" }\n  - { alert: B, expr: "x @ 60 > 0" }\n' >"$dir/future.yaml"
printf 'rule_files: [ future.yaml ]\ntests:\n- input_series: [ { series: x, values: 1x20 } ]\n  alert_rule_test: [ { eval_time: 2m, alertname: B, exp_alerts: [ {} ] } ]\n' >"$dir/test.yaml"
expect 3 "the future in check rules" "$tocsin" check rules "$dir/future.yaml"
has "future.yaml:4:" "future.yaml:5:"
expect 0 "the future in test rules" "$tocsin" test rules "$dir/test.yaml"
echo '{"series":"x","start":0,"step":60,"values":[1,2,3,4]}' >"$dir/x.jsonl"
expect 0 "the future in eval" "$tocsin" eval 'x offset -1m + x @ 0' --data "$dir/x.jsonl" --at 60
expect 0 "rows of logs mine" "$tocsin" logs mine --format raw - < <(printf 'user 1 in\nuser 2 in\n')
grep -qP '^1\t[^\t]+\tuser <\*> in$' <<<"$out" && ok || bad "line_no, template_id, template"

# Schemas and topics.
python3 - <<'PY' && ok || bad "schemas"
import json, glob
want = {
    "Metric": "name labels value timestamp kind",
    "Log": "timestamp service environment level message module function line request_id user_id hook_id hook_type processing_time patterns_discovered error_type error_message logger",
    "Hook": "timestamp service environment hook_id hook_type status processing_time_ms patterns_discovered error_type error_message",
    "SampleBatch": "", "Command": "command_id kind incident_id actor reason",
    "AlertTransition": "alert_id rule group rule_set state end_reason labels annotations value active_at step_ts warming",
    "IncidentEvent": "incident_id seq type event_time severity level group_key reason alerts respond_by resolve_by snapshot",
}
for name, fields in want.items():
    schema = json.load(open("schemas/%s.avsc" % name))
    assert (schema["namespace"], schema["name"]) == ("tocsin.v1", name), name
    have = {f["name"]: f for f in schema["fields"]}
    assert set(fields.split()) <= set(have), (name, set(fields.split()) - set(have))
    if name in ("Log", "Hook"):
        required = {n for n, f in have.items() if "default" not in f}
        assert required == {"Log": {"timestamp", "message"}, "Hook": {"timestamp", "status"}}[name] or required <= {"timestamp", "message", "service", "environment", "hook_id", "hook_type", "status", "processing_time_ms"}, (name, required)
text = open("schemas/AlertTransition.avsc").read()
for symbol in "pending firing resolved condition series_gone producer_silent partition_idle rule_gone".split():
    assert '"%s"' % symbol in text, symbol
text = open("schemas/IncidentEvent.avsc").read()
for symbol in "opened updated acknowledged escalated breached note resolved reopened".split():
    assert '"%s"' % symbol in text, symbol
PY
for t in samples state rules templates alerts commands incidents respond deadletter; do
    out=$(cat "topics/$t.yaml")
    has "role: $t"
    grep -q "  $t: \"tocsin.$t\"" <<<"$whole" && ok || bad "default name of $t"
done
finish
