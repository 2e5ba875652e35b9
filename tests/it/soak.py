#!/usr/bin/env python3
"""The kill matrix on a real Kafka: each fault at several points under load, against the undisturbed run over the same input.

Usage: soak.py TOCSIN [--points N] [--seed S] [--only FAULT,…]     prints the table of README and "N passed, N failed"

The faults, and what one point of each is, stand in soak_faults.py. Every second point waits until the run is current again (recover.py says what that
means) before the next fault; the others strike in the middle of the recovery. The broker is one of its own (services.sh -i soak).
Every input partition is active and in order and idle_timeout is longer than any pause: both runs must write 0 idle marks and count 0 late events.
Deadlines are longer than the run. So what is compared is the same, byte for byte: transitions per alert instance; of incidents the sequence numbers,
the set of alerts, and the final state.
"""
import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import recover
import soak_faults
import spine

PACE = 0.05
SECONDS = 40000  # of event time, at most: the stream ends when the faults are through


def undisturbed(stream, checks):
    plain = spine.Run(stream, "plain")
    made = plain.create_topics()
    checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    summary = plain.finish(600)
    checks.check(summary and summary["late"] == 0 and summary["dead_letters"] == 0, "nothing late or dead in the undisturbed run: %r" % summary)
    return plain, summary


def hurt(run, fault, points, seed, checks, pace, lag_s):
    """The run under its faults, to the end of the stream. Returns the recovery times."""
    clock = recover.Recovery(run, checks, lag_s)
    place = soak_faults.Place(run, random.Random(seed), points, checks, clock)
    run.stream.start(seed, SECONDS, pace)
    try:
        soak_faults.FAULTS[fault](place)
        place.end()
    finally:
        run.stream.stop()
        checks.check(run.stream.wait(), fault + ": all events were produced")
        clock.close()
        for slot, worker in run.workers.items():
            if worker.poll() is None:
                run.stop(slot)
    return clock


def one(tocsin, kafka, redis, fault, points, seed, checks, pace=PACE, lag_s=recover.LAG_S):
    """One row of the table."""
    stream = spine.Stream(tocsin, kafka, redis)
    run = spine.Run(stream, fault)
    made = run.create_topics()
    checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    began = time.time()
    clock = hurt(run, fault, points, seed, checks, pace, lag_s)
    took = time.time() - began
    time.sleep(11)  # members that were killed leave the group
    a = run.finish(600)
    plain, b = undisturbed(stream, checks)
    if not checks.check(a and b, "%s: both reach the end; logs are in %s" % (fault, stream.folder)):
        return
    for which in (run, plain):
        idle, late = which.marks()
        checks.check((idle, late) == (0, 0), "%s, %s: %d idle marks, %d late events" % (fault, which.name, idle, late))
    want, events = plain.alerts(), plain.incidents()
    lost, extra = spine.compare(checks, run.alerts(), want)
    broken, differ = spine.check_incidents(checks, run.incidents(), events)
    print("| %s | %d | %d | %d | %d | %d | %d | %s | %s | %.0f |" % (
        fault, points, sum(map(len, want.values())), lost, extra, sum(map(len, events.values())), broken + differ, clock.text("alerts"),
        clock.text("incidents"), took), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tocsin", nargs="?", default="build/tocsin")
    parser.add_argument("--points", type=int, default=0, help="0: as many as soak_faults.POINTS says")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    checks = spine.Checks()
    kafka, redis = soak_faults.start_services()
    print("| fault | points | transitions | lost | doubled or wrong | incident events | incidents lost, doubled or wrong | alerts current after s: median (max) "
          "| incidents current after s | s in all |\n|---|---|---|---|---|---|---|---|---|---|", flush=True)
    try:
        for fault in args.only.split(",") if args.only else soak_faults.POINTS:
            one(os.path.abspath(args.tocsin), kafka, soak_faults.redis_for(fault, redis), fault, args.points or soak_faults.POINTS[fault], args.seed, checks)
    finally:
        soak_faults.stop_services()
    checks.finish()


if __name__ == "__main__":
    main()
