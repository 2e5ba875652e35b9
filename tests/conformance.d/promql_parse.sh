#!/usr/bin/env bash
# Goal: the parser loads every real alert expression, and refuses broken ones as promtool 3 does
# (promql_parse.py). Needs promtool 3 as $PROMTOOL or in the path; SEED varies the variants.
set -eu
cd "$(dirname "$0")/../.."
promtool=$(command -v "${PROMTOOL:-promtool}") || { echo "promtool 3 not found (PROMTOOL names it)"; exit 1; }
"$promtool" --version 2>&1 | grep -qE 'version (3|0\.3)|version +\(' || echo "note: $promtool does not say that it is version 3"
tool=build/test-logs/parse_exprs
# shellcheck disable=SC2046
gcc -std=c11 -O1 -D_GNU_SOURCE -Iinclude tests/conformance.d/parse_exprs.c build/release/libtocsin_core.a -o "$tool" \
    $(pkg-config --libs avro-c jansson yaml-0.1 re2 libxxhash) -lstdc++ -lm -lpthread
exec python3 tests/conformance.d/promql_parse.py "$tool" "$1" "$promtool" build/tocsin --seed "${SEED:-1}"
