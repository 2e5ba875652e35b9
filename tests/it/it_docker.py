#!/usr/bin/env python3
"""docker/ without Docker: every file is linted, and every command that compose, Kubernetes, systemd and the image run is run here.

The folder is copied and its topics, groups and keys get names of their own, so that the broker and the Redis of the other tests can
be used; addresses come through the environment, as in the containers. What cannot be had here (an image registry, a kubelet) is left out:
that images exist is not proved.
"""
import glob
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

try:
    import yaml
except ImportError:
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

TOCSIN = os.path.abspath(os.environ.get("TOCSIN", "build/asan/tocsin"))
SERVICES = dict(re.findall(r"export (\w+)=(\S+)", open("build/services/main/env").read()))
NAME = f"it-docker-{os.getpid()}-{int(time.time() * 1000) % 1000000}"
passed = failed = 0


def check(name, good, seen=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {name}: {str(seen)[:3000]}")


class UniqueLoader(yaml.SafeLoader):
    """A key that stands twice is an error, as in our own parser."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(k, deep=True) for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"]
        if len(keys) != len(set(map(str, keys))):
            raise yaml.YAMLError(f"a key stands twice: {keys} {node.start_mark}")
        return super().construct_mapping(node, deep)


def load(path):
    with open(path) as file:
        return [d for d in yaml.load_all(file, UniqueLoader) if d is not None]


def sh(command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **more)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(seconds, question):
    end = time.time() + seconds
    while not question():
        if time.time() > end:
            return False
        time.sleep(0.2)
    return True


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Here:
    """A copy of docker/ as /etc/tocsin would be, with names of its own, and the environment of a container."""

    def __init__(self, folder):
        self.etc = os.path.join(folder, "etc")
        os.makedirs(os.path.join(self.etc, "rules"))
        for path in glob.glob("docker/*.yaml"):
            shutil.copy(path, self.etc)
        for path in glob.glob("docker/rules/*.yaml"):
            shutil.copy(path, os.path.join(self.etc, "rules"))
        config = os.path.join(self.etc, "tocsin.yaml")
        text = open(config).read()
        for old, new in ((r'prefix: "tocsin\."', f'prefix: "{NAME}."'), (r'key_prefix: "tocsin:"', f'key_prefix: "{NAME}:"'),
                         (r"topic: (bridge|tocsin)\.", rf"topic: {NAME}.\1.")):
            text, count = re.subn(old, new, text)
            check(f"docker/tocsin.yaml holds {old}", count > 0)
        open(config, "w").write(text)
        self.port = free_port()
        self.env = dict(os.environ, KAFKA_BOOTSTRAP=SERVICES["TOCSIN_IT_KAFKA"], REDIS_URL=SERVICES["TOCSIN_IT_REDIS"],
                        REGISTRY_URL=SERVICES["TOCSIN_IT_REGISTRY"], TOCSIN_LISTEN=f"127.0.0.1:{self.port}", TOCSIN_SLOT="0")

    def local(self, words):
        """A command of a container as it is here."""
        return [w.replace("/usr/local/bin/tocsin", TOCSIN).replace("/etc/tocsin", self.etc).replace("8642", str(self.port)) for w in words]


def lint_yaml():
    for path in sorted(glob.glob("docker/**/*.yaml", recursive=True) + glob.glob("topics/*.yaml")):
        try:
            check(path, load(path))
        except yaml.YAMLError as error:
            check(path, False, error)


def lint_config(here):
    shown = sh([TOCSIN, "config", "show", "--config", "docker/tocsin.yaml"])
    check("docker/tocsin.yaml parses", shown.returncode == 0, shown.stderr)
    empty = os.path.join(here.etc, "empty.yaml")
    open(empty, "w").close()
    defaults, ours = (load_text(sh([TOCSIN, "config", "show", "--config", p]).stdout) for p in (empty, "docker/tocsin.yaml"))
    for section, values in defaults.items():
        if section in ("kafka", "inputs", "rules"):
            continue
        for key, value in values.items():
            if (section, key) not in (("respond", "services"), ("respond", "escalation")):
                check(f"docker/tocsin.yaml has the default of {section}.{key}", ours[section][key] == value, (ours[section][key], value))
    text = open("docker/tocsin.yaml").read()
    for line in sh([TOCSIN, "config", "reference"]).stdout.splitlines():
        key = line.split()[0].split(".")[-1]
        if key != "PROPERTY" and not key.startswith("rules"):
            check(f"docker/tocsin.yaml speaks of {line.split()[0]}", re.search(rf"\b{key}(_file)?:", text))


def load_text(text):
    return yaml.load(text, UniqueLoader)


def lint_image(here):
    text = open("docker/Dockerfile").read().replace("\\\n", " ")
    user = re.search(r"^USER (\d+)", text, re.M)
    check("the image's user is not root", user and int(user.group(1)) > 0)
    for line in re.findall(r"^COPY (?!--from)(.*)", text, re.M):
        for source in line.split()[:-1]:
            check(f"COPY {source}", glob.glob(source))
    with tempfile.TemporaryDirectory() as tree:  # what the build stage has: enough for its make?
        for line in re.findall(r"^COPY (?!--from)(.*)", text.split("FROM debian:12-slim")[0], re.M):
            for source in line.split()[:-1]:
                (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, os.path.join(tree, source))
        planned = sh(["make", "-n", "all", "install", f"DESTDIR={tree}/out", "PREFIX=/usr/local"], cwd=tree)
        check("the image's sources are all that make needs", planned.returncode == 0, planned.stderr)
    built = text.split("FROM debian:12-slim")[0]
    for package in re.search(r"packages=\(([^)]*)\)", open("tests/deps.sh").read()).group(1).split():
        if package.startswith("lib") and package not in ("libcmocka-dev", "libyajl-dev"):
            check(f"the image's build has {package}", re.search(rf"\b{re.escape(package)}\b", built))
    runtime = text.split("FROM debian:12-slim")[1]
    linked = sh(["ldd", "build/release/tocsin"]).stdout
    for library in re.findall(r"NEEDED.*\[(lib.*)\]", sh(["readelf", "-d", "build/release/tocsin"]).stdout):
        where = re.search(rf"{re.escape(library)} => (\S+)", linked)
        owner = sh(["dpkg", "-S", os.path.realpath(where.group(1))]).stdout or sh(["dpkg", "-S", where.group(1).removeprefix("/usr")]).stdout
        package = owner.split(":")[0]
        if package not in ("libc6", "libstdc++6", "libgcc-s1"):  # the base image has them, or another package brings them
            check(f"the image installs {package} for {library}", package and re.search(rf"\b{re.escape(package)}\b", runtime), owner)
    health = json.loads(re.search(r"HEALTHCHECK.*?CMD (\[.*\])", text).group(1))
    entry = json.loads(re.search(r"^ENTRYPOINT (\[.*\])", text, re.M).group(1)) + json.loads(re.search(r"^CMD (\[.*\])", text, re.M).group(1))
    return here.local(health), entry


def lint_kubernetes(here):
    """The commands of the containers, and the paths of the probes."""
    documents = [d for path in glob.glob("docker/k8s/*.yaml") for d in load(path)]
    kustomization = next(d for d in documents if d["kind"] == "Kustomization")
    for name in kustomization["resources"] + [f for m in kustomization["configMapGenerator"] for f in m.get("files", [])]:
        check(f"kustomization: {name}", os.path.exists(os.path.join("docker/k8s", name)))
    maps = {m["name"]: {os.path.basename(f) for f in m.get("files", [])} for m in kustomization["configMapGenerator"]}
    commands, probes = [], set()
    for document in documents:
        if document["kind"] not in ("StatefulSet", "Job"):
            continue
        pod = document["spec"]["template"]["spec"]
        check(f"{document['kind']} is not root", pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0)
        volumes = {v["name"]: v for v in pod["volumes"]}
        for source in volumes["config"]["projected"]["sources"]:
            for item in source["configMap"].get("items", []):
                check(f"{item['key']} is in {source['configMap']['name']}", item["key"] in maps[source["configMap"]["name"]])
        for container in pod["containers"]:
            check("a read-only root without rights", container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
            check("mounts have volumes", all(m["name"] in volumes for m in container["volumeMounts"]))
            commands.append(["tocsin"] + container["args"])
            probes |= {container[p]["httpGet"]["path"] for p in ("startupProbe", "livenessProbe", "readinessProbe") if p in container}
    if shutil.which("kubectl"):
        built = sh(["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", "docker/k8s"])
        check("kubectl kustomize", built.returncode == 0 and "kind: StatefulSet" in built.stdout, built.stderr)
    return commands, probes


def lint_systemd(here, folder):
    text = open("docker/tocsin.service").read()
    if shutil.which("systemd-analyze"):
        path = os.path.join(folder, "tocsin.service")
        open(path, "w").write(text.replace("/usr/local/bin/tocsin", TOCSIN))
        verdict = sh(["systemd-analyze", "verify", path])
        noise = [line for line in verdict.stderr.splitlines() if "tocsin" in line]
        check("systemd-analyze verify", verdict.returncode == 0 and not noise, verdict.stderr)
    return [shlex.split(command) for command in re.findall(r"^ExecStart(?:Pre)?=(.*)", text, re.M)], re.search(r"^ExecReload=(.*)", text, re.M).group(1)


def run_tocsin(here, commands, health, probes, reload):
    """Each distinct command once; a `run` until it is ready, through its health check, a reload and an orderly end."""
    distinct = []
    for command in commands:
        words = here.local(command)
        words[0] = TOCSIN
        if words not in distinct:
            distinct.append(words)
    order = {"topics": 0, "check": 1, "run": 2}
    for words in sorted(distinct, key=lambda w: order[w[1]]):
        if words[1] != "run":
            done = sh(words, env=here.env)
            expected = (0,) if "--inputs" in words or words[1] == "check" else (0, 5)  # without --samples-partitions: the count is a difference
            check(" ".join(words[1:]), done.returncode in expected, done.stdout + done.stderr)
            continue
        log = open(os.path.join(here.etc, "run.log"), "w+")
        worker = subprocess.Popen(words, env=here.env, stderr=log, stdout=log)
        try:
            check("the worker is ready", until(60, lambda: status(here.port, "/readyz") == 200), open(log.name).read()[-3000:])
            check("the image's health check", sh(health).returncode == 0)
            for path in probes:
                check(f"probe {path}", status(here.port, path) == 200)
            seen = sh([TOCSIN, "check", "--config", os.path.join(here.etc, "tocsin.yaml")], env=here.env)
            check("check beside a running worker", seen.returncode in (0, 5) and "FAIL" not in seen.stdout, seen.stdout + seen.stderr)
            check("ExecReload", sh(["/bin/sh", "-c", reload.replace("$MAINPID", str(worker.pid))]).returncode == 0)
            time.sleep(1)
            check("it lives on after a reload", worker.poll() is None and status(here.port, "/healthz") == 200)
            worker.send_signal(signal.SIGTERM)
            check("SIGTERM: exit 0", worker.wait(40) == 0, open(log.name).read()[-3000:])
            check("the health check of a worker that is gone", sh(health).returncode != 0)
        finally:
            worker.poll() is None and worker.kill()


def run_others(compose, folder):
    """Redis with compose's arguments, and the health checks of Redis and Kafka."""
    port = free_port()
    words = compose["services"]["redis"]["command"]
    server = shutil.which("redis-server")
    if not server:  # Debian's redis-check-rdb is the server by another name
        server = os.path.join(folder, "redis-server")
        os.symlink(os.path.realpath(shutil.which("redis-check-rdb")), server)
    redis = subprocess.Popen([server, *words[1:], "--port", str(port), "--bind", "127.0.0.1", "--dir", folder], stdout=subprocess.DEVNULL)
    try:
        test = compose["services"]["redis"]["healthcheck"]["test"][1:]
        check("Redis with compose's arguments", until(20, lambda: sh([test[0], "-p", str(port), *test[1:]]).stdout == "PONG\n"))
        check("noeviction", "noeviction" in sh(["redis-cli", "-p", str(port), "config", "get", "maxmemory-policy"]).stdout)
    finally:
        redis.kill()
        redis.wait()
    test = compose["services"]["kafka"]["healthcheck"]["test"]
    check("Kafka's health check", os.path.basename(test[1]) == "kafka-broker-api-versions.sh", test)
    jars = glob.glob("build/jars/kafka-*")[0]
    seen = sh(["java", "-cp", f"{jars}/*", "org.apache.kafka.tools.BrokerApiVersionsCommand",
               *[w.replace("kafka:9092", SERVICES["TOCSIN_IT_KAFKA"]) for w in test[2:]]])
    check("Kafka's health check runs", seen.returncode == 0 and "Fetch(1)" in seen.stdout, seen.stderr)


def run(folder):
    here = Here(folder)
    lint_yaml()
    lint_config(here)
    health, entry = lint_image(here)
    pods, probes = lint_kubernetes(here)
    units, reload = lint_systemd(here, folder)
    compose = load("docker/compose.yaml")[0]
    services = [["tocsin"] + s["command"] for s in compose["services"].values() if s.get("image") == "tocsin"]
    for name, service in compose["services"].items():
        for other in service.get("depends_on", {}):
            check(f"{name} depends on {other}", other in compose["services"])
    run_tocsin(here, services + pods + units + [entry], health, probes, reload)
    run_others(compose, folder)


with tempfile.TemporaryDirectory() as where:
    run(where)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
