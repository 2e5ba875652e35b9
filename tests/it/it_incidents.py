#!/usr/bin/env python3
"""Goal: a person sees and changes incidents from the command line, through the owner, and is told what became of it.

Method: transitions are produced by hand to topic `alerts` of a run that has stage respond alone; then `tocsin incidents …` is used as a person would,
with and without the owner, with and without Redis. Exit codes, words and JSON are checked, and the events that went out.

Usage: it_incidents.py TOCSIN     prints "N passed, N failed"
"""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import spine

TOCSIN = spine.program(sys.argv)


def transition(alert, service, severity, state="firing"):
    at = "2026-01-01T00:00:00.000Z"
    return {"format": 1, "alert_id": ("%x" % abs(hash((alert, service))))[:32].rjust(32, "0"), "rule": alert, "group": "test", "was": "pending",
            "state": state, "labels": {"alertname": alert, "service": service, "severity": severity},
            "annotations": {"runbook_url": "https://runbooks/" + alert}, "value": 1, "active_at": at,
            "fired_at": at, "step_ts": at}


class Person:
    def __init__(self, run):
        self.config = run.config()

    def __call__(self, *words, config=None, env=None):
        done = subprocess.run([TOCSIN, "incidents", *words, "--config", config or self.config], capture_output=True, text=True, timeout=60,
                              env=env)
        return done.returncode, done.stdout, done.stderr

    def rows(self, *more):
        code, out, _ = self("list", "--output", "json", *more)
        return [json.loads(line) for line in out.splitlines()] if code == 0 else None


def wait_rows(person, n):
    end = time.time() + 60
    while len(person.rows() or []) < n and time.time() < end:
        time.sleep(0.1)
    return person.rows()


def look(checks, person):
    rows = wait_rows(person, 2)
    checks.check([r["severity"] for r in rows] == [2, 3], "two incidents, the worse one first: %r" % rows)
    checks.check(person.rows("--from-topic") == rows or time.sleep(1) or person.rows("--from-topic") == rows, "the topic says the same as Redis")
    code, out, _ = person("list")
    checks.check(code == 0 and "INCIDENT" in out and "hook-receiver" in out, "a table with names: %r" % out)
    first = rows[0]["incident_id"]
    code, out, _ = person("show", first)
    checks.check(code == 0 and "Sev 2" in out and 'alertname="Down"' in out, "show tells severity and alerts: %r" % out)
    checks.check("            runbook_url: https://runbooks/Down\n" in out, "show tells what to do: %r" % out)
    code, out, _ = person("show", first, "--output", "json")
    checks.check(code == 0 and json.loads(out) == rows[0], "show as JSON is the row of list")
    code, _, err = person("show", "inc-none")
    checks.check(code == 1 and "inc-none" in err, "an unknown incident: %r" % err)
    return first, rows[1]["incident_id"]


def act(checks, person, first, second):
    code, out, err = person("ack", first, "--by", "ada", "--reason", "on it")
    checks.check(code == 0 and "acknowledged" in out and "version 2" in out, "ack waits for the version: %r %r" % (out, err))
    code, out, _ = person("ack", first, "--by", "ada")
    checks.check(code == 0 and "already" in out, "a second ack changes nothing: %r" % out)
    code, out, _ = person("escalate", first, "--by", "ada", "--output", "json")
    checks.check(code == 0 and json.loads(out)["version"] == 3, "escalate answers as JSON: %r" % out)
    code, out, _ = person("resolve", second, "--by", "ada", "--reason", "nothing there")
    checks.check(code == 0 and "resolved" in out, "resolve: %r" % out)
    code, _, err = person("ack", second, "--by", "ada")
    checks.check(code == 1 and "resolved" in err, "a resolved one cannot be acknowledged: %r" % err)
    code, _, err = person("ack", "inc-none", "--by", "ada")
    checks.check(code == 1 and "no such incident" in err, "nor an unknown one: %r" % err)
    checks.check([r["incident_id"] for r in person.rows()] == [first], "list leaves the resolved one out")
    checks.check(len(person.rows("--all")) == 2, "list --all does not")
    code, out, _ = person("watch", "--from-beginning", "--count", "5", "--output", "json")
    told = sorted((e["incident_id"] == first, e["seq"], e["type"], e["actor"]) for e in map(json.loads, out.splitlines()))
    checks.check(code == 0 and told == [(False, 1, "opened", "tocsin"), (False, 2, "resolved", "ada"), (True, 1, "opened", "tocsin"),
                                        (True, 2, "acknowledged", "ada"), (True, 3, "escalated", "ada")], "watch tells it all: %r" % told)


def usage(checks, person):
    nobody = {k: v for k, v in os.environ.items() if k != "USER"}
    for words, env in ((("ack",), None), (("show",), None), (("list", "--output", "xml"), None), (("ack", "a", "b"), None),
                       (("ack", "inc-1"), nobody), (("watch", "--count", "0"), None)):
        code, _, err = person(*words, env=env)
        checks.check(code == 2 and err, "usage of %r: %d %r" % (words, code, err))
    for verb in ("list", "show", "watch", "ack", "resolve", "escalate"):
        code, out, _ = person(verb, "--help")
        checks.check(code == 0 and "Examples:" in out, "help of %s has examples" % verb)


def main():
    checks = spine.Checks()
    stream = spine.Stream(TOCSIN, spine.address("TOCSIN_IT_KAFKA"), spine.address("TOCSIN_IT_REDIS"))
    run = spine.Run(stream, "people", stages="respond")
    made = run.create_topics()
    checks.check(made.returncode == 0, "topics apply: " + made.stdout + made.stderr)
    person = Person(run)
    run.start()
    lines = [transition("Down", "hook-receiver", "critical"), transition("Slow", "billing", "warning"), transition("Watchdog", "x", "none")]
    subprocess.run(["kcat", "-b", stream.kafka, "-t", run.prefix + "alerts", "-P", "-E"], input="".join(json.dumps(t) + "\n" for t in lines), text=True,
                   check=True)
    act(checks, person, *look(checks, person))
    usage(checks, person)
    code, took = run.stop()
    checks.check(code == 0 and took < 10, "an ordered stop: %r after %.1f s" % (code, took))
    code, _, err = person("ack", "inc-1", "--by", "ada", "--wait", "1s")
    checks.check(code == 4 and "once an owner" in err, "nobody answers without an owner: %d %r" % (code, err))
    away = dict(json.load(open(person.config)), redis={"url": "redis://127.0.0.1:1"})
    with open(person.config + ".away", "w") as out:
        json.dump(away, out)
    code, out, err = person("list", "--all", "--output", "json", config=person.config + ".away")
    checks.check(code == 0 and len(out.splitlines()) == 2 and "reading topic" in err, "without Redis the topic is read: %r" % err)
    checks.finish()


main()
