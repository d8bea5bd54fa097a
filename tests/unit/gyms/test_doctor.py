"""`doctor` tells what is there, whether it matters, and fails only for what must be repaired."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gyms.cli import doctor
from gyms.cli.doctor import CHECKS, Finding, facts_of, show_doctor
from gyms.cli.main import main
from gyms.cli.show import show
from tests.contract.test_plugins import GYM, install


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    facts = json.loads(capsys.readouterr().out)
    return {f"{finding['group']}/{finding['name']}": finding for finding in facts["findings"]}


def test_doctor_tells_of_machine_sandbox_programs_gyms_and_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    found = told(capsys)
    assert status == (1 if any(finding["state"] == "failed" for finding in found.values()) else 0)
    assert found["Machine/python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
    assert "GiB free" in found["Machine//dev/shm"]["found"]
    assert {
        "Programs/bwrap",
        "Programs/g++",
        "Programs/node",
        "Sandbox/auto",
        "Gyms/math",
        "System libraries/libnuma.so.1",
    } <= set(found)
    assert found["Libraries/torch"]["matters"] == "extra `train`"
    assert all(finding["found"] and "\n" not in finding["found"] for finding in found.values())
    assert all(finding["matters"] for finding in found.values() if finding["state"] != "ok")


def test_doctor_shows_a_table_for_each_group() -> None:
    stream = io.StringIO()
    show(show_doctor(facts_of([doctor.programs, doctor.plugins])), stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Programs" and lines[1].split() == ["what", "state", "found", "what", "it", "is", "for"]
    assert "Gyms" in lines and lines[-1].startswith("nothing needs repair")


@pytest.mark.parametrize(("state", "is_well"), [("ok", True), ("note", True), ("failed", False)])
def test_only_a_failed_check_has_to_be_repaired(state: doctor.State, is_well: bool) -> None:
    def lacks() -> Iterator[Finding]:
        yield Finding(group="Mine", name="thing", state=state, found="not there", matters="nothing much")

    facts = facts_of([lacks])
    assert facts["is_well"] is is_well
    assert ("to be repaired: thing" in list(show_doctor(facts))) is not is_well


def test_a_gym_that_two_packages_offer_is_to_be_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "plug-one", "mine", GYM.format(name="Mine", rule="True"))
    install(tmp_path, "plug-two", "mine", GYM.format(name="Mine", rule="True"))
    assert {finding.name: finding.state for finding in doctor.plugins()}["mine"] == "failed"


def test_every_check_is_a_documented_function() -> None:
    assert len(CHECKS) == len({check.__name__ for check in CHECKS}) and all(check.__doc__ for check in CHECKS)
