#!/usr/bin/env bash
# The benches on a real Kafka and Redis: the spine against the wire and Kafka Streams (spine_bench.py), the way from an event to its incident
# (latency_bench.py), log lines (logs_bench.py), the curves of scale (scale_bench.py), and what a restart takes (restart_bench.py). Figures as
# BENCH lines; tables and plots in build/bench. BENCH_ONLY=spine, logs, latency, scale or restart runs one of them. Kafka Streams is left out
# where there is no javac.
set -eu
cd "$(dirname "$0")/../.."
out=build/bench
mkdir -p $out
for program in bare fill latency; do gcc -O2 -Wall -Wextra -o $out/$program tests/bench/$program.c -lrdkafka; done
rm -rf $out/streams
if command -v javac >/dev/null; then
    jars=$(tests/it/services.sh streams | tail -1)
    javac -d $out/streams -cp "$jars/*" tests/bench/Streams.java
fi
tests/it/services.sh start kafka redis >/dev/null
trap 'tests/it/services.sh stop >/dev/null' EXIT
wants() { [ -z "${BENCH_ONLY:-}" ] || [ "$BENCH_ONLY" = "$1" ]; }
if wants spine; then python3 tests/bench/spine_bench.py build/tocsin $out; fi
if wants logs; then python3 tests/bench/logs_bench.py build/tocsin $out; fi
if wants latency; then python3 tests/bench/latency_bench.py build/tocsin $out/latency; fi
if wants scale; then python3 tests/bench/scale_bench.py build/tocsin $out; fi
if wants restart; then python3 tests/bench/restart_bench.py build/tocsin; fi
