#!/usr/bin/env python3
"""Goal: the shipped log rules and the text formats end to end on a real Kafka and a real Redis.

Method: three and a half hours of logs of four services, JSON in one topic, plain text with stack traces, logfmt and syslog in another, a record a
line. A worker is killed (SIGKILL) in the middle, between two lines of a stack trace; another reads to the end. Each of the four rules of
docker/rules/logs.yaml has one reason to fire, and a service that is just being learned has none. Then:
  - each rule fired once, where it had to, nothing else did; the incident carries template and lines, secrets masked, the trace as one event;
  - topic `templates` counts exactly what was produced: `logs patterns` shows it;
  - `logs diff` of two stretches of the live log names what is new, gone and changed in rate.
"""
import datetime
import json
import random
import subprocess
import sys
import time

import spine

MINUTE = 60
END = 210 * MINUTE
NEW_AT, SURGE_AT, SHARE_AT, STOP_AT, FRESH_AT = 150 * MINUTE, 170 * MINUTE, 100 * MINUTE, 120 * MINUTE, 200 * MINUTE
SURGE_S, SHARE_S = 4 * MINUTE, 15 * MINUTE
TRACE = ["java.lang.IllegalStateException: no ledger", "\tat com.till.Ledger.enter(Ledger.java:%d)", "\tat com.till.Main.run(Main.java:7)",
         "Caused by: java.io.IOException: closed", "\tat com.till.Disk.write(Disk.java:88)", "\t... 12 more"]
LEDGER = ("ledger refused entry <*> password=<*> java.lang.IllegalStateException: no ledger at com.till.Ledger.enter(Ledger.java:<*>) "
          "Caused by: java.io.IOException: closed at com.till.Disk.write(Disk.java:<*>)")


