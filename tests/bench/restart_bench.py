#!/usr/bin/env python3
"""How long a restart takes: kill -9 of a worker with 50,000 series, 100 of them in a 7-day window, until it is less than 2 s of event time behind again.

Seven days of the 100 gauges come first, then six minutes of the 50,000 counters, then all of them at the pace of the clock: each every 15 s, stamped as
they go out, steps every 5 s, nothing out of order. With the worker current it is killed and started again at once. Two clocks: `stepped` is the
first moment at which DETECT's event time (/metrics of the new process) is less than 2 s behind the wall clock; `seen` is when a committed reader of
`alerts` gets a transition (one is due each 5 s, which is the resolution) less than 2 s after its step. The figure is from the kill, so the death, the rejoining, the reading of
`state` and of `samples` and the backlog are in it. The transitions of the hurt run must go on as the rules say: one each 5 s, none missing or double.

BENCH_RESTART_SERIES (50,000), BENCH_RESTART_MINUTES (1: a sample a minute over the seven days), BENCH_RESTARTS (3).

Usage: restart_bench.py TOCSIN
"""
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import benchlib
import probe
import spine

TOCSIN = os.path.abspath(sys.argv[1])
SERIES = int(os.environ.get("BENCH_RESTART_SERIES", "50000"))
MINUTES = int(os.environ.get("BENCH_RESTART_MINUTES", "1"))
RESTARTS = int(os.environ.get("BENCH_RESTARTS", "3"))
LONG, DAYS, EVERY_S, PARTITIONS, LAG_S, LIMIT_S, BEAT_S, TICKS = 100, 7, 15, 4, 2.0, 120, 5, 5
RULES = """
groups:
  - name: long
    interval: 1m
    rules:
      - alert: DiskAboveWeek
        expr: avg_over_time(disk_used[7d]) > 1e9
  - name: bench
    interval: 5s
    rules:
      - alert: Beat
        expr: beat > 0
      - alert: HighErrorShare
        expr: sum by (service) (rate(http_requests_total{status="500"}[5m])) / sum by (service) (rate(http_requests_total[5m])) > 0.2
        for: 1m
"""


