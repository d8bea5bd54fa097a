"""What `k2rl doctor` says of this machine, which runs the tests."""

from __future__ import annotations

import json

import pytest

from rl.doctor import RUN_CHECKS, main


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
