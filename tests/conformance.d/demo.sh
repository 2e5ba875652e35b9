#!/usr/bin/env bash
# Goal: every scenario of the demo, on a real Kafka and a real Redis, gives each transition at the very step that promtool 3 gives
# (tests/it/demo_steps.py has the method).
set -u
cd "$(dirname "$0")/../.." || exit 1
tests/it/services.sh start kafka redis || exit 1
trap 'tests/it/services.sh stop >/dev/null' EXIT
. build/services/main/env
tests/it/demo_steps.py build/tocsin "${PROMTOOL:-promtool}" "$TOCSIN_IT_KAFKA" \
    service-down vanished errors latency hooks-fail patterns-dry log-errors outage
