#!/usr/bin/env python3
"""Small helpers of services.sh that a shell cannot do.

probe.py                      prints a free TCP port of 127.0.0.1 below the ephemeral range
probe.py --uuid               prints a Kafka cluster id
probe.py --kafka-ready H:P    exit 0 once the broker answers an ApiVersions request
probe.py --http-ready URL     exit 0 once the URL answers 200
"""
import base64
import random
import socket
import struct
import sys
import urllib.request
import uuid


def free_port():
    """Below 32768, so that no outgoing connection takes it between now and the bind."""
    for _ in range(200):
        port = random.randrange(20001, 32000, 2)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("no free port")


def kafka_ready(address):
    """Metadata v1 for no topics: its answer names a controller once the broker serves."""
    host, port = address.rsplit(":", 1)
    client = b"ready"
    body = struct.pack(">hhih", 3, 1, 7, len(client)) + client + struct.pack(">i", 0)
    with socket.create_connection((host, int(port)), timeout=2) as conn:
        conn.sendall(struct.pack(">i", len(body)) + body)
        head = conn.recv(8)
        brokers = conn.recv(4)
    return len(head) == 8 and struct.unpack(">ii", head)[1] == 7 and struct.unpack(">i", brokers)[0] >= 1


def http_ready(url):
    with urllib.request.urlopen(url, timeout=2) as answer:
        return answer.status == 200


def main(args):
    if not args:
        print(free_port())
    elif args[0] == "--uuid":
        # Kafka's tools take an id that begins with a dash for an option.
        print("T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:])
    elif args[0] == "--kafka-ready":
        return 0 if kafka_ready(args[1]) else 1
    elif args[0] == "--http-ready":
        return 0 if http_ready(args[1]) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
