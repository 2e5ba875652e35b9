#!/usr/bin/env python3
"""Goal: what an operator does with a worker, on a real Kafka: reload rules, look at it, feed it poison, stop it.

Method: one worker, small topics. Poison goes in among good events: every bad record must be counted and found in the dead letters with
headers that say where it came from and why, the good ones must all be counted, and the worker must stay ready. A changed rule file is
taken on SIGHUP, a broken one is refused while the old set stays in force.

Usage: it_operate.py TOCSIN     prints "N passed, N failed"
"""
import atexit
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)
KAFKA = spine.address("TOCSIN_IT_KAFKA")
checks = spine.Checks()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path):
    try:
        with opener.open("http://127.0.0.1:%d%s" % (port, path), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError as e:
        return 0, str(e)


def metric(port, name):
    """Sum of a metric over its labels."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in get(port, "/metrics")[1].splitlines()
               if line.startswith(name + "{") or line.startswith(name + " "))


def until(what, condition, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return checks.check(True, what)
        time.sleep(0.2)
    return checks.check(False, what)


def produce(topic, values, partition=0):
    """Raw bytes, one record each: length-prefixed files would split on newlines, so every value goes by its own file."""
    folder = os.path.join(stream.folder, "values")
    os.makedirs(folder, exist_ok=True)
    names = []
    for i, value in enumerate(values):
        names.append("%s/%d" % (folder, i))
        with open(names[-1], "wb") as out:
            out.write(value)
    for at in range(0, len(names), 100):
        subprocess.run(["kcat", "-b", KAFKA, "-t", topic, "-p", str(partition), "-P", "-X", "message.max.bytes=11000000", *names[at:at + 100]],
                       check=True, capture_output=True)


def event(value=1, ts=None, **labels):
    return {"name": "poison_total", "kind": "delta", "value": value, "timestamp": ts or int(time.time() * 1000), "labels": labels or {"service": "a"}}


stream = spine.Stream(TOCSIN, KAFKA, spine.address("TOCSIN_IT_REDIS"))
run = spine.Run(stream, "op")
RULE = """
groups:
  - name: op
    interval: 1s
    rules:
      - alert: %s
        expr: sum by (service) (increase(poison_total[10s])) > 0
      - alert: NeverMatches
        expr: no_such_metric > 0
"""


def write_rules(text):
    with open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(text)


port = free_port()
write_rules(RULE % "First")
path = run.config()
with open(path) as f:
    config = json.load(f)
config["http"] = {"listen": "127.0.0.1:%d" % port}
config["time"] = {"future": "5m"}
config["inputs"] += [{"topic": stream.name + ".avro", "type": "metrics", "format": "avro"},
                     {"topic": stream.name + ".framed", "type": "metrics", "format": "confluent"}]
config["registry"] = {"url": spine.address("TOCSIN_IT_REGISTRY")}
config["ingest"] = {"max_series": 1000}
config["detect"] = {**config.get("detect", {}), "max_series": 1000}
with open(path, "w") as out:
    json.dump(config, out)
made = subprocess.run([TOCSIN, "topics", "apply", "--config", path, "--inputs"], capture_output=True, text=True)
checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
with open(path + ".log", "w") as log:
    worker = subprocess.Popen([TOCSIN, "run", "--config", path, "--stages", "ingest,detect"], stderr=log, stdout=subprocess.DEVNULL)
atexit.register(lambda: worker.poll() is None and worker.kill())
metrics = stream.name + ".metrics"

until("/readyz answers 200 once partitions are served", lambda: get(port, "/readyz")[0] == 200)
checks.check(get(port, "/healthz")[0] == 200, "/healthz answers 200")
checks.check(get(port, "/nothing")[0] in (403, 404), "other paths are refused: %r" % (get(port, "/nothing"),))

good = [json.dumps(event()).encode() for _ in range(50)]
poison = {
    "broken JSON": b'{"name":"poison_total","value":1,',
    "invalid UTF-8": b'{"name":"poison_total","labels":{"service":"\xff\xfe"},"value":1,"timestamp":1}',
    "no timestamp": b'{"name":"poison_total","value":1}',
    "absurd timestamp": json.dumps(event(ts=int(time.time() * 1000) + 10 ** 9)).encode(),
    "timestamp beyond 64 bits": b'{"name":"poison_total","value":1,"kind":"delta","timestamp":1e300,"labels":{"service":"a"}}',
    "NaN count": b'{"name":"poison_total","value":"NaN","kind":"delta","timestamp":%d,"labels":{"service":"a"}}' % (time.time() * 1000),
    "Inf count": b'{"name":"poison_total","value":"+Inf","kind":"delta","timestamp":%d,"labels":{"service":"a"}}' % (time.time() * 1000),
    "deep nesting": b"[" * 5000,
    "not an event": b'"hello"',
    "huge record": b'{"name":"poison_total","value":1,"x":"' + b"a" * 10000000,
}
produce(metrics, good[:25])
produce(metrics, list(poison.values()))
produce(metrics, good[25:])
until("every good event is counted", lambda: metric(port, "tocsin_ingest_events_total") == 50)
until("every bad record is counted: %d" % len(poison), lambda: metric(port, "tocsin_input_dead_letters_total") >= len(poison))
checks.check(metric(port, "tocsin_input_dead_letters_total") == len(poison), "dead letters: %r of %d" % (
    metric(port, "tocsin_input_dead_letters_total"), len(poison)))
until("dead letters are committed", lambda: len(run.records("deadletter")) >= len(poison))
dead = subprocess.run(["kcat", "-b", KAFKA, "-t", run.prefix + "deadletter", "-C", "-e", "-q", "-o", "beginning", "-f", "%h|%S\n", "-X",
                       "isolation.level=read_committed"], capture_output=True, text=True, errors="replace").stdout.splitlines()
checks.check(len(dead) == len(poison), "dead letters in the topic: %d" % len(dead))
offsets = sorted(int(part.split("=")[1]) for line in dead for part in line.split("|")[0].split(",") if part.startswith("tocsin_offset="))
checks.check(offsets == list(range(25, 25 + len(poison))), "each says its offset: %r" % offsets)
checks.check(all("tocsin_reason=" in line and "tocsin_error=" in line for line in dead), "each says why: %r" % dead[:1])
checks.check(get(port, "/readyz")[0] == 200, "still ready")

before = metric(port, "tocsin_input_dead_letters_total")
produce(stream.name + ".avro", [b"\x02", b"\xff" * 9, b"\x0cpoison", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" * 3])
produce(stream.name + ".framed", [b"\x00\x00\x0f\x42\x40\x02", b"\x01\x00\x00\x00\x01", b"\x00\x00"])
until("truncated and hostile Avro, unknown schema ids: each a dead letter", lambda: metric(port, "tocsin_input_dead_letters_total") == before + 7)
produce(metrics, [json.dumps([event(service="a", id=str(at + i)) for i in range(500)]).encode() for at in range(0, 20000, 500)])
until("INGEST forgets series by their raw labels at its limit of 1,000", lambda: metric(port, "tocsin_ingest_limit_hits_total") > 0)
until("DETECT has seen all 20,000 label values and held 1,000", lambda: metric(port, "tocsin_detect_series") + metric(port, "tocsin_detect_limit_hits_total") >= 20001)
checks.check(metric(port, "tocsin_detect_series") <= 1000, "series are bounded: %r" % metric(port, "tocsin_detect_series"))
checks.check(get(port, "/readyz")[0] == 200, "still ready after the flood of label values")

status = subprocess.run([TOCSIN, "status", "--config", path], capture_output=True, text=True)
checks.check(status.returncode == 0 and "NeverMatches" in status.stdout and "never matched" in status.stdout, "status warns: " + status.stdout + status.stderr)
absent = subprocess.run([TOCSIN, "status", "--url", "http://127.0.0.1:%d" % free_port()], capture_output=True, text=True)
checks.check(absent.returncode == 4, "status without a worker exits 4: %d" % absent.returncode)

until("the good events fire", lambda: any('"firing"' in line for line in run.records("alerts")))
write_rules(RULE % "Second")
worker.send_signal(signal.SIGHUP)
until("SIGHUP publishes the changed set and DETECT goes over", lambda: metric(port, "tocsin_detect_rule_set") == 1)
write_rules("groups: [ { name: x, rules: [ { alert: A, expr: 'sum(' } ] } ]")
worker.send_signal(signal.SIGHUP)
time.sleep(1.5)
checks.check(metric(port, "tocsin_detect_rule_set") == 1 and get(port, "/readyz")[0] == 200, "a broken file does not replace a set that works")
with open(path + ".log") as log:
    text = log.read()
checks.check("spine.yaml:1" in text, "the log names file and line of the broken rule")
until("an event after the change fires the new rule", lambda: produce(metrics, [json.dumps(event()).encode()]) or
      any(json.loads(line)["rule"] == "Second" for line in run.records("alerts")))
gone = [json.loads(line) for line in run.records("alerts") if json.loads(line)["rule"] == "First"]
checks.check(gone and gone[-1]["state"] == "resolved", "alerts of the rule that is gone are ended: %r" % gone[-1:])

listed = subprocess.run([TOCSIN, "rules", "list", "--config", path, "--output", "json"], capture_output=True, text=True)
sets = [json.loads(line) for line in listed.stdout.splitlines()]
checks.check([s["rule_set"] for s in sets] == [0, 1] and sets[0]["files"] == ["rules/spine.yaml"], "rules list: " + listed.stdout + listed.stderr)
checks.check(subprocess.run([TOCSIN, "rules", "apply", "--config", path], capture_output=True).returncode == 3, "rules apply refuses a broken file")
write_rules(RULE % "Third")
applied = subprocess.run([TOCSIN, "rules", "apply", "--config", path], capture_output=True, text=True)
checks.check(applied.stdout == "rule set 2\n", "rules apply: " + applied.stdout + applied.stderr)
until("a set that was applied from elsewhere is taken", lambda: metric(port, "tocsin_detect_rule_set") == 2)
counts = []
for partition in range(12):
    dumped = subprocess.run([TOCSIN, "samples", "--config", path, "--partition", str(partition), "--points"], capture_output=True, text=True)
    counts += [json.loads(line) for line in dumped.stdout.splitlines()]
got = sum(float(line["delta"]) for line in counts if "delta" in line and line["series"].startswith("poison_total"))
checks.check(got >= 51, "samples shows every count: %r" % got)

began = time.time()
worker.send_signal(signal.SIGTERM)
checks.check(worker.wait(20) == 0 and time.time() - began < 10, "ordered stop")
with open(path, "a") as out:
    out.write("\nunknown_key: 1\n")
bad = subprocess.run([TOCSIN, "run", "--config", path], capture_output=True, text=True)
checks.check(bad.returncode == 3, "an invalid configuration exits 3: %d %s" % (bad.returncode, bad.stderr))
checks.finish()
