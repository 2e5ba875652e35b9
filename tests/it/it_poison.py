#!/usr/bin/env python3
"""Goal: poison on a real Kafka ends in dead letters or limits, counted to the record; good events beside it are all counted, once; memory is bounded.

Method: one worker reads good events with every poison of the list between them: broken JSON, truncated and hostile Avro, unknown schema ids, 10 MB records
(valid and not), absurd timestamps, NaN and Inf, invalid UTF-8, a million label values of one metric where the configuration allows 20,000. Each
bad record must be in the dead letters with topic, offset, length and the expected reason, and nothing else may be there. Counters of the worker must
be equal to what was sent, not at least. What DETECT made of it is asserted by rules that hold for the exact total alone. The worker's peak
of resident memory must stay below RSS_MIB; a million series held would take 2 GiB.

Usage: it_poison.py TOCSIN     prints "N passed, N failed"
"""
import atexit
import json
import os
import re
import struct
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)
KAFKA, REGISTRY = spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REGISTRY")
FLOOD, HELD, BIG = 1_000_000, 20_000, 10_000_000
# 90 MiB at rest, 8 MiB fetched ahead, one 10 MB record and what it became (a batch under way, one that goes out), 20,000 series. ASan keeps a
# shadow, red zones and what was freed last (64 MiB here).
RSS_MIB = 800 if "/asan/" in TOCSIN else 400
RULES = """
groups:
  - name: poison
    interval: 1s
    rules:
      - { alert: EveryGoodEvent, expr: 'sum by (service) (good_total) == %d' }
      - { alert: TooMany, expr: 'sum by (service) (good_total) > %d' }
      - { alert: SeriesHeld, expr: 'count by (service) (flood_total) == %d' }
      - { alert: IsNaN, expr: 'odd_gauge != odd_gauge' }
      - { alert: IsPlusInf, expr: 'odd_gauge > 1e308' }
      - { alert: IsMinusInf, expr: 'odd_gauge < -1e308' }
"""
checks = spine.Checks()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
stream = spine.Stream(TOCSIN, KAFKA, spine.address("TOCSIN_IT_REDIS"))
run = spine.Run(stream, "po", stages="ingest,detect")
TOPICS = {name: stream.name + "." + name for name in ("metrics", "hooks", "logs", "avro", "framed")}
sent = dict.fromkeys(TOPICS, 0)   # records a topic
events = dict.fromkeys(TOPICS, 0)  # good events a topic
deltas = good = 0
expected = []                      # (topic, offset, length, reason)


def put(name, values):
    """Records to partition 0, each value from a file of its own: it may hold any byte."""
    folder = stream.folder + "/values"
    os.makedirs(folder, exist_ok=True)
    files = []
    for i, value in enumerate(values):
        files.append("%s/%d" % (folder, i))
        with open(files[-1], "wb") as out:
            out.write(value)
    subprocess.run(["kcat", "-b", KAFKA, "-t", TOPICS[name], "-p", "0", "-P", "-X", "message.max.bytes=11000000", *files], check=True, capture_output=True)
    sent[name] += len(values)


def bad(name, reason, *values):
    put(name, values)
    for i, value in enumerate(values):
        expected.append((TOPICS[name], sent[name] - len(values) + i, len(value), reason))


def now():
    return int(time.time() * 1000)


def event(name="good_total", value=1, ts=None, **labels):
    return json.dumps({"name": name, "kind": "delta", "value": value, "timestamp": ts or now(), "labels": {"service": "a", **labels}}).encode()


def gauge(value, sign):
    return json.dumps({"name": "odd_gauge", "value": value, "timestamp": now(), "labels": {"service": "a", "sign": sign}}).encode()


def take(name, values, count=1):
    """Good records of `count` good_total events each."""
    global good, deltas
    put(name, values)
    events[name] += count * len(values)
    good += count * len(values)
    deltas += count * len(values)


def varint(n):
    n, out = (n << 1) ^ (n >> 63), b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def text(s):
    return varint(len(s)) + s


