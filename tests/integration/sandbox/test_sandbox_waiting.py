"""A busy machine does not end a program that a quiet one would let finish: waiting for a core is not wall clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.sandbox.tiers import TIERS, refusal

PROGRAM = """
import os, subprocess, sys, time
from gyms.sandbox import Limits, Program, open_sandbox

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
box = open_sandbox(sys.argv[1])
source = "import time\\nwhile time.process_time() < 2: pass\\nprint(time.monotonic() - {started})"
limits = Limits(cpu_seconds=30.0, wall_seconds=3.0)  # a second more than is computed: starting, reading, stolen time
burn = [sys.executable, "-c", "print(flush=True)\\nwhile True: pass"]
rival = subprocess.Popen(burn, stdout=subprocess.PIPE, start_new_session=True)  # Linux shares cores out by session
rival.stdout.readline()  # it computes from now on; half of the core is the most that the program gets
try:
    started = time.monotonic()
    run = box.run(Program(source=source.format(started=started), limits=limits))
    passed = time.monotonic() - started
    asleep = box.run(Program(source="import time\\ntime.sleep(60)", limits=Limits(wall_seconds=0.5)))
finally:
    rival.kill()
    rival.wait()
box.close()
# Of x seconds that pass at least half are waited: what counts is less than 3/4 of them, unless the host wastes as many
print(run.ending, float(run.stdout or 0) > limits.wall_seconds, run.wall_seconds < 0.75 * passed, asleep.ending)
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel counts no waiting")
@pytest.mark.parametrize("tier", TIERS)
def test_waiting_for_a_core_is_not_counted_and_sleeping_is(tier: str) -> None:
    if refusal(tier):
        pytest.skip(f"{tier}: {refusal(tier)}")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM, tier], env=env, capture_output=True, text=True, timeout=300)
    assert done.stdout == "exited True True wall_limit\n", done.stdout + done.stderr
