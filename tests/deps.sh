#!/usr/bin/env bash
# Installs, once, the Debian packages that building, the demo and the tests need ("deps.sh bench": and the benches). Starts no daemon:
# Redis comes from redis-tools, whose redis-check-rdb is the server by another name.
set -eu
packages=(gcc g++ make pkg-config bc librdkafka-dev libavro-dev libhiredis-dev libcmocka-dev libjansson-dev
    libyaml-dev libyajl-dev valgrind libmicrohttpd-dev libre2-dev libxxhash-dev libcurl4-openssl-dev libsnappy-dev zlib1g-dev
    redis-tools python3 openjdk-17-jre-headless maven kcat)
# Any python3 that can read YAML will do.
python3 -c 'import yaml' 2>/dev/null || packages+=(python3-yaml)
[ "${1:-}" != bench ] || packages+=(openjdk-17-jdk-headless) # to compile the Kafka Streams program
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
sudo=""
[ "$(id -u)" -eq 0 ] || sudo=sudo
echo "installing: ${missing[*]}"
$sudo apt-get update -qq
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
