"""What the tests of exactly-once share: a seeded stream, workers that can be hurt, and the comparison of two `alerts` topics.

One Stream is a set of input topics with one producer process. A Run is a set of internal topics and one or more workers that read the stream; two
runs over one stream must give the same transitions per alert instance, whatever befell their workers.
"""
import datetime
import json
import os
import random
import signal
import subprocess
import tempfile
import time

SERVICES = ["hook-receiver", "model-metrics", "workflow-coordinator", "postgres", "kafka", "redis"]
PARTITIONS = 4
EXTRA_RULES = os.environ.get("TOCSIN_IT_EXTRA_RULES", "")

RULES = """
groups:
  - name: spine
    interval: 5s
    rules:
      - record: service:errors:ratio1m
        expr: sum by (service) (rate(http_requests_total{status="500"}[1m])) / sum by (service) (rate(http_requests_total[1m]))
      - alert: HighErrorRate
        expr: service:errors:ratio1m > 0.1
        for: 20s
        keep_firing_for: 15s
        labels: { severity: critical }
        annotations: { summary: "{{ $labels.service }}: {{ $value | humanizePercentage }} errors" }
      - alert: SlowQueue
        expr: avg_over_time(queue_depth[30s]) > 50
        labels: { severity: warning }
      - alert: HookErrors
        expr: increase(hooks_processed_total{status="error"}[1m]) > 3
        labels: { severity: warning }
      - alert: FirstBurst
        expr: increase(first_burst_total[30s]) > 1
        labels: { severity: critical }
      - alert: ManyErrorLines
        expr: sum by (service) (increase(log_messages_total{level="ERROR"}[1m])) > 20
        for: 10s
        labels: { severity: warning }
      - alert: Beat
        expr: beat > 0
        labels: { severity: info }
      - alert: Worst
        expr: topk(1, service:errors:ratio1m) > 0.2
        labels: { severity: info }
"""


BEAT_S = 10  # every service's Beat changes this often, in event time


