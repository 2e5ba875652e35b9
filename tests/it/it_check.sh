#!/usr/bin/env bash
# `tocsin check` against the real services: all well, each thing wrong by itself, exit codes and their order, and that
# nothing is created or disturbed by asking.
set -u
cd "$(dirname "$0")/../.." || exit 1
. build/services/main/env
. tests/it/lib_check.sh
tocsin=build/asan/tocsin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix="it-check-$$-$RANDOM."
cp docker/rules/omninode.yaml docker/services.yaml docker/escalation.yaml "$dir"

config() { # FILE KAFKA REDIS REGISTRY [MORE]
    cat >"$dir/$1" <<YAML
kafka: { bootstrap.servers: "$2" }
redis: { url: "$3", connect_timeout: 500ms }
registry: { url: "$4", timeout: 3s, password: "open-sesame", username: it }
topics: { prefix: "$prefix" }
rules: [ omninode.yaml ]
inputs: [ { topic: ${prefix}in, type: metrics } ]
respond: { services: services.yaml, escalation: escalation.yaml }
${5:-}
YAML
}
check() { "$tocsin" check --timeout 5s --config "$dir/$1" "${@:2}"; }
config good.yaml "$TOCSIN_IT_KAFKA" "$TOCSIN_IT_REDIS" "$TOCSIN_IT_REGISTRY"

expect 5 "topics are missing" check good.yaml
has "FAIL  topics    ${prefix}samples is missing" "hint: tocsin topics apply" "${prefix}in is missing" "ok    broker" "ok    redis" "ok    registry"
expect 0 "create them" "$tocsin" topics apply --inputs --samples-partitions 2 --config "$dir/good.yaml"
expect 0 "all well" check good.yaml
has "ok    config" "ok    policy    12 services" "ok    rules" "ok    stream" "1 broker" "all that are needed are there, as declared" "ingest may read its 2 topics and use group tocsin.ingest" "detect may read its 3 topics" "respond may read its 3 topics" "ingest may write its 3 topics, in transactions" "detect may write its 4 topics" "respond may write its 3 topics" "message.timestamp.type is CreateTime"
lacks FAIL
lacks open-sesame
expect 0 "as JSON" check good.yaml --output json
if python3 -c 'import json, sys
rows = [json.loads(line) for line in sys.argv[1].splitlines()]
assert {"config", "policy", "rules", "stream", "broker", "topics", "rights", "redis", "registry"} == {r["check"] for r in rows}, rows
assert all(list(r) == ["check", "status", "text", "hint"] and r["status"] in ("ok", "warn") for r in rows), rows' "$out"
then ok; else bad "the JSON rows"; fi

config dark.yaml 127.0.0.1:1 redis://127.0.0.1:1/0 http://127.0.0.1:1
expect 4 "nobody answers" check dark.yaml --timeout 1s
has "FAIL  broker    127.0.0.1:1: no broker answers" "skip  topics" "FAIL  redis     127.0.0.1:1" "FAIL  registry  registry http://127.0.0.1:1" "hint: "
config redis.yaml "$TOCSIN_IT_KAFKA" redis://127.0.0.1:1/0 "$TOCSIN_IT_REGISTRY"
expect 4 "only Redis is away" check redis.yaml
has "FAIL  redis" "ok    broker" "ok    registry"

printf 'groups:\n- name: g\n  rules:\n  - alert: Ahead\n    expr: errors_total offset -5m > 1\n  - alert: B\n    expr: up == 0\n' >"$dir/future.yaml"
config future.yaml.conf "$TOCSIN_IT_KAFKA" redis://127.0.0.1:1/0 "$TOCSIN_IT_REGISTRY"
sed -i 's/omninode.yaml/future.yaml/' "$dir/future.yaml.conf"
expect 3 "a rule that needs the future outweighs an absent Redis" check future.yaml.conf
has "FAIL  stream    future.yaml:5: Ahead" "FAIL  redis"
printf 'groups:\n- name: g\n  interval: 1500ms\n  rules:\n  - alert: A\n    expr: up == 0\n' >"$dir/future.yaml"
expect 3 "an interval between panes" check future.yaml.conf
has "FAIL  stream    future.yaml:2: group g: its interval is no multiple of 1s"
printf 'groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n' >"$dir/future.yaml"
expect 3 "a broken rule file" check future.yaml.conf
has "FAIL  rules     future.yaml:5:"
rm "$dir/future.yaml"
expect 3 "no rule file" check future.yaml.conf
has "FAIL  rules" "no file matches"
printf 'services:\n  - { name: x }\n' >"$dir/services.yaml"
expect 3 "a broken catalogue" check good.yaml
has "services.yaml:2:" "FAIL  policy"
printf 'kafka: { bootstrap.server: "x" }\n' >"$dir/property.yaml"
expect 3 "a property that Kafka does not know" check property.yaml
has "bootstrap.server"
printf 'kafkas: { }\n' >"$dir/key.yaml"
expect 3 "a key that we do not know" check key.yaml
has "key.yaml:1:"
expect 2 "no such stage" check good.yaml --stages inject
has "no stage"
expect 2 "an operand" "$tocsin" check nowhere
expect 3 "no such file" check nowhere.yaml
finish