def counter(i, ts_ms):
    return '{"name":"http_requests_total","labels":{"service":"svc-%d","instance":"10.0.%d.%d:8080","method":"GET","status":"%d"},"value":1,' \
           '"timestamp":%d,"kind":"delta"}\n' % (i % 50, i // 12500, i // 50 % 250, 200 if i // 50 % 10 else 500, ts_ms)


def gauge(i, ts_ms):
    return '{"name":"disk_used","labels":{"service":"svc-%d","instance":"d%d"},"value":%d,"timestamp":%d}\n' % (
        i % 50, i, ts_ms // 1000 % 9973 + i, ts_ms)


def beat(ts_ms):
    return '{"name":"beat","labels":{"service":"svc-0"},"value":%d,"timestamp":%d}\n' % (ts_ms // 1000 // BEAT_S % 2, ts_ms)


class Producer(threading.Thread):
    """Writes to one kcat a partition; series i keeps to partition i mod PARTITIONS."""

    def __init__(self, kafka, topic):
        super().__init__(daemon=True)
        self.enough = False
        self.kcats = [subprocess.Popen(["kcat", "-b", kafka, "-t", topic, "-p", str(p), "-P", "-E", "-X", "linger.ms=5"], stdin=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True) for p in range(PARTITIONS)]

    def send(self, lines):
        for p, kcat in enumerate(self.kcats):
            kcat.stdin.write("".join(lines[p]))
            kcat.stdin.flush()

    def history(self, now_ms):
        """In order of time on every partition."""
        for minute in range(DAYS * 24 * 60, 0, -MINUTES):
            lines = [[] for _ in range(PARTITIONS)]
            for i in range(LONG):
                lines[i % PARTITIONS].append(gauge(i, now_ms - minute * 60000))
            self.send(lines)
        for second in range(360, 0, -EVERY_S):
            lines = [[] for _ in range(PARTITIONS)]
            for i in range(SERIES):
                lines[i % PARTITIONS].append(counter(i, now_ms - second * 1000 + i * EVERY_S * 1000 // SERIES))
            self.send(lines)

    def run(self):
        """A share of the series each TICKS-th of a second, and on each partition something at every tick, so that all clocks go on."""
        tick, start = 0, time.time()
        while not self.enough:
            now_ms, lines = int(time.time() * 1000), [[] for _ in range(PARTITIONS)]
            at = tick % (EVERY_S * TICKS)
            for i in range(SERIES * at // (EVERY_S * TICKS), SERIES * (at + 1) // (EVERY_S * TICKS)):
                lines[i % PARTITIONS].append(counter(i, now_ms))
            for p in range(PARTITIONS):
                lines[p].append(gauge(p + tick % (LONG // PARTITIONS) * PARTITIONS, now_ms))
            lines[0].append(beat(now_ms))
            self.send(lines)
            tick += 1
            time.sleep(max(0, start + tick / TICKS - time.time()))

    def close(self):
        self.enough = True
        self.join()
        for kcat in self.kcats:
            kcat.stdin.close()
            kcat.wait(60)


class Tail(threading.Thread):
    """Notes when each transition of Beat reaches a committed reader: [(wall clock, step in s, state)]."""

    def __init__(self, kafka, topic):
        super().__init__(daemon=True)
        self.seen = []
        self.kcat = subprocess.Popen(["kcat", "-b", kafka, "-t", topic, "-C", "-q", "-u", "-o", "beginning", "-X", "isolation.level=read_committed",
                                      "-X", "fetch.wait.max.ms=50"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                     text=True)

    def run(self):
        for line in self.kcat.stdout:
            t = json.loads(line)
            if t["rule"] == "Beat":
                self.seen.append((time.time(), spine.seconds(t["step_ts"]), t["state"]))

    def close(self):
        self.kcat.terminate()
        self.join()


def lag_s(port):
    try:
        return benchlib.metrics(port).get("tocsin_detect_lag_seconds", 1e9)
    except OSError:
        return 1e9


def wait_current(port, limit_s):
    end = time.time() + limit_s
    while time.time() < end:
        if lag_s(port) < LAG_S:
            return time.time()
        time.sleep(0.05)
    return None


def first_seen(tail, since):
    end = time.time() + LIMIT_S
    while time.time() < end:
        for wall, step, _ in list(tail.seen):
            if step > since and wall - step < LAG_S:
                return wall
        time.sleep(0.05)
    return None


def must(value, what, folder):
    if not value:
        raise SystemExit("%s; logs are in %s" % (what, folder))
    return value


def restart(run, port, tail, folder):
    """(seconds until DETECT is current, until a reader sees it, peak RSS in MiB before the kill)."""
    rss = benchlib.peak_mib(run.workers[0].pid)
    began = time.time()
    run.kill()
    run.start()
    stepped = must(wait_current(port, LIMIT_S), "not current %d s after the kill" % LIMIT_S, folder)
    seen = must(first_seen(tail, began), "no alert in time after the kill", folder)
    return stepped - began, seen - began, rss


def beats_go_on(tail):
    """Beat fires and resolves in turn, a change each BEAT_S: none missing, none double."""
    steps = [(round(step), state) for _, step, state in tail.seen if state in ("firing", "resolved")]
    return len(steps) > 2 and all(b[0] - a[0] == BEAT_S and a[1] != b[1] for a, b in zip(steps, steps[1:]))


def main():
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(RULES)
    port = probe.free_port()
    run = benchlib.Run(stream, "restart", {"inputs": [{"topic": stream.name + ".metrics", "type": "metrics"}],
                                           "http": {"listen": "127.0.0.1:%d" % port}, "time": {"out_of_orderness": "0s", "idle_timeout": "60s"}})
    benchlib.create_topics(run, PARTITIONS)
    producer = Producer(stream.kafka, stream.name + ".metrics")
    producer.history(int(time.time() * 1000))
    producer.start()
    tail = Tail(stream.kafka, run.prefix + "alerts")
    tail.start()
    try:
        began = time.time()
        run.start()
        caught_up = must(wait_current(port, 300), "the worker never caught up", stream.folder)
        benchlib.line("restart_first_start", caught_up - began, "s", None, None, None, series=SERIES)
        took = []
        for _ in range(RESTARTS):
            time.sleep(20)
            must(wait_current(port, 60), "the worker fell behind", stream.folder)
            took.append(restart(run, port, tail, stream.folder))
        time.sleep(3 * BEAT_S)
    finally:
        producer.close()
        run.kill()
        tail.close()
    for place, name in enumerate(("stepped", "seen")):
        values = sorted(t[place] for t in took)
        benchlib.line("restart_" + name, values[-1], "s", None, 30, None, median=values[len(values) // 2], series=SERIES, long=LONG, rss_mib=took[-1][2])
    benchlib.line("restart_state", benchlib.topic_bytes(run.prefix + "state") / 1048576, "MiB")
    must(beats_go_on(tail), "transitions around the restarts: %r" % tail.seen, stream.folder)
    benchlib.forget(stream)


main()
