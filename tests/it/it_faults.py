#!/usr/bin/env python3
"""Goal: a seeded sample of the kill matrix (soak.py, which says what is compared) in the normal run.

Method: two workers under load; one killed, Redis wiped, one frozen for longer than every timeout, then the only broker killed, one worker stopped in order while
it is away, and both started again. The broker and the Redis are its own. How fast a run recovers is soak's to measure: here only that it does.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("SOAK_INSTANCE", "faults")
import soak
import soak_faults
import spine

POINTS, SEED, PACE, LAG_S = 4, 7, 0.1, 30

checks = spine.Checks()
kafka, redis = soak_faults.start_services()
try:
    soak.one(spine.program(sys.argv), kafka, redis, "sample", POINTS, SEED, checks, PACE, LAG_S)
finally:
    soak_faults.stop_services()
checks.finish()
