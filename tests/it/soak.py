#!/usr/bin/env python3
"""The kill matrix on a real Kafka: each fault at several points under load, against the undisturbed run over the same input.

Usage: soak.py TOCSIN [--points N] [--seed S] [--only FAULT]     prints the table of README and "N passed, N failed"

Faults: kill1 (SIGKILL of the only worker), kill3 (of one of three, sometimes of all), roll (ordered restart of three, one by one), freeze
(SIGSTOP for longer than transaction and session timeout, then CONT; two workers), twin (a second process on a used slot), broker (SIGKILL and restart
of the broker), stopdown (ordered stop while the broker is down: 10 s), redis_kill, redis_wipe (FLUSHALL), redis_rollback (its keys as they were seconds
ago), redis_away (stopped for 10–20 s). The broker is one of its own (services.sh -i soak).
Every input partition is active and in order and idle_timeout is longer than any pause, so that no run decides idleness or lateness.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

HERE = os.path.dirname(os.path.abspath(__file__))
PACE = 0.05


def services(*words):
    return subprocess.run([HERE + "/services.sh", "-i", "soak", *words], capture_output=True, text=True)


def kill1(run, rng, points, checks):
    run.start()
    for _ in range(points):
        time.sleep(rng.uniform(1, 4))
        run.kill()
        run.start()


def kill3(run, rng, points, checks):
    for slot in range(3):
        run.start(slot)
    for _ in range(points):
        time.sleep(rng.uniform(1, 4))
        slots = [rng.randrange(3)] if rng.random() < 0.8 else [0, 1, 2]
        for slot in slots:
            run.kill(slot)
        if rng.random() < 0.3:
            time.sleep(12)  # past the session timeout: the others take the partitions
        for slot in slots:
            run.start(slot)


def roll(run, rng, points, checks):
    for slot in range(3):
        run.start(slot)
    time.sleep(3)
    for point in range(points):
        slot = point % 3
        code, took = run.stop(slot)
        checks.check(code == 0 and took < 12, "ordered stop of slot %d: %r after %.1f s" % (slot, code, took))
        run.start(slot)
        time.sleep(rng.uniform(1, 3))


def freeze(run, rng, points, checks):
    for slot in range(2):
        run.start(slot)
    for _ in range(points):
        time.sleep(rng.uniform(2, 4))
        slot = rng.randrange(2)
        run.signal(slot, signal.SIGSTOP)
        time.sleep(rng.uniform(11, 15))
        run.signal(slot, signal.SIGCONT)


def twin(run, rng, points, checks):
    run.start()
    for _ in range(points):
        time.sleep(rng.uniform(2, 4))
        other = run.twin()
        time.sleep(rng.uniform(1, 6))
        other.kill()
        other.wait()
        if run.workers[0].poll() is not None:  # it left: the slot is used twice
            run.start()


def broker(run, rng, points, checks):
    run.start()
    for _ in range(points):
        time.sleep(rng.uniform(2, 4))
        services("kill", "kafka")
        time.sleep(rng.uniform(0, 3))
        checks.check(services("restart", "kafka").returncode == 0, "the broker comes back")


def stopdown(run, rng, points, checks):
    for _ in range(points):
        run.start()
        time.sleep(rng.uniform(3, 5))
        services("kill", "kafka")
        code, took = run.stop(limit=30)
        checks.check(took <= 11, "ordered stop without a broker: %.1f s" % took)
        checks.check(services("restart", "kafka").returncode == 0, "the broker comes back")


def redis(run, words, *more):
    host, port = run.stream.redis.split("//")[1].split("/")[0].split(":")
    return subprocess.run(["redis-cli", "-h", host, "-p", port, *words, *more], capture_output=True, text=True)


def redis_kill(run, rng, points, checks):
    run.start()
    for _ in range(points):
        time.sleep(rng.uniform(2, 4))
        services("kill", "redis")
        time.sleep(rng.uniform(0, 5))
        checks.check(services("restart", "redis").returncode == 0, "Redis comes back")


def redis_wipe(run, rng, points, checks):
    run.start()
    for _ in range(points):
        time.sleep(rng.uniform(3, 5))
        checks.check(redis(run, ["FLUSHALL"]).stdout.strip() == "OK", "Redis is wiped")


def redis_rollback(run, rng, points, checks):
    """What a restored snapshot is: every key of the run as it was some seconds ago."""
    run.start()
    for _ in range(points):
        time.sleep(rng.uniform(1, 3))
        keys = redis(run, ["KEYS", run.prefix + "*"]).stdout.split()
        old = {key: subprocess.run(["redis-cli", "-p", run.stream.redis.split(":")[-1].split("/")[0], "DUMP", key],
                                   capture_output=True).stdout[:-1] for key in keys}
        time.sleep(rng.uniform(1, 3))
        redis(run, ["FLUSHALL"])
        for key, value in old.items():
            subprocess.run(["redis-cli", "-p", run.stream.redis.split(":")[-1].split("/")[0], "-x", "RESTORE", key, "0"], input=value,
                           capture_output=True)


def redis_away(run, rng, points, checks):
    run.start()
    for _ in range(points):
        time.sleep(rng.uniform(2, 4))
        services("pause", "redis")
        time.sleep(rng.uniform(10, 20))
        services("resume", "redis")


FAULTS = {f.__name__: f for f in (kill1, kill3, roll, freeze, twin, broker, stopdown, redis_kill, redis_wipe,
                                 redis_rollback, redis_away)}


def one(tocsin, kafka, redis, fault, points, seed, checks):
    stream = spine.Stream(tocsin, kafka, redis)
    run, plain = spine.Run(stream, fault), spine.Run(stream, "plain")
    for r in (run, plain):
        made = r.create_topics()
        checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    length = {"freeze": 17, "kill3": 6, "broker": 14, "stopdown": 20, "twin": 8, "redis_kill": 9, "redis_wipe": 6, "redis_rollback": 6, "redis_away": 20}.get(fault, 4) * points + 10
    stream.start(seed, int(length / PACE), PACE)
    began = time.time()
    FAULTS[fault](run, random.Random(seed), points, checks)
    checks.check(stream.wait(), fault + ": all events were produced")
    for slot, worker in run.workers.items():
        if worker.poll() is None:
            run.stop(slot)
    hurt = time.time() - began
    time.sleep(11)  # members that were killed leave the group
    a, b = run.finish(), plain.finish()
    if not checks.check(a and b, "%s: both reach the end; logs are in %s" % (fault, stream.folder)):
        return
    want = plain.alerts()
    lost, extra = spine.compare(checks, run.alerts(), want)
    broken, differ = spine.check_incidents(checks, run.incidents(), plain.incidents())
    print("| %s | %d | %d | %d | %d | %d | %d | %d | %.0f |" % (fault, points, len(want), sum(map(len, want.values())), lost, extra,
                                                              sum(map(len, plain.incidents().values())), broken + differ, hurt), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tocsin", nargs="?", default="build/tocsin")
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    checks = spine.Checks()
    services("start", "kafka", "redis")
    env = dict(line[7:].split("=", 1) for line in services("env").stdout.splitlines() if line.startswith("export "))
    print("| fault | points | instances | transitions | lost | doubled or wrong | incident events | incidents lost, doubled or wrong | s under fault |\n|---|---|---|---|---|---|---|---|---|")
    try:
        for fault in FAULTS if not args.only else args.only.split(","):
            one(os.path.abspath(args.tocsin), env["TOCSIN_IT_KAFKA"], env["TOCSIN_IT_REDIS"], fault, args.points, args.seed, checks)
    finally:
        services("stop")
    checks.finish()


main()
