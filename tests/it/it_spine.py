#!/usr/bin/env python3
"""Goal: what DETECT computes is a function of the log, whatever crashes: events in, transitions out, on a real Kafka.

Method: a seeded stream of metric, hook and log events is produced over some seconds, every partition active and in order,
while a worker is killed with SIGKILL at random moments and started again. Then one undisturbed worker reads the same topics
from the beginning into internal topics of its own. Both `alerts` topics must hold the same transitions for every alert
instance, byte for byte, none lost and none twice; no record may be late or dead. A first burst in a counter never seen before
must fire, and its silence resolve it.

Usage: it_spine.py TOCSIN [KILLS] [SEED]     prints "N passed, N failed"
"""
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 6
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1
SECONDS, PACE = 300, 0.05


def disturb(checks, stream, run):
    rng = random.Random(SEED)
    stream.start(SEED, SECONDS, PACE)
    run.start()
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.4, 1.2) * SECONDS * PACE / (KILLS + 1))
        run.kill()
        run.start()
    checks.check(stream.wait(), "all events were produced")
    time.sleep(2)
    code, took = run.stop()
    checks.check(code == 0 and took < 10, "an ordered stop exits 0 within 10 s: %r after %.1f s" % (code, took))


def main():
    checks = spine.Checks()
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    disturbed, plain = spine.Run(stream, "disturbed"), spine.Run(stream, "plain")
    for run in (disturbed, plain):
        made = run.create_topics()
        checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    disturb(checks, stream, disturbed)
    summary, plain_summary = disturbed.finish(), plain.finish()
    if not checks.check(summary and plain_summary, "both reach the end; logs are in " + stream.folder):
        checks.finish()
    got, want = disturbed.alerts(), plain.alerts()
    checks.check(len(want) >= 20, "the stream gives alerts at all: %d instances" % len(want))
    checks.check(plain_summary["late"] == 0 and plain_summary["dead_letters"] == 0, "nothing late or dead: %r" % plain_summary)
    spine.compare(checks, got, want)
    spine.check_incidents(checks, disturbed.incidents(), plain.incidents())
    burst = [json.loads(t) for ts in want.values() for t in ts if json.loads(t)["rule"] == "FirstBurst"]
    checks.check([t["state"] for t in burst] == ["firing", "resolved"], "a first burst fires and resolves: %r" % burst)
    print("%d kills, %d instances, %d transitions, %d events" % (KILLS, len(want), sum(map(len, want.values())), plain_summary["events"]))
    checks.finish()


main()
