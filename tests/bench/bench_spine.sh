#!/usr/bin/env bash
# The spine on a real Kafka against a bare consumer; see spine_bench.py.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p build/bench
gcc -O2 -o build/bench/bare tests/bench/bare.c -lrdkafka
tests/it/services.sh start kafka redis >/dev/null
trap 'tests/it/services.sh stop >/dev/null' EXIT
python3 tests/bench/spine_bench.py build/tocsin build/bench/bare
