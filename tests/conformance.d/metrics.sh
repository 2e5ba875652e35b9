#!/usr/bin/env bash
# Goal: `promtool check metrics` finds nothing to say about what a running worker serves under /metrics.
# Method: tests/it/it_monitor.py on a broker of its own, with promtool as judge.
set -u
cd "$(dirname "$0")/../.." || exit 1
export PROMTOOL=${PROMTOOL:-promtool} TOCSIN=${TOCSIN:-build/tocsin}
instance=conformance-metrics
trap 'tests/it/services.sh -i $instance stop kafka >/dev/null' EXIT
tests/it/services.sh -i $instance start kafka >build/test-logs/conformance_metrics_kafka.log 2>&1 || {
    cat build/test-logs/conformance_metrics_kafka.log
    echo "0 passed, 1 failed"
    exit 1
}
. "build/services/$instance/env"
tests/it/it_monitor.py
