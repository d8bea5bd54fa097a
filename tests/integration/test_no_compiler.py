"""An engine runs on a machine without a compiler: of all programs it needs `lscpu` alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.harness import ROOT, Runs, new_learner

PROGRAM = """
import sys
from pathlib import Path

from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.types import SampleRequest

engine = VLLMEngine(
    EngineSettings(
        model_folder=Path(sys.argv[1]), context_length=128, max_num_seqs=8, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=(0,), quantised=False,
    )
)
common = {"prompt_ids": (3, 4, 5), "budget": 4}
engine.submit(
    [
        SampleRequest(id="greedy", temperature=0.0, seed=1, **common),
        SampleRequest(id="sampled", temperature=1.0, seed=2, **common),
        SampleRequest(id="sibling", temperature=1.0, seed=3, **common),
        SampleRequest(id="choice", temperature=1.0, seed=4, choices=("1", "2"), **common),
    ]
)
done = []
while len(done) < 4:
    done += engine.finished(wait_seconds=1.0)
engine.prompt_logprobs([(3, 4, 5, 6)])
print("drawn:", *sorted(sample.id for sample in done))
"""


def test_an_engine_samples_where_lscpu_is_the_only_program(tiny_folder: Path, tmp_path: Path) -> None:
    new_learner(tiny_folder).export(folder := tmp_path / "int4")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lscpu").symlink_to(shutil.which("lscpu") or "/usr/bin/lscpu")
    inherited = {k: v for k, v in Runs().environment().items() if k not in ("CC", "CXX", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        env=inherited | {"PATH": str(tmp_path / "bin"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "nothing_compiled")},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "drawn: choice greedy sampled sibling" in done.stdout
    assert not [path for path in (tmp_path / "nothing_compiled").rglob("*") if path.is_file()]
