#!/usr/bin/env python3
"""docker/kafka-acls.sh and docker/redis-users.acl: each stage works with the rights they give, and with no more.

A broker of its own has an authorizer, a listener with SASL for the stages and one without for the test (a super user). Three
workers, one a stage and each under its own principal, carry an event all the way to an incident; then each principal tries what is not its
business. Redis runs with the users' file.
"""
import glob
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOCSIN = os.path.abspath(os.environ.get("TOCSIN", "build/asan/tocsin"))
INSTANCE = "acl"
HOME = f"build/services/{INSTANCE}"
USERS = ["tocsin-ingest", "tocsin-detect", "tocsin-respond", "tocsin-operator", "stranger", "partial"]
passed = failed = 0


def check(name, good, seen=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {name}: {str(seen)[-3000:]}")


def sh(command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=180, **more)


def services(*words):
    return sh(["tests/it/services.sh", "-i", INSTANCE, *words])


def until(seconds, question):
    end = time.time() + seconds
    while True:
        answer = question()
        if answer or time.time() > end:
            return answer
        time.sleep(0.2)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_broker():
    """Ports as services.sh would pick them, plus one for SASL."""
    os.makedirs(HOME, exist_ok=True)
    services("stop", "kafka", "redis")
    for name in ("kafka", "controller"):
        with open(f"{HOME}/{name}.port", "w") as out:
            out.write(sh(["python3", "tests/it/probe.py"]).stdout)
    plain, controller = (open(f"{HOME}/{n}.port").read().strip() for n in ("kafka", "controller"))
    sasl = free_port()
    users = " ".join(f'user_{u}="{u}-secret"' for u in USERS)
    with open(f"{HOME}/kafka.extra", "w") as out:
        out.write(f"""listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
""")
    shutil.rmtree(f"{HOME}/kafka-data", ignore_errors=True)
    # `restart` keeps the ports, `start` would pick new ones.
    made = services("restart", "kafka", "redis")
    check("the services start", made.returncode == 0, made.stdout + made.stderr)
    return f"127.0.0.1:{plain}", f"127.0.0.1:{sasl}"


def redis_users(port):
    """Loads docker/redis-users.acl, with the hash of "redis-secret" in place of the placeholder."""
    digest = hashlib.sha256(b"redis-secret").hexdigest()
    for line in open("docker/redis-users.acl"):
        words = line.replace("#SHA256-OF-THE-PASSWORD", "#" + digest).split()
        if words[:1] != ["user"] or words[1] == "default":
            continue
        answer = sh(["redis-cli", "-p", port, "acl", "setuser", *words[1:]])
        check(f"redis user {words[1]}", answer.stdout == "OK\n", answer.stdout)


def write_config(folder, user, sasl, redis, redis_user="tocsin"):
    path = os.path.join(folder, f"{user}.yaml")
    with open(path, "w") as out:
        out.write(f"""kafka:
  bootstrap.servers: "{sasl}"
  security.protocol: SASL_PLAINTEXT
  sasl.mechanism: PLAIN
  sasl.username: "{user}"
  sasl.password_file: {user}.secret
redis: {{ url: "redis://{redis_user}@127.0.0.1:{redis}/0", password_file: redis.secret }}
inputs: [ {{ topic: bridge.metrics, type: metrics }} ]
rules: [ rules.yaml ]
http: {{ listen: "" }}
""")
    for name, secret in ((user, f"{user}-secret"), ("redis", "redis-secret")):
        with open(os.path.join(folder, f"{name}.secret"), "w") as out:
            out.write(secret + "\n")
    return path


def acl_tool(folder):
    tool = os.path.join(folder, "kafka-acls.sh")
    jars = os.path.abspath(next(p for p in glob.glob("build/jars/kafka-*") if os.path.isdir(p)))
    with open(tool, "w") as out:
        out.write(f'#!/bin/sh\nexec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx128m -cp "{jars}/*" org.apache.kafka.tools.AclCommand "$@"\n')
    os.chmod(tool, 0o755)
    return tool


def give_rights(folder, plain):
    """The shipped script, with the tool's class in place of Kafka's wrapper."""
    tool = acl_tool(folder)
    done = sh(["docker/kafka-acls.sh", "bridge.metrics"], env=dict(os.environ, BOOTSTRAP=plain, KAFKA_ACLS=tool))
    check("docker/kafka-acls.sh", done.returncode == 0 and "rror" not in done.stderr, done.stdout[-1500:] + done.stderr)


def kcat(sasl, user, *words, text=None):
    return sh(["kcat", "-b", sasl, "-X", "security.protocol=SASL_PLAINTEXT", "-X", "sasl.mechanism=PLAIN", "-X", f"sasl.username={user}",
               "-X", f"sasl.password={user}-secret", "-X", "message.timeout.ms=5000", *words], input=text)


def refused(sasl, user, topic, write):
    """True if the broker says no."""
    if write:
        done = kcat(sasl, user, "-P", "-t", topic, "-p", "0", text="x\n")
    else:
        done = kcat(sasl, user, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-c", "1")
    return "authorization failed" in done.stderr.lower() or "Unknown topic" in done.stderr or "unknown topic" in done.stderr


def spine(folder, plain, sasl, redis):
    with open(os.path.join(folder, "rules.yaml"), "w") as out:
        out.write("groups:\n- name: g\n  interval: 1s\n  rules:\n  - alert: Hot\n    expr: temperature > 50\n    labels: { severity: critical }\n")
    configs = {u: write_config(folder, u, sasl, redis) for u in USERS}
    before = sh([TOCSIN, "check", "--config", configs["stranger"], "--timeout", "5s"])
    check("a stranger sees no topic", before.returncode != 0 and "FAIL  topics" in before.stdout, before.stdout)
    operator = configs["tocsin-operator"]
    made = sh([TOCSIN, "topics", "apply", "--config", operator, "--samples-partitions", "2"])
    check("the operator creates the topics", made.returncode == 0 and made.stdout.count("created") == 9, made.stdout + made.stderr)
    workers = {}
    try:
        for stage in ("ingest", "detect", "respond"):
            log = open(os.path.join(folder, f"{stage}.log"), "w")
            workers[stage] = subprocess.Popen([TOCSIN, "run", "--config", configs[f"tocsin-{stage}"], "--stages", stage], stderr=log, stdout=log)
        time.sleep(3)
        end = time.time() + 60
        incidents = ""
        while time.time() < end and "Hot" not in incidents:
            now = int(time.time() * 1000)
            event = json.dumps({"name": "temperature", "labels": {"service": "oven"}, "value": 99, "timestamp": now, "kind": "gauge"})
            subprocess.run(["kcat", "-P", "-b", plain, "-t", "bridge.metrics"], input=event + "\n{broken\n", text=True)
            time.sleep(1)
            incidents = sh(["kcat", "-b", plain, "-C", "-t", "tocsin.incidents", "-e", "-o", "beginning", "-X", "isolation.level=read_committed"]).stdout
        logs = "".join(open(os.path.join(folder, f"{s}.log")).read()[-1500:] for s in workers)
        check("an event becomes an incident under three principals", '"type":"opened"' in incidents and "Hot" in incidents, logs)
        for stage, worker in workers.items():
            check(f"{stage} lives", worker.poll() is None, open(os.path.join(folder, f"{stage}.log")).read())
        dead = sh(["kcat", "-b", plain, "-C", "-t", "tocsin.deadletter", "-e", "-o", "beginning"]).stdout
        check("dead letters are written", "{broken" in dead, dead)
        listed = until(20, lambda: (lambda r: r if "Hot" in r.stdout or "oven" in r.stdout else None)(
            sh([TOCSIN, "incidents", "list", "--config", write_config(folder, "tocsin-operator", sasl, redis, "tocsin-read")])))
        check("people read incidents with the reading user", listed is not None,
              sh([TOCSIN, "incidents", "list", "--config", operator]).stderr)
        again = sh([TOCSIN, "replay", "--config", operator, "--from", "1h", "--to", "0s", "--no-incidents"])
        check("the operator replays", again.returncode == 0 and "Hot" in again.stdout, again.stdout + again.stderr)
        for stage, worker in workers.items():
            worker.send_signal(signal.SIGTERM)
            check(f"{stage} ends in order", worker.wait(40) == 0, open(os.path.join(folder, f"{stage}.log")).read())
    finally:
        for worker in workers.values():
            worker.poll() is None and worker.kill()
    return configs


WRITES = {"ingest": ["rules", "samples", "deadletter"], "detect": ["rules", "state", "alerts", "templates"],
          "respond": ["rules", "incidents", "respond"]}


def asked(config, stage, code):
    seen = sh([TOCSIN, "check", "--config", config, "--stages", stage])
    check(f"check of {stage} with {os.path.basename(config)}: exit {code}", seen.returncode == code, seen.stdout + seen.stderr)
    return seen.stdout


def refused_writes(text, stage):
    return [t for t in WRITES[stage] if f"{stage} may not write tocsin.{t}\n" in text]


def rights(folder, plain, configs):
    """What `check` finds out of itself: all that a stage has, each thing that it has not; and that asking leaves nothing behind."""
    for stage, reads in (("ingest", 2), ("detect", 3), ("respond", 3)):
        seen = sh([TOCSIN, "check", "--config", configs[f"tocsin-{stage}"], "--stages", stage]).stdout
        check(f"check under {stage}", f"{stage} may read its {reads} topics and use group tocsin.{stage}" in seen, seen)
        check(f"writes under {stage}", f"{stage} may write its {len(WRITES[stage])} topics, in transactions" in seen, seen)
    for topic in sorted({t for topics in WRITES.values() for t in topics}):
        left = subprocess.run(["kcat", "-b", plain, "-C", "-t", f"tocsin.{topic}", "-e", "-o", "beginning", "-X", "isolation.level=read_committed"],
                              capture_output=True, timeout=60).stdout
        check(f"asking leaves nothing in {topic}", b"tocsin-check" not in left, left[-300:])
    seen = asked(configs["tocsin-ingest"], "detect", 5)
    check("check names what is not allowed", "detect may not read tocsin.samples" in seen and "detect may not read tocsin.state" in seen and
          "detect may not use group tocsin.detect" in seen and "detect may not read tocsin.rules" not in seen, seen)
    check("a transactional id that is not ours", "detect may not use transactional ids tocsin.detect-" in seen, seen)
    # One who may do all but write: each topic is named. Then some of it is given.
    tool = acl_tool(folder)

    def allow(*words):
        done = sh([tool, "--bootstrap-server", plain, "--add", "--allow-principal", "User:partial", *words])
        check("acls: " + " ".join(words), done.returncode == 0, done.stderr)
    allow("--operation", "Read", "--topic", "*", "--group", "*")
    allow("--operation", "Write", "--transactional-id", "tocsin.", "--resource-pattern-type", "prefixed")
    for stage, topics in WRITES.items():
        seen = asked(configs["partial"], stage, 5)
        check(f"{stage}: each topic it may not write is named", refused_writes(seen, stage) == topics and "may not read" not in seen, seen)
    allow("--operation", "Write", "--topic", "tocsin.rules", "--topic", "tocsin.samples", "--topic", "tocsin.state", "--topic", "tocsin.respond")
    for stage, missing in (("ingest", ["deadletter"]), ("detect", ["alerts", "templates"]), ("respond", ["incidents"])):
        seen = asked(configs["partial"], stage, 5)
        check(f"{stage}: only what is still missing", refused_writes(seen, stage) == missing, seen)


def refusals(sasl, redis):
    for user, topic, write in (("tocsin-ingest", "tocsin.alerts", True), ("tocsin-ingest", "bridge.metrics", True), ("tocsin-ingest", "tocsin.state", False),
                               ("tocsin-detect", "bridge.metrics", False), ("tocsin-detect", "tocsin.samples", True), ("tocsin-detect", "tocsin.incidents", True),
                               ("tocsin-respond", "tocsin.samples", False), ("tocsin-respond", "tocsin.alerts", True),
                               ("tocsin-operator", "tocsin.incidents", True), ("stranger", "tocsin.incidents", False)):
        check(f"{user} may not {'write' if write else 'read'} {topic}", refused(sasl, user, topic, write))
    check("and the operator may read incidents", not refused(sasl, "tocsin-operator", "tocsin.incidents", False))

    def redis_says(user, *words):
        return sh(["redis-cli", "-p", redis, "--user", user, "--pass", "redis-secret", "--no-auth-warning", *words]).stdout
    check("redis: foreign keys are refused", "NOPERM" in redis_says("tocsin", "hget", "other:key", "f"))
    check("redis: FLUSHALL is refused", "NOPERM" in redis_says("tocsin", "flushall"))
    check("redis: the reader does not write", "NOPERM" in redis_says("tocsin-read", "hset", "tocsin:x", "f", "1"))


def run(folder):
    plain, sasl = start_broker()
    redis = open(f"{HOME}/redis.port").read().strip()
    redis_users(redis)
    jars = os.path.abspath(next(p for p in glob.glob("build/jars/kafka-*") if os.path.isdir(p)))
    sh(["java", "-cp", f"{jars}/*", "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", plain, "--create", "--topic", "bridge.metrics",
        "--partitions", "2", "--replication-factor", "1"])
    give_rights(folder, plain)
    rights(folder, plain, spine(folder, plain, sasl, redis))
    refusals(sasl, redis)


try:
    with tempfile.TemporaryDirectory() as where:
        run(where)
finally:
    services("stop", "kafka", "redis")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
