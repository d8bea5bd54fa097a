"""What `k2rl doctor` says of this machine, which runs the tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rl.doctor import RUN_CHECKS, main, ray


def test_a_machine_that_runs_the_tests_has_what_a_run_needs(capsys: pytest.CaptureFixture[str]) -> None:
    findings = {finding.name: finding for check in RUN_CHECKS for finding in check()}
    assert {"libraries", "vLLM", "device", "memory", "disk", "programs", "Ray's folder", "wandb"} <= set(findings)
    assert [name for name, finding in findings.items() if finding.state == "failed"] == []
    assert findings["device"].found and findings["libraries"].state == "ok"


def test_a_program_that_is_missing_is_told_with_what_needs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 100)
    assert main(["--json"]) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert found["programs"]["state"] == "failed" and "bash is not on PATH" in found["programs"]["found"]
    assert "set RAY_TMPDIR to a short folder" in found["Ray's folder"]["found"]


@pytest.mark.parametrize(("has_gpu", "state"), [(False, "failed"), (True, "ok")])
def test_lscpu_is_asked_for_where_engines_run_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_gpu: bool, state: str
) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    (tmp_path / "bash").symlink_to(bash)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert {finding.name: finding.state for finding in ray()}["programs"] == state
