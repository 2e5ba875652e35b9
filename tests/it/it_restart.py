#!/usr/bin/env python3
"""Goal: `for` and `keep_firing_for` survive kill -9 to the millisecond, on a real Kafka.

Method: the producer goes to a chosen event time and no further, so event time stands still there; the only worker is killed with an alert
pending, with one kept firing, with one firing, each twice, and another started, which goes on from `state`. Nothing here depends on how fast
anything is. A second, undisturbed run reads the same topics: transitions are equal byte for byte, and their times are what the rules say. What
a restart costs in seconds is tests/bench/restart_bench.py's to measure.
"""
import json
import os
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import probe
import spine

RULES = """
groups:
  - name: restart
    interval: 1s
    rules:
      - alert: High
        expr: depth > 10
        for: 20s
        keep_firing_for: 15s
        labels: { severity: critical }
      - alert: Errors
        expr: increase(errors_total[10s]) > 2
        for: 7s
        keep_firing_for: 9s
"""
PARTITIONS, WAIT_S, SERVICES = 2, 60, ("a", "b", "c")
START_MS = (int(time.time()) - 7200) // 60 * 60000
# Seconds of event time. Depth is high from … to …; errors (counted here: deltas) come from … to … (the same for all services, one step later each).
DEPTH, ERRORS, END = (10, 50), (12, 40), 90
# Where the worker is killed: second, what all three services' High is there, seconds until the kill (commits are 5 a second).
KILLS = [(18, "pending", 0), (24, "pending", 1), (36, "firing", 0), (45, "firing", 1), (55, "kept", 0), (61, "kept", 1)]


def events(second):
    """One list a partition; a service keeps to its partition."""
    out = [[] for _ in range(PARTITIONS)]
    for i, service in enumerate(SERVICES):
        labels, ts = {"service": service}, START_MS + second * 1000 + 137 * (i + 1)
        deep = DEPTH[0] + i <= second < DEPTH[1] + i
        out[i % PARTITIONS].append({"name": "depth", "value": 50 + second if deep else 1, "timestamp": ts, "labels": labels})
        if ERRORS[0] + i <= second < ERRORS[1] + i:
            out[i % PARTITIONS].append({"name": "errors_total", "kind": "delta", "value": 1, "timestamp": ts, "labels": labels})
    for partition in range(PARTITIONS):  # closes the second: the watermark of both partitions is the same
        out[partition].append({"name": "tick", "value": 1, "timestamp": START_MS + second * 1000 + 999, "labels": {"service": "tick"}})
    return out


class Producer:
    def __init__(self, stream):
        self.topic, self.kafka, self.second = stream.name + ".metrics", stream.kafka, 0

    def produce_to(self, second):
        """Every event before it; acknowledged."""
        texts = ["" for _ in range(PARTITIONS)]
        for s in range(self.second, second):
            for partition, list_ in enumerate(events(s)):
                texts[partition] += "".join(json.dumps(e) + "\n" for e in list_)
        self.second = second
        for partition, text in enumerate(texts):
            subprocess.run(["kcat", "-b", self.kafka, "-t", self.topic, "-p", str(partition), "-P", "-E"], input=text, text=True, check=True, timeout=60)


def rule_gauges(port, rule):
    """{gauge: value} of one rule; {} while the worker does not answer."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port, timeout=5) as answer:
            rows = answer.read().decode().splitlines()
    except OSError:
        return {}
    return {row.split("{")[0]: float(row.rsplit(" ", 1)[1]) for row in rows if row.startswith("tocsin_rule_") and 'rule="%s"' % rule in row}


def wait_for(what, condition):
    end = time.time() + WAIT_S
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.1)
    return checks.check(False, "%s: not within %d s" % (what, WAIT_S))


def settings(run, port):
    run.inputs, run.time = ("metrics",), {"out_of_orderness": "0s", "idle_timeout": "120s"}
    path = run.config()
    with open(path) as text:
        config = json.load(text)
    config["http"]["listen"] = "127.0.0.1:%d" % port
    run.config = lambda slot=0: path
    with open(path, "w") as out:
        json.dump(config, out)


def kill_at(run, port, producer, second, state, pause_s):
    """The worker is at the last step before `second`, with High in that state for every service; then it dies, after its next commit or before it."""
    want = (3, 0) if state == "pending" else (0, 3)
    step = (START_MS + second * 1000 - 1000) / 1000

    def there():
        g = rule_gauges(port, "High")
        return (g.get("tocsin_rule_last_step_timestamp_seconds"), g.get("tocsin_rule_alerts_pending"), g.get("tocsin_rule_alerts_firing")) == (step, *want)

    producer.produce_to(second)
    if wait_for("%s at second %d" % (state, second), there):
        checks.check(True, "")
    time.sleep(pause_s)
    run.kill()
    run.start()


def times(run):
    """{(rule, service): [(state, milliseconds since START_MS of step, active, fired, resolved)]}"""
    out = {}
    for line in run.records("alerts"):
        t = json.loads(line)
        stamp = lambda key: round(spine.seconds(t[key]) * 1000) - START_MS if t.get(key) else None
        out.setdefault((t["rule"], t["labels"]["service"]), []).append((t["state"], stamp("step_ts"), stamp("active_at"), stamp("fired_at")))
    return out


def expected():
    """From the rules alone. A step at s sees the events of seconds before s."""
    out = {}
    for i, service in enumerate(SERVICES):
        high, calm = (DEPTH[0] + i + 1) * 1000, (DEPTH[1] + i + 1) * 1000
        out["High", service] = [("pending", high, high, None), ("firing", high + 20000, high, high + 20000),
                                ("resolved", calm + 15000, high, high + 20000)]
    return out


checks = spine.Checks()
stream = spine.Stream(spine.program(sys.argv), spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
with open(stream.folder + "/rules/spine.yaml", "w") as out:
    out.write(RULES)
port = probe.free_port()
hurt, calm = spine.Run(stream, "hurt", "ingest,detect"), spine.Run(stream, "calm", "ingest,detect")
for run in (hurt, calm):
    settings(run, port)
    path = run.config()
    made = subprocess.run([stream.tocsin, "topics", "apply", "--config", path, "--inputs", "--input-partitions", str(PARTITIONS)], capture_output=True,
                          text=True)
    checks.check(made.returncode == 0, made.stdout + made.stderr)
producer = Producer(stream)
hurt.start()
for second, state, pause_s in KILLS:
    kill_at(hurt, port, producer, second, state, pause_s)
producer.produce_to(END)
wait_for("the end", lambda: rule_gauges(port, "High").get("tocsin_rule_last_step_timestamp_seconds", 0) >= (START_MS + END * 1000 - 1000) / 1000)
code, _ = hurt.stop()
checks.check(code == 0, "an ordered stop: exit %r; logs are in %s" % (code, stream.folder))
summary = calm.finish()
checks.check(summary is not None, "the undisturbed run; logs are in " + stream.folder)
got, want = hurt.alerts(), calm.alerts()
checks.check(len(want) == 6, "%d instances instead of 6" % len(want))
spine.compare(checks, got, want)
for key, rows in expected().items():
    checks.check(times(hurt).get(key) == rows, "%r: %r instead of %r" % (key, times(hurt).get(key), rows))
checks.finish()
