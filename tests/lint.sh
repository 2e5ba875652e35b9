#!/usr/bin/env bash
# Layers, and the linker's line. A file may include only headers of its own or lower layers; the
# table below is the white list of layers, and twin of the picture in src/README.md.
set -u
cd "$(dirname "$0")/.." || exit 1
python3 - <<'PY'
import re, sys, pathlib

LAYER = {"base": 0, "model": 1, "config": 1, "metrics": 1, "codec": 2, "promql": 2, "series": 2,
         "patterns": 2, "rules": 3, "ingest": 4, "detect": 4, "respond": 4, "kafka": 5, "store": 5,
         "registry": 5, "notify": 5, "http": 5, "replay": 6, "app": 7, "demo": 8, "cli": 9}
# Public headers that are not named after their folder.
HEADER = {"avro_plan": "codec", "chunk": "codec", "plan": "promql", "template": "rules", "shard": "rules", "series_notation": "promql", "rule_eval": "rules", "policy": "config", "respond_owner": "respond", "respond_record": "respond", "rule_test": "rules", "kafka_admin": "kafka", "monitor": "app", "app_replay": "app", "kafka_mock": "kafka"}
# Only these folders may see these libraries.
LIBRARY = {"librdkafka/": {"kafka", "cli"}, "hiredis/": {"store", "cli"}, "curl/": {"registry", "notify", "cli"},
           "microhttpd": {"http"}, "avro": {"codec"}, "yaml.h": {"config", "rules"}, "pthread.h": {
           "base", "kafka", "store", "registry", "notify", "http", "app", "demo", "cli"}}
bad = passed = 0
for path in sorted(list(pathlib.Path("src").rglob("*.[ch]")) + list(pathlib.Path("src").rglob("*.cc"))):
    own = path.parts[1]
    ok = True
    if own not in LAYER:
        print(f"{path}: folder {own} is not in the table"); ok = False
    for n, line in enumerate(path.read_text().splitlines(), 1):
        m = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if not m:
            continue
        inc = m.group(1)
        for lib, users in LIBRARY.items():
            if inc.startswith(lib) and own not in users:
                print(f"{path}:{n}: only {sorted(users)} may include {inc}"); ok = False
        if inc.startswith("tocsin/"):
            other = inc.split("/")[1].removesuffix(".h")
            other = HEADER.get(other, other)
        elif "/" in inc and inc.split("/")[0] in LAYER:
            other = inc.split("/")[0]
        else:
            continue
        if other not in LAYER:
            print(f"{path}:{n}: unknown module {inc}"); ok = False
        elif other != own and LAYER[other] >= LAYER.get(own, -1):
            print(f"{path}:{n}: {own} (L{LAYER[own]}) may not include {inc} (L{LAYER[other]})"); ok = False
    passed += ok
    bad += not ok
for top in sorted(p.name for p in pathlib.Path(".").iterdir()):
    if not top.startswith(".") and top not in {"src", "include", "schemas", "topics", "docker", "tests",
                                               "Makefile", "README.md", "build"}:
        print(f"{top}: does not belong at the top level"); bad += 1
print(f"{passed} passed, {bad} failed")
sys.exit(bad > 0)
PY