class Logs(spine.Run):
    """A run that reads the JSON topic and the text topic."""

    def config(self, slot=0):
        path = super().config(slot)
        with open(path) as read:
            settings = json.load(read)
        settings["inputs"] = [{"topic": self.stream.name + ".logs", "type": "logs"},
                              {"topic": self.stream.name + ".text", "type": "logs", "format": "text",
                               "defaults": {"service": "legacy", "environment": "prod", "logger": "stdout"}}]
        with open(path, "w") as out:
            json.dump(settings, out)
        return path

    def command(self, *arguments):
        done = subprocess.run([self.stream.tocsin, "logs", *arguments, "--config", self.config()], capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else "exit code %d: %s" % (done.returncode, done.stderr)


def make_events():
    """[(second, event for the JSON topic, or lines for the text topic)], {(service, level, text): count}."""
    rng, events, counts = random.Random(11), [], {}
    start = (int(time.time()) - 4 * 3600) // 60 * 60

    def stamp(second):
        return datetime.datetime.fromtimestamp(start + second, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def count(service, level, text):
        counts[service, level, text] = counts.get((service, level, text), 0) + 1

    def say(second, service, level, message, text):
        events.append((second, {"timestamp": (start + second) * 1000 + rng.randrange(900), "service": service, "environment": "prod",
                                "level": level, "logger": "app", "message": message}))
        count(service, level, text)

    def write(second, lines, service, level, text):
        events.append((second, [line.replace("TIME", stamp(second)) for line in lines]))
        count(service, level, text)

    for s in range(0, END, 5):
        say(s, "till", "INFO", "sold item %d" % rng.randrange(9999), "sold item <*>")
        if s == 0 or SHARE_AT <= s < SHARE_AT + SHARE_S:
            if s % 10 == 0:
                say(s, "till", "ERROR", "upstream 10.0.0.%d timed out" % rng.randrange(200), "upstream <*> timed out")
        if s % 10 == 0:
            say(s, "shop", "INFO", "request %d took %d ms" % (rng.randrange(999), rng.randrange(99)), "request <*> took <*> ms")
            write(s, ["TIME INFO [main] com.legacy.Job: handled %d rows" % rng.randrange(999)], "legacy", "INFO", "handled <*> rows")
        if s % 30 == 0:
            say(s, "shop", "WARN", "slow query of %d ms" % rng.randrange(9999), "slow query of <*> ms")
            if s < STOP_AT:
                say(s, "shop", "INFO", "cache %d refreshed" % rng.randrange(9), "cache <*> refreshed")
            write(s, ['ts=TIME level=warn service=gate msg="door %d open"' % rng.randrange(9)], "gate", "WARN", "door <*> open")
            write(s, ["<134>1 TIME web-1 proxy 7 - - passed %d bytes" % rng.randrange(9999)], "proxy", "INFO", "passed <*> bytes")
        if SURGE_AT <= s < SURGE_AT + SURGE_S:
            for _ in range(10):
                say(s, "shop", "WARN", "slow query of %d ms" % rng.randrange(9999), "slow query of <*> ms")
        if s == 0:  # so that what is new later is not the first error of its service
            write(s, ["TIME ERROR [main] com.legacy.Job: disk is slow"], "legacy", "ERROR", "disk is slow")
        if NEW_AT <= s < NEW_AT + 10:
            first = "TIME ERROR [main] com.legacy.Job: ledger refused entry %d password=hunter%d" % (s, s)
            write(s, [first] + [line.replace("%d", str(s)) for line in TRACE], "legacy", "ERROR", LEDGER)
        if s >= FRESH_AT:
            say(s, "fresh", "INFO", "step %d done" % rng.randrange(99), "step <*> done")
        if s > FRESH_AT and s % 180 == 0:
            say(s, "fresh", "ERROR", "cannot open file %d" % rng.randrange(99), "cannot open file <*>")
    events.sort(key=lambda e: e[0])
    return start, events, counts


def produce(stream, events, rng):
    """JSON events on any partition, text lines in order on one."""
    topics = {}
    for _, what in events:
        if isinstance(what, dict):
            topics.setdefault((".logs", rng.randrange(spine.PARTITIONS)), []).append(json.dumps(what))
        else:
            topics.setdefault((".text", 0), []).extend(what)
    for (topic, partition), lines in topics.items():
        subprocess.run(["kcat", "-b", stream.kafka, "-t", stream.name + topic, "-p", str(partition), "-P", "-X", "enable.idempotence=true"],
                       input="\n".join(lines) + "\n", text=True, check=True, timeout=60)


def cut_in_trace(events):
    """The events in two halves, the second beginning in the middle of the first trace."""
    at = next(i for i, e in enumerate(events) if isinstance(e[1], list) and len(e[1]) > 1)
    second, lines = events[at]
    return events[:at] + [(second, lines[:3])], [(second, lines[3:])] + events[at + 1:]


def check_alerts(checks, run):
    want = {("NewErrorPattern", "legacy"), ("LogPatternSurge", "shop"), ("LogErrorShare", "till"), ("LogPatternStopped", "shop")}
    fired = [json.loads(line) for line in run.records("alerts")]
    fired = [(a["rule"], a["labels"]["service"]) for a in fired if a["state"] == "firing"]
    checks.check(sorted(fired) == sorted(want), "fired: %r" % sorted(fired))
    alerts = [a for events in run.incidents().values() for e in events for a in e["snapshot"]["alerts"]
              if a["labels"]["alertname"] == "NewErrorPattern" and a["state"] == "firing"]
    if checks.check(bool(alerts), "an incident carries the new pattern"):
        checks.check(any(LEDGER in t for t in alerts[0]["templates"]), "the incident's templates: %r" % alerts[0]["templates"])
        checks.check(0 < len(alerts[0]["sample_lines"]) <= 5 and all("ledger refused" in l for l in alerts[0]["sample_lines"]),
                     "the incident's lines: %r" % alerts[0]["sample_lines"])
        checks.check("Disk.write" in alerts[0]["sample_lines"][0], "a line is the whole trace: %r" % alerts[0]["sample_lines"][0])
    checks.check(not any("hunter" in line for t in ("alerts", "incidents", "templates") for line in run.records(t)), "no secret is in any topic")


def check_patterns(checks, run, counts):
    got = {}
    for line in run.command("patterns", "--output", "json").splitlines():
        row = json.loads(line)
        if "text" in row:
            got[row["service"], row["level"], row["text"]] = row["count"]
    checks.check(set(got) == set(counts), "patterns: %r against %r" % (sorted(got), sorted(counts)))
    for key, count in counts.items():
        # the last panes are not told yet: a line or two of the last seconds
        checks.check(count - 3 <= got.get(key, -1) <= count, "%r counts %r, not %d" % (key, got.get(key), count))
        if key[1] == "ERROR" and key[0] != "fresh":
            checks.check(got.get(key) == count, "%r counts %r, not exactly %d" % (key, got.get(key), count))
    table = run.command("patterns", "--service", "legacy", "--level", "ERROR")
    checks.check(table.count("ledger refused") == 1 and "handled" not in table, "the table of one level: " + table)


def check_diff(checks, run, start):
    def time_of(second):
        return datetime.datetime.fromtimestamp(start + second, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    rows = run.command("diff", "--output", "json", "--from", time_of(NEW_AT), "--to", time_of(NEW_AT + 25 * MINUTE), "--base-from",
                       time_of(STOP_AT - 25 * MINUTE), "--base-to", time_of(STOP_AT))
    changes = {}
    for line in rows.splitlines():
        row = json.loads(line) if line.startswith("{") else {}
        if row.get("type") == "template":
            changes[row["change"], row["template"]] = row
    want = {("new", LEDGER), ("gone", "cache <*> refreshed"), ("gone", "upstream <*> timed out"), ("more", "slow query of <*> ms")}
    checks.check(set(changes) == want, "diff: %r" % (sorted(changes) or rows))


def main():
    checks = spine.Checks()
    stream = spine.Stream(spine.program(sys.argv), spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    with open(spine.TOP + "/docker/rules/logs.yaml") as rules, open(stream.folder + "/rules/spine.yaml", "w") as out:
        out.write(rules.read())
    run = Logs(stream, "logs")
    made = run.create_topics()
    checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    start, events, counts = make_events()
    rng = random.Random(5)
    before, after = cut_in_trace(events)
    run.start()
    produce(stream, before, rng)
    time.sleep(2 + 2 * rng.random())
    run.kill()
    produce(stream, after, rng)
    if checks.check(run.finish(90) is not None, "the run comes to its end"):
        check_alerts(checks, run)
        check_patterns(checks, run, counts)
        check_diff(checks, run, start)
    checks.finish()


main()
