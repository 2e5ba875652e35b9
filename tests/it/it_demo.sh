#!/usr/bin/env bash
# The whole demo at full speed, on the mock cluster and on the real broker: all as expected on both, and what comes out of the two
# is the same: alerts to the byte, incident events but for their times; they do not depend on the broker, the batches or the pace. Then what is
# printed for people, a paced play, an interrupted one (ordered, nothing left behind), and what goes wrong.
set -u
cd "$(dirname "$0")/../.." || exit 1
. build/services/main/env
. tests/it/lib_check.sh
tocsin=build/tocsin
dir=$(mktemp -d)
export TMPDIR=$dir
trap 'rm -rf "$dir"' EXIT

# The lines of one type, in an order of their own: alerts and incidents interleave as the topics are read. At full speed the time of an
# incident event is not a function of the events: rules that read different inputs step as those are read, so at half an hour of
# event time a poll the incident clock may have followed one unit's step before another's comes. Alert lines are compared whole.
lines() { grep "\"type\":\"$1\"" "$2" | if [ "$1" = incident ]; then sed 's/"event_time":"[^"]*",//'; else cat; fi | sort; }

play() { # NAME OPTIONS…
    local name=$1
    shift
    timeout 240 "$tocsin" demo --speed max --output json "$@" >"$dir/$name" 2>"$dir/$name.err"
    local rc=$?
    tail -1 "$dir/$name"
    cat "$dir/$name.err"
    return $rc
}
expect 0 "the day on the mock" play mock --seed 7
has '"expected":30,"seen":30,"missing":[],"unexpected":[]' '"broker":"mock"'
expect 0 "the day on a real broker" play real --seed 7 --brokers "$TOCSIN_IT_KAFKA"
has '"expected":30,"seen":30,"missing":[],"unexpected":[]' "\"broker\":\"$TOCSIN_IT_KAFKA\""
for type in alert incident; do
    out=$(diff <(lines $type "$dir/mock") <(lines $type "$dir/real"))
    if [ -z "$out" ] && [ "$(lines $type "$dir/mock" | wc -l)" -ge 30 ]; then ok; else bad "$type lines differ"; fi
done
out=$(cat "$dir/mock")
has '"event":"escalated"' '"event":"breached"' '"event":"resolved"' '"severity":1' '"state":"pending"'

expect 0 "a view for people" timeout 100 "$tocsin" demo --scenario vanished --speed 2000
has "05:10:00  alert     firing       HookReceiverSilent" "incident  opened       Sev 2 L1  {service=\"hook-receiver\"}" \
    "expected 2, seen 2, missing 0, unexpected 0" "all as expected"
lacks $'\033'

# The demo's Redis works in the folder that the demo made.
redis_lives() { [ -n "$(find /proc -maxdepth 2 -name cwd -lname "$dir/tocsin-demo-*" 2>/dev/null)" ]; }
start_and() { # SIGNAL: after some seconds
    local pid rc
    "$tocsin" demo --scenario outage --speed 60 >"$dir/out" 2>&1 &
    pid=$!
    sleep 4
    redis_lives && echo "its Redis lives"
    kill "-$1" $pid
    wait $pid 2>/dev/null
    rc=$?
    for _ in 1 2 3 4 5 6 7 8 9 10; do redis_lives && sleep 0.2; done
    redis_lives || echo "its Redis is gone"
    cat "$dir/out"
    return $rc
}
# SIGTERM and Ctrl-C: stages, broker and Redis go in order, the folder too, and it is not "as expected".
expect 5 "interrupted" start_and TERM
has "interrupted" "its Redis lives" "its Redis is gone"
out=$(find "$dir" -maxdepth 1 -name 'tocsin-demo-*')
if [ -z "$out" ]; then ok; else bad "a folder is left"; fi
expect 137 "killed" start_and KILL
has "its Redis lives" "its Redis is gone"

expect 2 "an unknown scenario" "$tocsin" demo --scenario volcano
has "no scenario 'volcano'" "patterns-dry"
expect 2 "a speed that is none" "$tocsin" demo --speed fast
expect 4 "no broker" "$tocsin" demo --brokers 127.0.0.1:1
has "no broker answers"
expect 1 "no Redis to be had" env PATH=/nonexistent "$PWD/$tocsin" demo --scenario quiet
has "redis-server cannot be run"
expect 0 "help" "$tocsin" demo --help
has "hooks-fail" "--brokers"
finish
