#!/usr/bin/env python3
"""/metrics, /healthz and /readyz of a running worker on the real broker.

Records go in, some of them poison; the counters must be exact to the record. A second worker finds the port taken, says so
and works on; SIGTERM ends with exit 0. With PROMTOOL set, promtool checks the exposition.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

KAFKA = os.environ.get("TOCSIN_IT_KAFKA") or next(
    line.split("=", 1)[1].strip() for line in open("build/services/main/env") if "TOCSIN_IT_KAFKA" in line)
TOCSIN = os.environ.get("TOCSIN", "build/asan/tocsin")
PREFIX = f"it-monitor-{os.getpid()}-{int(time.time() * 1000) % 1000000}."
passed = failed = 0


def check(name, good, seen=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {name}: {str(seen)[:2000]}")


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def values(text):
    """series → number, for lines without a comment."""
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}


def until(seconds, question):
    end = time.time() + seconds
    while True:
        answer = question()
        if answer or time.time() > end:
            return answer
        time.sleep(0.1)


def worker(folder, name, slot, listen):
    config = os.path.join(folder, f"{name}.yaml")
    with open(os.path.join(folder, "rules.yaml"), "w") as out:
        out.write("groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: A\n    expr: temperature > 50\n")
    with open(config, "w") as out:
        out.write(f'kafka: {{ bootstrap.servers: "{KAFKA}" }}\ntopics: {{ prefix: "{PREFIX}" }}\n'
                  f'inputs: [ {{ topic: {PREFIX}in, type: metrics }} ]\nrules: [ rules.yaml ]\n'
                  f'worker: {{ group_prefix: "{PREFIX}", slot: {slot} }}\nhttp: {{ listen: "{listen}" }}\n')
    return config


def start(config, log):
    return subprocess.Popen([TOCSIN, "run", "--config", config, "--stages", "ingest,detect"], stderr=open(log, "w"),
                            stdout=subprocess.DEVNULL)


def port_of(log):
    found = re.search(r"metrics and health are served.* port=(\d+)", open(log).read())
    return int(found.group(1)) if found else 0


def run(folder):
    config = worker(folder, "one", 0, "127.0.0.1:0")
    log = os.path.join(folder, "one.log")
    made = subprocess.run([TOCSIN, "topics", "apply", "--config", config, "--inputs", "--samples-partitions", "2",
                           "--input-partitions", "1"], capture_output=True, text=True)
    check("topics apply", made.returncode == 0, made.stdout + made.stderr)
    process = start(config, log)
    try:
        port = until(30, lambda: port_of(log))
        check("the port is logged", port > 0, open(log).read())
        check("healthy at once", get(port, "/healthz") == (200, "ok\n"), get(port, "/healthz"))
        ready = until(60, lambda: get(port, "/readyz")[0] == 200)
        check("ready in the end", ready and get(port, "/readyz") == (200, "ready\n"), get(port, "/readyz"))
        now = int(time.time() * 1000)
        lines = [f'{{"name":"temperature","labels":{{"service":"s"}},"value":{n},"timestamp":{now - 5000 + n * 100},"kind":"gauge"}}'
                 for n in range(20)] + [f'{{"name":"nobody_asks","labels":{{"service":"s"}},"value":1,"timestamp":{now}}}', "{broken", "[1,2"]
        subprocess.run(["kcat", "-P", "-b", KAFKA, "-t", f"{PREFIX}in", "-X", "topic.partitioner=murmur2"], input="\n".join(lines) + "\n",
                       text=True, check=True)
        series = f'{{topic="{PREFIX}in",partition="0"}}'
        seen = until(30, lambda: (lambda v: v if v.get(f"tocsin_input_records_total{series}") == 23 else None)(values(get(port, "/metrics")[1])))
        text = get(port, "/metrics")[1]
        seen = values(text)
        for name, expected in ((f"tocsin_input_records_total{series}", 23), (f"tocsin_input_dead_letters_total{series}", 2),
                               (f"tocsin_input_lag_records{series}", 0), ("tocsin_ingest_records_total", 23),
                               ("tocsin_ingest_dead_letters_total", 2), ("tocsin_ingest_irrelevant_total", 1),
                               ('tocsin_stage_ready{stage="ingest"}', 1), ('tocsin_stage_ready{stage="detect"}', 1),
                               ("tocsin_detect_blind_seconds", 0), ("tocsin_detect_partitions", 2)):
            check(name, seen.get(name) == expected, seen.get(name))
        check("stages that do not run here are not shown", "tocsin_respond_" not in text and 'stage="respond"' not in text)
        moved = until(30, lambda: values(get(port, "/metrics")[1]).get("tocsin_detect_samples_total", 0) >= 20)
        check("samples reach DETECT", moved, values(get(port, "/metrics")[1]).get("tocsin_detect_samples_total"))
        check("the watermark is near", abs(seen.get(f"tocsin_input_lag_seconds{series}", 8) - 8) < 60, seen)
        check("other paths", get(port, "/api/incidents")[0] == 404)
        if os.environ.get("PROMTOOL"):
            verdict = subprocess.run([os.environ["PROMTOOL"], "check", "metrics"], input=text, capture_output=True, text=True)
            check("promtool check metrics", verdict.returncode == 0 and not verdict.stdout + verdict.stderr, verdict.stdout + verdict.stderr)
        second = start(worker(folder, "two", 1, f"127.0.0.1:{port}"), os.path.join(folder, "two.log"))
        said = until(30, lambda: "cannot listen" in open(os.path.join(folder, "two.log")).read())
        check("a taken port is said", said, open(os.path.join(folder, "two.log")).read())
        check("and the worker works on", second.poll() is None)
        second.send_signal(signal.SIGTERM)
        check("and ends in order", second.wait(30) == 0, second.returncode)
        process.send_signal(signal.SIGTERM)
        check("SIGTERM: exit 0", process.wait(30) == 0, open(log).read()[-2000:])
    finally:
        process.poll() is None and process.kill()


with tempfile.TemporaryDirectory() as where:
    run(where)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
