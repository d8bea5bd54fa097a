"""A thread that gave up writing still runs programs, on every tier, also where the sandbox has to start anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gyms.sandbox.inside import landlock
from tests.integration.sandbox.tiers import TIERS, refusal

PROGRAM = """
import sys
from pathlib import Path
from gyms.api import Needs
from gyms.confinement.confine import confine_writes, use_temporary_folder
from gyms.sandbox import Exam, Limits, Program, open_sandbox
from gyms.sandbox.apart import SandboxApart

tier, scratch, elsewhere = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
sandbox = SandboxApart(lambda: open_sandbox(tier))
scratch.chmod(0o711)
temporary = scratch / "tmp"
temporary.mkdir()
temporary.chmod(0o1777)
use_temporary_folder(temporary)
assert confine_writes(scratch, Needs())
try:
    elsewhere.write_text("x")
    print("wrote")
except PermissionError:
    print("refused")
limits = Limits(wall_seconds=60.0)
for restart in (False, True):
    if restart:
        sandbox._sandbox._runner.close()
    run = sandbox.run(Program(source="open('note', 'w').write('kept'); print(open('note').read())", limits=limits))
    print(run.stdout.decode().strip(), run.ending)
exam = Exam(tests="assert double(2) == 4", proxies={"double": "double"})
subject, tests = sandbox.examine(Program(source="def double(x): return 2 * x", limits=limits), exam)
print(subject.ending, b'true' in tests.results)
sandbox.close()
"""


@pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("tier", TIERS)
def test_a_confined_thread_runs_programs(tier: str, tmp_path: Path) -> None:
    if refusal(tier):
        pytest.skip(f"{tier}: {refusal(tier)}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, tier, str(scratch), str(tmp_path / "elsewhere")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.stdout.split("\n") == ["refused", "kept exited", "kept exited", "exited True", ""], done.stderr
    assert not (tmp_path / "elsewhere").exists()
