#!/usr/bin/env bash
# Kafka ACLs of Tocsin, least rights a stage: who may read what, and nothing else.
#
#   BOOTSTRAP=kafka:9092 COMMAND_CONFIG=admin.properties docker/kafka-acls.sh bridge.metrics bridge.logs bridge.hooks
#
# Arguments: the input topics. Environment: PREFIX of our topics and GROUP_PREFIX of groups and transactional ids (both
# "tocsin."), KAFKA_ACLS the tool (kafka-acls.sh), INGEST DETECT RESPOND OPERATOR the principals. One principal may run
# several stages: give its name to each. Adds, removes nothing; running it again changes nothing.
set -eu
acls=${KAFKA_ACLS:-kafka-acls.sh}
prefix=${PREFIX:-tocsin.}
groups=${GROUP_PREFIX:-tocsin.}
ingest=${INGEST:-User:tocsin-ingest}
detect=${DETECT:-User:tocsin-detect}
respond=${RESPOND:-User:tocsin-respond}
operator=${OPERATOR:-User:tocsin-operator}

# allow PRINCIPAL OPERATIONS RESOURCE…: operations as "Read Describe", resources as the tool's own options
allow() {
    local who=$1 operation
    local -a operations=()
    for operation in $2; do operations+=(--operation "$operation"); done
    shift 2
    "$acls" --bootstrap-server "${BOOTSTRAP:-127.0.0.1:9092}" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
        --add --allow-principal "$who" "${operations[@]}" "$@"
}
topics() { for t in "$@"; do printf -- '--topic\n%s%s\n' "$prefix" "$t"; done; }
mapfile -t all < <(topics samples state rules templates alerts commands incidents respond deadletter)
inputs=()
for t in "$@"; do inputs+=(--topic "$t"); done

# Every worker looks whether all topics are there, and reads and publishes rule sets.
for who in "$ingest" "$detect" "$respond"; do
    allow "$who" "Describe" "${all[@]}"
    allow "$who" "Read Write" --topic "${prefix}rules"
done
# The group that readers of single partitions name and never join: librdkafka asks for its coordinator.
for who in "$ingest" "$detect" "$respond" "$operator"; do allow "$who" "Describe" --group tocsin-reader; done

# INGEST: inputs → samples, deadletter. Its transactional ids end in the worker's slot, hence the prefix.
[ ${#inputs[@]} -eq 0 ] || allow "$ingest" "Read" "${inputs[@]}"
allow "$ingest" "Write" --topic "${prefix}samples" --topic "${prefix}deadletter"
allow "$ingest" "Read" --group "${groups}ingest"
allow "$ingest" "Write" --transactional-id "${groups}ingest-" --resource-pattern-type prefixed

# DETECT: samples → alerts, with what it remembers in state and the templates it mined.
allow "$detect" "Read" --topic "${prefix}samples" --topic "${prefix}state"
allow "$detect" "Write" --topic "${prefix}state" --topic "${prefix}alerts" --topic "${prefix}templates"
allow "$detect" "Read" --group "${groups}detect"
allow "$detect" "Write" --transactional-id "${groups}detect-" --resource-pattern-type prefixed

# RESPOND: alerts, commands → incidents, respond. One transactional id, since there is one owner, and those that `tocsin check` tries.
allow "$respond" "Read" --topic "${prefix}alerts" --topic "${prefix}commands" --topic "${prefix}respond"
allow "$respond" "Write" --topic "${prefix}incidents" --topic "${prefix}respond"
allow "$respond" "Read" --group "${groups}respond"
allow "$respond" "Write" --transactional-id "${groups}respond" --resource-pattern-type prefixed

# People: `topics apply`, `topics check`, `check`, `incidents`, `samples`, `replay`, and reading what came out.
allow "$operator" "Describe DescribeConfigs Create" "${all[@]}"
[ ${#inputs[@]} -eq 0 ] || allow "$operator" "Describe DescribeConfigs" "${inputs[@]}"
allow "$operator" "Read" "${all[@]}"
allow "$operator" "Write" --topic "${prefix}commands"