def event_lists(seed, seconds):
    """One list of (topic, partition, key, event) a second of event time. Sources keep to their partition, so each is in order."""
    rng = random.Random(seed)
    start = (int(time.time()) - max(2 * 3600, seconds)) // 60 * 60 * 1000
    totals = {}
    for second in range(seconds):
        ts = start + second * 1000
        events = []
        for i, service in enumerate(SERVICES):
            events.append(("metrics", i % PARTITIONS, {"name": "beat", "value": second // BEAT_S % 2, "timestamp": ts, "labels": {"service": service}}))
            for partition in range(PARTITIONS):
                bad = (second // 40 + i) % 4 == 0 and second > 30
                for status, step in (("200", rng.randrange(5, 15)), ("500", rng.randrange(2, 9) if bad else 0)):
                    key = (service, partition, status)
                    totals[key] = totals.get(key, 0) + step
                    events.append(("metrics", partition, {
                        "name": "http_requests_total", "kind": "counter", "value": totals[key], "timestamp": ts,
                        "labels": {"service": service, "instance": str(partition), "status": status}}))
                depth = 80 if (second // 30 + i) % 5 == 0 else 20
                events.append(("metrics", partition, {"name": "queue_depth", "value": depth + rng.random() * 10, "timestamp": ts + 1,
                                                      "labels": {"service": service, "instance": str(partition)}}))
                events.append(("hooks", partition, {
                    "timestamp": ts, "service": service, "environment": "prod", "hook_id": "h%d" % second, "hook_type": "push",
                    "status": "error" if bad and rng.random() < 0.3 else "success", "processing_time_ms": rng.randrange(5, 500)}))
                events.append(("logs", partition, {
                    "timestamp": ts, "service": service, "environment": "prod", "logger": "app",
                    "level": "ERROR" if bad and rng.random() < 0.5 else "INFO", "message": "request %d took %d ms" % (second, i)}))
        if second == 100:
            events += [("metrics", 1, {"name": "first_burst_total", "kind": "delta", "value": 1, "timestamp": ts + 2,
                                       "labels": {"service": "redis"}})] * 5
        yield events


TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def address(variable):
    """TOCSIN_IT_KAFKA … from the environment or from what services.sh left."""
    if variable in os.environ:
        return os.environ[variable]
    with open(TOP + "/build/services/main/env") as env:
        for line in env:
            if line.startswith("export " + variable + "="):
                return line.split("=", 1)[1].strip()
    raise SystemExit("no %s: run tests/it/services.sh start" % variable)


def seconds(text):
    """Unix time of an RFC 3339 text."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def program(argv):
    """The program under test: first argument, else the one with sanitizers."""
    return os.path.abspath(argv[1]) if len(argv) > 1 else TOP + "/build/asan/tocsin"


class Checks:
    """Counts what held; prints what did not."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, ok, what):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print("FAILED: " + what, flush=True)
        return ok

    def finish(self):
        print("%d passed, %d failed" % (self.passed, self.failed))
        raise SystemExit(self.failed > 0)


class Stream:
    def __init__(self, tocsin, kafka, redis, name=None):
        self.tocsin, self.kafka, self.redis = tocsin, kafka, redis
        self.name = name or "spine-%d-%d" % (os.getpid(), int(time.time() * 1000) % 100000000)
        self.folder = tempfile.mkdtemp(prefix="tocsin-spine-")
        os.makedirs(self.folder + "/rules")
        with open(self.folder + "/rules/spine.yaml", "w") as out:
            out.write(RULES)
        self.producer = 0

    def _produce(self, seed, seconds, pace):
        kcats = {}
        for topic in ("metrics", "logs", "hooks"):
            for partition in range(PARTITIONS):
                kcats[topic, partition] = subprocess.Popen(
                    ["kcat", "-b", self.kafka, "-t", self.name + "." + topic, "-p", str(partition), "-P", "-E", "-X", "linger.ms=5",
                     "-X", "max.in.flight.requests.per.connection=1", "-X", "enable.idempotence=true", "-X", "message.timeout.ms=0"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        enough = []
        signal.signal(signal.SIGTERM, lambda *_: enough.append(True))
        with open(self.folder + "/produced", "w", buffering=1) as produced:
            for events in event_lists(seed, seconds):
                if enough:
                    break
                for topic, partition, event in events:
                    kcats[topic, partition].stdin.write(json.dumps(event) + "\n")
                for k in kcats.values():
                    k.stdin.flush()
                produced.write("%d %.3f\n" % (events[0][2]["timestamp"], time.time()))
                time.sleep(pace)
        for k in kcats.values():
            k.stdin.close()
        return all(k.wait(120) == 0 for k in kcats.values())

    def start(self, seed, seconds, pace):
        """Produces in a process of its own: `seconds` of event time at `pace` s of wall time each. Its file `produced` says what went out when:
        a line (event time in ms, wall clock in s) a second of event time."""
        self.producer = os.fork()
        if self.producer == 0:
            os._exit(0 if self._produce(seed, seconds, pace) else 1)

    def stop(self):
        """No more events than those that are out; to be followed by wait."""
        os.kill(self.producer, signal.SIGTERM)

    def wait(self):
        """True if every event was acknowledged."""
        return os.waitpid(self.producer, 0)[1] == 0


class Run:
    def __init__(self, stream, name, stages="ingest,detect,respond"):
        self.stream, self.name, self.stages = stream, name, stages
        self.prefix = "%s.%s." % (stream.name, name)
        self.workers = {}
        self.kafka, self.ingest, self.time, self.inputs = {}, {}, {}, ("metrics", "logs", "hooks")  # further settings; what is read

    def config(self, slot=0):
        path = "%s/%s-%d.yaml" % (self.stream.folder, self.name, slot)
        with open(path, "w") as out:
            json.dump({
                "kafka": {"bootstrap.servers": self.stream.kafka, **self.kafka},
                "redis": {"url": self.stream.redis, "key_prefix": self.prefix},
                "inputs": [{"topic": self.stream.name + "." + t, "type": t} for t in self.inputs],
                "rules": ["rules/*.yaml"],
                "topics": {"prefix": self.prefix},
                "worker": {"group_prefix": self.prefix, "slot": slot},
                "time": {"idle_timeout": "60s", **self.time},
                "ingest": self.ingest,
                "http": {"listen": "127.0.0.1:0"},
            }, out)
        return path

    def create_topics(self):
        return subprocess.run([self.stream.tocsin, "topics", "apply", "--config", self.config(), "--inputs"], capture_output=True, text=True)

    def _spawn(self, slot, *more):
        path = self.config(slot)
        with open(path + ".log", "a") as log:
            return subprocess.Popen([self.stream.tocsin, "run", "--config", path, "--stages", self.stages, *more], stdout=subprocess.PIPE,
                                    stderr=log, text=True)

    def start(self, slot=0):
        self.workers[slot] = self._spawn(slot)

    def twin(self, slot=0):
        """A second process on a slot that is in use."""
        return self._spawn(slot)

    def kill(self, slot=0):
        self.workers[slot].send_signal(signal.SIGKILL)
        self.workers[slot].wait()

    def signal(self, slot, number):
        self.workers[slot].send_signal(number)

    def stop(self, slot=0, limit=20):
        """Ordered stop; (exit code, seconds). Exit code None: it did not leave in time and was killed."""
        began = time.time()
        self.workers[slot].send_signal(signal.SIGTERM)
        try:
            code = self.workers[slot].wait(limit)
        except subprocess.TimeoutExpired:
            self.kill(slot)
            code = None
        return code, time.time() - began

    def finish(self, limit=180):
        """One worker reads to the end; the summary, or None."""
        worker = self._spawn(0, "--until-end", "--output", "json")
        try:
            out, _ = worker.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            worker.kill()
            return None
        return json.loads(out) if worker.returncode == 0 and out else None

    def records(self, topic):
        """Every record of an internal topic as a committed reader sees it."""
        out = subprocess.run(["kcat", "-b", self.stream.kafka, "-t", self.prefix + topic, "-C", "-e", "-q", "-o", "beginning", "-X",
                              "isolation.level=read_committed"], capture_output=True, text=True, errors="replace", timeout=120, check=True).stdout
        return out.splitlines()

    def alerts(self):
        """{alert id: [transition text, …]}"""
        by_id = {}
        for line in self.records("alerts"):
            by_id.setdefault(json.loads(line)["alert_id"], []).append(line)
        return by_id

    def marks(self):
        """(idle marks, late events) of the whole history of `samples`, but for the last batch, whose marks `--until-end` writes to end it."""
        out = subprocess.run([self.stream.tocsin, "samples", "--config", self.config(), "--partition", "0"], capture_output=True, text=True,
                             timeout=120, check=True).stdout
        batches = [json.loads(line)["inputs"] for line in out.splitlines()]
        return (sum(i["idle"] for inputs in batches[:-1] for i in inputs), sum(i["late"] for inputs in batches for i in inputs))

    def incidents(self):
        """{incident id: [event, …]} in order of the topic."""
        by_id = {}
        for line in self.records("incidents"):
            event = json.loads(line)
            by_id.setdefault(event["incident_id"], []).append(event)
        return by_id


def incident_summary(events):
    """Per group: the alerts that ever joined, and how it all ended. Wall-clock stamps, and the order in which alerts of several shards met,
    are left out."""
    groups = {}
    for incident in events.values():
        last = incident[-1]
        group = groups.setdefault(last["group_key"], {"alerts": set(), "state": set()})
        group["state"].add(last["snapshot"]["state"])
        for event in incident:
            group["alerts"] |= {a["alert_id"] for a in event["alerts"]}
    return groups


def check_incidents(checks, got, want):
    """Events numbered from 1 without gap or repeat, and the same groups, alerts and ends. Returns (gaps and repeats, groups that differ)."""
    broken = 0
    for incident_id, events in got.items():
        seqs = [e["seq"] for e in events]
        broken += not checks.check(seqs == list(range(1, len(seqs) + 1)), "incident %s: sequence %r" % (incident_id, seqs))
    a, b = incident_summary(got), incident_summary(want)
    differ = [key for key in set(a) | set(b) if a.get(key) != b.get(key)]
    for key in differ:
        checks.check(False, "incidents of %s: %r against %r" % (key, a.get(key), b.get(key)))
    checks.check(not differ, "the same incidents: %d groups" % len(b))
    return broken, len(differ)


def compare(checks, got, want):
    """Transitions per instance; (lost, doubled or wrong). `got` and `want` as Run.alerts gives them."""
    lost = extra = 0
    for alert_id in sorted(set(got) | set(want)):
        g, w = got.get(alert_id, []), want.get(alert_id, [])
        lost += len(set(w) - set(g))
        extra += len(g) - len(set(g) & set(w))
        checks.check(g == w, "instance %s: %d transitions against %d, first difference %s" % (
            alert_id, len(g), len(w), next(("\n  %s\n  %s" % d for d in zip(g + ["none"], w + ["none"]) if d[0] != d[1]), "none")))
    return lost, extra