def avro(labels=None):
    """A Metric, delta 1."""
    return text(b"good_total") + (labels or varint(1) + text(b"service") + text(b"a") + varint(0)) + struct.pack("<d", 1) + varint(now()) + varint(1) + varint(2)


def get(path):
    try:
        with opener.open("http://127.0.0.1:%d%s" % (port, path), timeout=20) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def metric(name, **labels):
    """Sum over the lines of a metric that have the labels."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in get("/metrics").splitlines()
               if re.match(name + "[{ ]", line) and all('%s="%s"' % kv in line for kv in labels.items()))


def until(what, condition, seconds=240):
    """The last value is what a failure shows."""
    end = time.time() + seconds
    while worker.poll() is None and time.time() < end:
        if condition():
            return checks.check(True, what)
        time.sleep(0.3)
    return checks.check(False, what + " (worker %s)" % ("runs" if worker.poll() is None else "ended"))


# ---- a worker ---------------------------------------------------------------------------------------------------

with open(stream.folder + "/rules/spine.yaml", "w") as out:
    out.write("groups: []\n")
path = run.config()
with open(path) as f:
    config = json.load(f)
port = int(subprocess.run([sys.executable, spine.TOP + "/tests/it/probe.py"], capture_output=True, text=True, check=True).stdout)
config["http"] = {"listen": "127.0.0.1:%d" % port}
config["time"] = {"out_of_orderness": "1s"}
config["inputs"] += [{"topic": TOPICS["avro"], "type": "metrics", "format": "avro"}, {"topic": TOPICS["framed"], "type": "metrics", "format": "confluent"}]
config["registry"] = {"url": REGISTRY}
config["ingest"] = {"max_series": 1000}
config["detect"] = {"max_series": HELD}
with open(path, "w") as out:
    json.dump(config, out)
GOOD = 40 + 50 + 2 + 1 + 4 + 18  # what the script below sends: asserted at its end
with open(stream.folder + "/rules/spine.yaml", "w") as out:
    out.write(RULES % (GOOD, GOOD, HELD - 4))  # less good_total, and three of odd_gauge
made = subprocess.run([TOCSIN, "topics", "apply", "--config", path, "--inputs"], capture_output=True, text=True)
checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
with open(path + ".log", "w") as log:
    worker = subprocess.Popen([TOCSIN, "run", "--config", path, "--stages", "ingest,detect"], stderr=log, stdout=subprocess.DEVNULL,
                              env={**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=64"})
atexit.register(lambda: worker.poll() is None and worker.kill())

# ---- good and bad, in turn --------------------------------------------------------------------------------------

take("metrics", [event() for _ in range(20)])
put("metrics", [gauge("NaN", "nan"), gauge("+Inf", "plus"), gauge("-Inf", "minus")])
events["metrics"] += 3
until("the good events before any poison are counted", lambda: metric("tocsin_ingest_events_total") == 23)
bad("metrics", "json", b'{"name":"good_total","value":1,', b'{"name":"good_total","labels":{"service":"\xff\xfe"},"value":1,"timestamp":1}', b"[" * 5000, b'"hello"',
    b'{"name":"good_total","value":NaN,"timestamp":1}')
bad("metrics", "schema", b"\x00" * 100)  # a first byte of 0 is Confluent's framing
bad("metrics", "timestamp", b'{"name":"good_total","kind":"delta","value":1}', b'{"name":"good_total","kind":"delta","value":1,"timestamp":1e300}',
    b'{"name":"good_total","kind":"delta","value":1,"timestamp":-1}', b'{"name":"good_total","kind":"delta","value":1,"timestamp":"9999-99-99"}')
bad("metrics", "future", event(ts=now() + 10 ** 9), b'{"name":"good_total","kind":"delta","value":1,"timestamp":"9999-12-31T23:59:59Z"}')
bad("metrics", "value", *(event(value=v) for v in ("NaN", "+Inf", "-Inf", -1, 1e300)))
bad("metrics", "labels", b'{"name":"good_total","kind":"delta","value":1,"timestamp":%d,"labels":{"service":"a\\u0000"}}' % now())
bad("metrics", "value", b"[" + event() + b"," + event(value="NaN") + b"]")  # one bad event: nothing of the record is counted
take("metrics", [event() for _ in range(20)])
take("metrics", [b"[" + b",".join([event()] * 50) + b"]"], 50)
# Absurdly old: a count moves to the watermark and stays counted, a gauge is dropped.
take("metrics", [event(ts=1), event(ts=now() - 10 ** 10)])
put("metrics", [gauge(5, "nan").replace(b'"timestamp": ', b'"timestamp": 1, "was": ')])
events["metrics"] += 1
# 10 MB: garbage, a label too long, a good event with a field nobody reads, and good events in one array.
bad("metrics", "json", b'{"name":"good_total","value":1,"x":"' + b"a" * BIG, os.urandom(BIG - 1) + b"\xff")
bad("metrics", "limit", event(id="b" * BIG))
take("metrics", [event()[:-1] + b',"x":"' + b"c" * BIG + b'"}'])
big = [event("flood_total", id="big%d" % i + "d" * 2000) for i in range(BIG // 2110)]
put("metrics", [b"[" + b",".join(big) + b"]"])
events["metrics"] += len(big)
deltas += len(big)
bad("hooks", "json", b"{" * 100)
bad("hooks", "field", json.dumps({"timestamp": now(), "status": "maybe", "service": "a"}).encode())
bad("hooks", "value", json.dumps({"timestamp": now(), "status": "error", "service": "a", "processing_time_ms": "NaN"}).encode())
bad("logs", "json", b'{"timestamp":1,"message":"\xc3\x28"}')
bad("logs", "field", json.dumps({"timestamp": now(), "level": "ERROR"}).encode())

schema = open(spine.TOP + "/schemas/Metric.avsc").read()
request = urllib.request.Request(REGISTRY + "/subjects/" + TOPICS["framed"] + "-value/versions", json.dumps({"schema": schema}).encode(),
                                 {"Content-Type": "application/json"})
known = struct.pack(">bI", 0, json.load(opener.open(request, timeout=60))["id"])
hostile = [avro()[:-1], avro()[:9], b"\x02", b"\xff" * 9, varint(2 ** 62) + b"x", varint(-5) + b"x", text(b"good_total") + varint(2 ** 62) + text(b"a") * 2,
           text(b"good_total") + varint(-(2 ** 62)) + varint(2 ** 62) + text(b"a") * 2, avro()[:-1] + varint(77), avro() + b"x"]
take("avro", [avro()])
bad("avro", "avro", *hostile)
take("avro", [avro()])
take("framed", [known + avro()])
bad("framed", "avro", *(known + h for h in hostile))
bad("framed", "schema", struct.pack(">bI", 0, 1_000_000) + avro(), struct.pack(">bI", 0, 2 ** 32 - 1) + avro())
bad("framed", "avro", b"\x01" + known[1:] + avro(), b"\x00\x00", b"\x00")
take("framed", [known + avro()])

# ---- a million label values -------------------------------------------------------------------------------------

kcat = subprocess.Popen(["kcat", "-b", KAFKA, "-t", TOPICS["metrics"], "-p", "0", "-P", "-z", "lz4"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
for at in range(0, FLOOD, 1000):
    head, tail = event("flood_total", id="%d").split(b"%d")
    kcat.stdin.write(b"[" + b",".join(head + b"%d" % i + tail for i in range(at, at + 1000)) + b"]\n")
kcat.stdin.close()
checks.check(kcat.wait(400) == 0, "the flood was produced")
sent["metrics"] += FLOOD // 1000
events["metrics"] += FLOOD
deltas += FLOOD
take("metrics", [event() for _ in range(20 - 2)])
checks.check(good == GOOD, "the script counts its good events: %d of %d" % (good, GOOD))

# ---- what must have come of it ----------------------------------------------------------------------------------

until("every record is read", lambda: all(metric("tocsin_input_records_total", topic=TOPICS[t]) >= sent[t] for t in TOPICS), 500)
for t in TOPICS:
    got = metric("tocsin_input_records_total", topic=TOPICS[t])
    checks.check(got == sent[t], "records of %s: %d of %d" % (t, got, sent[t]))
    got = metric("tocsin_input_events_total", topic=TOPICS[t])
    checks.check(got == events[t], "events of %s: %d of %d" % (t, got, events[t]))
    got, want = metric("tocsin_input_dead_letters_total", topic=TOPICS[t]), sum(e[0] == TOPICS[t] for e in expected)
    checks.check(got == want, "dead letters of %s: %d of %d" % (t, got, want))
checks.check(metric("tocsin_ingest_deltas_total") == deltas, "counts sent on: %d of %d" % (metric("tocsin_ingest_deltas_total"), deltas))
checks.check(metric("tocsin_ingest_late_moved_total") == 2, "old counts are moved: %d" % metric("tocsin_ingest_late_moved_total"))
checks.check(metric("tocsin_ingest_late_dropped_total") == 1, "an old gauge is dropped: %d" % metric("tocsin_ingest_late_dropped_total"))

dropped = FLOOD + len(big) - (HELD - 4)
until("DETECT counts every sample beyond its limit", lambda: metric("tocsin_detect_limit_dropped_total") >= dropped)
checks.check(metric("tocsin_detect_limit_dropped_total") == dropped, "beyond the limit: %d of %d" % (metric("tocsin_detect_limit_dropped_total"), dropped))
checks.check(metric("tocsin_detect_series") == HELD, "DETECT holds its limit of series: %d of %d" % (metric("tocsin_detect_series"), HELD))
checks.check(metric("tocsin_detect_limit_hits_total") >= dropped, "refused names are counted")
checks.check(metric("tocsin_ingest_limit_hits_total") > FLOOD / 2, "INGEST forgets names at its limit, and counts it")

read = subprocess.run(["kcat", "-b", KAFKA, "-t", run.prefix + "deadletter", "-C", "-e", "-q", "-o", "beginning", "-f", "%h|%S\n", "-X", "isolation.level=read_committed"],
                      capture_output=True, text=True, errors="replace").stdout.splitlines()
found = []
for line in read:
    h = dict(re.findall("tocsin_([a-z]+)=([^,|]*)", line))
    error = line.split("tocsin_error=")[1].rsplit("|", 1)[0]
    found.append((h["topic"], int(h["offset"]), int(h["length"]), h["reason"]))
    size = max(0, int(line.rsplit("|", 1)[1]))
    checks.check(size == min(found[-1][2], 900_000) and h["cut"] == ("true" if found[-1][2] > 900_000 else "false") and len(error) > 5, "whole, or its head: " + line)
checks.check(sorted(found) == sorted(expected), "each dead letter is where it was, and says why; only found %r, only expected %r" % (
    sorted(set(found) - set(expected)), sorted(set(expected) - set(found))))

firing = ["EveryGoodEvent", "IsMinusInf", "IsNaN", "IsPlusInf", "SeriesHeld"]


def states():
    last = {}
    for line in run.records("alerts"):
        t = json.loads(line)
        last[t["rule"]] = t["state"]
    return sorted(rule for rule, state in last.items() if state == "firing")


until("exactly the rules fire that hold for the exact totals", lambda: states() == firing)
checks.check(states() == firing, "firing at the end: %r" % states())
checks.check('"TooMany"' not in "".join(run.records("alerts")), "no event was counted twice")
checks.check(get("/readyz").strip() != "", "ready after all of it")
with open("/proc/%d/status" % worker.pid) as status:
    rss = int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) // 1024
print("peak RSS %d MiB of at most %d" % (rss, RSS_MIB))
checks.check(rss <= RSS_MIB, "peak RSS %d MiB, at most %d" % (rss, RSS_MIB))
worker.terminate()
checks.check(worker.wait(90) == 0, "ordered stop")
checks.finish()
