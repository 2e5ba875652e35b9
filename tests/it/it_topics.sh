#!/usr/bin/env bash
# topics check and apply on a real broker: creation with the declared settings, limits of a one-broker cluster, drift,
# retention against the windows of rules, the count of samples that is never changed, and what an unreachable
# cluster, a wrong declaration and a broken rule file give.
set -u
cd "$(dirname "$0")/../.." || exit 1
. build/services/main/env
. tests/it/lib_check.sh
tocsin=build/asan/tocsin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prefix="it-topics-$$-$RANDOM."

config() { # FILE [RULES]
    cat >"$dir/$1" <<YAML
kafka: { bootstrap.servers: "$TOCSIN_IT_KAFKA" }
topics: { prefix: "$prefix" }
inputs: [ { topic: ${prefix}in, type: metrics } ]
${2:-}
YAML
}
config a.yaml
run() { "$tocsin" topics "$1" --config "$dir/${2:-a.yaml}" "${@:3}"; }

expect 5 "all are missing" run check
has "${prefix}samples" "missing" "1 copy instead of 3: the cluster has 1 broker" "${prefix}in" "absent"
kcat -b "$TOCSIN_IT_KAFKA" -L 2>/dev/null | grep -q "\"$prefix" && bad "a check created a topic" || ok

expect 0 "apply creates them" run apply a.yaml --samples-partitions 3
has "created"
expect 0 "and again: nothing to do" run apply a.yaml --samples-partitions 3
lacks "created"
expect 0 "state has the partitions of samples" run check a.yaml --samples-partitions 3 --output json
has "\"topic\":\"${prefix}state\",\"role\":\"state\",\"status\":\"ok\",\"partitions\":3,\"replication\":1,\"differs\":false"
out=$(kcat -b "$TOCSIN_IT_KAFKA" -L 2>/dev/null)
has "topic \"${prefix}samples\" with 3 partitions" "topic \"${prefix}state\" with 3 partitions" \
    "topic \"${prefix}alerts\" with 1 partitions"
lacks "topic \"${prefix}in\""

expect 5 "another count for samples is refused" run apply
has "3 partitions, declared 8: refused"
out=$(kcat -b "$TOCSIN_IT_KAFKA" -L 2>/dev/null)
has "topic \"${prefix}samples\" with 3 partitions"

expect 0 "inputs on request" run apply a.yaml --samples-partitions 3 --inputs --input-partitions 2
has "${prefix}in" "created"
expect 0 "an input with CreateTime is a word, no difference" run check a.yaml --samples-partitions 3
has "message.timestamp.type is CreateTime"

# Drift: declarations that say otherwise, through --dir.
cp -r topics "$dir/topics"
sed -i 's/retention.ms: 7776000000.*/retention.ms: 1000/' "$dir/topics/incidents.yaml"
expect 5 "drift is reported" run check a.yaml --samples-partitions 3 --dir "$dir/topics"
has "retention.ms is 7776000000, declared 1000"
expect 5 "and not repaired" run apply a.yaml --samples-partitions 3 --dir "$dir/topics"
expect 0 "so the built-in declarations still hold" run check a.yaml --samples-partitions 3

# Retention against windows: 20 days, twice, is more than 35 days.
printf 'groups:\n- name: g\n  rules:\n  - alert: A\n    expr: max_over_time(up[20d]) == 0\n' >"$dir/long.yaml"
config b.yaml "rules: [ long.yaml ]"
expect 5 "retention too short" run check b.yaml --samples-partitions 3
has "retention too short: 5w, but the longest window of the rules is 20d5m and 2 of them are needed"
printf 'groups:\n- name: g\n  rules:\n  - alert: A\n    expr: max_over_time(up[17d]) == 0\n' >"$dir/long.yaml"
expect 0 "17 days fit" run check b.yaml --samples-partitions 3

# What goes wrong.
printf 'groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n' >"$dir/long.yaml"
expect 3 "a broken rule file" run check b.yaml
has "long.yaml:5:"
sed -i 's/^partitions: 1/partitions: 1\npartition: 2/' "$dir/topics/alerts.yaml"
expect 3 "a broken declaration" run check a.yaml --dir "$dir/topics"
has "alerts.yaml:" "partition"
rm "$dir/topics/alerts.yaml"
expect 3 "a missing declaration" run check a.yaml --dir "$dir/topics"
has "role alerts is missing"
printf 'kafka: { bootstrap.servers: "127.0.0.1:1" }\n' >"$dir/down.yaml"
expect 4 "no broker" run check down.yaml --timeout 1s
has "no broker answers" "is it up, and kafka.bootstrap.servers right?"
expect 2 "an unknown form" run check a.yaml --output xml
expect 3 "no such file" run check nowhere.yaml
finish
