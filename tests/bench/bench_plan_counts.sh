#!/usr/bin/env bash
# Plans in instructions instead of nanoseconds: the same on a busy machine as on a calm one. See plan_counts.py.
set -eu
cd "$(dirname "$0")/../.."
tests/bench/plan_counts.py build/release/tests/bench/bench_plan
